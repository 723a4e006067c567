"""Optimal checklist: "at least M of these N items", found by integer programming.

Source: Zhang, Morris, Ustun, Ghassemi, *Learning Optimal Predictive Checklists*, NeurIPS 2021,
arXiv 2112.01020, section 3; the mitigator of this name adds limits on group gaps. Two differences:
the variables are decisions instead of mistakes, so that rows with equal items share a variable for
any label, and every row in a limit has both constraints, "accepted, hence M items are checked" and
"rejected, hence fewer are"; with one of them, as published, a mistake that the checklist does not
make can satisfy a limit.

One program is solved for each M = 1, 2, ..., because each is much tighter than a joint program. A
local search gives the value to beat, and the result if the time is up, because the solver takes no
starting point.
"""

import time
from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from scipy import sparse
from scipy.optimize import Bounds, LinearConstraint, milp
from sklearn.isotonic import isotonic_regression

from fairautoml.data.dataset import FeatureSchema
from fairautoml.exceptions import DegenerateGroupError, FairAutoMLError, InputError
from fairautoml.learners._base import BinaryClassifier, Learner
from fairautoml.metrics._table import Form, Rate
from fairautoml.portable import Dump, Positions
from fairautoml.records import ParamValues
from fairautoml.runtime._scores import passed
from fairautoml.threads import one_thread

Test = Literal[">=", "<", "is", "is not", "is missing", "is given"]

FEW_VALUES = 10
"""Largest number of distinct values for which a number is cut at each value."""

MOST_LEVELS = 30
"""Largest number of items per category column; the most frequent codes are used."""


@dataclass(frozen=True, slots=True)
class Item:
    """A test of one column; a missing value satisfies ``is missing`` only."""

    column: int  # position of the column
    test: Test  # {">=", "<", "is", "is not", "is missing", "is given"}
    value: float = 0.0  # cut or category code; unused by the last two

    def checked(self, X: NDArray[np.floating]) -> NDArray[np.bool_]:
        """Return whether each row checks the item, shape (n_rows,)."""
        return passed(X[:, self.column], self.test, self.value)

    def describe(self, names: Sequence[str] | None = None) -> str:
        """Return the item as text."""
        name = f"x{self.column}" if names is None else names[self.column]
        if self.test in ("is missing", "is given"):
            return f"{name} {self.test}"
        return f"{name} {self.test} {self.value:.6g}"


def find_items(
    X: NDArray[np.floating], feature_schema: FeatureSchema, *, cuts: int, complements: bool
) -> tuple[tuple[Item, ...], NDArray[np.bool_]]:
    """Return the items that vary, without duplicates, and which row satisfies which."""
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
    categorical = feature_schema.n_codes
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
    return (distinct[1:] if few else np.unique(np.quantile(values, shares))).tolist()


LEAST_STEP = 1e-3
"""Smallest log-odds step between neighbouring counts; keeps the score strictly increasing."""

MARGIN = 0.1
"""Share of the step from M - 1 to M items that separates a score from one half."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Checklist:
    """A list of N items, of which at least M must be checked."""

    items: tuple[Item, ...]  # the N items
    required: int  # M, the number of items required for acceptance
    log_odds: NDArray[np.float64]  # shape (N + 1,): score by number of checked items, ascending
    mistakes: float  # weight of the misclassified training rows
    # optimality gap in [0, 1]: largest possible relative improvement of the objective
    gap: float
    optimal: bool  # whether the list is proven optimal; False if the time was up

    def counts(self, X: NDArray[np.floating]) -> NDArray[np.int64]:
        """Return the number of checked items by row, shape (n_rows,)."""
        total = np.zeros(X.shape[0], dtype=np.int64)
        for item in self.items:
            total += item.checked(X)
        return total

    def accepts(self, X: NDArray[np.floating]) -> NDArray[np.bool_]:
        """Return whether each row checks at least M items, shape (n_rows,)."""
        return self.counts(X) >= self.required

    def scores(self, X: NDArray[np.floating]) -> NDArray[np.float64]:
        """Return P(y = 1) by the number of checked items, shape (n_rows,); above 0.5 from M on."""
        return self._by_count[self.counts(X)]

    @property
    def _by_count(self) -> NDArray[np.float64]:
        return 1.0 / (1.0 + np.exp(-self.log_odds))

    def dump(self, out: Dump, columns: Positions) -> int:
        """Write the portable form and return its node."""
        content = {
            "columns": columns[[item.column for item in self.items]],
            "tests": [item.test for item in self.items],
            "values": np.array([item.value for item in self.items]),
            "scores": self._by_count,
        }
        return out.node("checklist", content)

    def describe(self, names: Sequence[str] | None = None) -> str:
        """Return the checklist as one line of text."""
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

    The shares of label 1 are made monotone. With costs or limits, M may not be where the share
    crosses one half; all log-odds are then shifted by the smallest amount that puts one half
    between M - 1 and M items, like a change of the base rate.
    """
    # Weights are scaled to rows, because the prior counts as one row.
    rows = weight * (len(y) / weight.sum())
    total = np.bincount(counts, weights=rows, minlength=n_items + 1)
    ones = np.bincount(counts, weights=rows * y, minlength=n_items + 1)
    base_rate = ones.sum() / total.sum()
    share = isotonic_regression((ones + base_rate) / (total + 1), sample_weight=total + 1)
    log_odds = np.log(share) - np.log1p(-share)
    log_odds += LEAST_STEP * np.arange(n_items + 1)
    below, above = log_odds[required - 1], log_odds[required]
    kept = MARGIN * (above - below)
    return log_odds - np.clip(0.0, below + kept, above - kept)


