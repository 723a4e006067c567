"""Optimal checklists, "at least M of N items": items, the integer program, the fitted list.

The solver takes no starting point, so this is what it must beat, and what is returned when its
time is up.

Source: Zhang et al., arXiv 2112.01020, section 3. Two things differ. Decisions take the place of
mistakes as variables, so that rows of equal items share one whatever their labels; and every row
that enters a limit has both of its rows, "accepted, hence M items are checked" and "refused, hence
fewer are": with one of them, as published, a limit can be met on paper by a mistake not made.
M is no variable: the programs of M = 1, 2, ... are each much tighter than the one over all.
"""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from scipy import sparse
from scipy.optimize import Bounds, LinearConstraint, milp
from sklearn.isotonic import isotonic_regression

from fairautoml.data.dataset import FeatureSchema
from fairautoml.exceptions import DegenerateGroupError, FairAutoMLError, InputError
from fairautoml.metrics._table import Form, Rate
from fairautoml.records import ParamValue
from fairautoml.threads import one_thread

Test = Literal[">=", "<", "is", "is not", "is missing", "is given"]

FEW_VALUES = 10
"""A number with at most so many distinct values is cut at each of them."""

MOST_LEVELS = 30
"""Items per category column: its most frequent codes."""


@dataclass(frozen=True, slots=True)
class Item:
    """One line of a checklist: a test of one column.

    A missing value checks no item but ``is missing``.
    """

    column: int  # position of the column
    test: Test  # {">=", "<", "is", "is not", "is missing", "is given"}: what is asked
    value: float = 0.0  # cut or category code; unused by the last two

    def checked(self, X: NDArray[np.floating]) -> NDArray[np.bool_]:
        """Return whether each row checks the item, shape (n_rows,)."""
        # Cuts are kept in double precision: between two float32 values there may be one.
        values = X[:, self.column].astype(np.float64)
        missing = np.isnan(values)
        answers: dict[Test, NDArray[np.bool_]] = {
            ">=": values >= self.value,
            "<": values < self.value,
            "is": values == self.value,
            "is not": ~missing & (values != self.value),
            "is missing": missing,
            "is given": ~missing,
        }
        return answers[self.test]

    def describe(self, names: Sequence[str] | None = None) -> str:
        """Return the item in words."""
        name = f"x{self.column}" if names is None else names[self.column]
        if self.test in ("is missing", "is given"):
            return f"{name} {self.test}"
        return f"{name} {self.test} {self.value:.6g}"


def find_items(
    X: NDArray[np.floating], feature_schema: FeatureSchema, *, cuts: int, complements: bool
) -> tuple[tuple[Item, ...], NDArray[np.bool_]]:
    """Return the items of a table and which row checks which.

    Numbers are cut at evenly spaced quantiles, or at each value when there are few; categories
    give one item per level; a column with gaps one more. Items that all rows or none check, and
    copies of an earlier item, are left out.
    """
    if feature_schema.sparse:
        raise InputError("checklist: X is sparse, and items are made of dense columns; densify X")
    kept: list[Item] = []
    columns: list[NDArray[np.bool_]] = []
    seen: set[bytes] = set()
    for item in _candidates(X, feature_schema, cuts, complements):
        checked = item.checked(X)
        key = np.packbits(checked).tobytes()
        if key not in seen and checked.any() and not checked.all():
            seen.add(key)
            kept.append(item)
            columns.append(checked)
    if not kept:
        msg = (
            f"checklist: the {X.shape[1]} columns of X are all constant on the {X.shape[0]} "
            "training rows, so there is no item to check; give columns that vary"
        )
        raise InputError(msg)
    return tuple(kept), np.stack(columns, axis=1)


def _candidates(X: Any, feature_schema: FeatureSchema, cuts: int, complements: bool) -> list[Item]:
    categorical = frozenset(feature_schema.categorical)
    found: list[Item] = []
    for at in range(feature_schema.n_features):
        values = X[:, at].astype(np.float64)
        values = values[~np.isnan(values)]
        plain: tuple[Test, Test] = ("is", "is not") if at in categorical else (">=", "<")
        points = _levels(values) if at in categorical else _cuts(values, cuts)
        found += [Item(at, plain[0], point) for point in points]
        found.append(Item(at, "is missing"))
        if complements:
            found += [Item(at, plain[1], point) for point in points]
            found.append(Item(at, "is given"))
    return found


