"""Exact group thresholds from threshold candidates.

Every deterministic threshold of a group is one cut. The solvers only need the counts at the cuts,
so their running time does not depend on the number of rows.

Two groups: all pairs of cuts are evaluated, so the result is optimal over the cuts. More groups:
for a given lower end ``u`` of the interval that must contain all rates, each group is optimised
separately by a range maximum over its cuts, so the search is over ``u`` only. With one constrained
rate all relevant ``u`` are evaluated, and the result is optimal again. With several rates
(equalized odds, several metrics) or very many groups, a coarse grid is followed by scans along
one rate at a time. A minimum of a rate does not compare groups: it excludes cuts of each group.

A group without rows in the denominator of a rate (no label 1 for the true positive rate) is
excluded from that constraint, as in the linear program.
"""

import itertools
import math
from collections.abc import Sequence
from copy import copy
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fairautoml.metrics import BoundConstraint, GroupCounts, Metric
from fairautoml.metrics._table import Rate, effective_rows
from fairautoml.metrics.groups import GroupSystem
from fairautoml.metrics.rates import SELECTION
from fairautoml.mitigators._base import Goal, ScoreRows
from fairautoml.records import Floats

SLACK = 1e-12
"""Rounding tolerance of gaps."""

MAX_CUTS = 400
"""Cuts per group; the steps of both label rates then add up to at most 2/400."""

SHRINKAGE_ROWS = 2000.0
"""n0 of the label shrinkage alpha = n / (n + n0)."""

ENOUGH_ROWS = 20_000
"""Rows in every group-label cell from which observed labels alone give better rules."""

STEP = 1e-6
"""Share of the weight that is moved to differentiate an objective."""

