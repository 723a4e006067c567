"""Predicted numbers by group: what metrics of regression read."""

from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from fairautoml.metrics._base import Undefined
from fairautoml.metrics._redraw import moved_shares

N_BINS = 64
"""Bins of equal weight in which the distribution of predictions is kept for intervals."""

MASS, SUM, SQUARES, LOSS, LOSS_SQUARES, FIRST_BIN = range(6)
"""Columns of ``GroupValues.table``; the bins come last."""


@dataclass(frozen=True, eq=False)
class GroupValues:
    """Predictions and true values of rows, by group.

    Parameters
    ----------
    member : ndarray of bool, shape (n_groups, n_cells)
        Which cells make up each group.
    cells : ndarray of int, shape (n_rows,)
        Cell of each row, -1 = unknown: such a row is in no group.
    y, prediction : ndarray of float64, shape (n_rows,)
        True and predicted values.
    weight : ndarray of float64, shape (n_rows,)
        Sample weights.
    """

    member: NDArray[np.bool_]
    cells: NDArray[np.integer]
    y: NDArray[np.float64]
    prediction: NDArray[np.float64]
    weight: NDArray[np.float64]

    @classmethod
    def from_rows(
        cls,
        groups: NDArray[np.integer],
        y: NDArray[np.floating],
        prediction: NDArray[np.floating],
        weight: NDArray[np.float64],
        *,
        n_groups: int,
    ) -> "GroupValues":
        """Return the values of rows, one group per row.

        Parameters
        ----------
        groups : ndarray of int, shape (n_rows,)
            Group codes 0 .. n_groups - 1, or -1.
        y, prediction : ndarray of float, shape (n_rows,)
            True and predicted values.
        weight : ndarray of float64, shape (n_rows,)
            Sample weights.
        n_groups : int
            Number of groups.
        """
        return cls(
            np.eye(n_groups, dtype=bool),
            groups,
            y.astype(np.float64),
            prediction.astype(np.float64),
            weight,
        )

    def merged(
        self,
        of_cell: NDArray[np.integer],
        n_groups: int,
        masks: NDArray[np.bool_] | None = None,
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
        """Number of groups."""
        return len(self.member)

    @property
    def losses(self) -> NDArray[np.float64]:
        """Squared error of each row, shape (n_rows,)."""
        found: NDArray[np.float64] = np.square(self.y - self.prediction)
        return found

    def of_present(self) -> "GroupValues":
        """Return the values without groups that have no rows."""
        return replace(self, member=self.member[self._sums(np.ones_like(self.weight)) > 0])

    def inside(self, group: int) -> NDArray[np.bool_]:
        """Return which rows are in a group, shape (n_rows,)."""
        # The last element is what cell -1 finds.
        found: NDArray[np.bool_] = np.append(self.member[group], False)[self.cells]
        return found

    def means(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the weighted mean of something per row in each group, NaN in an empty one."""
        mass = self._sums(np.ones_like(self.weight))
        empty = np.full(self.n_groups, np.nan)
        found: NDArray[np.float64] = np.divide(self._sums(values), mass, out=empty, where=mass > 0)
        return found

    def _sums(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
        known = self.cells >= 0
        n_cells = self.member.shape[1]
        by_cell = np.bincount(self.cells[known], (self.weight * values)[known], minlength=n_cells)
        sums: NDArray[np.float64] = self.member.astype(np.float64) @ by_cell
        return sums

    def lacking(self) -> Undefined | None:
        """Return why groups cannot be compared, None when they can."""
        mass = self._sums(np.ones_like(self.weight))
        if np.count_nonzero(mass) < 2:
            return Undefined("single group: fewer than two groups have rows")
        empty = np.flatnonzero(mass == 0)
        return Undefined(f"group {empty[0]} has no rows") if len(empty) else None

    @cached_property
    def table(self) -> NDArray[np.float64]:
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


def redrawn(
    table: NDArray[np.float64], n_rows: NDArray[np.float64], noise: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Return tables as other samples of the same people would give, to first order.

    Means move by their standard error, shares of bins like those of a multinomial draw.

    Parameters
    ----------
    table : ndarray of float64, shape (n_groups, 5 + n_bins)
        As ``GroupValues.table``.
    n_rows : ndarray of float, shape (n_groups,)
        Effective number of rows behind each group.
    noise : ndarray of float64, shape (n_draws, n_groups, 2 + n_bins)
        Standard normal.

    Returns
    -------
    ndarray of float64, shape (n_draws, n_groups, 5 + n_bins)
        Each group at its own weight.
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
    found: NDArray[np.float64] = tables * mass
    return found


def per_mass(tables: NDArray[np.float64], part: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return sums per unit of weight, NaN where a group has none.

    Parameters
    ----------
    tables : ndarray of float64, shape (..., n_groups, n_columns)
        As in ``GroupValues``.
    part : ndarray of float64, shape (..., n_groups) or (..., n_groups, n_bins)
        Sums over the rows of each group.
    """
    mass = np.broadcast_to(
        tables[..., MASS] if part.ndim < tables.ndim else tables[..., MASS, None], part.shape
    )
    return np.divide(part, mass, out=np.full_like(part, np.nan), where=mass > 0)


def distances(heights: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the largest distance between the distribution functions of two groups.

    Parameters
    ----------
    heights : ndarray of float64, shape (..., n_groups, n_points)
        Distribution function of each group, on the same points.

    Returns
    -------
    ndarray of float64, shape (...)
    """
    found: NDArray[np.float64] = np.ptp(heights, axis=-2).max(axis=-1)
    return found


def heights_of(values: GroupValues) -> NDArray[np.float64]:
    """Return the distribution functions of the predictions at every prediction.

    Parameters
    ----------
    values : GroupValues
        Every group has rows.

    Returns
    -------
    ndarray of float64, shape (n_groups, n_points)
    """
    points, at = np.unique(values.prediction, return_inverse=True)
    found = np.empty((values.n_groups, len(points)))
    for group in range(values.n_groups):
        inside = values.inside(group)
        steps = np.bincount(at[inside], values.weight[inside], minlength=len(points))
        found[group] = np.cumsum(steps) / steps.sum()
    return found
