"""Scores moved towards the common distribution of all groups, then one common threshold.

The common distribution is the Wasserstein barycentre of the groups' score distributions: a score
at level q of its group moves towards ``sum_b p_b F_b^-1(q)`` by the fraction ``strength``. With
strength 0 the scores are unchanged; with strength 1 all groups have the same distribution, so that
any threshold gives demographic parity. Strength and threshold are searched for each tolerance.

Source: Chzhen, Denis, Hebiri, Oneto, Pontil, *Fair Regression with Wasserstein Barycenters*, arXiv
2006.07286; the partial repair: Le Gouic, Loubes, Rigollet, *Projection to Fairness in Statistical
Learning*, arXiv 2005.11720.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from fairautoml.mitigators._base import FittedRules, Goal, Mitigator, RateMetrics, ScoreRows
from fairautoml.mitigators._group_program import (
    CommonRule,
    EquivalentRule,
    Ranked,
    Step,
    ThresholdProblem,
    build_problem,
    outcomes,
    rules_within,
)
from fairautoml.records import Floats, Rule

LEVELS = 400
"""Quantile steps at which the distributions are compared."""

STRENGTHS = np.linspace(0.0, 1.0, 21)
"""Strengths that are tried."""

ROUNDING = 1e-12
"""Distance at which a repaired score equals a value of the common distribution."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RepairRule(EquivalentRule):
    """Accept when the repaired score reaches one threshold.

    The repair keeps the order within a group.
    """

    strength: float  # fraction of the full repair, 0 to 1
    threshold: float  # on the repaired scores

    def describe(self) -> str:
        return (
            f"repaired by {self.strength:.2f}, then >= {self.threshold:.4f}; "
            f"on the scores {self.cuts.describe()}"
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Barycentre:
    """The common distribution, and the position of each group's scores in it."""

    # the common distribution at equally spaced levels, ascending; empty if no group has rows
    values: Floats  # shape (LEVELS + 1,)
    # per group the fully repaired scores of its rows, ascending
    moved: tuple[Floats, ...]

    @classmethod
    def of(cls, ranked: Sequence[Ranked]) -> "Barycentre":
        """Return the barycentre of the groups, each by its weight."""
        knots = [_quantiles(group) for group in ranked if len(group.scores)]
        mass = [group.totals.sum() for group in ranked if len(group.scores)]
        values = np.average(knots, axis=0, weights=mass) if knots else np.zeros(0)
        left = iter(knots)
        return cls(
            values=values,
            moved=tuple(
                _interpolated(group.scores, next(left), values)
                if len(group.scores)
                else group.scores
                for group in ranked
            ),
        )


def _quantiles(group: Ranked) -> Floats:
    """Return the lowest score whose cumulated weight reaches each level."""
    held = group.below.sum(axis=0)[1:]
    levels = np.linspace(0.0, held[-1], LEVELS + 1)
    # The tolerance absorbs the rounding of sums of weights.
    at = np.searchsorted(held, levels * (1 - 1e-12), side="left")
    return group.scores[np.minimum(at, len(held) - 1)]


def _interpolated(scores: Floats, knots: Floats, values: Floats) -> Floats:
    """Map knots to values by linear interpolation; a knot of several levels to their mean."""
    at, inverse, times = np.unique(knots, return_inverse=True, return_counts=True)
    mean = np.bincount(inverse, weights=values) / times
    return np.interp(scores, at, mean)


def fit_rules(rows: ScoreRows, goal: Goal, tolerances: Sequence[float]) -> FittedRules:
    """Return the best strength and threshold for every tolerance.

    A group without rows of positive weight is excluded and gets the neutral threshold, as do rows
    without a group. Equal scores of a group stay equal, so a group of equal scores is accepted or
    rejected as a whole.
    """
    if not goal.targets:
        return []
    problem = build_problem(rows, goal)
    repairs = _Repairs(problem.ranked(problem.shrunk(rows, goal)), problem)
    return rules_within(*repairs.outcomes(), tolerances, repairs.rule)


class _Repairs:
    """All combinations of strengths and thresholds on the repaired scores."""

    def __init__(self, ranked: tuple[Ranked, ...], problem: ThresholdProblem) -> None:
        self.ranked, self.problem = ranked, problem
        self.barycentre = Barycentre.of(ranked)
        more = np.union1d(self.barycentre.values - ROUNDING, [-np.inf, np.inf])
        # Ties go to the first choice: unrepaired scores and the default threshold.
        self.thresholds = np.append(problem.neutral, more)

    def outcomes(self) -> tuple[Floats, Floats]:
        """Return gap and gain, shape (n_strengths * n_thresholds,)."""
        choices = (
            np.stack([g.accepted_from(self.thresholds) for g in self._repaired(float(strength))])
            for strength in STRENGTHS
        )
        return outcomes(choices, self.ranked, self.problem)

    def _repaired(self, strength: float) -> list[Ranked]:
        return [
            replace(group, scores=(1 - strength) * group.scores + strength * moved)
            for group, moved in zip(self.ranked, self.barycentre.moved, strict=True)
        ]

    def rule(self, at: int) -> Rule:
        """Return one rule; strength 0 needs no groups."""
        which, where = divmod(at, len(self.thresholds))
        strength, threshold = float(STRENGTHS[which]), float(self.thresholds[where])
        if strength == 0:
            return CommonRule(threshold=threshold)
        cuts = [
            plain.cut(int(np.searchsorted(moved.scores, threshold)))
            if len(plain.scores)
            else self.problem.neutral
            for plain, moved in zip(self.ranked, self._repaired(strength), strict=True)
        ]
        return RepairRule(
            strength=strength,
            threshold=threshold,
            cuts=self.problem.thresholds([[Step(threshold=cut)] for cut in cuts]),
        )


MITIGATOR = Mitigator(
    name="score_repair",
    stage="post",
    needs_sensitive_at_predict=True,
    serves=RateMetrics(difference="selection", ratio="selection"),
    opt_in=True,
    fit_rules=fit_rules,
)
