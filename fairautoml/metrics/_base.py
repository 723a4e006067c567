"""What a metric is, and the group counts that metrics are computed from."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Literal, Protocol, Self

import numpy as np
from numpy.typing import NDArray

Rate = Literal["selection", "tpr", "fpr", "ppv", "accuracy", "error"]
TaskName = Literal["binary", "multiclass", "regression"]
"""What kind of target is learned: two classes, several, or numbers."""
Form = Literal["difference", "ratio", "level"]
"""Largest minus smallest over the groups, smallest over largest, or the largest itself."""


@dataclass(frozen=True, slots=True)
class Undefined:
    """A metric that has no value, with the reason; never 0, never 1, never NaN."""

    reason: str


def largest_defined(values: Sequence[float | None]) -> float | None:
    """Return the largest, None when one of them is undefined or there is none."""
    known = [value for value in values if value is not None]
    return max(known) if known and len(known) == len(values) else None


class Tally(Protocol):
    """What happened to the groups: all that a metric on decisions reads.

    ``GroupCounts`` of two classes, ``ClassCounts`` of several, ``GroupValues`` of numbers.
    """

    @property
    def table(self) -> NDArray[np.float64]:
        """What is kept of it, shape (n_groups, ...)."""
        ...

    def merged(
        self,
        of_cell: NDArray[np.integer],
        n_groups: int,
        masks: NDArray[np.bool_] | None = None,
    ) -> Self:
        """Return the same for coarser groups."""
        ...

    def __add__(self, other: Self) -> Self:
        """Return the same for the rows of both."""
        ...


@dataclass(frozen=True, slots=True)
class GroupCounts:
    """Sums of weights by group, label and decision.

    Parameters
    ----------
    table : ndarray of float64, shape (n_groups, 2, 2)
        ``table[g, y, d]`` is the weight of the rows of group ``g`` with label ``y`` that get
        decision ``d``. A randomised decision splits its row's weight.
    overall : ndarray of float64, shape (2, 2), optional
        The same over everybody, ``[label, decision]``, where groups overlap, so that it is not
        the sum over them.
    """

    table: NDArray[np.float64]
    overall: NDArray[np.float64] | None = None

    @classmethod
    def from_rows(
        cls,
        groups: NDArray[np.integer],
        y: NDArray[np.integer],
        decision: NDArray[np.floating] | NDArray[np.integer],
        weight: NDArray[np.float64] | None = None,
        *,
        n_groups: int,
    ) -> "GroupCounts":
        """Count rows by one ``bincount``; rows of group -1 (unknown) are left out.

        Parameters
        ----------
        groups : ndarray of int, shape (n_rows,)
            Group codes 0 .. n_groups - 1, or -1.
        y : ndarray of int, shape (n_rows,)
            Labels 0 or 1.
        decision : ndarray, shape (n_rows,)
            Probability of acceptance in [0, 1]; 0 or 1 for a deterministic rule.
        weight : ndarray of float64, shape (n_rows,), optional
            Sample weights; one each by default.
        n_groups : int
            Number of groups.
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
        table: NDArray[np.float64] = np.stack([no, yes], axis=1, dtype=np.float64)
        return cls(table.reshape(n_groups, 2, 2))

    def merged(
        self,
        of_cell: NDArray[np.integer],
        n_groups: int,
        masks: NDArray[np.bool_] | None = None,
    ) -> "GroupCounts":
        """Return the counts of coarser groups: row ``c`` goes to group ``of_cell[c]``, -1 drops.

        Parameters
        ----------
        of_cell : ndarray of int, shape (n_cells,)
            Group of each row of this table, or -1; not read when there are masks.
        n_groups : int
            Number of groups of the result.
        masks : ndarray of bool, shape (n_groups, n_cells), optional
            Which rows of this table belong to each group, where groups overlap.
        """
        if masks is not None:
            return GroupCounts(np.tensordot(masks.astype(np.float64), self.table, 1), self.total)
        table = np.zeros((n_groups, 2, 2))
        kept = of_cell >= 0
        np.add.at(table, of_cell[kept], self.table[kept])
        return GroupCounts(table)

    @property
    def total(self) -> NDArray[np.float64]:
        """The 2 x 2 table over everybody, each row once, ``[label, decision]``."""
        return self.pooled() if self.overall is None else self.overall

    def __add__(self, other: "GroupCounts") -> "GroupCounts":
        same = self.overall is None and other.overall is None
        return GroupCounts(self.table + other.table, None if same else self.total + other.total)

    def pooled(self) -> NDArray[np.float64]:
        """Return the 2 x 2 table over all groups, ``[label, decision]``."""
        summed: NDArray[np.float64] = self.table.sum(axis=0)
        return summed

    def rates(self, rate: Rate) -> NDArray[np.float64]:
        """Return one rate per group, NaN where its denominator is empty.

        Parameters
        ----------
        rate : {"selection", "tpr", "fpr", "ppv", "accuracy", "error"}
            Share accepted among all, among label 1, among label 0; share of label 1 among the
            accepted; share decided right, share decided wrong.
        """
        t = self.table
        total = t.sum(axis=(1, 2))
        top, bottom = {
            "selection": (t[:, :, 1].sum(axis=1), total),
            "tpr": (t[:, 1, 1], t[:, 1].sum(axis=1)),
            "fpr": (t[:, 0, 1], t[:, 0].sum(axis=1)),
            "ppv": (t[:, 1, 1], t[:, :, 1].sum(axis=1)),
            "accuracy": (t[:, 0, 0] + t[:, 1, 1], total),
            "error": (t[:, 0, 1] + t[:, 1, 0], total),
        }[rate]
        empty = np.full(len(t), np.nan)
        shares: NDArray[np.float64] = np.divide(top, bottom, out=empty, where=bottom > 0)
        return shares


