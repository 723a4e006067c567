"""Moves numeric features towards one distribution for all groups, keeping ranks within a group.

``x' = (1 - strength) x + strength F_A^-1(F_group(x))``, where ``F_A^-1`` is the median of the
groups' quantile functions. Source: Feldman, Friedler, Moeller, Scheidegger and
Venkatasubramanian, "Certifying and removing disparate impact", KDD 2015, section 5 (geometric
repair), arXiv 1412.3756. Ties get their mid-rank, quantiles are interpolated and weighted.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fairautoml.mitigators._base import FitBaseLearner, Mitigator, ScoreModel, TrainRows
from fairautoml.mitigators._training import (
    PARITY,
    RowGroups,
    groups_of_cells,
    numeric_columns,
    row_groups,
    share,
    train_on_changed,
)
from fairautoml.portable import Dump, Positions
from fairautoml.records import ParamValue

NAME = "disparate_impact_remover"

MAX_POINTS = 1000
"""Points of a quantile table; finer steps are below the sampling noise of a group."""

MAX_KNOTS = 4 * MAX_POINTS
"""Points of the median, whose knots are those of all groups' quantile functions."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Quantiles:
    """The distribution of one column in one group."""

    values: NDArray[np.float64]  # shape (n_points,): values at the ranks, ascending
    # share of weight below each value plus half of its own weight, strictly ascending in (0, 1)
    ranks: NDArray[np.float64]  # shape (n_points,)

    def rank(self, x: NDArray[np.floating]) -> NDArray[np.float64]:
        """Return the rank of each value; constant beyond the range."""
        ranks: NDArray[np.float64] = np.interp(x, self.values, self.ranks)
        return ranks

    def value(self, rank: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the value at each rank; constant beyond the range."""
        values: NDArray[np.float64] = np.interp(rank, self.ranks, self.values)
        return values


@dataclass(frozen=True, slots=True, kw_only=True)
class Repair:
    """The repair of one column."""

    groups: tuple[Quantiles, ...]  # one per group; empty if all values of the group are missing
    pooled: Quantiles  # of all rows of known group
    middle: Quantiles  # median of the groups' values at each rank

    def repaired(self, x: NDArray[np.floating], of_row: NDArray[np.int64]) -> NDArray[np.float64]:
        """Return the fully repaired values of rows without missing ones."""
        rank = self.pooled.rank(x)
        for group, table in enumerate(self.groups):
            mine = of_row == group
            if len(table.values):
                rank[mine] = table.rank(x[mine])
        return self.middle.value(rank)

    def portable(self) -> dict[str, Any]:
        """Return the portable form."""
        groups, pooled, middle = (
            [{"values": table.values, "ranks": table.ranks} for table in tables]
            for tables in (self.groups, (self.pooled,), (self.middle,))
        )
        return {"groups": groups, "pooled": pooled[0], "middle": middle[0]}


@dataclass(frozen=True, slots=True, kw_only=True)
class Repairs:
    """The repair of all numeric columns."""

    of_cell: NDArray[np.int32]  # shape (n_cells,): group of each finest cell
    columns: tuple[tuple[int, Repair], ...]  # position of each repaired column, and its repair
    strength: float  # in [0, 1]

    def apply(self, X: NDArray[np.floating], cells: NDArray[np.integer]) -> NDArray[np.float32]:
        """Return the repaired rows; missing values stay missing."""
        changed = X.astype(np.float32)
        groups = groups_of_cells(self.of_cell, cells)
        for at, repair in self.columns:
            found = ~np.isnan(X[:, at])
            x = X[found, at].astype(np.float64)
            full = repair.repaired(x, groups[found])
            changed[found, at] = (1 - self.strength) * x + self.strength * full
        return changed

    def dump(self, out: Dump, columns: Positions) -> Positions:
        """Append the repaired columns and return those of the model."""
        changed = columns.copy()
        for at, repair in self.columns:
            about = {"column": columns[at], "of_cell": self.of_cell, "strength": self.strength}
            changed[at] = out.step("repaired", {**about, **repair.portable()}, 1)[0]
        return changed


def train(
    rows: TrainRows, fit_base: FitBaseLearner, params: Mapping[str, ParamValue], seed: int
) -> ScoreModel:
    """Train on repaired numeric columns; category codes, including proxies, are unchanged.

    New rows of an unknown group, or of one that did not occur in training, are ranked among all
    training rows. Values outside the range of their group are clipped to it.
    """
    del seed
    groups = row_groups(rows, NAME)
    columns = numeric_columns(rows.feature_schema, NAME)
    tables = [(int(at), _repair(rows.X[:, at], rows.weight, groups)) for at in columns]
    change = Repairs(
        of_cell=groups.system.of_cell,
        columns=tuple((at, repair) for at, repair in tables if len(repair.pooled.values)),
        strength=share(params["strength"]),
    )
    return train_on_changed(rows, change, fit_base)


def _repair(x: NDArray[np.floating], weight: NDArray[np.float64], groups: RowGroups) -> Repair:
    found = ~np.isnan(x) & (groups.of_row >= 0)
    present, weight, of_row = x[found].astype(np.float64), weight[found], groups.of_row[found]
    tables = tuple(
        quantiles(present[of_row == group], weight[of_row == group])
        for group in range(groups.system.n_groups)
    )
    known = [table for table in tables if len(table.values)]
    return Repair(groups=tables, pooled=quantiles(present, weight), middle=_middle(known))


def _middle(tables: Sequence[Quantiles]) -> Quantiles:
    if not tables:
        return Quantiles(values=np.empty(0), ranks=np.empty(0))
    ranks = np.unique(np.concatenate([table.ranks for table in tables]))
    if len(ranks) > MAX_KNOTS:
        ranks = ranks[np.linspace(0, len(ranks) - 1, MAX_KNOTS).astype(np.int64)]
    values = np.median([table.value(ranks) for table in tables], axis=0)
    return Quantiles(values=values, ranks=ranks)


def quantiles(x: NDArray[np.float64], weight: NDArray[np.float64]) -> Quantiles:
    """Return the weighted quantile table, with at most 1000 points at equal rank steps."""
    values, at = np.unique(x, return_inverse=True)
    mass = np.bincount(at, weights=weight, minlength=len(values))
    ranks = (np.cumsum(mass) - mass / 2) / mass.sum()
    if len(values) > MAX_POINTS:
        steps = np.searchsorted(ranks, np.linspace(ranks[0], ranks[-1], MAX_POINTS))
        kept = np.unique(steps)
        values, ranks = values[kept], ranks[kept]
    return Quantiles(values=values, ranks=ranks)


MITIGATOR = Mitigator(
    name=NAME,
    stage="pre",
    needs_sensitive_at_predict=True,
    serves=PARITY,
    cost="cheap",
    opt_in=True,
    ratio=1.1,
    train=train,
)
