"""The encoded dataset, its strata and its feature schema."""

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from fairautoml.data.texts import COMPONENTS, TextBlock
from fairautoml.metrics._table import TaskName
from fairautoml.metrics.groups import GroupSystem, Judgeability, SmallGroups

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
    # positions of those whose categories are whole numbers, which their codes follow
    numbered: tuple[int, ...] = ()
    # the matrix is a ``scipy.sparse`` CSR matrix (then all columns are numeric)
    sparse: bool = False
    # most categories of a column that boosted trees take as categories, not as numbers
    most_native: int = MOST_NATIVE
    # only a function that is linear in the columns may be learned: any other could restore what
    # a mitigator has removed
    linear_only: bool = False
    # terms of texts, in columns behind the others; encodings replace them by features
    texts: tuple[TextBlock, ...] = ()

    @property
    def n_codes(self) -> dict[int, int]:
        """Number of codes of each category column, by its position."""
        return dict(zip(self.categorical, self.cardinalities, strict=True))

    @property
    def numeric(self) -> list[int]:
        """Positions of the other columns."""
        categorical = frozenset(self.categorical)
        return [at for at in range(self.n_features) if at not in categorical]

    @property
    def native(self) -> tuple[int, ...]:
        """Positions of the category columns that boosted trees take as categories."""
        return tuple(at for at, size in self.n_codes.items() if size <= self.most_native)

    @property
    def high_cardinality(self) -> tuple[int, ...]:
        """Positions of the category columns with more than ``MOST_NATIVE`` categories."""
        return tuple(at for at, size in self.n_codes.items() if size > MOST_NATIVE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Dataset:
    """Features, labels, groups and weights: validated, encoded, immutable by convention."""

    X: Any  # shape (n_rows, n_features): numbers, and category codes as numbers; NaN = missing
    y: NDArray[Any]  # shape (n_rows,): position in ``classes``, or the number of a regression
    weight: NDArray[np.float64]  # shape (n_rows,): sample weights, all one when none were given
    # finest group cell of each row (the observed combinations of all sensitive columns); all zero
    # without sensitive columns
    cells: NDArray[np.int32]  # shape (n_rows,)
    classes: NDArray[Any]  # shape (n_classes,): labels of the user; empty in regression
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
        return len(self.y)

    @property
    def n_cells(self) -> int:
        """Number of finest groups, 1 without groups."""
        return 1 if self.groups is None else self.groups.n_cells

    @property
    def score_shape(self) -> tuple[int, ...]:
        """Shape of a score column: a row for each row, a column for each of several classes."""
        several = self.task == "multiclass"
        return (self.n_rows, len(self.classes)) if several else (self.n_rows,)

    @property
    def row_cost(self) -> float:
        """Training cost of a row, relative to two classes and few columns."""
        schema = self.feature_schema
        n_columns = self.X.nnz / self.n_rows if schema.sparse else schema.n_features
        n_columns += COMPONENTS * len(schema.texts)
        classes = len(self.classes) if self.task == "multiclass" else 1
        return max(1.0, float(n_columns) / FEW_COLUMNS) * classes

    @property
    def group_columns(self) -> tuple[int, ...]:
        """Positions of the features that are a sensitive column or a proxy of one."""
        names = self.schema.names
        return tuple(at for at, name in enumerate(names) if name in self.sensitive_features)

    def columns_outside(self, block: str) -> tuple[int, ...]:
        """Return the positions of the features outside a block, none of the block ``""``."""
        if not block:
            return ()
        inside = frozenset(self.schema.options.blocks[block])
        return tuple(at for at, name in enumerate(self.schema.names) if name not in inside)

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
    def small_groups(self) -> tuple[SmallGroups, ...]:
        """Groups excluded from constraints, none without sensitive columns."""
        return () if self.groups is None else self.groups.small_groups

    @property
    def judgeability(self) -> tuple[Judgeability, ...]:
        """Whether the rows are enough to judge each bound, none without sensitive columns."""
        return () if self.groups is None else self.groups.judgeability

    def take(self, rows: NDArray[np.integer]) -> "Dataset":
        """Return the given rows, in that order."""
        return replace(
            self, X=self.X[rows], y=self.y[rows], weight=self.weight[rows], cells=self.cells[rows]
        )
