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
    weight = reweighed(rows, groups, rows.weight, float(params["strength"]))
    return fit_base(replace(rows, weight=weight))


def reweighed(rows: TrainRows, groups: RowGroups, weight: Floats, strength: float) -> Floats:
    """Return the given weights of the rows, changed where the group is known; shape (n_rows,)."""
    known = groups.of_row >= 0
    slot = (groups.of_row[known], rows.y[known])
    mass = np.zeros_like(groups.mass)
    np.add.at(mass, slot, weight[known])
    changed = weight.copy()
    changed[known] *= 1 + strength * (independence_factors(mass)[slot] - 1)
    return changed


def independence_factors(mass: Floats) -> Floats:
    """Return ``P(group) P(label) / P(group, label)``, shape (n_groups, 2), 1 for empty cells."""
    expected = np.outer(mass.sum(axis=1), mass.sum(axis=0)) / mass.sum()
    return np.divide(expected, mass, out=np.ones_like(mass), where=mass > 0)


MITIGATOR = Mitigator(
    name=NAME,
    stage="pre",
    needs_sensitive_at_predict=False,
    serves=PARITY,
    cost="cheap",
    opt_in=True,
    train=train,
)
