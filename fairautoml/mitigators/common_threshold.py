"""One threshold for everybody, moved until the gap is within the tolerance.

Needs no group at decision time, so it is what remains of threshold moving when
``sensitive_at_predict=False``; it also tunes the threshold for balanced accuracy and F1 when
nothing is constrained. Its front lies below that of ``group_thresholds``.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from fairautoml.metrics import GroupCounts, Undefined
from fairautoml.mitigators._base import Goal, Mitigator, ScoreRows, Target, scales
from fairautoml.mitigators._cells import Cuts, build_cuts, gain_weights
from fairautoml.mitigators._rules import CommonRule
from fairautoml.trials import Rule

TUNABLE = frozenset({"balanced_accuracy", "f1"})
"""Objectives whose best threshold is not one half."""


def fit_rules(
    rows: ScoreRows, goal: Goal, tolerances: Sequence[float]
) -> list[tuple[float | None, Rule | None]]:
    """Return the best common threshold for every tolerance, or the best of all without any."""
    if not goal.targets and goal.objective not in TUNABLE:
        return []
    everybody = np.zeros(len(rows.y), dtype=np.int64)
    (cuts,) = build_cuts(rows, everybody, 1)
    gain = gain_weights(rows, goal.objective)
    value = cuts.accepted @ np.array([-gain[1], gain[0]])
    if not goal.targets:
        return [(None, CommonRule(threshold=float(cuts.thresholds[value.argmax()])))]
    gap = _gaps(rows, cuts, goal.targets)
    return [(t, _best(cuts, np.where(gap <= t, value, -np.inf))) for t in tolerances]


def _best(cuts: Cuts, value: NDArray[np.float64]) -> Rule | None:
    at = int(value.argmax())
    return None if value[at] == -np.inf else CommonRule(threshold=float(cuts.thresholds[at]))


def _gaps(rows: ScoreRows, cuts: Cuts, targets: Sequence[Target]) -> NDArray[np.float64]:
    """Return the largest gap per unit of tolerance at every cut, shape (n_cuts,)."""
    # Number of cuts that accept the row: the last k cuts do.
    rank = np.searchsorted(-cuts.thresholds, -rows.scores.astype(np.float64), side="left")
    n_cuts = len(cuts.thresholds)
    slot = (rows.cells.astype(np.int64) * 2 + rows.y) * n_cuts + np.minimum(rank, n_cuts - 1)
    size = rows.n_cells * 2 * n_cuts
    mass = np.bincount(slot, weights=rows.weight, minlength=size)
    accepted = mass.reshape(rows.n_cells, 2, n_cuts).cumsum(axis=2)
    refused = accepted[:, :, -1:] - accepted
    tables = np.stack([refused, accepted], axis=2)
    worst = np.zeros(n_cuts)
    for target, scale in zip(targets, scales(targets), strict=True):
        for at in range(n_cuts):
            counts = GroupCounts(tables[:, :, :, at])
            merged = counts.merged(target.system.of_cell, target.system.n_groups)
            value = target.metric.value(merged)
            gap = np.inf if isinstance(value, Undefined) else target.metric.gap(value)
            worst[at] = max(worst[at], gap / scale if scale > 0 else gap)
    return worst


MITIGATOR = Mitigator(
    name="common_threshold",
    stage="post",
    needs_sensitive_at_predict=False,
    fit_rules=fit_rules,
)