def _levels(values: NDArray[np.float64]) -> list[float]:
    codes, counts = np.unique(values, return_counts=True)
    frequent = np.argsort(-counts, kind="stable")[:MOST_LEVELS]
    return sorted(codes[frequent].tolist())


def _cuts(values: NDArray[np.float64], cuts: int) -> list[float]:
    distinct = np.unique(values)
    few = len(distinct) <= FEW_VALUES
    shares = np.arange(1, cuts + 1) / (cuts + 1)
    points: list[float] = (
        distinct[1:] if few else np.unique(np.quantile(values, shares))
    ).tolist()
    return points


LEAST_STEP = 1e-3
"""Log-odds between neighbouring counts, at the least: more items never mean a lower score."""

MARGIN = 0.1
"""Share of the step from M - 1 to M items that is kept between a score and one half."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Checklist:
    """A list of N items, of which at least M must be checked."""

    items: tuple[Item, ...]  # the N items
    required: int  # m
    log_odds: NDArray[np.float64]  # shape (N + 1,): score of each number of checked items, rising
    mistakes: float  # weight of the training rows decided wrongly
    # optimality gap in [0, 1]: by what share of its value a better list might still be lower
    gap: float
    optimal: bool  # whether it is known that no list is better; else the time was up

    def counts(self, X: NDArray[np.floating]) -> NDArray[np.int64]:
        """Return how many items each row checks, shape (n_rows,)."""
        total = np.zeros(X.shape[0], dtype=np.int64)
        for item in self.items:
            total += item.checked(X)
        return total

    def accepts(self, X: NDArray[np.floating]) -> NDArray[np.bool_]:
        """Return which rows check at least M items, shape (n_rows,)."""
        return self.counts(X) >= self.required

    def scores(self, X: NDArray[np.floating]) -> NDArray[np.float64]:
        """Return P(y = 1) by the number of checked items, shape (n_rows,); above 0.5 from M on."""
        by_count: NDArray[np.float64] = 1.0 / (1.0 + np.exp(-self.log_odds))
        return by_count[self.counts(X)]

    def describe(self, names: Sequence[str] | None = None) -> str:
        """Return the checklist in words, one line."""
        listed = "; ".join(item.describe(names) for item in self.items)
        return f"at least {self.required} of {len(self.items)}: {listed}"


def fit_log_odds(
    counts: NDArray[np.integer],
    y: NDArray[np.integer],
    weight: NDArray[np.float64],
    *,
    n_items: int,
    required: int,
) -> NDArray[np.float64]:
    """Return the log-odds of label 1 by number of checked items.

    The shares of label 1, made monotone. Costs or limits may put M where the share of label 1
    does not cross one half; then all log-odds are moved by the least that puts one half between
    M - 1 and M items, as another base rate would, so that decisions at one half are the list's.
    """
    # Counts in rows: the prior below is one row.
    rows = weight * (len(y) / weight.sum())
    total = np.bincount(counts, weights=rows, minlength=n_items + 1)
    ones = np.bincount(counts, weights=rows * y, minlength=n_items + 1)
    base_rate = ones.sum() / total.sum()
    share = isotonic_regression((ones + base_rate) / (total + 1), sample_weight=total + 1)
    log_odds = np.log(share) - np.log1p(-share)
    log_odds += LEAST_STEP * np.arange(n_items + 1)
    below, above = log_odds[required - 1], log_odds[required]
    kept = MARGIN * (above - below)
    moved: NDArray[np.float64] = log_odds - np.clip(0.0, below + kept, above - kept)
    return moved


SLACK = 1e-9
"""Rounding of rates that are sums of weights."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class RateGap:
    """One rate that must be about the same in all groups."""

    name: str  # rate and group system, for messages
    groups: NDArray[np.integer]  # shape (n_rows,): group of each training row
    n_groups: int  # number of groups; those without rows of this rate are left out
    rate: Rate  # which rate; its denominator must not depend on the decisions
    # largest minus smallest rate, or one minus smallest over largest, is bounded
    form: Form  # {"difference", "ratio"}
    limit: float  # by this, in [0, 1]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Rates:
    """The rates of one ``RateGap`` as linear functions of the decisions on the patterns."""

    # what accepting a pattern adds to the rate of each group
    slope: NDArray[np.float64]  # shape (n_groups, n_patterns)
    offset: NDArray[np.float64]  # shape (n_groups,): the rates when nobody is accepted
    form: Form  # {"difference", "ratio"}: what is bounded
    limit: float  # by this

    def excess(self, rates: NDArray[np.floating]) -> NDArray[np.float64]:
        """Return how far the gap is over the limit, 0 when it is not; shape (n_choices,)."""
        low, high = rates.min(axis=0), rates.max(axis=0)
        if self.form == "difference":
            gap = high - low
        else:
            gap = 1.0 - np.divide(low, high, out=np.zeros_like(low), where=high > SLACK)
        over: NDArray[np.float64] = np.maximum(gap - self.limit, 0.0)
        return over


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Patterns:
    """Distinct combinations of checked items, and what deciding each costs.

    Rows that check the same items get the same decision, whatever their label and group, so they
    are one row of the program.
    """

    checked: NDArray[np.bool_]  # shape (n_patterns, n_items): which items
    column: NDArray[np.int64]  # shape (n_items,): the column that each item tests
    value: NDArray[np.float64]  # shape (n_patterns,): cost of accepting minus cost of refusing
    base: float  # cost when nobody is accepted
    least: float  # cost that no decisions can avoid: equal items, unequal labels
    step: float  # smallest cost of one mistake that counts
    rates: tuple[Rates, ...]  # what must be equal

    @property
    def n_items(self) -> int:
        """Number of items to choose from."""
        return len(self.column)

    def accepted(self, chosen: Sequence[int], required: int) -> NDArray[np.bool_]:
        """Return which patterns check at least ``required`` of the chosen items."""
        yes: NDArray[np.bool_] = self.checked[:, list(chosen)].sum(axis=1) >= required
        return yes

    def cost(self, accepted: NDArray[np.bool_]) -> float:
        """Return the cost of the mistakes of given decisions."""
        return self.base + float(self.value[accepted].sum())

    def excess(self, accepted: NDArray[np.bool_]) -> float:
        """Return by how much the decisions break the limits, over all of them; 0 = not at all."""
        total = 0.0
        for rates in self.rates:
            found = rates.offset + rates.slope[:, accepted].sum(axis=1)
            total += float(rates.excess(found[:, None])[0])
        return total if total > SLACK else 0.0


