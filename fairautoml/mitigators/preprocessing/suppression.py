"""Features that tell the group are left out.

How much a feature tells is the bias-corrected Cramer's V of feature and group. Leaving the
attribute out alone is the baseline "suppression" of Kamiran and Calders, "Data preprocessing
techniques for classification without discrimination", KAIS 2012; what is left may still tell the
group jointly.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fairautoml.data.dataset import FeatureSchema
from fairautoml.exceptions import InputError
from fairautoml.mitigators._base import FitBaseLearner, Mitigator, ScoreModel, TrainRows
from fairautoml.mitigators._training import ChangedColumns, associations, row_groups, share
from fairautoml.records import ParamValue

NAME = "suppression"

ROUNDING = 1e-9
"""A feature that is one-to-one with the group has V = 1 up to this."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Kept:
    """The features that stay."""

    columns: NDArray[np.int64]  # shape (n_kept,): their positions, rising

    def apply(self, X: Any, cells: NDArray[np.integer]) -> Any:
        """Return the rows with those features only."""
        del cells
        return X[:, self.columns]


def train(
    rows: TrainRows, fit_base: FitBaseLearner, params: Mapping[str, ParamValue], seed: int
) -> ScoreModel:
    """Train without the features that tell the group more than ``1 - strength``."""
    del seed
    groups = row_groups(rows, NAME)
    strength = share(params["strength"])
    if strength == 0:
        return fit_base(rows)
    related = associations(rows, groups)
    columns = np.flatnonzero(related <= 1 - strength - ROUNDING)
    if not len(columns):
        msg = (
            f"{NAME}: with strength={strength} none of the {len(related)} features is left; the "
            f"one "
            f"that tells least has an association of {related.min():.3f} with "
            f"{groups.system.name!r}. Use a strength below {1 - related.min():.3f}"
        )
        raise InputError(msg)
    kept = Kept(columns=columns)
    left = replace(
        rows,
        X=kept.apply(rows.X, rows.cells),
        feature_schema=_feature_schema(rows.feature_schema, columns),
    )
    return ChangedColumns(change=kept, model=fit_base(left))


def _feature_schema(feature_schema: FeatureSchema, columns: NDArray[np.int64]) -> FeatureSchema:
    sizes = dict(zip(feature_schema.categorical, feature_schema.cardinalities, strict=True))
    moved = {new: sizes[int(old)] for new, old in enumerate(columns) if int(old) in sizes}
    return replace(
        feature_schema,
        n_features=len(columns),
        categorical=tuple(moved),
        cardinalities=tuple(moved.values()),
    )


MITIGATOR = Mitigator(
    name=NAME,
    stage="pre",
    needs_sensitive_at_predict=False,
    cost="cheap",
    opt_in=True,
    ratio=1.0,
    train=train,
)
