"""The encoded dataset, its groupings, strata and small groups."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray

if TYPE_CHECKING:
    from fairautoml.data.groups import GroupSchema
    from fairautoml.data.schema import TableSchema

MOST_STRATA = 10
"""Largest number of strata."""

ROWS_PER_STRATUM = 10
"""Fewest rows per stratum, so that each stratum reaches every fold."""


def strata_of(y: NDArray[Any]) -> NDArray[np.int64]:
    """Return the stratum of each row: its label, or the share of the rows that are smaller."""
    if y.dtype.kind != "f":
        return y.astype(np.int64)
    count = min(MOST_STRATA, max(1, len(y) // ROWS_PER_STRATUM))
    cuts = np.quantile(y, np.arange(1, count) / count) if count > 1 else np.empty(0)
    return np.unique(np.searchsorted(cuts, y, side="left"), return_inverse=True)[1]


def strata_of_column(y: "pd.Series[Any]", most: int) -> NDArray[np.int64]:
    """Return the stratum of each row of a column as the user gave it."""
    codes, levels = pd.factorize(y, use_na_sentinel=False)
    if len(levels) <= most or not pd.api.types.is_numeric_dtype(y) or y.isna().any():
        return codes.astype(np.int64)
    return strata_of(y.to_numpy(dtype=np.float64))


FEW_COLUMNS = 40
"""Number of features up to which the cost of a row is nearly constant."""

MOST_NATIVE = 20
"""Most categories of a native categorical feature; beyond, subset splits overfit."""

TaskName = Literal["binary", "multiclass", "regression"]
"""Kind of target: two classes, several classes, or numbers."""


def task_of(classes: NDArray[Any]) -> TaskName:
    """Return the task of a target with these classes, none for numbers."""
    if len(classes) == 0:
        return "regression"
    return "binary" if len(classes) == 2 else "multiclass"


@dataclass(frozen=True, slots=True, kw_only=True)
class FeatureSchema:
    """Feature schema of the encoded matrix."""

    n_features: int  # number of columns
    # positions of the columns that hold category codes 0, 1, 2, ... (NaN = missing)
    categorical: tuple[int, ...] = ()
    cardinalities: tuple[int, ...] = ()  # number of codes of each of those columns
    # the matrix is a ``scipy.sparse`` CSR matrix (then all columns are numeric)
    sparse: bool = False

    @property
    def native(self) -> tuple[int, ...]:
        """Positions of the category columns that boosted trees take as categories."""
        return self._categorical(high_cardinality=False)

    @property
    def high_cardinality(self) -> tuple[int, ...]:
        """Positions of the category columns that boosted trees take as numbers."""
        return self._categorical(high_cardinality=True)

    def _categorical(self, *, high_cardinality: bool) -> tuple[int, ...]:
        pairs = zip(self.categorical, self.cardinalities, strict=True)
        return tuple(at for at, n_codes in pairs if (n_codes > MOST_NATIVE) == high_cardinality)


@dataclass(frozen=True, slots=True, kw_only=True)
class GroupSystem:
    """Grouping of the rows: a sensitive column or an intersection."""

    name: str  # ``"sex"``, or ``"sex & race"`` for the intersection
    labels: tuple[str, ...]  # display name of each group
    of_cell: NDArray[np.int32]  # shape (n_cells,): group of each finest cell
    # which finest cells belong to each group, if groups overlap
    masks: NDArray[np.bool_] | None = None  # shape (n_groups, n_cells)
    # value of each group of a numeric column, in standard deviations from the mean of the rows of
    # ``fit``; for metrics of continuous attributes
    values: NDArray[np.float64] | None = None  # shape (n_groups,)

    @property
    def n_groups(self) -> int:
        """Number of groups."""
        return len(self.labels)

    @property
    def key(self) -> tuple[str, tuple[str, ...]]:
        """Name and groups, as constraints can compare different groups of the same grouping."""
        return self.name, self.labels

    @property
    def overlapping(self) -> bool:
        """Whether a row can belong to several groups, or to none."""
        return self.masks is not None

    @property
    def member(self) -> NDArray[np.bool_]:
        """Which finest cells belong to each group, shape (n_groups, n_cells)."""
        if self.masks is not None:
            return self.masks
        belongs: NDArray[np.bool_] = self.of_cell == np.arange(self.n_groups)[:, None]
        return belongs

    def without(self, labels: Collection[str]) -> "GroupSystem":
        """Return the grouping without some of its groups."""
        kept = np.array([label not in labels for label in self.labels], dtype=np.bool_)
        if kept.all():
            return self
        # Index -1 (no group) selects the last element.
        place = np.append(np.where(kept, np.cumsum(kept) - 1, -1), -1).astype(np.int32)
        return replace(
            self,
            labels=tuple(label for label in self.labels if label not in labels),
            of_cell=place[self.of_cell],
            masks=None if self.masks is None else self.masks[kept],
            values=None if self.values is None else self.values[kept],
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Dataset:
    """Features, labels, groups and weights: validated, encoded, immutable by convention."""

    X: Any  # shape (n_rows, n_features): numbers, and category codes as numbers; NaN = missing
    y: NDArray[Any]  # shape (n_rows,): 0 or 1
    weight: NDArray[np.float64]  # shape (n_rows,): sample weights, all one when none were given
    # finest group cell of each row (the observed combinations of all sensitive columns); all zero
    # without sensitive columns
    cells: NDArray[np.int32]  # shape (n_rows,)
    classes: NDArray[Any]  # shape (2,): the user's labels for 0 and 1, or for 0, 1, 2, ...
    schema: "TableSchema"  # how a new table is turned into such an ``X``
    # how new sensitive values are turned into cells, and the group systems
    groups: "GroupSchema | None"
    # notes of the input validation for the user (dropped columns and the like)
    notes: tuple[str, ...] = ()
    task: TaskName = "binary"  # {"binary", "multiclass", "regression"}: what kind of target it is
    # features that are a sensitive column or a proxy of one
    sensitive_features: tuple[str, ...] = ()

    @property
    def n_rows(self) -> int:
        """Number of rows."""
        return len(self.y)

    @property
    def score_shape(self) -> tuple[int, ...]:
        """Shape of a score column: a row for each row, a column for each of several classes."""
        several = self.task == "multiclass"
        return (self.n_rows, len(self.classes)) if several else (self.n_rows,)

    @property
    def row_cost(self) -> float:
        """Training cost of a row, relative to two classes and few columns."""
        n_columns = self.X.nnz / self.n_rows if self.feature_schema.sparse else self.X.shape[1]
        classes = len(self.classes) if self.task == "multiclass" else 1
        return max(1.0, float(n_columns) / FEW_COLUMNS) * classes

    @property
    def strata(self) -> NDArray[np.int64]:
        """Stratum of each row for the folds: the label, or the bin of a numeric target."""
        return strata_of(self.y)

    @property
    def feature_schema(self) -> FeatureSchema:
        """Feature schema for the learners."""
        return self.schema.feature_schema

    @property
    def systems(self) -> tuple[GroupSystem, ...]:
        """The group systems, none without sensitive columns."""
        return () if self.groups is None else self.groups.systems

    @property
    def small_groups(self) -> "tuple[SmallGroups, ...]":
        """Groups excluded from constraints, none without sensitive columns."""
        return () if self.groups is None else self.groups.small_groups

    def take(self, rows: NDArray[np.integer]) -> "Dataset":
        """Return the given rows, in that order."""
        return replace(
            self,
            X=self.X[rows],
            y=self.y[rows],
            weight=self.weight[rows],
            cells=self.cells[rows],
        )


MOST_NAMED = 5
"""Most groups listed in a headline."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SmallGroups:
    """Groups with too few rows for one metric on one grouping."""

    metric: str  # constrained fairness metric
    system: str  # name of the group system
    outside: tuple[str, ...]  # groups excluded from the constraint
    n_rows: tuple[int, ...]  # rows of each of those groups
    n_groups: int  # all groups of the system
    fewest: int  # rows required for each compared rate of a group
    effective: bool = False  # whether rows are counted by their weights, or by entity
    # False where fewer than two groups have that many rows: the largest stay constrained, and
    # their rows cannot show that the bound is met
    judged: bool = True

    @property
    def headline(self) -> str:
        """One sentence on the excluded groups, or on a bound that cannot be evaluated."""
        rows = "effective rows" if self.effective else "rows"
        left_out = f"{self._left_out}, fewer than {self.fewest:,} {rows} behind a rate"
        if self.judged:
            return f"{left_out}."
        return (
            f"Too few rows to judge {self.metric} on {self.system!r}: not enough groups have "
            f"{self.fewest:,} {rows} behind each rate, so a gap within the bound may be chance"
            f"{f'; {left_out}' if self.outside else ''}."
        )

    @property
    def _left_out(self) -> str:
        n, total = len(self.outside), sum(self.n_rows)
        named = [
            f"{label!r} (n={rows:,})"
            for label, rows in zip(self.outside[:MOST_NAMED], self.n_rows, strict=False)
        ]
        more = f" and {n - MOST_NAMED} more" if n > MOST_NAMED else ""
        return (
            f"{n} of {self.n_groups} groups of {self.system!r} ({total:,} "
            f"row{'' if total == 1 else 's'}) {'is' if n == 1 else 'are'} outside the bound of "
            f"{self.metric}: {', '.join(named)}{more}"
        )


def outside_of(small: Sequence[SmallGroups], metric: str, system: str) -> tuple[str, ...]:
    """Return the groups that a metric excludes."""
    found = (one.outside for one in small if (one.metric, one.system) == (metric, system))
    return next(found, ())


def constrained(system: GroupSystem, metric: str, small: Sequence[SmallGroups]) -> GroupSystem:
    """Return the groups of a system that a metric compares."""
    return system.without(outside_of(small, metric, system.name))
