"""Tables of weights by group, label and decision, and the classes of rates and metrics."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, partial
from typing import Literal, Protocol, Self, TypeVar

import numpy as np
from numpy.typing import NDArray

from fairautoml.exceptions import InputError
from fairautoml.records import Floats

TaskName = Literal["binary", "multiclass", "regression"]
"""Kind of target: two classes, several classes, or numbers."""
Form = Literal["difference", "ratio", "minimum", "level"]
"""Largest minus smallest over the groups, smallest over largest, the smallest, or the largest."""
Value = TypeVar("Value", float, Floats)
Cell = tuple[int, int]
"""Label and decision, each 0 or 1."""
CELLS: frozenset[Cell] = frozenset({(0, 0), (0, 1), (1, 0), (1, 1)})


@dataclass(frozen=True, slots=True)
class Undefined:
    """An undefined metric value, with the reason."""

    reason: str


def largest_defined(values: Sequence[float | None]) -> float | None:
    """Return the largest value, or None if one is undefined or there are none."""
    known = [value for value in values if value is not None]
    return max(known) if known and len(known) == len(values) else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Rate:
    """A share of the rows of a group, defined by labels and decisions.

    Everything that reads rates (threshold programs, moments, exact tests, audits) takes what it
    needs from here, so that a new rate is one object.

    Parameters
    ----------
    name : str
        Name in results.
    of : frozenset of (int, int)
        Cells ``(label, decision)`` of the numerator.
    among : frozenset of (int, int)
        Cells of the denominator.
    lacks : str
        What a group has none of when the rate is undefined, such as ``"accepted rows"``.
    zero : str
        What it means that the rate is 0, such as ``"no row is accepted"``.

    Raises
    ------
    InputError
        ``among`` is empty or has other cells than the four, or ``of`` is not a part of it.

    Examples
    --------
    >>> omitted = Rate(
    ...     name="false_omission_rate",
    ...     of=frozenset({(1, 0)}),
    ...     among=frozenset({(0, 0), (1, 0)}),
    ...     lacks="rejected rows",
    ...     zero="no rejected row has label 1",
    ... )
    >>> omitted.depends_on_decision
    True
    """

    name: str
    of: frozenset[Cell]
    among: frozenset[Cell]
    lacks: str
    zero: str

    def __post_init__(self) -> None:
        if not self.among or not self.among <= CELLS:
            msg = (
                f"Rate {self.name!r}: among={set(self.among)} must be one or more of the cells "
                f"(label, decision) {sorted(CELLS)}."
            )
            raise InputError(msg)
        if not self.of or not self.of < self.among:
            msg = (
                f"Rate {self.name!r}: of={set(self.of)} must be some, but not all, of the cells "
                f"among={sorted(self.among)}; otherwise the rate is always 0 or always 1."
            )
            raise InputError(msg)

    @property
    def labels(self) -> frozenset[int]:
        """Labels of which rows are in the denominator."""
        return frozenset(label for label, _ in self.among)

    @property
    def depends_on_decision(self) -> bool:
        """Whether the decisions change the denominator, as in precision."""
        return any({(y, 0), (y, 1)} - self.among for y in self.labels)

    @property
    def label(self) -> int | None:
        """The label whose rows it is a share of; None for rows of both labels."""
        one = len(self.labels) == 1 and not self.depends_on_decision
        return min(self.labels) if one else None

    @property
    def needs_labels(self) -> bool:
        """Whether it is undefined where the labels are unknown."""
        return any(
            len({(0, d), (1, d)} & part) == 1 for part in (self.of, self.among) for d in (0, 1)
        )

    @property
    def is_acceptance(self) -> bool:
        """Whether it is an acceptance rate among rows selected by label only."""
        accepted = frozenset((y, 1) for y in self.labels)
        return not self.depends_on_decision and self.of == accepted

    @property
    def is_monotone(self) -> bool:
        """Whether it, or one minus it, is an acceptance rate, so that thresholds order it."""
        accepted = frozenset((y, 1) for y in self.labels)
        return not self.depends_on_decision and self.of in (accepted, self.among - accepted)

    @property
    def classless(self) -> bool:
        """Whether it stays the same when the two classes are swapped, as accuracy does."""
        swapped = (frozenset((1 - y, 1 - d) for y, d in part) for part in (self.of, self.among))
        return (self.of, self.among) == tuple(swapped)

    def linear(self) -> tuple[Floats, Floats, Floats]:
        """Return its parts for labels 0 and 1, as sums that are linear in the decisions.

        Whether rows count, what accepting one adds to the numerator, what a rejected one gives.

        Only where the denominator does not depend on the decisions.
        """
        counts = np.array([float(label in self.labels) for label in (0, 1)])
        accepted, rejected = (
            np.array([float((label, decision) in self.of) for label in (0, 1)])
            for decision in (1, 0)
        )
        return counts, accepted - rejected, rejected

    def shares(
        self, y: NDArray[np.integer], decision: NDArray[np.floating] | NDArray[np.integer]
    ) -> tuple[Floats, Floats]:
        """Return how much each row is in the denominator and in the numerator, shape (n_rows,).

        ``decision`` is the probability of acceptance.
        """
        accepted = np.asarray(decision, dtype=np.float64)
        by_decision = (1.0 - accepted, accepted)
        if self.depends_on_decision:
            mass = sum(((y == label) * by_decision[d] for label, d in sorted(self.among)))
        else:
            mass = np.isin(y, sorted(self.labels)).astype(np.float64)
        top = sum(((y == label) * by_decision[d] for label, d in sorted(self.of)))
        return np.asarray(mass, dtype=np.float64), np.asarray(top, dtype=np.float64)

    def expected_share(self, positives: float, accepted: float) -> float:
        """Return the share of rows in the denominator if label and decision were independent."""
        by_label = (1.0 - positives, positives)
        if not self.depends_on_decision:
            return 1.0 if self.label is None else by_label[self.label]
        share = 0.0
        for decision, of_decision in enumerate((1.0 - accepted, accepted)):
            labels = [label for label, at in self.among if at == decision]
            # The labels together are all rows, without rounding.
            share += of_decision * (
                1.0 if len(labels) == 2 else sum(map(by_label.__getitem__, labels))
            )
        return share

    def sums(self, tables: Floats) -> tuple[Floats, Floats]:
        """Return numerators and denominators of tables, shape (..., 2, 2)."""
        return _sum_of(tables, self.of), _sum_of(tables, self.among)

    def values(self, tables: Floats) -> Floats:
        """Return the rates of tables, shape (..., 2, 2); NaN where the denominator is 0."""
        top, bottom = self.sums(tables)
        empty = np.full(np.shape(bottom), np.nan)
        return np.divide(top, bottom, out=empty, where=bottom > 0)

    def __str__(self) -> str:
        return self.name


def _sum_of(tables: Floats, cells: frozenset[Cell]) -> Floats:
    first, *others = sorted(cells)
    total: Floats = tables[..., first[0], first[1]]
    for label, decision in others:
        total = total + tables[..., label, decision]
    return total


class Tally(Protocol):
    """Sums by group that metrics on decisions are computed from.

    ``GroupCounts`` of two classes, ``ClassCounts`` of several, ``GroupValues`` of numbers.
    """

    @property
    def table(self) -> Floats:
        """Stored sums, shape (n_groups, ...)."""
        ...

    def merged(
        self, of_cell: NDArray[np.integer], n_groups: int, masks: NDArray[np.bool_] | None = None
    ) -> Self:
        """Return the sums of coarser groups."""
        ...

    def __add__(self, other: Self) -> Self:
        """Return the sums over the rows of both."""
        ...


@dataclass(frozen=True, slots=True)
class _Counts:
    """Sums of weights by group, label and decision."""

    # ``table[g, y, d]`` is the weight of the rows of group ``g`` with label ``y`` that get
    # decision ``d``. A randomised decision splits its row's weight
    table: Floats  # shape (n_groups, n_classes, n_classes)

    def merged(
        self, of_cell: NDArray[np.integer], n_groups: int, masks: NDArray[np.bool_] | None = None
    ) -> Self:
        """Return the counts of coarser groups: row ``c`` goes to group ``of_cell[c]``, -1 drops.

        ``masks``, shape (n_groups, n_cells), say which rows make up each group where groups
        overlap; then ``of_cell`` is not read.
        """
        if masks is not None:
            return type(self)(np.tensordot(masks.astype(np.float64), self.table, 1))
        table = np.zeros((n_groups, *self.table.shape[1:]))
        kept = of_cell >= 0
        np.add.at(table, of_cell[kept], self.table[kept])
        return type(self)(table)

    def pooled(self) -> Floats:
        """Return the table over all groups, ``[label, decision]``."""
        return self.table.sum(axis=0)


@dataclass(frozen=True, slots=True)
class GroupCounts(_Counts):
    """Counts of two classes."""

    # the table of all rows, ``[label, decision]``, if groups overlap, so that it is not the sum
    # over the groups
    overall: Floats | None = None  # shape (2, 2)

    @classmethod
    def from_rows(
        cls,
        groups: NDArray[np.integer],
        y: NDArray[np.integer],
        decision: NDArray[np.floating] | NDArray[np.integer],
        weight: Floats | None = None,
        *,
        n_groups: int,
    ) -> "GroupCounts":
        """Count rows by one ``bincount``; rows of group -1 (unknown) are left out.

        ``decision`` is the probability of acceptance, shape (n_rows,), in [0, 1].
        """
        known = groups >= 0
        if not known.all():
            groups, y, decision = groups[known], y[known], decision[known]
            weight = None if weight is None else weight[known]
        mass = np.ones(len(y)) if weight is None else weight
        accepted = mass * decision
        at = groups.astype(np.int64) * 2 + y
        size = 2 * n_groups
        yes = np.bincount(at, weights=accepted, minlength=size)
        no = np.bincount(at, weights=mass - accepted, minlength=size)
        table: Floats = np.stack([no, yes], axis=1, dtype=np.float64)
        return cls(table.reshape(n_groups, 2, 2))

    def merged(
        self, of_cell: NDArray[np.integer], n_groups: int, masks: NDArray[np.bool_] | None = None
    ) -> Self:
        """Return the counts of coarser groups, and those of all rows where groups overlap."""
        found = _Counts.merged(self, of_cell, n_groups, masks)
        return found if masks is None else replace(found, overall=self.total)

    @property
    def total(self) -> Floats:
        """The 2 x 2 table of all rows, each counted once, ``[label, decision]``."""
        return self.pooled() if self.overall is None else self.overall

    def __add__(self, other: "GroupCounts") -> "GroupCounts":
        same = self.overall is None and other.overall is None
        return GroupCounts(self.table + other.table, None if same else self.total + other.total)

    def rates(self, rate: Rate) -> Floats:
        """Return one rate per group, NaN where its denominator is empty."""
        return rate.values(self.table)


@dataclass(frozen=True, slots=True, kw_only=True)
class Metric:
    """A performance or fairness metric.

    Parameters
    ----------
    name : str
        The registered name.
    about : str
        One line for lists of metrics.
    kind : {"performance", "fairness"}
        Kind of metric.
    on : {"decisions", "scores"}
        What ``value`` takes: a ``Tally``, or ``(y, scores, weight)``.
    value : callable
        Returns a float or ``Undefined``.
    greater_is_better : bool
        Direction.
    rates : tuple of Rate
        Fairness: the group rates that it compares; a post-processor reads them to know what it
        has to equalise.
    form : {"difference", "ratio", "minimum", "level"}
        Fairness: largest minus smallest rate, smallest over largest, the smallest rate, or the
        largest value.
    to_overall : tuple of Rate
        Fairness: the group rates that it compares with the overall rate instead; then
        ``rates`` is empty, groups may overlap, and the value is a difference.
    over_groups : {"max", "sum"}
        Whether the largest distance from the overall rate counts, or their sum.
    degree : int
        Fairness: 0 = it compares groups. More = it applies to a numeric attribute and fits
        polynomials of that degree; then ``value`` and ``many`` take the number behind each group
        as ``values``, see ``bound``.
    many : callable, optional
        Fairness: the same as ``value`` for tables of shape (n, n_groups, 2, 2) in which the weight
        of each group is the same; NaN where undefined. Of numbers, for tables as
        ``GroupValues.table``.
    tasks : frozenset of str
        Kinds of target that it supports.
    most : float
        Largest bound on a group that has a meaning: 1 for rates, ``inf`` in units of the target.
    """

    name: str
    kind: Literal["performance", "fairness"]
    on: Literal["decisions", "scores"]
    value: Callable[..., float | Undefined]
    greater_is_better: bool
    rates: tuple[Rate, ...] = ()
    form: Form = "difference"
    to_overall: tuple[Rate, ...] = ()
    over_groups: Literal["max", "sum"] = "max"
    degree: int = 0
    many: Callable[..., Floats] | None = None
    tasks: frozenset[TaskName] = frozenset({"binary"})
    most: float = 1.0
    about: str = ""

    @property
    def compared(self) -> tuple[Rate, ...]:
        """All compared group rates, from ``rates`` or ``to_overall``."""
        return self.rates if self.rates else self.to_overall

    @property
    def needs_labels(self) -> bool:
        """Whether a fairness metric requires true labels."""
        return not self.compared or any(rate.needs_labels for rate in self.compared)

    @property
    def moves_threshold(self) -> bool:
        """Whether the best threshold on calibrated scores may differ from one half."""
        return self.on == "decisions" and self.name != "accuracy"

    @property
    def bounded_below(self) -> bool:
        """Whether larger values are better, so that a constraint bounds it from below."""
        return self.form in ("ratio", "minimum")

    @property
    def is_minimum(self) -> bool:
        """Whether it is the smallest rate over the groups, so that each has a bound of its own."""
        return self.form == "minimum"

    @property
    def fewest_groups(self) -> int:
        """Smallest number of groups for a value; groups that overlap may need fewer."""
        return 1 if self.is_minimum else 2

    @property
    def operator(self) -> Literal["<=", ">="]:
        """Comparison in a constraint on it."""
        return ">=" if self.bounded_below else "<="

    @property
    def compares_groups(self) -> bool:
        """Whether groups are compared with each other or with all rows, not with the bound."""
        return self.form in ("difference", "ratio")

    @property
    def largest_bound(self) -> float:
        """Largest bound that has a meaning; there is none on a sum over groups."""
        return math.inf if self.over_groups == "sum" else self.most

    def gap(self, value: Value) -> Value:
        """Return the gap, compared with the limit: one minus a value that is bounded below."""
        return 1.0 - value if self.bounded_below else value

    def utility(self, value: float | Undefined) -> float:
        """Return a value such that greater is better, -inf where it is undefined."""
        if isinstance(value, Undefined):
            return -math.inf
        return value if self.greater_is_better else -value

    def bound(self, values: Floats | None) -> "Metric":
        """Return the metric on an attribute of the given numbers; itself where it reads none.

        Parameters
        ----------
        values : ndarray of float64, shape (n_groups,), or None
            The number behind each group; None = the groups are categories.
        """
        if not self.degree or values is None:
            return self
        many = None if self.many is None else partial(self.many, values=values)
        return replace(self, value=partial(self.value, values=values), many=many)


@dataclass(frozen=True, slots=True)
class ClassCounts(_Counts):
    """Counts of several classes."""

    @classmethod
    def from_rows(
        cls,
        groups: NDArray[np.integer],
        y: NDArray[np.integer],
        decision: NDArray[np.floating],
        weight: Floats,
        *,
        n_groups: int,
    ) -> "ClassCounts":
        """Count rows; rows of group -1 (unknown) are left out."""
        known = groups >= 0
        mass = weight[known, None] * decision[known]
        n_classes = decision.shape[1]
        at = groups[known].astype(np.int64) * n_classes + y[known]
        size = n_classes * n_groups
        columns = [np.bincount(at, mass[:, c], minlength=size) for c in range(n_classes)]
        table: Floats = np.stack(columns, axis=1, dtype=np.float64)
        return cls(table.reshape(n_groups, n_classes, n_classes))

    def __add__(self, other: "ClassCounts") -> "ClassCounts":
        return ClassCounts(self.table + other.table)

    @property
    def n_classes(self) -> int:
        return int(self.table.shape[-1])

    def rates(self, rate: Rate) -> Floats:
        """Return a rate of every class against all others by group, NaN where it has none."""
        if rate.classless:
            return self._right_or_wrong().rates(rate)[None]
        return np.stack([self.against_others(at).rates(rate) for at in range(self.n_classes)])

    def against_others(self, at: int) -> GroupCounts:
        """Return the counts of one class, 1, against all others, 0."""
        t = self.table
        both = t[:, at, at]
        label, decided = t[:, at].sum(axis=1), t[:, :, at].sum(axis=1)
        rest = t.sum(axis=(1, 2)) - label - (decided - both)
        cells = np.stack([rest, decided - both, label - both, both], axis=1)
        # Differences of sums may be below 0 by rounding.
        return GroupCounts(np.maximum(cells, 0.0).reshape(-1, 2, 2))

    def _right_or_wrong(self) -> GroupCounts:
        right = np.trace(self.table, axis1=1, axis2=2)
        wrong = np.maximum(self.table.sum(axis=(1, 2)) - right, 0.0)
        none = np.zeros_like(right)
        return GroupCounts(np.stack([right, wrong, none, none], axis=1).reshape(-1, 2, 2))

    def stacked(self, rates: Sequence[Rate]) -> Floats:
        """Return several rates of all classes, shape (n_rates * n_classes, n_groups)."""
        return np.concatenate([self.rates(rate) for rate in rates])

    def lacking(self, rates: Sequence[Rate]) -> str:
        """Return which rows a group lacks so that a rate is undefined, or an empty string."""
        empty = np.flatnonzero(~self.table.any(axis=(1, 2)))
        if len(empty):
            return f"group {empty[0]} has no rows"
        for rate in rates:
            missing = np.argwhere(np.isnan(self.rates(rate)))
            if len(missing):
                at, group = missing[0]
                return f"group {group} has no {_lacking_of_class(rate, at)}"
        return ""


def _lacking_of_class(rate: Rate, at: int) -> str:
    """Return which rows a class lacks when its rate against all others is undefined."""
    if rate.depends_on_decision:
        decisions = {decision for _, decision in rate.among}
        return f"rows {'decided' if decisions == {1} else 'not decided'} as class {at}"
    return {1: f"rows of class {at}", 0: f"rows of other classes than {at}"}.get(
        -1 if rate.label is None else rate.label, "rows"
    )


def effective_rows(
    groups: NDArray[np.integer],
    weight: Floats,
    n_groups: int,
    entities: NDArray[np.integer] | None = None,
) -> Floats:
    """Return the effective sample size (sum w)^2 / sum w^2 of each group.

    Rows of one entity count as one row with the sum of their weights, which is exact if they are
    identical and conservative otherwise.

    References
    ----------
    Kish, "Survey Sampling", Wiley 1965: unequal weights cost ``1 + relvariance of w``, clusters
    of ``m`` rows ``1 + (m - 1) roh``, here with ``roh = 1``.
    """
    total, squares = weight_sums(groups, weight, n_groups, entities)
    return np.divide(total**2, squares, out=np.zeros(n_groups), where=squares > 0)


def weight_sums(
    groups: NDArray[np.integer],
    weight: Floats,
    n_groups: int,
    entities: NDArray[np.integer] | None = None,
) -> tuple[Floats, Floats]:
    """Return sum w and sum w^2 of each group, over rows or over entities."""
    if entities is not None:
        n_entities = int(entities.max(initial=0)) + 1
        pairs, at = np.unique(groups.astype(np.int64) * n_entities + entities, return_inverse=True)
        groups, weight = pairs // n_entities, np.bincount(at, weights=weight).astype(np.float64)
    total = np.bincount(groups, weights=weight, minlength=n_groups)
    squares = np.bincount(groups, weights=weight**2, minlength=n_groups)
    return total.astype(np.float64), squares.astype(np.float64)


def moved_shares(shares: Floats, n_rows: Floats, noise: Floats) -> Floats:
    """Return shares moved like those of a multinomial draw, to first order.

    With z standard normal, ``p_j + (sqrt(p_j) z_j - p_j sum_i sqrt(p_i) z_i) / sqrt(n)`` has the
    covariance of the draw; it is cut at 0 and divided by its sum.
    """
    size = np.maximum(n_rows, 1.0)[:, None]
    # Half a row more in all, so that a share of 0 out of 10 keeps some noise.
    smooth = (shares * size + 0.5 / shares.shape[1]) / (size + 0.5)
    root = np.sqrt(smooth)
    steps = noise * root - smooth * (noise * root).sum(axis=2, keepdims=True)
    moved = np.maximum(shares + steps / np.sqrt(size), 0.0)
    total = moved.sum(axis=2, keepdims=True)
    filled = (total > 0) & (shares > 0).any(axis=1, keepdims=True)
    return np.divide(moved, total, out=np.zeros_like(moved), where=filled)


N_BINS = 64
"""Bins of equal weight in which the distribution of predictions is kept for intervals."""

MASS, SUM, SQUARES, LOSS, LOSS_SQUARES, FIRST_BIN = range(6)
"""Columns of ``GroupValues.table``; the bins come last."""


@dataclass(frozen=True, eq=False)
class GroupValues:
    """Predictions and true values of rows, by group."""

    member: NDArray[np.bool_]  # shape (n_groups, n_cells): which cells make up each group
    # cell of each row, -1 = unknown: such a row is in no group
    cells: NDArray[np.integer]  # shape (n_rows,)
    y: Floats  # shape (n_rows,): True and predicted values
    prediction: Floats  # shape (n_rows,)
    weight: Floats  # shape (n_rows,): sample weights

    @classmethod
    def from_rows(
        cls,
        groups: NDArray[np.integer],
        y: NDArray[np.floating],
        prediction: NDArray[np.floating],
        weight: Floats,
        *,
        n_groups: int,
    ) -> "GroupValues":
        """Return the values of rows, one group per row."""
        return cls(
            np.eye(n_groups, dtype=bool),
            groups,
            y.astype(np.float64),
            prediction.astype(np.float64),
            weight,
        )

    def merged(
        self, of_cell: NDArray[np.integer], n_groups: int, masks: NDArray[np.bool_] | None = None
    ) -> "GroupValues":
        """Return the values of coarser groups, as ``GroupCounts.merged`` does."""
        parts = of_cell == np.arange(n_groups)[:, None] if masks is None else masks
        member = (parts.astype(np.int64) @ self.member.astype(np.int64)) > 0
        return GroupValues(member, self.cells, self.y, self.prediction, self.weight)

    def __add__(self, other: "GroupValues") -> "GroupValues":
        return GroupValues(
            self.member,
            np.concatenate([self.cells, other.cells]),
            np.concatenate([self.y, other.y]),
            np.concatenate([self.prediction, other.prediction]),
            np.concatenate([self.weight, other.weight]),
        )

    @property
    def n_groups(self) -> int:
        return len(self.member)

    @property
    def losses(self) -> Floats:
        """Squared error of each row, shape (n_rows,)."""
        return np.square(self.y - self.prediction)

    def of_present(self) -> "GroupValues":
        """Return the values without groups that have no rows."""
        return replace(self, member=self.member[self._sums(np.ones_like(self.weight)) > 0])

    def inside(self, group: int) -> NDArray[np.bool_]:
        """Return which rows are in a group, shape (n_rows,)."""
        # Index -1 (unknown) selects the last element.
        return np.append(self.member[group], False)[self.cells]

    def means(self, values: Floats) -> Floats:
        """Return the weighted mean of something per row in each group, NaN in an empty one."""
        mass = self._sums(np.ones_like(self.weight))
        empty = np.full(self.n_groups, np.nan)
        return np.divide(self._sums(values), mass, out=empty, where=mass > 0)

    def _sums(self, values: Floats) -> Floats:
        known = self.cells >= 0
        n_cells = self.member.shape[1]
        by_cell = np.bincount(self.cells[known], (self.weight * values)[known], minlength=n_cells)
        return self.member.astype(np.float64) @ by_cell

    def lacking(self) -> Undefined | None:
        """Return why groups cannot be compared, None when they can."""
        mass = self._sums(np.ones_like(self.weight))
        if np.count_nonzero(mass) < 2:
            return Undefined("single group: fewer than two groups have rows")
        empty = np.flatnonzero(mass == 0)
        return Undefined(f"group {empty[0]} has no rows") if len(empty) else None

    @cached_property
    def table(self) -> Floats:
        """Sums by group for intervals, shape (n_groups, 5 + n_bins).

        Weight; weighted sums of prediction, its square, squared error, its square; and the
        weight of the predictions in each of 64 bins of about equal weight.
        """
        edges = np.unique(np.quantile(self.prediction, np.arange(1, N_BINS) / N_BINS))
        bins = np.searchsorted(edges, self.prediction, side="left")
        p, loss = self.prediction, self.losses
        columns = [np.ones_like(p), p, np.square(p), loss, np.square(loss)]
        sums = np.stack([self._sums(column) for column in columns], axis=1)
        known, n_cells = self.cells >= 0, self.member.shape[1]
        at = self.cells[known].astype(np.int64) * N_BINS + bins[known]
        by_cell = np.bincount(at, self.weight[known], minlength=n_cells * N_BINS)
        binned = self.member.astype(np.float64) @ by_cell.reshape(n_cells, N_BINS)
        return np.concatenate([sums, binned], axis=1)


def redrawn(table: Floats, n_rows: Floats, noise: Floats) -> Floats:
    """Return tables of other samples from the same population, to first order.

    Means move by their standard error, shares of bins like those of a multinomial draw.
    """
    mass = np.maximum(table[:, MASS], np.finfo(np.float64).tiny)[:, None]
    error = 1.0 / np.sqrt(np.maximum(n_rows, 1.0))[:, None]
    moments = table / mass
    tables = np.repeat(moments[None], len(noise), axis=0)
    pairs = ((SUM, SQUARES), (LOSS, LOSS_SQUARES))
    for at, (mean, square) in enumerate(pairs):
        spread = np.sqrt(np.maximum(moments[:, square] - moments[:, mean] ** 2, 0.0))
        tables[:, :, mean] += noise[:, :, at] * spread * error[:, 0]
    tables[:, :, FIRST_BIN:] = moved_shares(moments[:, FIRST_BIN:], n_rows, noise[:, :, 2:])
    return tables * mass