@dataclass(frozen=True, slots=True, kw_only=True)
class Metric:
    """A performance or fairness metric.

    Parameters
    ----------
    name : str
        The registered name.
    kind : {"performance", "fairness"}
        What it speaks about.
    on : {"decisions", "scores"}
        What ``value`` takes: a ``Tally``, or ``(y, scores, weight)``.
    value : callable
        Returns a float or ``Undefined``.
    greater_is_better : bool
        Direction.
    rates : tuple of Rate
        Fairness: the group rates that it compares; a post-processor reads them to know what it
        has to equalise.
    form : {"difference", "ratio", "level"}
        Fairness: largest minus smallest rate, smallest over largest, or the largest itself.
    to_overall : tuple of Rate
        Fairness: the group rates that it compares with the rate of everybody instead; then
        ``rates`` is empty, groups may overlap, and the value is a difference.
    over_groups : {"max", "sum"}
        Whether the largest distance from the rate of everybody counts or all of them together.
    degree : int
        Fairness: 0 = it compares groups. More = it speaks about a numeric attribute and fits
        polynomials of that degree; then ``value`` and ``many`` take the number behind each group
        as ``values``, see ``bound``.
    many : callable, optional
        Fairness: the same as ``value`` for tables of shape (n, n_groups, 2, 2) in which the weight
        of each group is the same; NaN where undefined. Of numbers, for tables as
        ``GroupValues.table``.
    tasks : frozenset of str
        Kinds of target that it speaks about.
    most : float
        Largest bound that has a meaning: 1 for rates, ``inf`` in units of the target.
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
    many: Callable[..., NDArray[np.float64]] | None = None
    tasks: frozenset[TaskName] = frozenset({"binary"})
    most: float = 1.0

    @property
    def compared(self) -> tuple[Rate, ...]:
        """The group rates that it reads, whatever they are compared with."""
        return self.rates if self.rates else self.to_overall

    def gap(self, value: float) -> float:
        """Return what the limit is compared with: one minus a ratio, else the value itself."""
        return 1.0 - value if self.form == "ratio" else value

    def bound(self, values: NDArray[np.float64] | None) -> "Metric":
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