FEW_ROWS = 1000
"""Rows below which labels are shrunk for demographic parity too."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ThresholdCandidates:
    """The thresholds of one group, from rejecting all rows to accepting all."""

    thresholds: Floats  # shape (n_cuts,): descending from +inf to -inf
    # weight accepted at each cut, of label 0 and of label 1
    accepted: Floats  # shape (n_cuts, 2)
    # labels without rows, although shrunk labels give them a weight
    lacks: frozenset[int] = frozenset()

    @property
    def totals(self) -> Floats:
        """Return the weight of label 0 and label 1 in the group."""
        return self.accepted[-1]

    @property
    def empty(self) -> bool:
        """Whether the group has no rows of positive weight."""
        return not self.totals.any()

    def has(self, rate: Rate) -> bool:
        """Return whether the group has rows in the denominator of the rate."""
        return rate.label not in self.lacks and self.mass(rate) > 0

    def mass(self, rate: Rate) -> float:
        """Return the denominator of a rate in this group."""
        zero, one = self.totals
        return float(zero + one if rate.label is None else self.totals[rate.label])

    @property
    def tables(self) -> Floats:
        """Return the table ``[label, decision]`` at every cut, shape (n_cuts, 2, 2)."""
        return np.stack([self.totals - self.accepted, self.accepted], axis=2)

    def rate(self, rate: Rate) -> Floats:
        """Return a group rate at every cut, shape (n_cuts,); 0 where its denominator is empty."""
        zero, one = self.accepted.T
        _, gain, rejected = rate.linear()
        top = gain[1] * one + rejected @ self.totals + gain[0] * zero
        mass = self.mass(rate)
        return top / mass if mass > 0 else np.zeros(len(top))


def build_cuts(
    rows: ScoreRows, groups: NDArray[np.integer], n_groups: int, most: int | None = MAX_CUTS
) -> tuple[ThresholdCandidates, ...]:
    """Return the threshold candidates of every group, at most ``most`` between its scores."""
    order = rows.by_score
    if not rows.weight.all():
        order = order[rows.weight[order] > 0]
    return tuple(_cuts_of(rows, part, most) for part in by_group(order, groups, n_groups))


def by_group(
    order: NDArray[np.integer], groups: NDArray[np.integer], n_groups: int
) -> list[NDArray[np.integer]]:
    """Return the rows of each group, in the given order; those of group -1 are left out."""
    # A small integer key uses the radix sort, three times as fast as sorting by both keys.
    small = groups[order].astype(np.min_scalar_type(-n_groups - 1))
    order = order[np.argsort(small, kind="stable")]
    edges = np.searchsorted(groups[order], np.arange(n_groups + 1))
    return [order[start:end] for start, end in itertools.pairwise(edges)]


def _cuts_of(rows: ScoreRows, order: NDArray[np.integer], most: int | None) -> ThresholdCandidates:
    """Cumulate from the highest score down; ties stay on one side of every cut."""
    score = rows.scores[order].astype(np.float64)
    weight, y = rows.weight[order], rows.y[order]
    cumulated = np.zeros((len(score) + 1, 2))
    np.cumsum(weight * (1 - y), out=cumulated[1:, 0])
    np.cumsum(weight * y, out=cumulated[1:, 1])
    last_of_score = np.flatnonzero(score[:-1] > score[1:]) + 1
    if most is not None and len(last_of_score) > most:
        # Equal steps in the sum of both label rates give rare labels as fine a grid as others.
        totals = np.maximum(cumulated[-1], np.finfo(float).tiny)
        mass = cumulated[last_of_score] @ (1 / totals)
        steps = np.linspace(0, mass[-1], most + 2)[1:-1]
        last_of_score = last_of_score[np.unique(np.searchsorted(mass, steps))]
    at = np.concatenate([[0], last_of_score, [len(score)]])
    above, below = score[last_of_score - 1], score[last_of_score]
    middle = (above + below) / 2
    # The midpoint of two adjacent floats may round down to the lower one.
    middle = np.where(middle > below, middle, above)
    thresholds = np.concatenate([[np.inf], middle, [-np.inf]])
    return ThresholdCandidates(thresholds=thresholds, accepted=cumulated[at])


def shrunk(rows: ScoreRows, goal: Goal, groups: NDArray[np.integer], n_groups: int) -> ScoreRows:
    """Return the rows with labels shrunk towards the scores, where that improves the rules.

    ``y~ = alpha y + (1 - alpha) score`` with ``alpha = n / (n + 2000)`` and n the effective sample
    size of the group; shrinkage keeps a rule from overfitting few labels.
    """
    by_label = any(set(target.metric.compared) - {SELECTION} for target in goal.targets)
    known = groups >= 0
    cell = groups[known].astype(np.int64) * 2 + rows.y[known]
    smallest = np.bincount(cell, minlength=2 * n_groups).min()
    if smallest >= ENOUGH_ROWS or (not by_label and len(rows.y) >= FEW_ROWS):
        return rows
    slot = np.where(known, groups, n_groups)
    effective = effective_rows(slot, rows.weight, n_groups + 1)
    alpha = (effective / (effective + SHRINKAGE_ROWS))[slot]
    return replace(rows, y=alpha * rows.y + (1 - alpha) * rows.scores)


def gain_weights(rows: ScoreRows, objective: Metric) -> tuple[float, float]:
    """Return the gain of a true and the cost of a false acceptance: ``(c1, c0)``, 2 in total.

    Accepting x gains ``c1 P(y=1|x) - c0 P(y=0|x)``; the best unconstrained threshold is
    ``c0 / (c0 + c1)``. They are the derivatives of the objective in the two counts at its best
    threshold, as in Dinkelbach (1967). Metrics that depend on the scores alone are treated as
    accuracy.
    """
    one = float(rows.weight @ rows.y)
    zero = float(rows.weight.sum()) - one
    if not objective.moves_threshold or one <= 0 or zero <= 0:
        return 1.0, 1.0
    (cuts,) = build_cuts(rows, np.zeros(len(rows.y), dtype=np.int64), 1)
    values = values_at(cuts, objective)
    at = int(values.argmax())
    table = cuts.tables[at]
    false, true = (_slope(objective, table, float(values[at]), label) for label in (0, 1))
    gain, cost = max(true, 0.0), max(-false, 0.0)
    total = gain + cost
    if not np.isfinite(total) or total == 0:
        return 1.0, 1.0
    # Rounded, so that the weights of a linear objective do not depend on the step.
    return round(2 * gain / total, 8), round(2 * cost / total, 8)


def _slope(objective: Metric, table: Floats, value: float, label: int) -> float:
    """Return the change of the objective per unit of accepted weight of a label."""
    step = STEP * table.sum() * (1 if table[label, 0] > 0 else -1)
    moved = table.copy()
    moved[label] += (-step, step)
    return (_utility(objective, moved) - value) / float(step)


def values_at(cuts: ThresholdCandidates, objective: Metric) -> Floats:
    """Return the objective, greater is better, at every cut; -inf where it is undefined."""
    return np.array([_utility(objective, table) for table in cuts.tables])


def _utility(objective: Metric, table: Floats) -> float:
    return objective.utility(objective.value(GroupCounts(table[None])))


def per_unit(gap: Floats, scale: float, offset: float = 0.0) -> Floats:
    """Return the tolerance that allows each gap: 0 without a gap, inf if none does."""
    if scale > 0:
        return np.where(gap <= SLACK, 0.0, (gap - offset) / scale) if offset else gap / scale
    return np.where(gap <= SLACK, 0.0, np.inf)


@dataclass(frozen=True, slots=True, kw_only=True)
class Floor:
    """Smallest value of a rate that every group of a system must reach."""

    rate: Rate
    system: GroupSystem
    offset: float  # added to the tolerance to give the largest distance of the rate from 1

    def least(self, tolerance: float) -> float:
        """Return the smallest rate allowed, at most 1."""
        return min(1.0, 1.0 - self.offset - tolerance)

    def tolerance(self, rates: Floats) -> Floats:
        """Return the tolerance that allows each rate; inf where it is undefined."""
        needed = per_unit(1.0 - rates, 1.0, self.offset)
        return np.where(np.isnan(needed), np.inf, needed)


def above_floors(
    cuts: ThresholdCandidates, floors: Sequence[Floor], tolerance: float
) -> NDArray[np.bool_]:
    """Return at which cuts a group reaches every floor, shape (n_cuts,).

    A group without the rows of a rate is excluded from its floor; a cut at which the rate is
    undefined (precision without accepted rows) does not reach it.
    """
    kept = np.ones(len(cuts.thresholds), dtype=np.bool_)
    for floor in floors:
        if cuts.has(floor.rate):
            kept &= floor.tolerance(floor.rate.values(cuts.tables)) <= tolerance + SLACK
    return kept


def limits_by_rate(
    targets: Sequence[BoundConstraint], scale: Sequence[float]
) -> tuple[tuple[Rate, str, float], ...]:
    """Return ``(rate, form, scale)`` of all constrained rates, the tightest scale for each."""
    found: dict[tuple[Rate, str], float] = {}
    for target, factor in zip(targets, scale, strict=True):
        for rate in target.metric.rates:
            key = (rate, target.metric.form)
            found[key] = min(factor, found.get(key, np.inf))
    return tuple((rate, form, factor) for (rate, form), factor in found.items())


CORNERS, MANY_GROUPS, FEWEST_CORNERS = 4096, 64, 256
"""Interval corners evaluated at once; the result is exact if there are no more. Fewer for more
groups, at least the last number."""

FIRST = 300
"""Number of distinct values of the first rate among the corners, for several rates."""

NEAR = 60
"""Corners on either side of the current one that a scan along one rate evaluates."""

SCAN = 400
"""Corners over the whole range that a scan evaluates in addition."""

Limit = tuple[Rate, str, float]
Span = tuple[NDArray[np.int64], NDArray[np.int64]]


def solve_pairs(
    cuts: Sequence[ThresholdCandidates],
    limits: Sequence[Limit],
    gain: tuple[float, float],
    tolerances: Sequence[float],
    floors: Sequence[Floor] = (),
) -> list[tuple[int, ...] | None]:
    """Return the best pair of cuts of two groups for each tolerance, None where there is none."""
    first, second = (gains_of(cut, gain) for cut in cuts)
    value = first[:, None] + second[None, :]
    gap = np.zeros_like(value)
    for rate, form, scale in _comparable(cuts, limits):
        a, b = cuts[0].rate(rate)[:, None], cuts[1].rate(rate)[None, :]
        apart = _gap(np.minimum(a, b), np.maximum(a, b), form)
        np.maximum(gap, per_unit(apart, scale), out=gap)
    found: list[tuple[int, ...] | None] = []
    for tolerance in tolerances:
        allowed = np.where(gap <= tolerance + SLACK, value, -np.inf)
        if floors:
            kept = [above_floors(cut, floors, tolerance) for cut in cuts]
            allowed[~np.logical_and.outer(*kept)] = -np.inf
        best = int(allowed.argmax())
        pair = divmod(best, value.shape[1])
        found.append(pair if allowed.flat[best] > -np.inf else None)
    return found


def _comparable(cuts: Sequence[ThresholdCandidates], limits: Sequence[Limit]) -> list[Limit]:
    """Return the limits whose rate exists in at least two groups."""
    return [limit for limit in limits if sum(cut.has(limit[0]) for cut in cuts) >= 2]


def _gap(low: Floats, high: Floats, form: str) -> Floats:
    if form == "difference":
        return high - low
    ratio = np.divide(low, high, out=np.ones_like(high), where=high > 0)
    # A ratio of 0/0 is undefined, so rejecting all rows is infeasible.
    return np.where(high > 0, 1.0 - ratio, np.inf)


def gains_of(cut: ThresholdCandidates, gain: tuple[float, float]) -> Floats:
    """Return the gain of accepting the rows above each cut, shape (n_cuts,)."""
    return cut.accepted @ np.array([-gain[1], gain[0]])


class RateIntervals:
    """Search over the corners of rate intervals, for several groups and monotone rates."""

    def __init__(
        self,
        cuts: Sequence[ThresholdCandidates],
        limits: Sequence[Limit],
        gain: tuple[float, float],
    ) -> None:
        self.limits = _comparable(cuts, limits)
        self.groups = [
            _Group(
                [cut.rate(rate) if cut.has(rate) else None for rate, _, _ in self.limits],
                gains_of(cut, gain),
            )
            for cut in cuts
        ]
        # The lowest rate of an optimal solution is the rate of some group at some cut.
        self.corners = [
            np.unique(np.concatenate([r for g in self.groups if (r := g.rates[k]) is not None]))
            for k in range(len(self.limits))
        ]

    def restricted(self, kept: Sequence[NDArray[np.bool_]]) -> "RateIntervals":
        """Return the search over some of the cuts of each group."""
        fewer = copy(self)
        fewer.groups = [
            _Group(group.rates, np.where(mask, group.gains, -np.inf))
            for group, mask in zip(self.groups, kept, strict=True)
        ]
        return fewer

    def solve(self, tolerance: float) -> tuple[int, ...] | None:
        """Return one cut per group, or None when no interval is feasible for all groups."""
        if not self.limits:
            best = tuple(int(group.gains.argmax()) for group in self.groups)
            return None if self.value(best) == -np.inf else best
        corner = self._climb(tolerance)
        value, chosen = self._evaluate([np.array([c]) for c in corner], tolerance)
        return None if value[0] == -np.inf else tuple(int(at[0]) for at in chosen)

    def value(self, chosen: Sequence[int]) -> float:
        """Return the total gain of one cut per group."""
        return float(sum(g.gains[at] for g, at in zip(self.groups, chosen, strict=True)))

    def _climb(self, tolerance: float) -> list[float]:
        """Search a grid of corners; if it is coarse, scan single rates until nothing improves."""
        grid = self._starts(tolerance)
        value, _ = self._evaluate(grid, tolerance)
        best = int(value.argmax())
        corner, reached = [float(axis[best]) for axis in grid], float(value[best])
        improved = len(grid[0]) < math.prod(len(axis) for axis in self.corners)
        while improved:
            improved = False
            for k in range(len(self.limits)):
                found, moved = self._scan(corner, k, tolerance)
                if found > reached:
                    corner, reached, improved = moved, found, True
        return corner

    def _starts(self, tolerance: float) -> list[Floats]:
        """Return all corners, or values of the first rate with some values of the others."""
        most = max(FEWEST_CORNERS, CORNERS * MANY_GROUPS // max(MANY_GROUPS, len(self.groups)))
        if math.prod(len(axis) for axis in self.corners) <= most:
            return [axis.ravel() for axis in np.meshgrid(*self.corners, indexing="ij")]
        first, others = self.corners[0], range(1, len(self.limits))
        _, form, scale = self.limits[0]
        spans = [g.span([first], [_end(first, form, scale * tolerance)]) for g in self.groups]
        ends = [self._range_of(k, spans, tolerance) for k in others]
        fits = np.all([start < stop for start, stop in spans], axis=0)
        for low, high in ends:
            fits &= low <= high
        per_rate = max(2, math.floor((most / FIRST) ** (1 / max(1, len(ends)))))
        kept = _thin(np.flatnonzero(fits), most // per_rate ** len(ends))
        steps = np.meshgrid(*[np.linspace(0, 1, per_rate) for _ in ends], indexing="ij")
        grid = [first[kept].repeat(per_rate ** len(ends))]
        for (low, high), step in zip(ends, steps, strict=True):
            at = low[kept, None] + (high - low)[kept, None] * step.ravel()
            grid.append(at.ravel())
        return grid

    def _range_of(self, k: int, spans: Sequence[Span], tolerance: float) -> tuple[Floats, Floats]:
        """Return the range of the corner along rate ``k`` with each group within its span."""
        _, form, scale = self.limits[k]
        both = [
            (rate[np.minimum(start, len(rate) - 1)], rate[np.maximum(stop - 1, 0)])
            for group, (start, stop) in zip(self.groups, spans, strict=True)
            if (rate := group.rates[k]) is not None
        ]
        lowest = np.max([low for low, _ in both], axis=0)
        width = scale * tolerance
        begin = lowest - width if form == "difference" else lowest * (1.0 - width)
        return np.maximum(begin, 0.0), np.min([high for _, high in both], axis=0)

    def _scan(self, corner: list[float], k: int, tolerance: float) -> tuple[float, list[float]]:
        """Evaluate corners along rate ``k``, densely nearby; return the best with its value."""
        axis = self.corners[k]
        here = int(np.searchsorted(axis, corner[k]))
        near = axis[max(0, here - NEAR) : here + NEAR + 1]
        line = np.concatenate([near, _thin(axis, SCAN)])
        tried = [line if j == k else np.full(len(line), c) for j, c in enumerate(corner)]
        value, _ = self._evaluate(tried, tolerance)
        best = int(value.argmax())
        return float(value[best]), [float(c[best]) for c in tried]

    def _evaluate(
        self, corner: Sequence[Floats], tolerance: float
    ) -> tuple[Floats, list[NDArray[np.int64]]]:
        """Return the total gain for each corner, and the chosen cut of each group."""
        ends = [
            _end(low, form, scale * tolerance)
            for low, (_, form, scale) in zip(corner, self.limits, strict=True)
        ]
        total = np.zeros(len(corner[0]))
        chosen = []
        for group in self.groups:
            value, at = group.best_within(corner, ends)
            total += value
            chosen.append(at)
        for k, (_, form, _) in enumerate(self.limits):
            if form == "ratio":
                total = np.where(self._any_positive(k, chosen), total, -np.inf)
        return total, chosen

    def _any_positive(self, k: int, chosen: Sequence[NDArray[np.int64]]) -> NDArray[np.bool_]:
        """Return whether rate ``k`` is positive in some group; a ratio of 0/0 is infeasible."""
        rates = [
            rate[at]
            for group, at in zip(self.groups, chosen, strict=True)
            if (rate := group.rates[k]) is not None
        ]
        return np.max(rates, axis=0) > 0


def _end(low: Floats, form: str, width: float) -> Floats:
    """Return the upper end of the intervals that begin at ``low``."""
    if form == "difference":
        return low + width
    return low / (1.0 - width) if width < 1 else np.full_like(low, np.inf)


def _thin(axis: NDArray[Any], n: int) -> NDArray[Any]:
    at = np.unique(np.linspace(0, len(axis) - 1, n).round().astype(int))
    return axis[at]


class _Group:
    """Rates, None where undefined, and gains of one group at every cut."""

    def __init__(self, rates: Sequence[Floats | None], gains: Floats) -> None:
        self.rates, self.gains = rates, gains
        self.table = _range_maxima(gains)

    def best_within(
        self, low: Sequence[Floats], high: Sequence[Floats]
    ) -> tuple[Floats, NDArray[np.int64]]:
        """Return the best gain and its cut among the cuts whose rates lie in each interval."""
        start, stop = self.span(low, high)
        empty = start >= stop
        start = np.where(empty, 0, start)
        width = np.where(empty, 1, stop - start)
        level = np.log2(width).astype(np.int64)
        left, right = self.table[level, start], self.table[level, start + width - (1 << level)]
        at = np.where(self.gains[left] >= self.gains[right], left, right)
        return np.where(empty, -np.inf, self.gains[at]), at

    def span(self, low: Sequence[Floats], high: Sequence[Floats]) -> Span:
        """Return the first and one past the last cut within the intervals of the first rates."""
        start = np.zeros(len(low[0]), dtype=np.int64)
        stop = np.full(len(low[0]), len(self.gains), dtype=np.int64)
        for rate, least, most in zip(self.rates, low, high, strict=False):
            if rate is None:
                continue
            start = np.maximum(start, np.searchsorted(rate, least - SLACK, side="left"))
            stop = np.minimum(stop, np.searchsorted(rate, most + SLACK, side="right"))
        return start, stop


def _range_maxima(gains: Floats) -> NDArray[np.int64]:
    """Return a sparse table: row ``j`` has the argmax of ``gains[i : i + 2**j]``."""
    rows = [np.arange(len(gains))]
    width = 1
    while 2 * width <= len(gains):
        last = rows[-1]
        left, right = last, np.concatenate([last[width:], last[-1:].repeat(width)])
        rows.append(np.where(gains[left] >= gains[right], left, right))
        width *= 2
    return np.stack(rows)
