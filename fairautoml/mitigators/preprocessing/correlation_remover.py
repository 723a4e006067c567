"""Removes the linear relation of the features to the groups.

The least-squares projection of a column on the group indicators is its group means, so
``x' = x - strength (mean of the group - overall mean)``: at strength 1 every column has the same
mean in all groups. Categories and missing values are one-hot columns, so the column of the
sensitive attribute itself becomes constant. Other properties of the groups' distributions stay
different; only linear learners may train on the result. Source: Fairlearn's
``CorrelationRemover`` (Bird et al., "Fairlearn: a toolkit for assessing and improving fairness in
AI", 2020), with one indicator per group; the treatment of missing values and weights is ours.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fairautoml.data.dataset import FeatureSchema
from fairautoml.data.encoders import Design, fit_design
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

NAME = "correlation_remover"


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Shifts:
    """Shift of each column of the design matrix in each group."""

    design: Design  # encoded rows to numbers without gaps
    of_cell: NDArray[np.int32]  # shape (n_cells,): group of each finest cell
    shift: Floats  # shape (n_groups + 1, n_columns): subtracted from the columns

    def apply(self, X: NDArray[np.floating], cells: NDArray[np.integer]) -> NDArray[np.float32]:
        # Group -1 selects the last row.
        shift = self.shift[groups_of(self.of_cell, cells)]
        return (self.design.matrix(X) - shift).astype(np.float32)

    def dump(self, out: Dump, columns: Positions) -> Positions:
        content = {
            "design": self.design.portable(columns), "of_cell": self.of_cell, "shift": self.shift
        }  # fmt: skip
        return out.step("decorrelated", content, self.shift.shape[1])


def train(rows: TrainRows, fit_base: FitBaseLearner, params: ParamValues, seed: int) -> ScoreModel:
    """Train on the shifted columns of a design matrix.

    New rows of an unknown group, or of one that did not occur in training, are not shifted.
    """
    groups = row_groups(rows, NAME)
    refuse_sparse(rows.feature_schema, NAME)
    strength = float(params["strength"])
    if strength == 0:
        return fit_base(rows)
    design = fit_design(rows.X, rows.feature_schema, rows.weight)
    matrix = design.matrix(rows.X)
    shift = np.zeros((groups.system.n_groups + 1, matrix.shape[1]))
    shift[groups.present] = strength * _distances(matrix, rows.weight, groups)
    change = Shifts(design=design, of_cell=groups.system.of_cell, shift=shift)
    feature_schema = FeatureSchema(n_features=matrix.shape[1], linear_only=True)
    return train_on_changed(rows, change, fit_base, feature_schema)


def _distances(matrix: Floats, weight: Floats, groups: RowGroups) -> Floats:
    """Return the mean of each group that is present minus the overall mean."""
    known = groups.of_row >= 0
    means = [
        np.average(matrix[mine], axis=0, weights=weight[mine])
        for mine in (groups.of_row == group for group in groups.present)
    ]
    return np.stack(means) - np.average(matrix[known], axis=0, weights=weight[known])


MITIGATOR = Mitigator(
    name=NAME,
    stage="pre",
    needs_sensitive_at_predict=True,
    serves=PARITY,
    cost="cheap",
    opt_in=True,
    linear_only=True,
    train=train,
)
