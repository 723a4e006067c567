"""What a metric is, and the group counts that metrics are computed from."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

Rate = Literal["selection", "tpr", "fpr", "ppv", "accuracy", "error"]


@dataclass(frozen=True, slots=True)
class Undefined:
    """A metric that has no value, with the reason; never 0, never 1, never NaN."""

    reason: str


@dataclass(frozen=True, slots=True)
class GroupCounts:
    """Sums of weights by group, label and decision.

    Parameters
    ----------
    table : ndarray of float64, shape (n_groups, 2, 2)
        ``table[g, y, d]`` is the weight of the rows of group ``g`` with label ``y`` that get
        decision ``d``. A randomised decision splits its row's weight.
    """

    table: NDArray[np.float64]

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

    def merged(self, of_cell: NDArray[np.integer], n_groups: int) -> "GroupCounts":
        """Return the counts of coarser groups: row ``c`` goes to group ``of_cell[c]``, -1 drops.

        Parameters
        ----------
        of_cell : ndarray of int, shape (n_cells,)
            Group of each row of this table, or -1.
        n_groups : int
            Number of groups of the result.
        """
        table = np.zeros((n_groups, 2, 2))
        kept = of_cell >= 0
        np.add.at(table, of_cell[kept], self.table[kept])
        return GroupCounts(table)

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
        What ``value`` takes: ``GroupCounts``, or ``(y, scores, weight)``.
    value : callable
        Returns a float or ``Undefined``.
    greater_is_better : bool
        Direction.
    rates : tuple of Rate
        Fairness: the group rates that it compares; a post-processor reads them to know what it
        has to equalise.
    form : {"difference", "ratio"}
        Fairness: largest minus smallest rate, or smallest over largest.
    """

    name: str
    kind: Literal["performance", "fairness"]
    on: Literal["decisions", "scores"]
    value: Callable[..., float | Undefined]
    greater_is_better: bool
    rates: tuple[Rate, ...] = ()
    form: Literal["difference", "ratio"] = "difference"

    def gap(self, value: float) -> float:
        """Return the distance from parity: the difference itself, or one minus the ratio."""
        return value if self.form == "difference" else 1.0 - value
