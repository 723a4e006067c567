"""What the mitigators that change the training rows share: their groups, checks, column models."""

from dataclasses import dataclass, replace
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from fairautoml.data.dataset import FeatureLayout, GroupSystem
from fairautoml.exceptions import DegenerateGroupError, InputError, MissingSensitiveError
from fairautoml.mitigators._base import FitBase, ScoreModel, TrainRows
from fairautoml.trials import ParamValue

PARITY = frozenset({"demographic_parity_difference", "demographic_parity_ratio"})
"""What independence of label or features and group works for."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RowGroups:
    """The groups of training rows, in the system that a pre-processing method works on."""

    system: GroupSystem  # the system of the first target, else the first system
    of_row: NDArray[np.int64]  # shape (n_rows,): group of each row
    mass: NDArray[np.float64]  # shape (n_groups, 2): weight by group and label

    @property
    def present(self) -> NDArray[np.int64]:
        """The groups that have weight, rising."""
        return np.flatnonzero(self.mass.sum(axis=1) > 0)

    @property
    def base_rates(self) -> NDArray[np.float64]:
        """Share of label 1 of each group, shape (n_groups,); 0 where a group has no weight."""
        total = self.mass.sum(axis=1)
        rates: NDArray[np.float64] = np.divide(
            self.mass[:, 1], total, out=np.zeros(len(total)), where=total > 0
        )
        return rates

    @property
    def base_rate(self) -> float:
        """Share of label 1 among all rows of known group."""
        return float(self.mass[:, 1].sum() / self.mass.sum())

    def require_labels(self, name: str) -> None:
        """Refuse a group that has only one label."""
        for group in self.present:
            for label in np.flatnonzero(self.mass[group] == 0):
                msg = (
                    f"{name}: group {self.system.labels[group]!r} of {self.system.name!r} has no "
                    f"training rows of label {label}; every group needs both labels. Merge small "
                    "groups, give more rows, or leave this mitigator out"
                )
                raise DegenerateGroupError(msg)


class ColumnChange(Protocol):
    """A fitted change of the features."""

    def apply(self, X: Any, cells: NDArray[np.integer]) -> Any:
        """Return changed rows; the given ones stay as they are."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class ChangedColumns:
    """A model of changed features: new rows are changed alike before they are scored."""

    change: ColumnChange  # fitted on the training rows
    model: ScoreModel  # trained on the changed rows

    def scores(self, X: Any, cells: NDArray[np.integer]) -> NDArray[np.float32]:
        """Return P(y = 1) of rows as they were before the change, shape (n_rows,)."""
        return self.model.scores(self.change.apply(X, cells), cells)


def train_on_changed(rows: TrainRows, change: ColumnChange, fit_base: FitBase) -> ScoreModel:
    """Return the model of the changed rows, which changes new rows alike."""
    changed = replace(rows, X=change.apply(rows.X, rows.cells))
    return ChangedColumns(change=change, model=fit_base(changed))


def row_groups(rows: TrainRows, name: str) -> RowGroups:
    """Return the groups of the rows in the system of the first target, else the first system.

    Groups without any row, as small ones may be in a fold, are left alone.
    """
    if not rows.systems and not rows.targets:
        msg = f"{name} needs the groups: fit(X, y, sensitive), one label per row"
        raise MissingSensitiveError(msg)
    system = rows.targets[0].system if rows.targets else rows.systems[0]
    groups = groups_of_cells(system.of_cell, rows.cells)
    known = groups >= 0
    n_rows = np.bincount(groups[known], minlength=system.n_groups)
    mass = np.zeros((system.n_groups, 2))
    np.add.at(mass, (groups[known], rows.y[known]), rows.weight[known])
    for group in np.flatnonzero((n_rows > 0) & (mass.sum(axis=1) == 0)):
        msg = (
            f"{name}: all training rows of group {system.labels[group]!r} of {system.name!r} have "
            "sample weight 0; give the group weight or leave its rows out"
        )
        raise DegenerateGroupError(msg)
    if np.count_nonzero(n_rows) < 2:
        found = ", ".join(repr(system.labels[g]) for g in np.flatnonzero(n_rows)) or "none"
        msg = (
            f"{name}: {system.name!r} must have training rows of two groups or more, found: "
            f"{found}; give rows of other groups or leave this mitigator out"
        )
        raise DegenerateGroupError(msg)
    groups[rows.weight == 0] = -1
    return RowGroups(system=system, of_row=groups, mass=mass)


def groups_of_cells(of_cell: NDArray[np.integer], cells: NDArray[np.integer]) -> NDArray[np.int64]:
    """Return the group of each row, -1 where the cell is none that occurred in training."""
    known = (cells >= 0) & (cells < len(of_cell))
    groups = np.full(len(cells), -1, dtype=np.int64)
    groups[known] = of_cell[cells[known]]
    return groups


def numeric_columns(layout: FeatureLayout, name: str) -> NDArray[np.int64]:
    """Return the positions of the columns that hold numbers and not category codes, rising."""
    refuse_sparse(layout, name)
    columns = np.setdiff1d(np.arange(layout.n_features), layout.categorical)
    if not len(columns):
        msg = (
            f"{name} changes numeric columns, and X has {layout.n_features} category columns "
            "only; leave this mitigator out"
        )
        raise InputError(msg)
    return columns


def refuse_sparse(layout: FeatureLayout, name: str) -> None:
    """Refuse a sparse matrix."""
    if layout.sparse:
        msg = (
            f"{name} cannot work on a sparse X: it would fill in the zeros. Give a dense table "
            "or leave this mitigator out"
        )
        raise InputError(msg)


def share(value: ParamValue) -> float:
    """Return a parameter that its space keeps in [0, 1] as a number."""
    return float(value)
