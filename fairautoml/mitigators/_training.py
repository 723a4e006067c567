"""Shared parts of preprocessing mitigators: groups, association, transformed features.

Numeric columns are binned into at most ten levels, so that any kind of dependence is detected.
Source: Bergsma, "A bias correction for Cramer's V and Tschuprow's T", Journal of the Korean
Statistical Society 2013.
"""

from dataclasses import dataclass, replace
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from fairautoml.data.dataset import FeatureSchema
from fairautoml.exceptions import DegenerateGroupError, InputError
from fairautoml.metrics.groups import GroupSystem
from fairautoml.mitigators._base import (
    FitBaseLearner,
    RateMetrics,
    ScoreModel,
    TrainRows,
    first_system,
)
from fairautoml.portable import Dump, Positions
from fairautoml.records import Floats
from fairautoml.runtime._rules import groups_of

PARITY = RateMetrics(difference="selection", ratio="selection")
"""Metrics that benefit when label or features are independent of the group."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RowGroups:
    """The groups of training rows, in the group system of a pre-processing method."""

    system: GroupSystem  # system of the first target, else the first system
    of_row: NDArray[np.int64]  # shape (n_rows,): group of each row
    mass: Floats  # shape (n_groups, 2): weight by group and label

    @property
    def present(self) -> NDArray[np.int64]:
        """Return the groups that have weight, ascending."""
        return np.flatnonzero(self.mass.sum(axis=1) > 0)

    def require_labels(self, name: str) -> None:
        """Raise an error if a group has only one label."""
        for group in self.present:
            for label in np.flatnonzero(self.mass[group] == 0):
                msg = (
                    f"{name}: group {self.system.labels[group]!r} of {self.system.name!r} has no "
                    f"training rows of label {label}; every group needs both labels. Merge small "
                    "groups, give more rows, or leave this mitigator out"
                )
                raise DegenerateGroupError(msg)


class ColumnChange(Protocol):
    """A fitted transformation of the features."""

    def apply(self, X: Any, cells: NDArray[np.integer]) -> Any:
        """Return transformed rows; the input is not modified."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class ChangedColumns:
    """A model of transformed features; new rows are transformed before they are scored."""

    change: ColumnChange  # fitted on the training rows
    model: ScoreModel  # trained on the changed rows

    def scores(self, X: Any, cells: NDArray[np.integer]) -> NDArray[np.float32]:
        """Return P(y = 1) of untransformed rows, shape (n_rows,)."""
        return self.model.scores(self.change.apply(X, cells), cells)

    def dump(self, out: Dump, columns: Positions) -> int:
        return out.model(self.model, out.change(self.change, columns))


def train_on_changed(
    rows: TrainRows, change: ColumnChange, fit_base: FitBaseLearner, feature_schema: FeatureSchema
) -> ScoreModel:
    """Return the model of the transformed rows, which applies the same change to new rows."""
    X = change.apply(rows.X, rows.cells)
    changed = replace(rows, X=X, feature_schema=feature_schema)
    return ChangedColumns(change=change, model=fit_base(changed))


def row_groups(rows: TrainRows, name: str) -> RowGroups:
    """Return the groups of the rows in the system of the first target, else the first system.

    Groups without rows, which small groups may have in a fold, are ignored.
    """
    system = first_system(rows, name)
    groups = groups_of(system.of_cell, rows.cells)
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


def refuse_sparse(feature_schema: FeatureSchema, name: str) -> None:
    """Raise an error for a sparse matrix."""
    if feature_schema.sparse:
        msg = (
            f"{name} cannot work on a sparse X: it would fill in the zeros. Give a dense table "
            "or leave this mitigator out"
        )
        raise InputError(msg)


MAX_LEVELS = 10
"""Bins of a numeric column, in addition to the bin of missing values."""


def associations(rows: TrainRows, groups: RowGroups) -> Floats:
    """Return the bias-corrected Cramer's V of each feature and the group, shape (n_features,)."""
    known = groups.of_row >= 0
    of_row, weight = np.searchsorted(groups.present, groups.of_row[known]), rows.weight[known]
    X = sparse.csc_matrix(rows.X[known]) if rows.feature_schema.sparse else rows.X[known]
    categorical = rows.feature_schema.n_codes
    found = np.zeros(rows.feature_schema.n_features)
    for at in range(rows.feature_schema.n_features):
        x = X[:, [at]].toarray().ravel() if rows.feature_schema.sparse else X[:, at]
        levels = _levels(x, cut=at not in categorical)
        table = np.zeros((int(levels.max()) + 1, len(groups.present)))
        np.add.at(table, (levels, of_row), weight)
        found[at] = cramers_v(table, len(of_row))
    return found


def cramers_v(table: Floats, n_rows: int) -> float:
    """Return the bias-corrected Cramer's V in [0, 1]; 0 for a single level or group."""
    table = table[table.any(axis=1)][:, table.any(axis=0)]
    levels, groups = table.shape
    joint = table / table.sum()
    independent = np.outer(joint.sum(axis=1), joint.sum(axis=0))
    phi2 = float(((joint - independent) ** 2 / independent).sum())
    phi2 = max(0.0, phi2 - (levels - 1) * (groups - 1) / (n_rows - 1))
    smaller = min(size - (size - 1) ** 2 / (n_rows - 1) for size in (levels, groups)) - 1
    return min(1.0, float(np.sqrt(phi2 / smaller))) if smaller > 0 else 0.0


def _levels(x: NDArray[np.floating], *, cut: bool) -> NDArray[np.int64]:
    """Return the level of each value; missing values have the last level."""
    values, at = np.unique(x, return_inverse=True)
    levels: NDArray[np.int64] = at.astype(np.int64)
    if cut and len(values) > MAX_LEVELS:
        edges = np.unique(np.nanquantile(x, np.arange(1, MAX_LEVELS) / MAX_LEVELS))
        levels = np.where(np.isnan(x), len(edges) + 1, np.searchsorted(edges, x)).astype(np.int64)
    return levels
