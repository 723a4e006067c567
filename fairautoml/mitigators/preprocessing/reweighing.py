"""Sample weights that make label and group independent.

``w' = w (1 + strength (P(group) P(label) / P(group, label) - 1))``; at strength 1 the weighted
share of label 1 is the same in every group. The total weights of groups and of labels are
unchanged at every strength. Source: Kamiran and Calders, "Data preprocessing techniques for
classification without discrimination", KAIS 2012, algorithm 3; the strength is ours.
"""

from dataclasses import replace

import numpy as np

from fairautoml.mitigators._base import FitBaseLearner, Mitigator, ScoreModel, TrainRows
from fairautoml.mitigators._training import PARITY, RowGroups, row_groups
from fairautoml.records import Floats, ParamValues

NAME = "reweighing"


def train(rows: TrainRows, fit_base: FitBaseLearner, params: ParamValues, seed: int) -> ScoreModel:
    """Train on reweighed rows; features are unused, so any kind of X is supported."""
    groups = row_groups(rows, NAME)
    groups.require_labels(NAME)
    strength = float(params["strength"])
    factor = 1 + strength * (independence_factors(groups.mass) - 1)
    return fit_base(replace(rows, weight=rows.weight * _by_row(rows, groups, factor)))


def independence_factors(mass: Floats) -> Floats:
    """Return ``P(group) P(label) / P(group, label)``, shape (n_groups, 2), 1 for empty cells."""
    expected = np.outer(mass.sum(axis=1), mass.sum(axis=0)) / mass.sum()
    return np.divide(expected, mass, out=np.ones_like(mass), where=mass > 0)


def _by_row(rows: TrainRows, groups: RowGroups, factor: Floats) -> Floats:
    known = groups.of_row >= 0
    of_row = np.ones(len(rows.y))
    of_row[known] = factor[groups.of_row[known], rows.y[known]]
    return of_row


MITIGATOR = Mitigator(
    name=NAME,
    stage="pre",
    needs_sensitive_at_predict=False,
    serves=PARITY,
    cost="cheap",
    opt_in=True,
    ratio=1.0,
    train=train,
)