SLACK = 1e-9
"""Rounding tolerance of rates, which are sums of weights."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class RateGap:
    """A limit on the difference of one rate between groups."""

    name: str  # rate and group system, for messages
    groups: NDArray[np.integer]  # shape (n_rows,): group of each training row
    n_groups: int  # number of groups; those without rows of this rate are excluded
    rate: Rate  # rate whose denominator does not depend on the decisions
    # bounded quantity: largest minus smallest rate, or one minus smallest over largest
    form: Form  # {"difference", "ratio"}
    limit: float  # upper bound, in [0, 1]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Rates:
    """The rates of one ``RateGap`` as linear functions of the decisions on the patterns."""

    # contribution of an accepted pattern to the rate of each group
    slope: NDArray[np.float64]  # shape (n_groups, n_patterns)
    offset: NDArray[np.float64]  # shape (n_groups,): rates when all rows are rejected
    form: Form  # {"difference", "ratio"}
    limit: float  # upper bound

    def excess(self, rates: NDArray[np.floating]) -> NDArray[np.float64]:
        """Return the gap minus the limit, at least 0; shape (n_choices,)."""
        low, high = rates.min(axis=0), rates.max(axis=0)
        if self.form == "difference":
            gap = high - low
        else:
            gap = 1.0 - np.divide(low, high, out=np.zeros_like(low), where=high > SLACK)
        return np.maximum(gap - self.limit, 0.0)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Patterns:
    """Distinct combinations of checked items, and the cost of their decisions.

    Rows that check the same items get the same decision, for any label and group, so they are
    merged into one row of the program.
    """

    checked: NDArray[np.bool_]  # shape (n_patterns, n_items)
    column: NDArray[np.int64]  # shape (n_items,): column of each item
    value: NDArray[np.float64]  # shape (n_patterns,): cost of accepting minus cost of rejecting
    base: float  # cost when all rows are rejected
    least: float  # unavoidable cost: equal items, different labels
    step: float  # smallest positive cost of a mistake
    rates: tuple[Rates, ...]  # limited rates

    @property
    def n_items(self) -> int:
        """Number of items to choose from."""
        return len(self.column)

    def accepted(self, chosen: Sequence[int], required: int) -> NDArray[np.bool_]:
        """Return whether each pattern checks at least ``required`` of the chosen items."""
        return self.checked[:, list(chosen)].sum(axis=1) >= required

    def cost(self, accepted: NDArray[np.bool_]) -> float:
        """Return the cost of the mistakes of the decisions."""
        return self.base + float(self.value[accepted].sum())

    def excess(self, accepted: NDArray[np.bool_]) -> float:
        """Return the sum of the excesses over all limits, 0 = all limits hold."""
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
"""Prices of an excess of 1, in units of the total cost; restarts cycle through them."""

NEARLY = 1e-6
"""Excess below which a float32 value may be rounding, so that it is recomputed exactly."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Chosen:
    """A checklist given by item positions."""

    items: tuple[int, ...]  # positions among all items, ascending
    required: int  # number of items required for acceptance
    value: float  # cost of its mistakes plus tie-breaks
    excess: float  # sum of the excesses over all limits


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Lists:
    """The set of admissible checklists, and their objective values."""

    patterns: Patterns  # merged training rows
    most_items: int  # largest N and largest M
    most_required: int

    @property
    def per_item(self) -> float:
        """Tie-break: price of an item.

        All tie-breaks of a list together cost less than its cheapest mistake. The published ones
        (section 3) are smaller by a factor of the number of rows, below the solver's precision.
        """
        return 0.95 * self.patterns.step / (self.most_items + 1)

    @property
    def per_required(self) -> float:
        """Tie-break: price of one more required item; less than that of an item."""
        return 0.95 * self.per_item / (self.most_required + 1)

    def chosen(self, items: tuple[int, ...], required: int) -> Chosen:
        """Return a checklist with mistakes and excess computed from its own decisions."""
        accepted = self.patterns.accepted(items, required)
        value = self.patterns.cost(accepted)
        return Chosen(
            items=tuple(sorted(items)),
            required=required,
            value=value + self.per_item * len(items) + self.per_required * required,
            excess=self.patterns.excess(accepted),
        )


