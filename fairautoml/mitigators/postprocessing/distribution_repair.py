"""Regression predictions moved towards the common distribution of all groups.

A prediction at level q of its group moves towards ``sum_b p_b F_b^-1(q)``, the Wasserstein
barycentre, by the fraction ``strength``: strength 1 gives the regression of least squared change
whose predictions have the same distribution in all groups. For each tolerance the smallest
sufficient strength on the rows is chosen. Equal predictions of a group stay equal.

Source: Chzhen, Denis, Hebiri, Oneto, Pontil, *Fair Regression with Wasserstein Barycenters*, arXiv
2006.07286; the partial repair: Le Gouic, Loubes, Rigollet, *Projection to Fairness in Statistical
Learning*, arXiv 2005.11720.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from fairautoml.metrics import GroupValues, Undefined
from fairautoml.mitigators._base import FittedRules, Goal, Mitigator, ScoreRows, scales
from fairautoml.mitigators._group_program import Moves, NumberRepair, Parts
from fairautoml.mitigators._thresholds import per_unit
from fairautoml.records import Floats
from fairautoml.runtime._rules import full_repair

KNOTS = 1000
"""Quantiles stored for the distribution of a group; smaller groups store all predictions."""

STRENGTHS = np.linspace(0.0, 1.0, 41)
"""Strengths that are tried."""


def fit_rules(rows: ScoreRows, goal: Goal, tolerances: Sequence[float]) -> FittedRules:
    """Return the weakest sufficient repair for every tolerance, else the full repair.

    Rows without a group, and groups without rows of positive weight, are not changed.
    """
    if not goal.targets:
        return []
    moves = _moves(rows, Parts.of(goal.targets, rows.n_cells))
    gaps = _gaps(rows, goal, moves)
    found: FittedRules = []
    for tolerance in tolerances:
        kept = np.flatnonzero(gaps <= tolerance)
        strength = float(STRENGTHS[kept[0]]) if len(kept) else 1.0
        found.append((tolerance, NumberRepair(strength=strength, moves=moves)))
    return found


def _gaps(rows: ScoreRows, goal: Goal, moves: Moves) -> Floats:
    """Return the gap of each strength per unit of tolerance, shape (n_strengths,)."""
    wide = rows.scores.astype(np.float64)
    full = full_repair(NumberRepair(strength=1.0, moves=moves).to_dict(), wide, rows.cells)
    found = np.zeros(len(STRENGTHS))
    for at, strength in enumerate(STRENGTHS):
        values = GroupValues.from_rows(
            rows.cells, rows.y, wide + strength * full, rows.weight, n_groups=rows.n_cells
        )
        for target, factor in zip(goal.targets, scales(goal.targets), strict=True):
            # Groups without rows are excluded; with fewer than two other groups the gap cannot be
            # bounded on these rows.
            value = target.metric.value(target.merged(values).of_present())
            gap = 0.0 if isinstance(value, Undefined) else value
            found[at] = max(found[at], float(per_unit(np.array(gap), factor)))
    return found


def _moves(rows: ScoreRows, parts: Parts) -> Moves:
    part = parts.at(rows.cells)
    ranked = [_ranked(rows, part == at) for at in range(len(parts.labels))]
    mass = np.array([total for _, _, total in ranked])
    knots: list[Floats] = []
    steps: list[Floats] = []
    for values, levels, _ in ranked:
        common = np.zeros(len(values))
        for others, at, total in ranked:
            if len(others):
                common += total / mass.sum() * np.interp(levels, at, others)
        knots.append(values)
        steps.append(common - values)
    return Moves(knots=tuple(knots), steps=tuple(steps), parts=parts)


def _ranked(rows: ScoreRows, inside: NDArray[np.bool_]) -> tuple[Floats, Floats, float]:
    """Return distinct predictions of a group, the level of each, and the group's weight."""
    inside = inside & (rows.weight > 0)
    values, at = np.unique(rows.scores[inside].astype(np.float64), return_inverse=True)
    held = np.bincount(at, weights=rows.weight[inside], minlength=len(values))
    total = float(held.sum())
    if not len(values):
        return values, np.zeros(0), 0.0
    levels = (np.cumsum(held) - held / 2) / total
    if len(values) > KNOTS:
        kept = np.unique(np.searchsorted(levels, np.linspace(levels[0], levels[-1], KNOTS)))
        values, levels = values[kept], levels[kept]
    return values, levels, total


MITIGATOR = Mitigator(
    name="distribution_repair",
    stage="post",
    needs_sensitive_at_predict=True,
    serves=frozenset({"mean_difference", "distribution_gap"}),
    tasks=frozenset({"regression"}),
    fit_rules=fit_rules,
)
"""Overlapping groups are not supported: a row would have one level per group."""
