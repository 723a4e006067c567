"""The deterministic program: the best threshold per group so that rates lie within a tolerance.

Two groups: all pairs of cuts are looked at, so the answer is the optimum over cuts. More groups:
for a given lower corner ``u`` of the window in which all rates must lie, groups decide
independently, each by a range maximum over its cuts; so the search is over ``u`` only. With one
constrained rate every ``u`` that can be optimal is tried and the answer is again the optimum;
with more (equalized odds, or several metrics), or with very many groups, a coarse grid is followed
by scans along one rate at a time.

A group without rows of the kind that a rate is a share of (no label 1 for the true positive rate)
has no such rate: it is left out of that constraint, like in the linear program.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fairautoml.metrics._table import Rate
from fairautoml.mitigators._cells import SLACK, Cuts, per_unit

CORNERS = 4096
"""Corners of the window that are tried at once; if there are no more, the answer is exact."""

FIRST = 300
"""So many of them differ in the first rate, when several are constrained."""

NEAR = 60
"""Corners on either side that a scan along one rate tries, ..."""

SCAN = 400
"""... besides so many over the whole range."""

Limit = tuple[Rate, str, float]
Span = tuple[NDArray[np.int64], NDArray[np.int64]]


def solve_pairs(
    cuts: Sequence[Cuts],
    limits: Sequence[Limit],
    gain: tuple[float, float],
    tolerances: Sequence[float],
) -> list[tuple[int, ...] | None]:
    """Return the best pair of cuts of two groups for each tolerance, None where there is none."""
    first, second = (_gains(cut, gain) for cut in cuts)
    value = first[:, None] + second[None, :]
    gap = np.zeros_like(value)
    for rate, form, scale in _comparable(cuts, limits):
        a, b = cuts[0].rate(rate)[:, None], cuts[1].rate(rate)[None, :]
        apart = _gap(np.minimum(a, b), np.maximum(a, b), form)
        np.maximum(gap, per_unit(apart, scale), out=gap)
    found: list[tuple[int, ...] | None] = []
    for tolerance in tolerances:
        allowed = np.where(gap <= tolerance + SLACK, value, -np.inf)
        best = int(allowed.argmax())
        pair = divmod(best, value.shape[1])
        found.append(pair if allowed.flat[best] > -np.inf else None)
    return found


def _comparable(cuts: Sequence[Cuts], limits: Sequence[Limit]) -> list[Limit]:
    """Return the limits whose rate exists in at least two groups."""
    return [limit for limit in limits if sum(cut.has(limit[0]) for cut in cuts) >= 2]


def _gap(low: NDArray[np.float64], high: NDArray[np.float64], form: str) -> NDArray[np.float64]:
    if form == "difference":
        return high - low
    ratio = np.divide(low, high, out=np.ones_like(high), where=high > 0)
    # A ratio of 0/0 is undefined, so "nobody" is no solution.
    return np.where(high > 0, 1.0 - ratio, np.inf)


def _gains(cut: Cuts, gain: tuple[float, float]) -> NDArray[np.float64]:
    value: NDArray[np.float64] = cut.accepted @ np.array([-gain[1], gain[0]])
    return value


class Windows:
    """Several groups, rates that grow as the threshold falls: search over the window's corner."""

    def __init__(
        self, cuts: Sequence[Cuts], limits: Sequence[Limit], gain: tuple[float, float]
    ) -> None:
        self.limits = _comparable(cuts, limits)
        self.groups = [_Group.of(cut, self.limits, gain) for cut in cuts]
        # The lowest rate of an optimal solution is the rate of some group at some cut.
        self.corners = [
            np.unique(np.concatenate([r for g in self.groups if (r := g.rates[k]) is not None]))
            for k in range(len(self.limits))
        ]

    def solve(self, tolerance: float) -> tuple[int, ...] | None:
        """Return one cut per group, or None when no window holds all groups."""
        if not self.limits:
            return tuple(int(group.gains.argmax()) for group in self.groups)
        corner = self._climb(tolerance)
        value, chosen = self._evaluate([np.array([c]) for c in corner], tolerance)
        return None if value[0] == -np.inf else tuple(int(at[0]) for at in chosen)

    def value(self, chosen: Sequence[int]) -> float:
        """Return the total gain of one cut per group."""
        return float(sum(g.gains[at] for g, at in zip(self.groups, chosen, strict=True)))

    def _climb(self, tolerance: float) -> list[float]:
        """Grid over the corner; when it is coarse, scans along one rate until nothing improves."""
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

    def _starts(self, tolerance: float) -> list[NDArray[np.float64]]:
        """Return all corners, or the first rate's with some of the others that go with each."""
        if math.prod(len(axis) for axis in self.corners) <= CORNERS:
            return [axis.ravel() for axis in np.meshgrid(*self.corners, indexing="ij")]
        first, others = self.corners[0], range(1, len(self.limits))
        _, form, scale = self.limits[0]
        spans = [g.span([first], [_end(first, form, scale * tolerance)]) for g in self.groups]
        ends = [self._range_of(k, spans, tolerance) for k in others]
        fits = np.all([start < stop for start, stop in spans], axis=0)
        for low, high in ends:
            fits &= low <= high
        per_rate = max(2, math.floor((CORNERS / FIRST) ** (1 / max(1, len(ends)))))
        kept = _thin(np.flatnonzero(fits), CORNERS // per_rate ** len(ends))
        steps = np.meshgrid(*[np.linspace(0, 1, per_rate) for _ in ends], indexing="ij")
        grid = [first[kept].repeat(per_rate ** len(ends))]
        for (low, high), step in zip(ends, steps, strict=True):
            at = low[kept, None] + (high - low)[kept, None] * step.ravel()
            grid.append(at.ravel())
        return grid

    def _range_of(
        self, k: int, spans: Sequence[Span], tolerance: float
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return where the corner along rate ``k`` can lie when each group keeps to its span."""
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
        """Try corners along rate ``k``, all the near ones; return the best one with its value."""
        axis = self.corners[k]
        here = int(np.searchsorted(axis, corner[k]))
        near = axis[max(0, here - NEAR) : here + NEAR + 1]
        line = np.concatenate([near, _thin(axis, SCAN)])
        tried = [line if j == k else np.full(len(line), c) for j, c in enumerate(corner)]
        value, _ = self._evaluate(tried, tolerance)
        best = int(value.argmax())
        return float(value[best]), [float(c[best]) for c in tried]

    def _evaluate(
        self, corner: Sequence[NDArray[np.float64]], tolerance: float
    ) -> tuple[NDArray[np.float64], list[NDArray[np.int64]]]:
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
                total = np.where(self._somebody(k, chosen), total, -np.inf)
        return total, chosen

    def _somebody(self, k: int, chosen: Sequence[NDArray[np.int64]]) -> NDArray[np.bool_]:
        """Whether rate ``k`` is positive in some group: a ratio of 0/0 is no solution."""
        rates = [
            rate[at]
            for group, at in zip(self.groups, chosen, strict=True)
            if (rate := group.rates[k]) is not None
        ]
        positive: NDArray[np.bool_] = np.max(rates, axis=0) > 0
        return positive


def _end(low: NDArray[np.float64], form: str, width: float) -> NDArray[np.float64]:
    """Return the upper end of the windows that begin at ``low``."""
    if form == "difference":
        return low + width
    return low / (1.0 - width) if width < 1 else np.full_like(low, np.inf)


def _thin(axis: NDArray[Any], n: int) -> NDArray[Any]:
    at = np.unique(np.linspace(0, len(axis) - 1, n).round().astype(int))
    kept: NDArray[Any] = axis[at]
    return kept


@dataclass(frozen=True, slots=True)
class _Group:
    rates: list[NDArray[np.float64] | None]  # None where the group has no such rate
    gains: NDArray[np.float64]
    table: NDArray[np.int64]

    @classmethod
    def of(cls, cut: Cuts, limits: Sequence[Limit], gain: tuple[float, float]) -> "_Group":
        gains = _gains(cut, gain)
        rates = [cut.rate(rate) if cut.has(rate) else None for rate, _, _ in limits]
        return cls(rates, gains, _range_maxima(gains))

    def best_within(
        self, low: Sequence[NDArray[np.float64]], high: Sequence[NDArray[np.float64]]
    ) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
        """Return the best gain and its cut among the cuts whose rates lie in each window."""
        start, stop = self.span(low, high)
        empty = start >= stop
        start = np.where(empty, 0, start)
        width = np.where(empty, 1, stop - start)
        level = np.log2(width).astype(np.int64)
        left, right = self.table[level, start], self.table[level, start + width - (1 << level)]
        at = np.where(self.gains[left] >= self.gains[right], left, right)
        return np.where(empty, -np.inf, self.gains[at]), at

    def span(
        self, low: Sequence[NDArray[np.float64]], high: Sequence[NDArray[np.float64]]
    ) -> Span:
        """Return the first and one past the last cut whose rates lie in each window.

        Windows of the first rates alone do not ask for the others.
        """
        start = np.zeros(len(low[0]), dtype=np.int64)
        stop = np.full(len(low[0]), len(self.gains), dtype=np.int64)
        for rate, least, most in zip(self.rates, low, high, strict=False):
            if rate is None:
                continue
            start = np.maximum(start, np.searchsorted(rate, least - SLACK, side="left"))
            stop = np.minimum(stop, np.searchsorted(rate, most + SLACK, side="right"))
        return start, stop


def _range_maxima(gains: NDArray[np.float64]) -> NDArray[np.int64]:
    """Sparse table: row ``j`` holds where the maximum of ``gains[i : i + 2**j]`` is."""
    rows = [np.arange(len(gains))]
    width = 1
    while 2 * width <= len(gains):
        last = rows[-1]
        left, right = last, np.concatenate([last[width:], last[-1:].repeat(width)])
        rows.append(np.where(gains[left] >= gains[right], left, right))
        width *= 2
    return np.stack(rows)
