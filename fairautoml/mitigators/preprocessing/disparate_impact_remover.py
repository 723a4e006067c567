"""Moves the features to one distribution for all groups, keeping the order within a group.

``x' = (1 - strength) x + strength F_A^-1(F_group(x))``, where ``F_A^-1`` is the median of the
groups' quantile functions. Source: Feldman, Friedler, Moeller, Scheidegger and
Venkatasubramanian, "Certifying and removing disparate impact", KDD 2015, section 5 (geometric
repair), arXiv 1412.3756. Quantiles are interpolated and weighted.

Equal values of one group share an interval of ranks, from which each row draws one: a common rank
would give every group values of its own, from which trees could read the group. A draw depends on
the content of the row alone. Categories are ordered by their share of label 1 and moved to the
distribution of all rows, in a share ``strength`` of the rows; a column that
is a function of the group becomes constant. Missing numbers stay missing.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass

import numpy as np
from numpy.typing import NDArray

from fairautoml.data.encoders import MISSING
from fairautoml.data.splits import row_draws, row_factors
from fairautoml.mitigators._base import FitBaseLearner, Mitigator, ScoreModel, TrainRows
from fairautoml.mitigators._training import (
    PARITY,
    RowGroups,
    refuse_sparse,
    row_groups,
    train_on_changed,
)
from fairautoml.portable import Dump, Positions
from fairautoml.records import Floats, ParamValues
from fairautoml.runtime._rules import groups_of
from fairautoml.runtime._scores import repaired

NAME = "disparate_impact_remover"

MAX_POINTS = 1000
"""Points of a quantile table; finer steps are below the sampling noise of a group."""

MAX_KNOTS = 4 * MAX_POINTS
"""Points of the median, whose knots are those of all groups' quantile functions."""

