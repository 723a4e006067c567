"""A constant added per group to bring the mean predictions of the groups closer.

For given group means, adding a constant per group is the change of least squares. All means move
towards the overall mean by the same fraction, the smallest one that meets the tolerance.

Source: Calders, Karim, Kamiran, Ali, Zhang, *Controlling Attribute Effect in Linear Regression*,
ICDM 2013 (the constraint on the means, here after training).
"""

from collections.abc import Sequence

import numpy as np

from fairautoml.metrics import BoundConstraint, GroupValues
from fairautoml.mitigators._base import FittedRules, Goal, Mitigator, ScoreRows, scales
from fairautoml.mitigators._group_program import Parts, ShiftRule
from fairautoml.records import Floats


def fit_rules(rows: ScoreRows, goal: Goal, tolerances: Sequence[float]) -> FittedRules:
    """Return the smallest shifts for every tolerance.

    Parts without rows of positive weight, and rows without a group, are not shifted.
    """
    if not goal.targets:
        return []
    parts = Parts.of(goal.targets, rows.n_cells)
    values = GroupValues.from_rows(
        parts.at(rows.cells), rows.y, rows.scores, rows.weight, n_groups=len(parts.labels)
    )
    means = values.means(values.prediction)
    known = ~np.isnan(means)
    inside = values.cells >= 0
    if not values.weight[inside].any():
        return [(tolerance, None) for tolerance in tolerances]
    overall = np.average(values.prediction[inside], weights=values.weight[inside])
    whole = np.where(known, overall - np.where(known, means, overall), 0.0)
    gaps = [_gap(values, target) for target in parts.goal(goal).targets]
    return [
        (tolerance, ShiftRule(shifts=_shifts(whole, gaps, goal, tolerance), parts=parts))
        for tolerance in tolerances
    ]


def _gap(values: GroupValues, target: BoundConstraint) -> float:
    """Return the largest difference of means between groups with rows."""
    merged = target.merged(values)
    means = merged.means(merged.prediction)
    known = means[~np.isnan(means)]
    return float(np.ptp(known)) if len(known) else 0.0


def _shifts(
    whole: Floats, gaps: Sequence[float], goal: Goal, tolerance: float
) -> tuple[float, ...]:
    """Return the shift of each part: the smallest fraction of the full shift that suffices."""
    limits = [tolerance * factor for factor in scales(goal.targets)]
    left = min(
        (limit / gap for limit, gap in zip(limits, gaps, strict=True) if gap > limit), default=1.0
    )
    return tuple(((1.0 - left) * whole).tolist())


MITIGATOR = Mitigator(
    name="mean_shift",
    stage="post",
    needs_sensitive_at_predict=True,
    serves=frozenset({"mean_difference"}),
    tasks=frozenset({"regression"}),
    fit_rules=fit_rules,
)
