"""Counts of several classes: every class against all others."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fairautoml.metrics._base import GroupCounts, Rate

CLASSLESS: frozenset[Rate] = frozenset({"accuracy", "error"})
"""Rates that speak about no class in particular."""

_LACKS: dict[Rate, str] = {
    "tpr": "rows of class {}",
    "fpr": "rows of other classes than {}",
    "ppv": "rows decided as class {}",
}


@dataclass(frozen=True, slots=True)
class ClassCounts:
    """Sums of weights by group, label and decision.

    Parameters
    ----------
    table : ndarray of float64, shape (n_groups, n_classes, n_classes)
        ``table[g, y, d]`` is the weight of the rows of group ``g`` with label ``y`` that get
        decision ``d``.
    """

    table: NDArray[np.float64]

    @classmethod
    def from_rows(
        cls,
        groups: NDArray[np.integer],
        y: NDArray[np.integer],
        decision: NDArray[np.floating],
        weight: NDArray[np.float64],
        *,
        n_groups: int,
    ) -> "ClassCounts":
        """Count rows; rows of group -1 (unknown) are left out.

        Parameters
        ----------
        groups : ndarray of int, shape (n_rows,)
            Group codes 0 .. n_groups - 1, or -1.
        y : ndarray of int, shape (n_rows,)
            Labels 0 .. n_classes - 1.
        decision : ndarray, shape (n_rows, n_classes)
            Probability of each decision; the rows sum to 1.
        weight : ndarray of float64, shape (n_rows,)
            Sample weights.
        n_groups : int
            Number of groups.
        """
        known = groups >= 0
        mass = weight[known, None] * decision[known]
        n_classes = decision.shape[1]
        at = groups[known].astype(np.int64) * n_classes + y[known]
        size = n_classes * n_groups
        columns = [np.bincount(at, mass[:, c], minlength=size) for c in range(n_classes)]
        table: NDArray[np.float64] = np.stack(columns, axis=1, dtype=np.float64)
        return cls(table.reshape(n_groups, n_classes, n_classes))

    def merged(
        self,
        of_cell: NDArray[np.integer],
        n_groups: int,
        masks: NDArray[np.bool_] | None = None,
    ) -> "ClassCounts":
        """Return the counts of coarser groups, as ``GroupCounts.merged`` does."""
        if masks is not None:
            return ClassCounts(np.tensordot(masks.astype(np.float64), self.table, 1))
        table = np.zeros((n_groups, *self.table.shape[1:]))
        kept = of_cell >= 0
        np.add.at(table, of_cell[kept], self.table[kept])
        return ClassCounts(table)

    def __add__(self, other: "ClassCounts") -> "ClassCounts":
        return ClassCounts(self.table + other.table)

    @property
    def n_classes(self) -> int:
        """Number of classes."""
        return int(self.table.shape[-1])

    def pooled(self) -> NDArray[np.float64]:
        """Return the table over all groups, ``[label, decision]``."""
        summed: NDArray[np.float64] = self.table.sum(axis=0)
        return summed

    def rates(self, rate: Rate) -> NDArray[np.float64]:
        """Return a rate of every class against all others by group, NaN where it has none.

        Parameters
        ----------
        rate : Rate
            As in ``GroupCounts.rates``.

        Returns
        -------
        ndarray of float64, shape (n_classes, n_groups), or (1, n_groups)
            One row for a rate that speaks about no class.
        """
        if rate in CLASSLESS:
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

    def stacked(self, rates: Sequence[Rate]) -> NDArray[np.float64]:
        """Return several rates of all classes, shape (n_rates * n_classes, n_groups)."""
        return np.concatenate([self.rates(rate) for rate in rates])

    def lacking(self, rates: Sequence[Rate]) -> str:
        """Return what a group has none of, so that a rate has no value; empty when nothing."""
        empty = np.flatnonzero(~self.table.any(axis=(1, 2)))
        if len(empty):
            return f"group {empty[0]} has no rows"
        for rate in rates:
            missing = np.argwhere(np.isnan(self.rates(rate)))
            if len(missing):
                at, group = missing[0]
                return f"group {group} has no {_LACKS.get(rate, 'rows').format(at)}"
        return ""