def descend(lists: Lists, *, seed: int, deadline: float) -> Chosen | None:
    """Return the best feasible checklist found by local search, None if none was found."""
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
    """Evaluates all checklists that differ in a single item."""

    def __init__(self, lists: Lists) -> None:
        self.lists = lists
        patterns = lists.patterns
        n_patterns = len(patterns.value)
        # The last column is no item. float32 guides the search; exact counts decide.
        self.checked = np.zeros((n_patterns, patterns.n_items + 1), dtype=np.float32)
        self.checked[:, :-1] = patterns.checked
        slopes = [rates.slope for rates in patterns.rates]
        self.slope = np.concatenate([patterns.value[None], *slopes]).astype(np.float32)
        self.total = float(np.abs(patterns.value).sum())

    def descend(self, items: tuple[int, ...], price: float, best: Chosen | None) -> Chosen | None:
        """Return the better of ``best`` and the best list on a descent from the given items."""
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
        """Return the best lists of the base plus at most one item, each with its priced value."""
        patterns, m = self.lists.patterns, self.lists.most_required
        count = patterns.checked[:, list(base)].sum(axis=1)
        required = np.arange(1, m + 1)[:, None]
        # Patterns accepted already, and patterns decided by one more item.
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
        """Return the items of the best list and of the best feasible list."""
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
"""Status of ``scipy.optimize.milp`` for an infeasible program, also if no list beats ``beat``."""

OPTIMAL = 0

