"""Removes proxy features of the group.

Features are scored by the bias-corrected Cramer's V of feature and group. Removing the sensitive
attribute alone is the baseline "suppression" of Kamiran and Calders, "Data preprocessing
techniques for classification without discrimination", KAIS 2012; the remaining features may still
reveal the group jointly.
"""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fairautoml.data.dataset import FeatureSchema
from fairautoml.exceptions import InputError
from fairautoml.mitigators._base import FitBaseLearner, Mitigator, ScoreModel, TrainRows
from fairautoml.mitigators._training import associations, row_groups, train_on_changed
from fairautoml.portable import Dump, Positions
from fairautoml.records import ParamValues

NAME = "suppression"

ROUNDING = 1e-9
"""Rounding tolerance of V = 1, for a feature that is one-to-one with the group."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Kept:
    """The selected features."""

    columns: NDArray[np.int64]  # shape (n_kept,): their positions, ascending

    def apply(self, X: Any, cells: NDArray[np.integer]) -> Any:
        return X[:, self.columns]

    def dump(self, out: Dump, columns: Positions) -> Positions:
        return columns[self.columns]


def train(rows: TrainRows, fit_base: FitBaseLearner, params: ParamValues, seed: int) -> ScoreModel:
    """Train without the features whose association with the group exceeds ``1 - strength``."""
    groups = row_groups(rows, NAME)
    strength = float(params["strength"])
    if strength == 0:
        return fit_base(rows)
    related = associations(rows, groups)
    columns = np.flatnonzero(related <= 1 - strength - ROUNDING)
    if not len(columns):
        msg = (
            f"{NAME}: with strength={strength} none of the {len(related)} features is left; the "
            f"weakest has an association of {related.min():.3f} with {groups.system.name!r}. "
            f"Use a strength below {1 - related.min():.3f}."
        )
        raise InputError(msg)
    feature_schema = _feature_schema(rows.feature_schema, columns)
    return train_on_changed(rows, Kept(columns=columns), fit_base, feature_schema)


def _feature_schema(feature_schema: FeatureSchema, columns: NDArray[np.int64]) -> FeatureSchema:
    sizes = feature_schema.n_codes
    moved = {new: sizes[int(old)] for new, old in enumerate(columns) if int(old) in sizes}
    return replace(
        feature_schema,
        n_features=len(columns),
        categorical=tuple(moved),
        cardinalities=tuple(moved.values()),
        numbered=tuple(n for n, old in enumerate(columns) if old in feature_schema.numbered),
    )


MITIGATOR = Mitigator(
    name=NAME,
    stage="pre",
    needs_sensitive_at_predict=False,
    cost="cheap",
    opt_in=True,
    train=train,
)
