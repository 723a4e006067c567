"""The checked table that the whole library works on."""

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from fairautoml.data.columns import TableSchema
    from fairautoml.data.groups import GroupSchema


@dataclass(frozen=True, slots=True, kw_only=True)
class FeatureLayout:
    """What a learner must know about the columns of the encoded matrix.

    Parameters
    ----------
    n_features : int
        Number of columns.
    categorical : tuple of int
        Positions of the columns that hold category codes 0, 1, 2, ... (NaN = missing).
    cardinalities : tuple of int
        Number of codes of each of those columns.
    sparse : bool
        The matrix is a ``scipy.sparse`` CSR matrix (then all columns are numeric).
    """

    n_features: int
    categorical: tuple[int, ...] = ()
    cardinalities: tuple[int, ...] = ()
    sparse: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class GroupSystem:
    """One way to divide people into groups: a sensitive column or an intersection.

    Parameters
    ----------
    name : str
        ``"sex"``, or ``"sex & race"`` for the intersection.
    labels : tuple of str
        Display name of each group.
    of_cell : ndarray of int32, shape (n_cells,)
        Group of each finest cell; -1 where the group is unknown and so outside the constraint.
    """

    name: str
    labels: tuple[str, ...]
    of_cell: NDArray[np.int32]

    @property
    def n_groups(self) -> int:
        """Number of groups."""
        return len(self.labels)


@dataclass(frozen=True, slots=True, kw_only=True)
class Dataset:
    """Features, labels, groups and weights: validated, encoded, immutable by convention.

    Parameters
    ----------
    X : ndarray of float32, shape (n_rows, n_features), or CSR matrix
        Numbers, and category codes as numbers; NaN = missing.
    y : ndarray of int8, shape (n_rows,)
        0 or 1; 1 is the positive class.
    weight : ndarray of float64, shape (n_rows,)
        Sample weights, all one when none were given.
    cells : ndarray of int32, shape (n_rows,)
        Finest group cell of each row (the observed combinations of all sensitive columns);
        all zero without sensitive columns.
    classes : ndarray of shape (2,)
        The user's labels for 0 and 1.
    schema : TableSchema
        How a new table is turned into such an ``X``.
    groups : GroupSchema or None
        How new sensitive values are turned into cells, and the group systems.
    notes : tuple of str
        What the border did that the user should know (dropped columns and the like).
    """

    X: Any
    y: NDArray[np.int8]
    weight: NDArray[np.float64]
    cells: NDArray[np.int32]
    classes: NDArray[Any]
    schema: "TableSchema"
    groups: "GroupSchema | None"
    notes: tuple[str, ...] = ()

    @property
    def n_rows(self) -> int:
        """Number of rows."""
        return len(self.y)

    @property
    def layout(self) -> FeatureLayout:
        """What learners must know about the columns."""
        return self.schema.layout

    @property
    def systems(self) -> tuple[GroupSystem, ...]:
        """The group systems, none without sensitive columns."""
        return () if self.groups is None else self.groups.systems

    def take(self, rows: NDArray[np.integer]) -> "Dataset":
        """Return the given rows, in that order.

        Parameters
        ----------
        rows : ndarray of int, shape (n,)
            Row positions.
        """
        return replace(
            self,
            X=self.X[rows],
            y=self.y[rows],
            weight=self.weight[rows],
            cells=self.cells[rows],
        )
