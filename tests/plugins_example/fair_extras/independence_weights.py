from dataclasses import replace

import numpy as np

from fairautoml.mitigators import Mitigator


def train(rows, fit_base, params, seed):
    """Weight rows by P(group) P(label) / P(group, label) (Kamiran and Calders 2012)."""
    group = rows.cells + 1  # -1 is a row of unknown group
    mass = np.zeros((group.max() + 1, 2))
    np.add.at(mass, (group, rows.y), rows.weight)
    expected = mass.sum(axis=1)[group] * mass.sum(axis=0)[rows.y] / mass.sum()
    return fit_base(replace(rows, weight=rows.weight * expected / mass[group, rows.y]))


MITIGATOR = Mitigator(
    name="independence_weights",
    stage="pre",
    needs_sensitive_at_predict=False,
    cost="cheap",
    train=train,
)
