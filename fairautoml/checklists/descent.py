"""Good checklists fast: steepest descent over one exchanged item at a time, from many starts.

The solver takes no starting point, so this is what it must beat, and what is returned when its
time is up.
"""

import time
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fairautoml.checklists.patterns import Patterns

N_STARTS = 24

PRICES = (0.25, 1.0, 4.0)
"""Price of an excess of 1, in units of the cost of all mistakes; the starts take turns."""

NEARLY = 1e-6
"""Excess that may be rounding of single precision; whether it is, is counted."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Chosen:
    """A checklist by the numbers of its items."""

    items: tuple[int, ...]  # positions among all items, rising
    required: int  # how many must be checked
    value: float  # cost of its mistakes plus the tie-breaks
    excess: float  # by how much it breaks the limits


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Lists:
    """All checklists that are allowed, and what each is worth."""

    patterns: Patterns  # merged training rows
    most_items: int  # largest N and largest M
    most_required: int

    @property
    def per_item(self) -> float:
        """Tie-break: price of an item.

        All tie-breaks of a list together cost less than its cheapest mistake. The published ones
        (section 3) are smaller by a factor of the number of rows, below what a solver resolves.
        """
        return 0.95 * self.patterns.step / (self.most_items + 1)

    @property
    def per_required(self) -> float:
        """Tie-break: price of asking for one item more; less than that of an item."""
        return 0.95 * self.per_item / (self.most_required + 1)

    def chosen(self, items: tuple[int, ...], required: int) -> Chosen:
        """Return a checklist with its mistakes and excess counted from its own decisions."""
        accepted = self.patterns.accepted(items, required)
        value = self.patterns.cost(accepted)
        return Chosen(
            items=tuple(sorted(items)),
            required=required,
            value=value + self.per_item * len(items) + self.per_required * required,
            excess=self.patterns.excess(accepted),
        )


def descend(lists: Lists, *, seed: int, deadline: float) -> Chosen | None:
    """Return the best checklist met that breaks no limit, None when none was met."""
    rng = np.random.default_rng(seed)
    around = _Around(lists)
    best: Chosen | None = None
    for start in range(N_STARTS):
        items = () if start == 0 else _random_items(lists, rng)
        best = around.descend(items, PRICES[start % len(PRICES)], best)
        if time.monotonic() >= deadline:
            break
    return best


def _random_items(lists: Lists, rng: np.random.Generator) -> tuple[int, ...]:
    order = rng.permutation(lists.patterns.n_items)
    _, first = np.unique(lists.patterns.column[order], return_index=True)
    return tuple(order[np.sort(first)[: lists.most_items]].tolist())


class _Around:
    """Values all checklists that differ from one in a single item."""

    def __init__(self, lists: Lists) -> None:
        self.lists = lists
        patterns = lists.patterns
        n_patterns = len(patterns.value)
        # The last column is no item at all: single precision finds the way, counts decide.
        self.checked = np.zeros((n_patterns, patterns.n_items + 1), dtype=np.float32)
        self.checked[:, :-1] = patterns.checked
        slopes = [rates.slope for rates in patterns.rates]
        self.slope = np.concatenate([patterns.value[None], *slopes]).astype(np.float32)
        self.total = float(np.abs(patterns.value).sum())

    def descend(self, items: tuple[int, ...], price: float, best: Chosen | None) -> Chosen | None:
        """Return the better of ``best`` and what a descent from the given items meets."""
        here = np.inf
        while True:
            near = [one for base in self._bases(items) for one in self._near(base, price)]
            for _, found in near:
                if found.excess == 0 and (best is None or found.value < best.value):
                    best = found
            value, found = min(near, key=lambda pair: pair[0])
            if value >= here - 1e-9 * self.total:
                return best
            here, items = value, found.items

    def _bases(self, items: tuple[int, ...]) -> list[tuple[int, ...]]:
        fewer = [items[:at] + items[at + 1 :] for at in range(len(items))]
        return [*fewer, items] if len(items) < self.lists.most_items else fewer

    def _near(self, base: tuple[int, ...], price: float) -> list[tuple[float, Chosen]]:
        """Return the best lists of the base and one item or none, each with its priced value."""
        patterns, m = self.lists.patterns, self.lists.most_required
        count = patterns.checked[:, list(base)].sum(axis=1)
        required = np.arange(1, m + 1)[:, None]
        # What is accepted already, and what one item more decides.
        sure = (count >= required).astype(np.float32) @ self.slope.T
        edge = np.where((count == required - 1)[:, None], self.slope, np.float32(0))
        found = sure[:, :, None] + (edge.reshape(-1, len(count)) @ self.checked).reshape(
            m, len(self.slope), -1
        )
        near = []
        for at in range(m):
            for pick in self._picks(base, found[at], at + 1, price * self.total):
                items = base if pick == patterns.n_items else (*base, pick)
                chosen = self.lists.chosen(items, at + 1)
                near.append((chosen.value + price * self.total * chosen.excess, chosen))
        return near

    def _picks(
        self, base: tuple[int, ...], found: NDArray[np.float32], required: int, price: float
    ) -> set[int]:
        """Return the item that makes the best list, and the one that makes the best allowed."""
        patterns = self.lists.patterns
        excess = np.zeros(found.shape[1])
        at = 1
        for rates in patterns.rates:
            part = found[at : at + len(rates.offset)]
            excess += rates.excess(part + rates.offset[:, None])
            at += len(rates.offset)
        size = len(base) + np.append(np.ones(patterns.n_items), 0)
        value = found[0] + patterns.base + self.lists.per_item * size
        usable = self._usable(base) & (size >= required)
        priced = np.where(usable, value + price * excess, np.inf)
        allowed = np.where(usable & (excess <= NEARLY), value, np.inf)
        return {int(scores.argmin()) for scores in (priced, allowed) if scores.min() < np.inf}

    def _usable(self, base: tuple[int, ...]) -> NDArray[np.bool_]:
        column = self.lists.patterns.column
        return np.append(~np.isin(column, column[list(base)]), True)
