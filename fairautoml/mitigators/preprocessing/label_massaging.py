"""Labels next to the boundary are changed until every group has the same share of label 1.

A ranker is trained on the rows as they are. Groups below the overall share get their highest
scored zeros promoted to one, groups above it their lowest scored ones demoted to zero; with two
groups as many rows of each as in the source. Source: Kamiran and Calders, "Data preprocessing
techniques for classification without discrimination", KAIS 2012, algorithms 1 and 2; several
groups, sample weights and the strength are ours.
"""

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from fairautoml.data.splits import row_draws
from fairautoml.mitigators._base import FitBaseLearner, Mitigator, ScoreModel, TrainRows
from fairautoml.mitigators._training import PARITY, RowGroups, row_groups, share
from fairautoml.records import ParamValue

NAME = "label_massaging"


def train(
    rows: TrainRows, fit_base: FitBaseLearner, params: Mapping[str, ParamValue], seed: int
) -> ScoreModel:
    """Train a ranker, change labels, train again.

    The ranker is the candidate's own learner, so any X that it takes will do. A group that has
    only one label is no obstacle: it is moved towards the overall share like any other.
    """
    groups = row_groups(rows, NAME)
    strength = share(params["strength"])
    if strength == 0:
        return fit_base(rows)
    # By score, then by content: which rows are changed must not depend on their order.
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
    move = strength * (groups.base_rate - groups.base_rates) * groups.mass.sum(axis=1)
    for group in groups.present:
        old = 0 if move[group] > 0 else 1
        configs = np.flatnonzero((groups.of_row == group) & (rows.y == old))
        nearest_first = np.argsort(rank[configs])
        if old == 0:
            nearest_first = nearest_first[::-1]
        configs = configs[nearest_first]
        y[configs[: _how_many(rows.weight[configs], abs(move[group]))]] = 1 - old
    return y


def _how_many(weight: NDArray[np.float64], wanted: float) -> int:
    """Return the number of first rows whose weight comes nearest to the wanted one."""
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
