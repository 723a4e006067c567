"""One common threshold, moved until the gap is within the tolerance.

Does not use groups at decision time, so it is the threshold rule for
``sensitive_at_predict=False``; without constraints it tunes the threshold for objectives
other than accuracy. Its Pareto front is below that of ``group_thresholds``.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from fairautoml.metrics import BoundConstraint, GroupCounts, Metric
from fairautoml.metrics.groups import GroupSystem
from fairautoml.metrics.rates import values_of
from fairautoml.metrics.rates import worst as worst_of
from fairautoml.mitigators._base import FittedRules, Goal, Mitigator, ScoreRows, offsets, scales
from fairautoml.mitigators._group_program import CommonRule, rules_within
from fairautoml.mitigators._thresholds import ThresholdCandidates, build_cuts, per_unit, values_at
from fairautoml.records import Floats


def fit_rules(rows: ScoreRows, goal: Goal, tolerances: Sequence[float]) -> FittedRules:
    """Return the best common threshold for every tolerance, or the best one without any.

    A group without rows of a rate (no label 1 for the true positive rate, no rows at all) is
    excluded from that rate, and with fewer than two groups left the rate is not compared. A
    threshold at which a rate is undefined (precision of a group without accepted rows, a ratio
    without any accepted row) is not chosen.
    """
    if not goal.targets and not goal.objective.moves_threshold:
        return []
    overall = np.zeros(len(rows.y), dtype=np.int64)
    (cuts,) = build_cuts(rows, overall, 1)
    value = _values(rows, cuts, goal.objective)
    rules = [CommonRule(threshold=threshold) for threshold in cuts.thresholds.tolist()]
    if not goal.targets:
        return [(None, rules[value.argmax()])]
    gap = _gaps(rows, cuts, goal.targets)
    return rules_within(gap, value, tolerances, rules.__getitem__)


def _values(rows: ScoreRows, cuts: ThresholdCandidates, objective: Metric) -> Floats:
    """Return the objective value of every cut; accuracy, if it does not depend on decisions."""
    one = float(rows.weight @ rows.y)
    if objective.moves_threshold and 0 < one < float(rows.weight.sum()):
        return values_at(cuts, objective)
    return cuts.accepted @ np.array([-1.0, 1.0])


def _gaps(
    rows: ScoreRows, cuts: ThresholdCandidates, targets: Sequence[BoundConstraint]
) -> Floats:
    """Return the largest gap per unit of tolerance at every cut, shape (n_cuts,)."""
    accepted = _accepted(rows, cuts)
    worst = np.zeros(len(cuts.thresholds))
    for target, scale, offset in zip(targets, scales(targets), offsets(targets), strict=True):
        tables = _tables(accepted, target.system.member)
        gap = (
            _by_rates(tables, target)
            if target.metric.rates
            else _by_value(tables, _tables(accepted, _overall(target.system)), target.metric)
        )
        np.maximum(worst, per_unit(gap, scale, offset), out=worst)
    return worst


def _accepted(rows: ScoreRows, cuts: ThresholdCandidates) -> Floats:
    """Return the weight accepted by cell, label and cut, shape (n_cells, 2, n_cuts)."""
    known = rows.cells >= 0
    if not known.all():
        rows = rows.take(known)
    # In descending order of the scores, each cut accepts the rows up to some position.
    order = rows.by_score
    falling = -rows.scores[order].astype(np.float64)
    up_to = np.searchsorted(falling, -cuts.thresholds, side="right")
    n_cuts = len(up_to)
    first_cut = np.repeat(np.arange(n_cuts), np.diff(up_to, prepend=0))
    slot = (rows.cells[order].astype(np.int64) * 2 + rows.y[order]) * n_cuts + first_cut
    mass = np.bincount(slot, weights=rows.weight[order], minlength=rows.n_cells * 2 * n_cuts)
    return mass.reshape(rows.n_cells, 2, n_cuts).cumsum(axis=2)


def _overall(system: GroupSystem) -> NDArray[np.bool_]:
    """Return the cells of the overall rate as one group."""
    inside = np.atleast_2d(system.member.any(axis=0))
    return np.ones_like(inside) if system.overlapping else inside


def _tables(accepted: Floats, member: NDArray[np.bool_]) -> Floats:
    """Return the group counts at every cut, shape (n_cuts, n_groups, 2, 2)."""
    yes = np.tensordot(member.astype(np.float64), accepted, axes=1)
    return np.moveaxis(np.stack([yes[:, :, -1:] - yes, yes], axis=2), 3, 0)


def _by_rates(tables: Floats, target: BoundConstraint) -> Floats:
    """Return the gap at every cut from the rates that the metric compares."""
    metric, (n_cuts, n_groups) = target.metric, tables.shape[:2]
    flat = GroupCounts(tables.reshape(-1, 2, 2))
    gap = np.zeros(n_cuts)
    for rate in metric.rates:
        rates = flat.rates(rate).reshape(n_cuts, n_groups)
        rates = rates[:, ~np.isnan(rates).all(axis=0)]
        if rates.shape[1] >= target.fewest_groups:
            apart = metric.gap(worst_of(rates[None], metric.form))
            np.maximum(gap, np.where(np.isnan(apart), np.inf, apart), out=gap)
    return gap


def _by_value(tables: Floats, overall: Floats, metric: Metric) -> Floats:
    """Return the gap at every cut of a metric of the group counts as a whole."""
    gap = metric.gap(values_of(metric, tables, overall[:, 0]))
    return np.where(np.isnan(gap), np.inf, gap)


MITIGATOR = Mitigator(
    name="common_threshold",
    stage="post",
    needs_sensitive_at_predict=False,
    overlapping=True,
    fit_rules=fit_rules,
)
