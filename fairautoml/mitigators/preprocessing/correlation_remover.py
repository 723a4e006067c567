"""Removes the linear relation of numeric features to the groups.

The least-squares projection of a column on the group indicators is its group means, so
``x' = x - strength (mean of the group - overall mean)``: at strength 1 every numeric column has
the same mean in all groups. Source: Fairlearn's ``CorrelationRemover`` (Bird et al., "Fairlearn: a
toolkit for assessing and improving fairness in AI", 2020), with one indicator per group; the
treatment of missing values and weights is ours.
"""

from collections.abc import Mapping
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

NAME = "correlation_remover"


@dataclass(frozen=True, slots=True, kw_only=True)
class Shifts:
    """Shift of each numeric column in each group."""

    of_cell: NDArray[np.int32]  # shape (n_cells,): group of each finest cell
    columns: NDArray[np.int64]  # shape (n_columns,): positions of the columns
    shift: NDArray[np.float64]  # shape (n_groups + 1, n_columns): subtracted from the columns

    def apply(self, X: NDArray[np.floating], cells: NDArray[np.integer]) -> NDArray[np.float32]:
        """Return the shifted rows; missing values stay missing."""
        changed = X.astype(np.float32)
        # Group -1 selects the last row.
        shift = self.shift[groups_of_cells(self.of_cell, cells)]
        changed[:, self.columns] = X[:, self.columns] - shift
        return changed

    def dump(self, out: Dump, columns: Positions) -> Positions:
        """Append the shifted columns and return those of the model."""
        content = {
            "columns": columns[self.columns], "of_cell": self.of_cell, "shift": self.shift
        }  # fmt: skip
        changed = columns.copy()
        changed[self.columns] = out.step("shifted", content, len(self.columns))
        return changed


def train(
    rows: TrainRows, fit_base: FitBaseLearner, params: Mapping[str, ParamValue], seed: int
) -> ScoreModel:
    """Train on shifted numeric columns; category codes, including proxies, are unchanged.

    New rows of an unknown group, or of one that did not occur in training, are not shifted.
    """
    del seed
    groups = row_groups(rows, NAME)
    columns = numeric_columns(rows.feature_schema, NAME)
    strength = share(params["strength"])
    known = groups.of_row >= 0
    shift = np.zeros((groups.system.n_groups + 1, len(columns)))
    shift[:-1] = strength * _distances(rows.X[:, columns], rows.weight * known, groups)
    change = Shifts(of_cell=groups.system.of_cell, columns=columns, shift=shift)
    return train_on_changed(rows, change, fit_base)


def _distances(X: Any, weight: NDArray[np.float64], groups: RowGroups) -> NDArray[np.float64]:
    """Return group mean minus overall mean of the non-missing values; 0 where a group has none."""
    found = ~np.isnan(X)
    values = np.where(found, X, 0.0).astype(np.float64)
    n_groups = groups.system.n_groups
    totals, masses = np.zeros((2, n_groups, X.shape[1]))
    for group in groups.present:
        of_group = np.where(groups.of_row == group, weight, 0.0)
        totals[group], masses[group] = of_group @ values, of_group @ found
    apart = _mean(totals, masses) - _mean(totals.sum(axis=0), masses.sum(axis=0))
    return np.where(masses > 0, apart, 0.0)


def _mean(total: NDArray[np.float64], mass: NDArray[np.float64]) -> NDArray[np.float64]:
    mean: NDArray[np.float64] = np.divide(total, mass, out=np.zeros_like(total), where=mass > 0)
    return mean


MITIGATOR = Mitigator(
    name=NAME,
    stage="pre",
    needs_sensitive_at_predict=True,
    serves=PARITY,
    cost="cheap",
    opt_in=True,
    ratio=1.0,
    train=train,
)