MOST_ENTRIES = 1_000_000
"""Largest number of matrix entries that is solved, 2,400 patterns of 200 items and limits.
Larger programs take the solver seconds to read, beyond its time limit."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Solved:
    """Result of the solver for a given M."""

    chosen: Chosen | None  # best list found, if better than the value to beat
    bound: float  # lower bound of all lists of this M; the value to beat if none is better
    status: str  # status of the solver


def solve(lists: Lists, required: int, *, beat: float, seconds: float) -> Solved:
    """Search for the best checklist that requires exactly ``required`` items."""
    program = _Program(lists, required)
    if program.n_entries > MOST_ENTRIES:
        status = f"not solved: {program.n_entries} entries, at most {MOST_ENTRIES} are tried"
        return Solved(chosen=None, bound=min(lists.patterns.least, beat), status=status)
    rows = program.rows()
    if beat < np.inf:
        # Any better list is better by more than half a tie-break.
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
        # Recomputed, because the solver's values are exact up to its tolerance only.
        counted = lists.chosen(tuple(picked.tolist()), required)
        if counted.excess == 0 and counted.value < beat:
            chosen = counted
    if found.status == OPTIMAL and chosen is not None:
        bound = chosen.value
    return Solved(chosen=chosen, bound=min(bound, beat), status=found.message)


class _Program:
    """Variables: items, then decisions on the relevant patterns, then one per limited gap."""

    def __init__(self, lists: Lists, required: int) -> None:
        self.lists, self.required = lists, required
        patterns = lists.patterns
        tests = (patterns.column[:, None] == np.unique(patterns.column)).astype(np.float32)
        self.one_per_column = tests.T
        # At most one item per column, and at most ``most_items`` in total.
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
        """Return constraints on items, decisions and gap variables, None = no such terms."""
        widths = (self.n_items, self.n_free, self.n_gaps)
        blocks = (items, decisions, least)
        n_rows = next(block.shape[0] for block in blocks if block is not None)
        parts = [
            sparse.csr_array((n_rows, width) if block is None else block)
            for block, width in zip(blocks, widths, strict=True)
        ]
        return LinearConstraint(sparse.hstack(parts, format="csr"), low, high)

    def _gap(self, at: int, rates: Rates) -> list[LinearConstraint]:
        """Return constraints that keep every rate between the gap variable and its upper end."""
        least = np.zeros((len(rates.offset), self.n_gaps))
        least[:, at] = -1.0
        slope = rates.slope[:, self.free]
        above = self._row(None, slope, -rates.offset, np.inf, least)
        if rates.form == "difference":
            below = self._row(None, slope, -np.inf, rates.limit - rates.offset, least)
            return [above, below]
        share = 1.0 - rates.limit
        below = self._row(None, share * slope, -np.inf, -share * rates.offset, least)
        # A ratio of 0/0 is undefined, so some row must be accepted.
        counted = np.atleast_2d(slope.any(axis=0)).astype(np.float64)
        return [above, below, self._row(None, counted, 1.0, np.inf)]


DESCENT_SHARE = 0.5
"""Share of the time limit that the local search may use."""

SOLVED = 1e-4
"""Share of the smallest mistake within which value and bound are considered equal."""


class NoChecklistError(FairAutoMLError, RuntimeError):
    """No checklist meets the limits, or none was found in time; the message says which."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """Admissible checklists, their cost, and the time limit of the search."""

    most_items: int = 5  # largest number of items N, at least 1
    most_required: int = 3  # largest required number M, at least 1
    cuts: int = 3  # number of quantiles at which numbers are cut, at least 1
    complements: bool = True  # whether the complement of every item is an item too
    # equal costs of mistakes, or costs that give both labels the same total
    cost: Literal["errors", "balanced"] = "errors"  # {"errors", "balanced"}
    seconds: float = 60.0  # time limit, positive

    @classmethod
    def from_params(cls, params: ParamValues) -> "Shape":
        """Return the shape with the hyperparameters of the same names."""
        known: Any = {one.name: params[one.name] for one in fields(cls) if one.name in params}
        return cls(**known)


def fit_checklist(
    X: NDArray[np.floating],
    y: NDArray[np.integer],
    weight: NDArray[np.float64],
    feature_schema: FeatureSchema,
    shape: Shape,
    *,
    gaps: Sequence[RateGap] = (),
    seed: int = 0,
) -> Checklist:
    """Return the checklist with the fewest mistakes whose group gaps are within their limits.

    Ties are broken by fewer items, then by a smaller required number. Limits hold on the training
    rows, for the decisions of the list itself. Rows of weight 0 are excluded.
    """
    deadline = time.monotonic() + shape.seconds
    used = weight > 0
    X, y, weight = X[used], y[used], weight[used]
    if not len(y) or (y == y[0]).all():
        msg = (
            f"y: a checklist needs rows of both labels with weight, found {np.unique(y).tolist()}"
        )
        raise InputError(msg)
    items, checked = find_items(X, feature_schema, cuts=shape.cuts, complements=shape.complements)
    column = np.array([item.column for item in items])
    # The mean mistake costs about 1, independent of the scale of the weights.
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
    """Return the best list found and a lower bound on the value of all."""
    most_items = min(shape.most_items, len(np.unique(patterns.column)))
    most_required = min(shape.most_required, most_items)
    lists = Lists(patterns=patterns, most_items=most_items, most_required=most_required)
    left = deadline - time.monotonic()
    best = descend(lists, seed=seed, deadline=time.monotonic() + DESCENT_SHARE * left)
    bound, statuses = np.inf, []
    for required in range(1, most_required + 1):
        # Unused time of earlier programs goes to the later ones.
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


class ChecklistBinary(BinaryClassifier):
    """A checklist classifier; ``params`` are the fields of ``Shape``."""

    def _train(self, X: Any, y: NDArray[Any], weight: NDArray[Any] | None) -> Checklist:
        weight = np.ones(len(y)) if weight is None else weight
        shape = Shape.from_params(self.params)
        return fit_checklist(X, y, weight, self.feature_schema, shape, seed=self.seed)

    def _predicted(self, X: Any) -> NDArray[np.floating]:
        return self.model_.scores(X)

    def _dump(self, out: Dump, columns: Positions) -> int:
        return out.model(self.model_, columns)


LEARNER = Learner(name="checklist", build=ChecklistBinary, opt_in=True)
