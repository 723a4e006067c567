"""Training against worst-case row weights: robust to an unknown test distribution.

Source: Du, Xu, Wu and Tong, *Fairness-aware Agnostic Federated Learning*, 2020, arXiv 2010.05057:
a learner plays against an adversary that chooses row weights from a class. Ours: any learner;
exact, averaged responses of the adversary, because plain best responses cycle; fairness by weights
that make label and group independent under the adversary's weights (Kamiran and Calders, KAIS
2012) where the paper adds a penalty to the loss of a linear model.

Adversarial weightings are ``w = basis @ alpha`` with ``low <= alpha <= high`` and a mean of 1. The
worst one solves a fractional knapsack problem, exactly by filling up the coefficients of the
highest loss first (Dantzig, "Discrete-variable extremum problems", Operations Research 1957).
Weightings by kernels are those of the paper; weights per segment are ours.
"""

import time
import warnings
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from sklearn.cluster import KMeans
from sklearn.exceptions import ConvergenceWarning

from fairautoml.data.encoders import fit_design
from fairautoml.data.splits import row_draws
from fairautoml.exceptions import ParameterError
from fairautoml.mitigators._base import FitBaseLearner, Mitigator, ScoreModel, TrainRows
from fairautoml.mitigators._training import PARITY, refuse_sparse, row_groups
from fairautoml.mitigators.inprocessing._reductions import mixture_of
from fairautoml.mitigators.preprocessing.reweighing import reweighed
from fairautoml.records import Floats, ParamValues
from fairautoml.threads import one_thread

NAME = "agnostic_reweighting"

SLACK = 1e-9
"""Tolerance of the bounds that must allow a mean of 1."""

N_REFERENCES = 30
"""Reference points of the kernels, as many as in the paper."""

LOOKED_AT = 20_000
"""Rows of the subsample that fits the clusters and the typical distance."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Adversary:
    """The class of admissible row weightings."""

    basis: Floats  # shape (n_rows, n_coefficients): non-negative
    share: Floats  # shape (n_rows,): share of each row in the plain mean; 1 in total
    low: float  # bounds of each coefficient, ``0 <= low <= high``
    high: float

    def __post_init__(self) -> None:
        least, most = (float(bound * self._mass.sum()) for bound in (self.low, self.high))
        if not (0 <= self.low <= self.high and least <= 1 + SLACK and most >= 1 - SLACK):
            msg = (
                f"low={self.low}, high={self.high}: with coefficients within these bounds the "
                f"mean weight lies between {least:.4g} and {most:.4g}, but it must be 1. "
                "Lower low or raise high"
            )
            raise ParameterError(msg)

    @property
    def _mass(self) -> Floats:
        """Contribution of one unit of each coefficient to the mean weight."""
        return self.share @ self.basis

    def worst(self, loss: Floats) -> Floats:
        """Return the weighting with the largest mean loss, shape (n_rows,)."""
        mass = self._mass
        used = np.flatnonzero(mass > 0)
        per_unit = (self.share * loss) @ self.basis[:, used] / mass[used]
        order = used[np.argsort(-per_unit, kind="stable")]
        room = (self.high - self.low) * mass[order]
        before = np.cumsum(room) - room
        added = np.clip(1 - self.low * mass.sum() - before, 0.0, room)
        alpha = np.full(len(mass), self.low)
        alpha[order] += added / mass[order]
        return self.basis @ alpha


def kernel_adversary(distances: Floats, share: Floats, *, sigma: float, bound: float) -> Adversary:
    """Return weightings that are sums of Gaussian bumps around reference points."""
    basis = np.exp(-distances / (2 * sigma**2))
    return Adversary(basis=basis, share=share, low=0.0, high=bound)


def segment_adversary(
    segment: NDArray[np.integer], share: Floats, *, low: float, high: float
) -> Adversary:
    """Return weightings that are constant within each segment."""
    basis = (segment[:, None] == np.arange(int(segment.max()) + 1)).astype(np.float64)
    return Adversary(basis=basis, share=share, low=low, high=high)


def train(rows: TrainRows, fit_base: FitBaseLearner, params: ParamValues, seed: int) -> ScoreModel:
    """Train in rounds on the running mean of the adversary's worst-case weights.

    The first training uses the plain weights. Ends early when one more training would exceed the
    time left.
    """
    groups = row_groups(rows, NAME)
    refuse_sparse(rows.feature_schema, NAME)
    strength = float(params["strength"])
    if strength > 0:
        groups.require_labels(NAME)
    adversary = _adversary(rows, params, seed)
    factor = np.ones(len(rows.y))
    models: list[ScoreModel] = []
    start = time.perf_counter()
    for turn in range(1, int(params["rounds"]) + 1):
        weight = reweighed(rows, groups, rows.weight * factor, strength)
        models.append(fit_base(replace(rows, weight=weight)))
        left, each = fit_base.seconds_left(), (time.perf_counter() - start) / turn
        if turn == params["rounds"] or (left is not None and left < each):
            break
        worst = adversary.worst(_losses(models[-1], rows))
        factor = factor + (worst - factor) / turn
    last = params["predictor"] == "last"
    return models[-1] if last else mixture_of(models, np.ones(len(models)))


def _losses(model: ScoreModel, rows: TrainRows) -> Floats:
    scores = model.scores(rows.X, rows.cells).astype(np.float64)
    said = np.where(rows.y == 1, scores, 1 - scores)
    # Clipped, so that the log loss stays finite.
    return -np.log(np.clip(said, 1e-6, 1 - 1e-6))


def _adversary(rows: TrainRows, params: ParamValues, seed: int) -> Adversary:
    plain = rows.weight / rows.weight.sum()
    matrix = fit_design(rows.X, rows.feature_schema, rows.weight).matrix(rows.X)
    # The rows with weight, in an order that depends only on seed and content.
    order = np.lexsort((rows.weight, rows.y, row_draws(rows.X, seed)))
    drawn = order[rows.weight[order] > 0]
    if params["adversary"] == "segments":
        segment = _segments(rows, matrix, drawn[:LOOKED_AT], int(params["n_segments"]), seed)
        low, high = float(params["low"]), float(params["high"])
        return segment_adversary(segment, plain, low=low, high=high)
    # Sums by row instead of a matrix product, whose rounding depends on the number of rows.
    distances = np.stack(
        [((matrix - matrix[one]) ** 2).sum(axis=1) for one in drawn[:N_REFERENCES]], axis=1
    )
    typical = float(np.sqrt(np.median(distances[rows.weight > 0]))) or 1.0
    sigma, bound = float(params["width"]) * typical, float(params["bound"])
    # Narrow kernels have little mass; the bound is then relative to the factor of a mean of 1.
    reach = float((plain @ np.exp(-distances / (2 * sigma**2))).sum())
    return kernel_adversary(distances, plain, sigma=sigma, bound=bound * max(1.0, 1.0 / reach))


def _segments(
    rows: TrainRows, matrix: Floats, at: NDArray[np.int64], n: int, seed: int
) -> NDArray[np.int64]:
    """Return the k-means cluster of each row, shape (n_rows,), from 0."""
    clusters = KMeans(n_clusters=min(n, len(at)), n_init=1, random_state=seed)
    with one_thread(), warnings.catch_warnings():
        # With fewer distinct rows than clusters, some segments stay empty.
        warnings.simplefilter("ignore", ConvergenceWarning)
        clusters.fit(matrix[at], sample_weight=rows.weight[at])
        return clusters.predict(matrix).astype(np.int64)


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
