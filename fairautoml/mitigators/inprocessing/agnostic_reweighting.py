"""Training against worst-case row weights: robust to an unknown test distribution.

Source: Du, Xu, Wu and Tong, *Fairness-aware Agnostic Federated Learning*, 2020, arXiv 2010.05057:
a learner plays against an adversary that chooses row weights from a class. Ours: any learner;
exact, averaged responses of the adversary, because plain best responses cycle; fairness by weights
that make label and group independent under the adversary's weights (Kamiran and Calders, KAIS
2012) where the paper adds a penalty to the loss of a linear model.
"""

import time
from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from fairautoml.mitigators._base import FitBaseLearner, Mitigator, ScoreModel, TrainRows
from fairautoml.mitigators._training import PARITY, RowGroups, refuse_sparse, row_groups, share
from fairautoml.mitigators.inprocessing._reductions import mixture_of
from fairautoml.mitigators.preprocessing.fair_representation import (
    Adversary,
    kernel_adversary,
    near_references,
    segment_adversary,
    segments_of,
)
from fairautoml.mitigators.preprocessing.reweighing import independence_factors
from fairautoml.records import ParamValue

NAME = "agnostic_reweighting"

SUREST = 1e-6
"""Probabilities are clipped by this much, so that the log loss stays finite."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Game:
    rows: TrainRows
    groups: RowGroups
    adversary: Adversary
    strength: float

    def train(self, factor: NDArray[np.float64], fit_base: FitBaseLearner) -> ScoreModel:
        """Train on rows weighted by the adversary, reweighted for fairness."""
        weight = self.rows.weight * factor
        known = self.groups.of_row >= 0
        slot = (self.groups.of_row[known], self.rows.y[known])
        mass = np.zeros_like(self.groups.mass)
        np.add.at(mass, slot, weight[known])
        weight[known] *= 1 + self.strength * (independence_factors(mass)[slot] - 1)
        return fit_base(replace(self.rows, weight=weight))

    def losses(self, model: ScoreModel) -> NDArray[np.float64]:
        scores = model.scores(self.rows.X, self.rows.cells).astype(np.float64)
        said = np.where(self.rows.y == 1, scores, 1 - scores)
        return -np.log(np.clip(said, SUREST, 1 - SUREST))


def train(
    rows: TrainRows, fit_base: FitBaseLearner, params: Mapping[str, ParamValue], seed: int
) -> ScoreModel:
    """Train in rounds on the running mean of the adversary's worst-case weights.

    The first training uses the plain weights. Ends early when one more training would exceed the
    time left.
    """
    groups = row_groups(rows, NAME)
    refuse_sparse(rows.feature_schema, NAME)
    strength = share(params["strength"])
    if strength > 0:
        groups.require_labels(NAME)
    adversary = _adversary(rows, params, seed)
    game = _Game(rows=rows, groups=groups, adversary=adversary, strength=strength)
    factor = np.ones(len(rows.y))
    models: list[ScoreModel] = []
    start = time.perf_counter()
    for turn in range(1, int(params["rounds"]) + 1):
        models.append(game.train(factor, fit_base))
        left = fit_base.seconds_left()
        if turn == params["rounds"] or (left is not None and left < _each(start, turn)):
            break
        worst = adversary.worst(game.losses(models[-1])).weight
        factor = factor + (worst - factor) / turn
    last = params["predictor"] == "last"
    return models[-1] if last else mixture_of(models, np.ones(len(models)))


def _each(start: float, turns: int) -> float:
    return (time.perf_counter() - start) / turns


def _adversary(rows: TrainRows, params: Mapping[str, ParamValue], seed: int) -> Adversary:
    plain = rows.weight / rows.weight.sum()
    if params["adversary"] == "segments":
        segment = segments_of(rows, int(params["n_segments"]), seed)
        low, high = float(params["low"]), float(params["high"])
        return segment_adversary(segment, plain, low=low, high=high)
    distances, typical = near_references(rows, seed)
    sigma, bound = float(params["width"]) * typical, float(params["bound"])
    # Narrow kernels have little mass; the bound is then relative to the factor of a mean of 1.
    reach = float((plain @ np.exp(-distances / (2 * sigma**2))).sum())
    return kernel_adversary(distances, plain, sigma=sigma, bound=bound * max(1.0, 1.0 / reach))


MITIGATOR = Mitigator(
    name=NAME,
    stage="in",
    needs_sensitive_at_predict=False,
    serves=PARITY,
    cost="costly",
    opt_in=True,
    ratio=20.0,
    train=train,
)
