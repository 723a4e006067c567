"""Group-unaware class factors that favour rare classes (logit adjustment).

Accuracy is maximised by the most likely class. For objectives that weight classes equally
(balanced accuracy, macro F1) the rule predicts the class of the largest ``p_c(x) / P(c) **
strength``; strength 1 is optimal for balanced accuracy with calibrated scores. As scores may be
miscalibrated, the strength is searched on the rows, among those within the tolerance. This is the
multiclass counterpart of ``common_threshold``; groups are unused. With a matrix of costs,
the factors that weight each class by the cost of its errors are tried too.

Source: Menon, Jayasumana, Rawat, Jain, Veit, Kumar, *Long-tail learning via logit adjustment*,
ICLR 2021, arXiv 2007.07314, equation 9 (there ``tau`` is the strength).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from fairautoml.metrics import BoundConstraint, ClassCounts, Metric
from fairautoml.mitigators._base import (
    FittedRules,
    Goal,
    Mitigator,
    RuntimeRule,
    ScoreRows,
    offsets,
    scales,
)
from fairautoml.mitigators._group_program import rules_within
from fairautoml.mitigators._multiclass import COST, class_offsets, cost_gains
from fairautoml.mitigators._thresholds import per_unit
from fairautoml.records import Floats

STRENGTHS = np.linspace(0.0, 1.5, 16)
"""From the most likely class to beyond the optimum for calibrated scores."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ClassFactors(RuntimeRule):
    """Choose the class whose probability times its factor is largest."""

    factors: tuple[float, ...]  # one per class, positive

    needs_sensitive: ClassVar[bool] = False

    def to_dict(self) -> dict[str, Any]:
        factors = np.array([self.factors])
        return class_offsets((), factors, np.zeros_like(factors))

    def describe(self) -> str:
        return "all: " + " ".join(f"x{factor:.3f}" for factor in self.factors)


def fit_rules(rows: ScoreRows, goal: Goal, tolerances: Sequence[float]) -> FittedRules:
    """Return the factors of the best strength for every tolerance, the weakest of ties.

    Without rows of some class the objective is undefined, and there is no rule.
    """
    if not goal.objective.moves_threshold:
        return []
    wanted: Sequence[float | None] = tolerances if goal.targets else (None,)
    n_classes = rows.scores.shape[1]
    mass = np.bincount(rows.y, weights=rows.weight, minlength=n_classes).astype(np.float64)
    if (mass <= 0).any():
        return [(tolerance, None) for tolerance in wanted]
    found = [_factors(mass, float(strength)) for strength in STRENGTHS]
    if goal.objective.name == COST:
        found.append(ClassFactors(factors=tuple(cost_gains(goal.objective, n_classes).tolist())))
    worth = np.array([_value(rule, rows, goal.objective) for rule in found])
    if not goal.targets:
        return [(None, found[int(worth.argmax())])]
    gap = np.array([_gap(rule, rows, goal.targets) for rule in found])
    return rules_within(gap, worth, tolerances, found.__getitem__)


def _factors(mass: Floats, strength: float) -> ClassFactors:
    factors = (mass.max() / mass) ** strength
    return ClassFactors(factors=tuple(factors.tolist()))


def _value(rule: ClassFactors, rows: ScoreRows, objective: Metric) -> float:
    one_group = np.zeros(len(rows.y), dtype=np.int64)
    chosen = rule.decide(rows.scores, one_group)
    counts = ClassCounts.from_rows(one_group, rows.y, chosen, rows.weight, n_groups=1)
    return objective.utility(objective.value(counts))


def _gap(rule: ClassFactors, rows: ScoreRows, targets: Sequence[BoundConstraint]) -> float:
    """Return the largest gap per unit of tolerance, infinite where one is undefined."""
    known = rows.take(rows.cells >= 0)
    chosen = rule.decide(known.scores, known.cells)
    counts = ClassCounts.from_rows(
        known.cells, known.y, chosen, known.weight, n_groups=rows.n_cells
    )
    worst = 0.0
    for target, scale, offset in zip(targets, scales(targets), offsets(targets), strict=True):
        gap = target.gap(counts)
        if gap is None:
            return np.inf
        worst = max(worst, float(per_unit(np.array(gap), scale, offset)))
    return worst


MITIGATOR = Mitigator(
    name="logit_adjustment",
    stage="post",
    needs_sensitive_at_predict=False,
    overlapping=True,
    tasks=frozenset({"multiclass"}),
    fit_rules=fit_rules,
)