def merge(
    checked: NDArray[np.bool_],
    column: NDArray[np.int64],
    y: NDArray[np.integer],
    cost: NDArray[np.float64],
    weight: NDArray[np.float64],
    gaps: Sequence[RateGap],
) -> Patterns:
    """Merge rows that check the same items."""
    packed = np.packbits(checked, axis=1)
    _, first, of_row = np.unique(packed, axis=0, return_index=True, return_inverse=True)
    of_row = of_row.reshape(-1)
    n = len(first)
    refused = np.bincount(of_row, weights=cost * (y == 1), minlength=n).astype(np.float64)
    taken = np.bincount(of_row, weights=cost * (y == 0), minlength=n).astype(np.float64)
    found = (_rates(gap, of_row, n, y, weight) for gap in gaps)
    rates = tuple(one for one in found if one is not None)
    if gaps and not rates:
        names = ", ".join(gap.name for gap in gaps)
        msg = (
            f"checklist: fewer than two groups have rows for {names} among the {len(y)} rows "
            "trained on; merge small groups or train on more rows"
        )
        raise DegenerateGroupError(msg)
    return Patterns(
        checked=checked[first],
        column=column,
        value=taken - refused,
        base=float(refused.sum()),
        least=float(np.minimum(taken, refused).sum()),
        step=max(float(cost.min()), LEAST_STEP * float(cost.mean())),
        rates=rates,
    )


