"""Compare the deployed model with a mixture of experts that adapts to each window."""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from fairautoml.data.dataset import FeatureSchema
from fairautoml.exceptions import InputError
from fairautoml.learners._mixture import Fairness
from fairautoml.learners.mixture_of_experts import MixtureOfExperts
from fairautoml.metrics import BoundConstraint
from fairautoml.metrics.groups import GroupSystem
from fairautoml.metrics.rates import SELECTION
from fairautoml.monitoring.result import Adaptation
from fairautoml.monitoring.watch import WatchedRows

SMALLEST = 1e-6
"""Probabilities are at least this, so that the log loss is finite."""
BOUND = 0.05
"""Gap that calls for another expert if the model has no constraint."""


def adapted(
    rows: WatchedRows,
    windows: tuple[str, ...],
    matrix: NDArray[np.floating],
    schema: FeatureSchema,
    system: GroupSystem,
    targets: tuple[BoundConstraint, ...],
    seed: int,
) -> tuple[Adaptation, ...]:
    """Return loss and gap of both models in each window, before the mixture learns from it.

    References
    ----------
    Sharma, Henderson, Ghosh, "FEAMOE: Fair, explainable and adaptive mixture of experts", IJCAI
    2023 (arXiv 2210.04995).
    """
    if rows.y is None or rows.score is None or schema.sparse:
        raise InputError("adapt=True needs true labels (y) and a dense table.")
    fairness: Fairness = "demographic_parity"
    if targets and SELECTION not in targets[0].metric.compared:
        fairness = "equalized_odds"
    limit = targets[0].limit if targets else BOUND
    mixture = MixtureOfExperts(
        {"fairness": fairness, "gap_limit": limit, "window": len(rows.window)}, schema, seed=seed
    )
    return tuple(_adapted(rows, windows, matrix, rows.codes(system), mixture, fairness))


def _adapted(
    rows: WatchedRows,
    windows: tuple[str, ...],
    matrix: NDArray[np.floating],
    codes: NDArray[np.int64],
    mixture: MixtureOfExperts,
    fairness: Fairness,
) -> Iterator[Adaptation]:
    y, score = np.asarray(rows.y), np.asarray(rows.score)
    for at, name in enumerate(windows):
        here = rows.window == at
        if len(np.unique(y[here])) < 2:
            continue
        known = mixture.monitor_.history if hasattr(mixture, "monitor_") else []
        before = len(known)
        groups = np.where(codes[here] >= 0, codes[here], None)
        mixture.partial_fit(matrix[here], y[here], groups)
        history = mixture.monitor_.history
        if len(history) == before:
            # The first window trains the first expert.
            continue
        p = np.clip(score[here], SMALLEST, 1 - SMALLEST)
        yield Adaptation(
            window=name,
            loss=float(-np.mean(np.where(y[here] == 1, np.log(p), np.log1p(-p)))),
            gap=_gap(codes[here], y[here], rows.decision[here], fairness),
            adaptive_loss=history[-1].loss,
            adaptive_gap=history[-1].gap,
            n_experts=mixture.model_.n_experts,
        )


def _gap(
    codes: NDArray[np.int64],
    y: NDArray[np.int8],
    decision: NDArray[np.int8],
    fairness: Fairness,
) -> float | None:
    """Return the largest difference of selection rates between groups (within labels for odds)."""
    parts = [codes >= 0]
    if fairness == "equalized_odds":
        parts = [(codes >= 0) & (y == label) for label in (0, 1)]
    found = []
    for part in parts:
        groups = np.unique(codes[part])
        if len(groups) > 1:
            found.append(np.ptp([decision[part & (codes == group)].mean() for group in groups]))
    return float(max(found)) if found else None
