"""Group thresholds with low-variance rates, for limits that must hold in small groups.

The gap of a rule on new rows is its true gap plus noise, and a rate ``r`` of ``n`` rows has
variance ``r (1 - r) / n``. In small groups the most accurate rule within the limit often violates
it on new rows, while a rule that predicts the same class for most rows of every group does not.
A part of the limit is therefore reserved for noise, the rest for the gap, and the most accurate
thresholds are selected among those whose rates have a small enough variance. This is a chance
constraint (Charnes, Cooper, *Chance-Constrained Programming*, Management Science 6, 1959) on the
difference of two rates; bounding the noise of both groups in advance keeps their thresholds
separable.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
from numpy.typing import NDArray
from scipy.stats import norm

from fairautoml.metrics._table import Rate, effective_rows
from fairautoml.mitigators import Goal, Mitigator, RateMetrics, ScoreRows
from fairautoml.mitigators._group_program import ThresholdProblem, build_problem
from fairautoml.mitigators._thresholds import ThresholdCandidates
from fairautoml.records import Rule

LOW_VARIANCE = "low_variance_thresholds"
"""Name of the post-processor."""

QUIETED = "group_thresholds"
"""Post-processor that must be among the mitigators: it allows thresholds per group."""

PARTS = 8
"""Number of parts of a limit that are shared between gap and noise."""

SERVES = RateMetrics(difference="acceptance", ratio="acceptance")
"""Fairness metrics whose rates are 0 or 1, hence without noise, for constant predictors."""


def shared_limits(limit: float) -> tuple[float, ...]:
    """Return the gaps that reserve 1, 2, ... parts of a limit for noise, falling to 0."""
    return tuple((limit * np.arange(PARTS - 1, -1, -1) / PARTS).tolist())


def low_variance_thresholds(
    confidence: float, audit_ratio: float, design_effect: float = 1.0
) -> Mitigator:
    """Return the post-processor that reserves ``limit - tolerance`` for noise; no plug-in."""
    noise = Noise(
        quantile=float(norm.ppf((1.0 + confidence) / 2.0)),
        worse=design_effect * (1.0 + 1.0 / audit_ratio),
    )
    return Mitigator(
        name=LOW_VARIANCE,
        stage="post",
        needs_sensitive_at_predict=True,
        serves=SERVES,
        fit_rules=partial(fit_low_variance, noise=noise),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Noise:
    """Noise of the difference of two rates."""

    quantile: float  # number of standard errors that must fit into the reserve, above 0
    # variance on search and new rows together over that on search rows alone, above 1
    worse: float

    def variance(self, room: float, n_rows: NDArray[np.float64]) -> float:
        """Return the largest variance of a decision that fits, by the two smallest groups."""
        per_variance = float((1.0 / np.sort(n_rows)[:2]).sum()) * self.worse
        return (room / self.quantile) ** 2 / per_variance


def fit_low_variance(
    rows: ScoreRows, goal: Goal, tolerances: Sequence[float], noise: Noise
) -> list[tuple[float, Rule | None]]:
    """Return thresholds of low variance for every tolerance, None where ordinary ones suffice."""
    problem = build_problem(rows, goal)
    cuts = problem.cuts(problem.shrunk(rows, goal))
    by_label = _rows_by_label(rows, problem)
    found: list[tuple[float, Rule | None]] = []
    for tolerance in tolerances:
        rule, quiet = None, _quiet(cuts, problem, by_label, tolerance, noise)
        if quiet is not None:
            (picks,) = problem.deterministic(quiet, [tolerance])
            rule = None if picks is None else problem.rule(quiet, picks)
        found.append((tolerance, rule))
    return found


def _rows_by_label(rows: ScoreRows, problem: ThresholdProblem) -> NDArray[np.float64]:
    """Return the effective rows of every group by label, shape (n_groups, 2)."""
    known = problem.groups >= 0
    slot = problem.groups[known].astype(np.int64) * 2 + rows.y[known]
    n_groups = problem.system.n_groups
    return effective_rows(slot, rows.weight[known], 2 * n_groups).reshape(n_groups, 2)


def _quiet(
    cuts: Sequence[ThresholdCandidates],
    problem: ThresholdProblem,
    by_label: NDArray[np.float64],
    tolerance: float,
    noise: Noise,
) -> list[ThresholdCandidates] | None:
    """Return the thresholds with low-variance rates, or None if all have."""
    kept = [np.ones(len(of_group.thresholds), dtype=bool) for of_group in cuts]
    for target, scale in zip(problem.targets, problem.scale, strict=True):
        room = max(0.0, target.limit - scale * tolerance)
        for rate in target.metric.rates:
            if not rate.is_acceptance:
                msg = f"{target.metric.name} compares {rate}, which has noise at every cut"
                raise ValueError(msg)
            behind = _rows_behind(by_label, rate)
            if np.count_nonzero(behind) < 2:
                continue
            most = noise.variance(room, behind[behind > 0])
            for keep, of_group in zip(kept, cuts, strict=True):
                if of_group.has(rate):
                    keep &= _variance(of_group.rate(rate), target.metric.form) <= most
    if all(keep.all() for keep in kept):
        return None
    return [
        replace(of_group, thresholds=of_group.thresholds[keep], accepted=of_group.accepted[keep])
        for keep, of_group in zip(kept, cuts, strict=True)
    ]


def _rows_behind(by_label: NDArray[np.float64], rate: Rate) -> NDArray[np.float64]:
    """Return the effective rows in the denominator of a rate, shape (n_groups,)."""
    return by_label.sum(axis=1) if rate.label is None else by_label[:, rate.label]


def _variance(rate: NDArray[np.float64], form: str) -> NDArray[np.float64]:
    """Return the variance of one decision, or of its logarithm if the metric is a ratio."""
    if form == "difference":
        return rate * (1.0 - rate)
    # Delta method: the variance of log r is (1 - r) / r for one row.
    return np.divide(1.0 - rate, rate, out=np.full_like(rate, np.inf), where=rate > 0)