def _rates(
    gap: RateGap,
    of_row: NDArray[np.integer],
    n_patterns: int,
    y: NDArray[np.integer],
    weight: NDArray[np.float64],
) -> Rates | None:
    counts, slopes, offsets = (part[y] for part in gap.rate.linear())
    known = gap.groups >= 0
    groups = gap.groups[known]
    mass = np.bincount(groups, weights=(weight * counts)[known], minlength=gap.n_groups)
    has = mass > 0
    if has.sum() < 2:
        return None
    slope = np.zeros((gap.n_groups, n_patterns))
    np.add.at(slope, (groups, of_row[known]), (weight * slopes)[known])
    offset = np.bincount(groups, weights=(weight * offsets)[known], minlength=gap.n_groups)
    return Rates(
        slope=slope[has] / mass[has, None],
        offset=offset[has] / mass[has],
        form=gap.form,
        limit=gap.limit,
    )


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


INFEASIBLE = 2
"""Status of ``scipy.optimize.milp``: there is no such checklist, none better than asked."""

OPTIMAL = 0

MOST_ENTRIES = 1_000_000
"""Entries of the largest program that is tried, 2,400 patterns of 200 items and limits. Beyond it
reading the program alone takes the solver seconds, by which it overruns its time limit."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Solved:
    """What the solver found out about the checklists with a given M."""

    chosen: Chosen | None  # the best list that it met, if it is better than the one it had to beat
    bound: float  # no list of this M has a smaller value; the value to beat if none is smaller
    status: str  # what the solver said


def solve(lists: Lists, required: int, *, beat: float, seconds: float) -> Solved:
    """Look for the best checklist that asks for exactly ``required`` items."""
    program = _Program(lists, required)
    if program.n_entries > MOST_ENTRIES:
        status = f"not asked: {program.n_entries} entries, at most {MOST_ENTRIES} are tried"
        return Solved(chosen=None, bound=min(lists.patterns.least, beat), status=status)
    rows = program.rows()
    if beat < np.inf:
        # Half a tie-break: anything better is better by more than that.
        most = beat - program.constant - 0.5 * lists.per_required
        rows.append(LinearConstraint(program.objective[None], -np.inf, most))
    found = milp(
        program.objective,
        integrality=program.integrality,
        bounds=program.bounds,
        constraints=rows,
        options={"time_limit": seconds, "mip_rel_gap": 0.0},
    )
    if found.status == INFEASIBLE:
        return Solved(chosen=None, bound=beat, status=found.message)
    bound = lists.patterns.least
    if found.mip_dual_bound is not None:
        bound = max(bound, program.constant + float(found.mip_dual_bound))
    chosen = None
    if found.x is not None:
        picked = np.flatnonzero(found.x[: lists.patterns.n_items] > 0.5)
        # Its mistakes and gaps are counted anew: the solver's own are within its tolerance only.
        counted = lists.chosen(tuple(picked.tolist()), required)
        if counted.excess == 0 and counted.value < beat:
            chosen = counted
    if found.status == OPTIMAL and chosen is not None:
        bound = chosen.value
    return Solved(chosen=chosen, bound=min(bound, beat), status=found.message)


class _Program:
    """Variables: items, then decisions on the patterns that matter, then one per limited gap."""

    def __init__(self, lists: Lists, required: int) -> None:
        self.lists, self.required = lists, required
        patterns = lists.patterns
        tests = (patterns.column[:, None] == np.unique(patterns.column)).astype(np.float32)
        self.one_per_column = tests.T
        # At most one item of a column is chosen, and at most so many.
        self.reach = np.minimum(
            (patterns.checked.astype(np.float32) @ tests > 0).sum(axis=1), lists.most_items
        )
        limited = any(rates.slope.any() for rates in patterns.rates)
        within = self.reach >= required
        self.free = np.flatnonzero(within if limited else within & (patterns.value != 0))
        self.limited = limited
        self.n_items, self.n_free = patterns.n_items, len(self.free)
        self.n_gaps = len(patterns.rates)
        self.n_entries = int(patterns.checked[self.free].sum()) * (1 + limited)
        n_columns = self.n_items + self.n_free + self.n_gaps
        self.objective = np.zeros(n_columns)
        self.objective[: self.n_items] = lists.per_item
        self.objective[self.n_items : self.n_items + self.n_free] = patterns.value[self.free]
        self.integrality = np.ones(n_columns)
        self.integrality[self.n_items + self.n_free :] = 0
        self.bounds = Bounds(np.zeros(n_columns), np.ones(n_columns))
        self.constant = patterns.base + lists.per_required * required

    def rows(self) -> list[LinearConstraint]:
        """Return the constraints."""
        patterns, required = self.lists.patterns, self.required
        count = sparse.csr_array(patterns.checked[self.free].astype(np.float64))
        value, reach = patterns.value[self.free], self.reach[self.free]
        all_items = np.ones((1, self.n_items))
        found = [
            self._row(self.one_per_column, None, -np.inf, 1.0),
            self._row(all_items, None, float(required), float(self.lists.most_items)),
        ]
        gains = np.flatnonzero(self.limited | (value < 0))
        costs = np.flatnonzero(self.limited | (value > 0))
        if len(gains):
            only_if = self._decisions(gains, np.full(len(gains), -float(required)))
            found.append(self._row(count[gains], only_if, 0.0, np.inf))
        if len(costs):
            whenever = self._decisions(costs, -(reach[costs] - required + 1.0))
            found.append(self._row(count[costs], whenever, -np.inf, required - 1.0))
        for at, rates in enumerate(patterns.rates):
            found += self._gap(at, rates)
        return found

    def _decisions(self, at: NDArray[np.integer], factor: NDArray[np.float64]) -> Any:
        shape = (len(at), self.n_free)
        return sparse.csr_array((factor, (np.arange(len(at)), at)), shape=shape)

    def _row(
        self, items: Any, decisions: Any, low: Any, high: Any, least: Any = None
    ) -> LinearConstraint:
        """Return constraints on items, decisions and the variables of the gaps, None = none."""
        widths = (self.n_items, self.n_free, self.n_gaps)
        blocks = (items, decisions, least)
        n_rows = next(block.shape[0] for block in blocks if block is not None)
        parts = [
            sparse.csr_array((n_rows, width) if block is None else block)
            for block, width in zip(blocks, widths, strict=True)
        ]
        return LinearConstraint(sparse.hstack(parts, format="csr"), low, high)

    def _gap(self, at: int, rates: Rates) -> list[LinearConstraint]:
        """Return: every rate is at least the gap's own variable, and not too far above it."""
        least = np.zeros((len(rates.offset), self.n_gaps))
        least[:, at] = -1.0
        slope = rates.slope[:, self.free]
        above = self._row(None, slope, -rates.offset, np.inf, least)
        if rates.form == "difference":
            below = self._row(None, slope, -np.inf, rates.limit - rates.offset, least)
            return [above, below]
        share = 1.0 - rates.limit
        below = self._row(None, share * slope, -np.inf, -share * rates.offset, least)
        # A ratio of 0 to 0 is none: somebody must be accepted.
        counted = np.atleast_2d(slope.any(axis=0)).astype(np.float64)
        return [above, below, self._row(None, counted, 1.0, np.inf)]


