"""The checked table that the whole library works on."""

from collections.abc import Collection
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from fairautoml.data.strata import strata_of

if TYPE_CHECKING:
    from fairautoml.data.columns import TableSchema
    from fairautoml.data.groups import GroupSchema
    from fairautoml.data.small_groups import SmallGroups

FEW_COLUMNS = 40
"""Up to so many, what a row costs hardly depends on them."""

MOST_NATIVE = 20
"""Categories up to which boosted trees split on subsets of them; beyond, that overfits."""

TaskName = Literal["binary", "multiclass", "regression"]
"""What kind of target is learned: two classes, several, or numbers."""


def task_of(classes: NDArray[Any]) -> TaskName:
    """Return the task of a target with these classes, none for numbers."""
    if len(classes) == 0:
        return "regression"
    return "binary" if len(classes) == 2 else "multiclass"


@dataclass(frozen=True, slots=True, kw_only=True)
class FeatureLayout:
    """What a learner must know about the columns of the encoded matrix."""

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
    """One way to divide people into groups: a sensitive column or an intersection."""

    name: str  # ``"sex"``, or ``"sex & race"`` for the intersection
    labels: tuple[str, ...]  # display name of each group
    of_cell: NDArray[np.int32]  # shape (n_cells,): group of each finest cell
    # which finest cells belong to each group, where a person may be in several groups
    masks: NDArray[np.bool_] | None = None  # shape (n_groups, n_cells)
    # of a column that is taken as a number: the number of each group, in standard deviations from
    # the mean of the rows of ``fit``. Such a system is for metrics that read it
    values: NDArray[np.float64] | None = None  # shape (n_groups,)

    @property
    def n_groups(self) -> int:
        """Number of groups."""
        return len(self.labels)

    @property
    def key(self) -> tuple[str, tuple[str, ...]]:
        """Name and groups: constraints may compare different groups of a system of one name."""
        return self.name, self.labels

    @property
    def overlapping(self) -> bool:
        """Whether a person may be in several groups, or in none."""
        return self.masks is not None

    @property
    def member(self) -> NDArray[np.bool_]:
        """Which finest cells belong to each group, shape (n_groups, n_cells)."""
        if self.masks is not None:
            return self.masks
        belongs: NDArray[np.bool_] = self.of_cell == np.arange(self.n_groups)[:, None]
        return belongs

    def without(self, labels: Collection[str]) -> "GroupSystem":
        """Return the system without some of its groups, whose cells are in no group then."""
        kept = np.array([label not in labels for label in self.labels], dtype=np.bool_)
        if kept.all():
            return self
        # The last element is what the cells of no group find.
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
    # what the border did that the user should know (dropped columns and the like)
    notes: tuple[str, ...] = ()
    task: TaskName = "binary"  # {"binary", "multiclass", "regression"}: what kind of target it is
    # features that are a sensitive column or give one away
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
        """What a row costs to learn from, in those of two classes and few columns."""
        n_columns = self.X.nnz / self.n_rows if self.layout.sparse else self.X.shape[1]
        classes = len(self.classes) if self.task == "multiclass" else 1
        return max(1.0, float(n_columns) / FEW_COLUMNS) * classes

    @property
    def strata(self) -> NDArray[np.int64]:
        """What folds are stratified by: the label, or about how large the number is."""
        return strata_of(self.y)

    @property
    def layout(self) -> FeatureLayout:
        """What learners must know about the columns."""
        return self.schema.layout

    @property
    def systems(self) -> tuple[GroupSystem, ...]:
        """The group systems, none without sensitive columns."""
        return () if self.groups is None else self.groups.systems

    @property
    def small_groups(self) -> "tuple[SmallGroups, ...]":
        """What constraints leave out, none without sensitive columns."""
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
