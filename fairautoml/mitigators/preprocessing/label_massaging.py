"""Changes labels near the decision boundary until every group has the same share of label 1.

A ranker is trained on the original rows. In groups below the overall share the highest scored rows
of label 0 get label 1, in groups above it the lowest scored rows of label 1 get label 0; with two
groups the numbers are equal, as in the source. Source: Kamiran and Calders, "Data preprocessing
techniques for classification without discrimination", KAIS 2012, algorithms 1 and 2; several
groups, sample weights and the strength are ours.
"""

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from fairautoml.data.splits import row_draws
from fairautoml.mitigators._base import FitBaseLearner, Mitigator, ScoreModel, TrainRows
from fairautoml.mitigators._training import PARITY, RowGroups, row_groups
from fairautoml.records import Floats, ParamValues

NAME = "label_massaging"


def train(rows: TrainRows, fit_base: FitBaseLearner, params: ParamValues, seed: int) -> ScoreModel:
    """Train a ranker, change labels, train again.

    The ranker is the learner of the configuration, so any X that it supports is supported. Groups
    with a single label are handled like any other.
    """
    groups = row_groups(rows, NAME)
    strength = float(params["strength"])
    if strength == 0:
        return fit_base(rows)
    # By score, then by content, so that the changed rows do not depend on the row order.
    ties = row_draws(rows.X, seed)
    scores = fit_base(rows).scores(rows.X, rows.cells)
    rank = np.empty(len(scores), dtype=np.int64)
    rank[np.lexsort((rows.weight, ties, scores))] = np.arange(len(scores))
    return fit_base(replace(rows, y=massaged(rows, groups, rank, strength)))


def massaged(
    rows: TrainRows, groups: RowGroups, rank: NDArray[np.int64], strength: float
) -> NDArray[np.int8]:
    """Return the changed labels, shape (n_rows,)."""
    y = rows.y.copy()
    total, positive = groups.mass.sum(axis=1), groups.mass[:, 1]
    base_rates = np.divide(positive, total, out=np.zeros_like(total), where=total > 0)
    move = strength * (positive.sum() / groups.mass.sum() - base_rates) * total
    for group in groups.present:
        old = 0 if move[group] > 0 else 1
        mine = np.flatnonzero((groups.of_row == group) & (rows.y == old))
        nearest_first = mine[np.argsort(rank[mine])]
        if old == 0:
            nearest_first = nearest_first[::-1]
        n_changed = _how_many(rows.weight[nearest_first], abs(move[group]))
        y[nearest_first[:n_changed]] = 1 - old
    return y


def _how_many(weight: Floats, wanted: float) -> int:
    """Return the number of leading rows whose weight is closest to the wanted weight."""
    cumulated = np.concatenate([[0.0], np.cumsum(weight)])
    return int(np.argmin(np.abs(cumulated - wanted)))


MITIGATOR = Mitigator(
    name=NAME,
    stage="pre",
    needs_sensitive_at_predict=False,
    serves=PARITY,
    cost="cheap",
    opt_in=True,
    ratio=2.0,
    train=train,
)