DESCENT_SHARE = 0.5
"""Share of the time that the descents may take from the solver."""

SOLVED = 1e-4
"""Share of the smallest mistake within which value and bound are the same."""


class NoChecklistError(FairAutoMLError, RuntimeError):
    """No checklist meets the limits, or none was found in time; the message says which."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """What checklists are allowed, what they cost, and how long the best one is looked for."""

    most_items: int = 5  # largest number of items, N, at least 1
    most_required: int = 3  # largest number that must be checked, M, at least 1
    cuts: int = 3  # quantiles at which numbers are cut, at least 1
    complements: bool = True  # whether the opposite of every item is an item too
    # mistakes on both labels cost the same, or so that both labels cost the same in all
    cost: Literal["errors", "balanced"] = "errors"  # {"errors", "balanced"}
    seconds: float = 60.0  # time limit, positive

    @classmethod
    def from_params(cls, params: Mapping[str, ParamValue]) -> "Shape":
        """Return the shape that hyperparameters of the same names stand for."""
        usual = cls()
        return cls(
            most_items=int(params.get("most_items", usual.most_items)),
            most_required=int(params.get("most_required", usual.most_required)),
            cuts=int(params.get("cuts", usual.cuts)),
            complements=bool(params.get("complements", usual.complements)),
            cost="balanced" if params.get("cost", usual.cost) == "balanced" else "errors",
            seconds=float(params.get("seconds", usual.seconds)),
        )


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class LabelledRows:
    """Training rows of a checklist."""

    X: NDArray[np.floating]  # shape (n_rows, n_features): encoded features, dense
    y: NDArray[np.integer]  # shape (n_rows,): labels 0 or 1, both occurring
    weight: NDArray[np.float64]  # shape (n_rows,): sample weights; rows of weight 0 are left out
    feature_schema: FeatureSchema  # what the columns are


def fit_checklist(
    rows: LabelledRows, shape: Shape, *, gaps: Sequence[RateGap] = (), seed: int = 0
) -> Checklist:
    """Return the checklist of the fewest mistakes whose group gaps are within their limits.

    Of equal mistakes the list with fewer items, then the one that asks for fewer. Limits hold on
    the training rows, by the decisions of the list itself.
    """
    deadline = time.monotonic() + shape.seconds
    used = rows.weight > 0
    X, y, weight = rows.X[used], rows.y[used], rows.weight[used]
    if not len(y) or (y == y[0]).all():
        msg = (
            f"y: a checklist needs rows of both labels with weight, found {np.unique(y).tolist()}"
        )
        raise InputError(msg)
    items, checked = find_items(
        X, rows.feature_schema, cuts=shape.cuts, complements=shape.complements
    )
    column = np.array([item.column for item in items])
    # The mean mistake costs about 1, whatever the unit of the weights.
    cost = weight / weight.mean() * _costs(y, weight, shape.cost)
    kept = [replace(gap, groups=gap.groups[used]) for gap in gaps]
    patterns = merge(checked, column, y, cost, weight, kept)
    with one_thread():
        best, bound = _best(patterns, shape, gaps, seed=seed, deadline=deadline)
    found = tuple(items[at] for at in best.items)
    counts = checked[:, list(best.items)].sum(axis=1)
    wrong = (counts >= best.required) != (y == 1)
    return Checklist(
        items=found,
        required=best.required,
        log_odds=fit_log_odds(counts, y, weight, n_items=len(found), required=best.required),
        mistakes=float(weight[wrong].sum()),
        gap=(best.value - bound) / best.value,
        optimal=bound >= best.value - SOLVED * patterns.step,
    )


def _costs(
    y: NDArray[np.integer], weight: NDArray[np.float64], cost: Literal["errors", "balanced"]
) -> NDArray[np.float64]:
    if cost == "errors":
        return np.ones(len(y))
    positive = weight[y == 1].sum() / weight[y == 0].sum()
    return np.where(y == 1, 1.0, positive)


def _best(
    patterns: Patterns, shape: Shape, gaps: Sequence[RateGap], *, seed: int, deadline: float
) -> tuple[Chosen, float]:
    """Return the best list found and a bound on the value of all."""
    most_items = min(shape.most_items, len(np.unique(patterns.column)))
    most_required = min(shape.most_required, most_items)
    lists = Lists(patterns=patterns, most_items=most_items, most_required=most_required)
    left = deadline - time.monotonic()
    best = descend(lists, seed=seed, deadline=time.monotonic() + DESCENT_SHARE * left)
    bound, statuses = np.inf, []
    for required in range(1, most_required + 1):
        # What earlier programs leave over goes to the later ones.
        left = (deadline - time.monotonic()) / (most_required - required + 1)
        beat = np.inf if best is None else best.value
        if left <= 0:
            bound = min(bound, patterns.least)
            statuses.append("not begun: the time was up")
            continue
        solved = solve(lists, required, beat=beat, seconds=left)
        bound = min(bound, solved.bound)
        statuses.append(solved.status)
        best = best if solved.chosen is None else solved.chosen
    if best is None:
        raise NoChecklistError(_none_found(lists, shape, gaps, bound, statuses))
    return best, min(bound, best.value)


def _none_found(
    lists: Lists, shape: Shape, gaps: Sequence[RateGap], bound: float, statuses: Sequence[str]
) -> str:
    limits = ", ".join(f"{gap.name} within {gap.limit:g}" for gap in gaps) or "no limits"
    allowed = f"at most {lists.most_items} items, at most {lists.most_required} required"
    if bound == np.inf:
        return (
            f"checklist: no list with {allowed} has {limits}; raise the limit, allow more items "
            "or give more columns"
        )
    said = "; ".join(dict.fromkeys(statuses))
    return (
        f"checklist: no list with {allowed} and {limits} was found in {shape.seconds:g} s (the "
        f"solver: {said}); raise seconds or the limit"
    )