FACTORS = 2**19, 2**20
"""Range of the factors that make the draws of the columns out of the draw of a row."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Quantiles:
    """The distribution of one column in one group."""

    values: Floats  # shape (n_points,): values at the ranks, ascending
    # share of weight below each value plus half of its own weight, strictly ascending in (0, 1)
    ranks: Floats  # shape (n_points,)
    # half of the share of weight of a value that several rows have, else 0
    spread: Floats  # shape (n_points,)

    def value(self, rank: Floats) -> Floats:
        """Return the value at each rank; constant beyond the range."""
        return np.interp(rank, self.ranks, self.values)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Repair:
    """The repair of one column, whose categories are given by their position in an order."""

    groups: tuple[Quantiles, ...]  # one per group; empty if all values of the group are missing
    pooled: Quantiles  # of all rows of known group
    middle: Quantiles  # median of the groups' values at each rank; of categories the pooled ends
    # shape (n_categories,): ordered codes, ``MISSING`` for missing; None for numbers
    codes: NDArray[np.int64] | None = None


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Repairs:
    """The repair of all columns."""

    of_cell: NDArray[np.int32]  # shape (n_cells,): group of each finest cell
    columns: tuple[tuple[int, Repair], ...]  # position of each repaired column, and its repair
    strength: float  # in [0, 1]
    salt: int  # seed of the draws

    def apply(self, X: NDArray[np.floating], cells: NDArray[np.integer]) -> NDArray[np.float32]:
        changed = X.astype(np.float32)
        groups, row = groups_of(self.of_cell, cells), row_draws(X, self.salt)
        for (at, repair), factors in zip(self.columns, self._factors(), strict=True):
            step = {**asdict(repair), "strength": self.strength, "factors": factors}
            changed[:, at] = repaired(step, changed[:, at], groups, row)
        return changed

    def dump(self, out: Dump, columns: Positions) -> Positions:
        changed = columns.copy()
        about = {
            "of_cell": self.of_cell,
            "strength": self.strength,
            "row": columns,
            "odd": row_factors(len(columns), self.salt).view(np.int32),
        }
        for (at, repair), factors in zip(self.columns, self._factors(), strict=True):
            content = {**about, "column": columns[at], "factors": factors, **asdict(repair)}
            changed[at] = out.step("repaired", content, 1)[0]
        return changed

    def _factors(self) -> Floats:
        drawn = np.random.default_rng(self.salt).integers(*FACTORS, size=(len(self.columns), 2))
        return drawn.astype(np.float64)


def train(rows: TrainRows, fit_base: FitBaseLearner, params: ParamValues, seed: int) -> ScoreModel:
    """Train on repaired columns.

    New rows of an unknown group, or of one that did not occur in training, are ranked among all
    training rows. Values outside the range of their group are clipped to it.
    """
    groups = row_groups(rows, NAME)
    refuse_sparse(rows.feature_schema, NAME)
    strength = float(params["strength"])
    if strength == 0:
        return fit_base(rows)
    categorical = rows.feature_schema.n_codes
    tables = [
        (at, (_of_categories if at in categorical else _of_numbers)(rows.X[:, at], rows, groups))
        for at in range(rows.feature_schema.n_features)
    ]
    change = Repairs(
        of_cell=groups.system.of_cell,
        columns=tuple((at, repair) for at, repair in tables if len(repair.pooled.values)),
        strength=strength,
        salt=seed,
    )
    return train_on_changed(rows, change, fit_base, rows.feature_schema)


def _of_numbers(x: NDArray[np.floating], rows: TrainRows, groups: RowGroups) -> Repair:
    tables, pooled = _tables(x, rows.weight, groups)
    middle = _middle([table for table in tables if len(table.values)])
    return Repair(groups=tables, pooled=pooled, middle=middle)


def _of_categories(x: NDArray[np.floating], rows: TrainRows, groups: RowGroups) -> Repair:
    known = groups.of_row >= 0
    codes, at = np.unique(np.where(np.isnan(x), MISSING, x)[known], return_inverse=True)
    weight = rows.weight[known]
    mass = np.bincount(at, weights=weight)
    rate = np.bincount(at, weights=weight * rows.y[known]) / mass
    order = np.argsort(rate, kind="stable")
    codes, ends = codes[order].astype(np.int64), np.cumsum(mass[order]) / mass.sum()
    place = np.zeros(len(x))
    place[known] = np.argsort(order)[at]
    tables, pooled = _tables(place, rows.weight, groups)
    places = np.arange(len(codes))
    if all(len(table.values) <= 1 for table in tables):
        # A column that is a function of the group carries nothing else.
        places, ends = np.array([mass[order].argmax()]), np.ones(1)
    middle = Quantiles(values=places.astype(np.float64), ranks=ends, spread=np.zeros_like(ends))
    return Repair(groups=tables, pooled=pooled, middle=middle, codes=codes)


def _tables(
    x: NDArray[np.floating], weight: Floats, groups: RowGroups
) -> tuple[tuple[Quantiles, ...], Quantiles]:
    """Return the distribution in each group and among all rows of known group."""
    found = ~np.isnan(x) & (groups.of_row >= 0)
    present, weight, of_row = x[found].astype(np.float64), weight[found], groups.of_row[found]
    tables = tuple(
        quantiles(present[of_row == group], weight[of_row == group])
        for group in range(groups.system.n_groups)
    )
    return tables, quantiles(present, weight)


def _middle(tables: Sequence[Quantiles]) -> Quantiles:
    if not tables:
        return Quantiles(values=np.empty(0), ranks=np.empty(0), spread=np.empty(0))
    ranks = np.unique(np.concatenate([table.ranks for table in tables]))
    if len(ranks) > MAX_KNOTS:
        ranks = ranks[np.linspace(0, len(ranks) - 1, MAX_KNOTS).astype(np.int64)]
    values = np.median([table.value(ranks) for table in tables], axis=0)
    return Quantiles(values=values, ranks=ranks, spread=np.zeros_like(ranks))


def quantiles(x: Floats, weight: Floats) -> Quantiles:
    """Return the weighted quantile table, with at most 1000 points at equal rank steps."""
    values, at, counts = np.unique(x, return_inverse=True, return_counts=True)
    mass = np.bincount(at, weights=weight, minlength=len(values))
    ranks = (np.cumsum(mass) - mass / 2) / mass.sum()
    spread = np.where(counts > 1, mass / 2, 0.0) / mass.sum()
    if len(values) > MAX_POINTS:
        steps = np.searchsorted(ranks, np.linspace(ranks[0], ranks[-1], MAX_POINTS))
        kept = np.unique(steps)
        values, ranks, spread = values[kept], ranks[kept], spread[kept]
    return Quantiles(values=values, ranks=ranks, spread=spread)


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
