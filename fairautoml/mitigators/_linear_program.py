"""The linear program over threshold mixtures, and its rounding to one threshold per cell.

The variables are the shares of the cuts of every finest cell; every group rate of every group
system is linear in them. The solution is the randomised optimum (Hardt, Price, Srebro 2016; Cruz,
Hardt, arXiv 2306.07261); a basic solution mixes in at most as many cells as there are binding
constraints. The program supports constraints on several group systems and rates that are not
monotone in the threshold.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linprog
from scipy.sparse import csr_matrix, vstack

from fairautoml.metrics import BoundConstraint
from fairautoml.metrics._table import Rate
from fairautoml.metrics.rates import SELECTION
from fairautoml.mitigators._thresholds import Floor, ThresholdCandidates, gains_of
from fairautoml.records import Floats

SLACK = 1e-9
TINY = 1e-15
"""Share of a group's weight below which a denominator is 0 up to rounding."""

STRICTER = 4
"""Number of solves, each with a smaller tolerance, until the rounded solution is feasible."""

_Rows = tuple[Floats, Floats, Floats]

ROUNDS = 20
"""Largest number of coordinate descent passes; the descent stops when nothing changes."""


@dataclass(frozen=True, slots=True)
class _Band:
    """One rate that all groups of one system must share within a tolerance.

    For comparisons with the overall rate the weights are the group's minus those of all rows, so
    that they give the difference itself.
    """

    rate: Rate
    form: str  # "difference", "ratio"; compared with the overall rate "max", "sum"
    scale: float
    weights: Floats  # (n_groups, n_cells): share of each cell in the group's rate
    least: float = 0.0  # for ratios, which are undefined where every rate is 0

    @property
    def n_extra(self) -> int:
        """Number of further variables: the lower end, or one distance per group of a sum."""
        return {"max": 0, "sum": len(self.weights)}.get(self.form, 1)

    def sums(self, cut: ThresholdCandidates) -> Floats:
        """Return what the band adds up over the cells of a group, shape (1, n_cuts): the rate."""
        return cut.rate(self.rate)[None]

    def rows(self, sums: Floats, tolerance: float) -> _Rows:
        """Return the constraints of the band: coefficients of shares and extras, right-hand sides.

        For comparisons with the overall rate ``-u <= distance <= u`` with the width for u, or with
        one u per group and their sum within the width. Otherwise ``u - rate <= 0`` and
        ``rate - u <= width``; for a ratio ``rate (1 - width) - u <= 0`` and ``-u <= -least``.
        """
        (values,) = sums
        width, n = self.scale * tolerance, len(values)
        both = np.vstack([values, -values])
        if self.form == "max":
            return both, np.zeros((2 * n, 0)), np.full(2 * n, width)
        if self.form == "sum":
            own = np.vstack([-np.eye(n), -np.eye(n), np.ones((1, n))])
            last = np.zeros((1, values.shape[1]))
            return np.vstack([both, last]), own, np.append(np.zeros(2 * n), width)
        low = np.vstack([np.ones((n, 1)), -np.ones((n, 1))])
        if self.form == "ratio":
            shares = np.vstack(
                [-values, max(1.0 - width, 0.0) * values, np.zeros_like(values[:1])]
            )
            return (
                shares,
                np.append(low, [[-1.0]], axis=0),
                np.append(np.zeros(2 * n), -self.least),
            )
        return np.vstack([-values, values]), low, np.append(np.zeros(n), np.full(n, width))

    def gap(self, sums: Floats) -> Floats:
        """Return the gap per unit of tolerance of group rates, shape (1, n_groups, ...)."""
        (rates,) = sums
        if self.form in {"max", "sum"}:
            apart = np.abs(rates)
            gap = apart.max(axis=0) if self.form == "max" else apart.sum(axis=0)
        else:
            low, high = rates.min(axis=0), rates.max(axis=0)
            gap = high - low
            if self.form == "ratio":
                gap = np.where(high > 0, 1.0 - low / np.where(high > 0, high, 1.0), np.inf)
        if self.scale > 0:
            return np.asarray(gap / self.scale)
        return np.where(gap <= SLACK, 0.0, np.inf)


@dataclass(frozen=True, slots=True)
class _Minimum:
    """A floor of one rate; has the interface of a band.

    For a given floor the constraint ``least * denominator <= numerator`` is linear in the shares,
    also of a rate whose denominator depends on the decisions.
    """

    n_extra: ClassVar[int] = 0

    floor: Floor
    weights: Floats  # (n_groups, n_cells): 1 / weight of the group where it has cells
    # (n_groups,): smallest positive denominator; without accepted rows there is no precision
    positive: Floats

    def sums(self, cut: ThresholdCandidates) -> Floats:
        """Return numerator and denominator of the rate, shape (2, n_cuts)."""
        return np.stack(self.floor.rate.sums(cut.tables))

    def rows(self, sums: Floats, tolerance: float) -> _Rows:
        """Return two constraints for each group."""
        top, bottom = sums
        n = len(top)
        below = self.floor.least(tolerance) * bottom - top
        right = np.append(np.zeros(n), -self.positive)
        return np.vstack([below, -bottom]), np.zeros((2 * n, 0)), right

    def gap(self, sums: Floats) -> Floats:
        """Return the tolerance that allows the smallest rate, inf if a rate is undefined."""
        top, bottom = sums
        rates = np.divide(top, bottom, out=np.full_like(top, np.nan), where=bottom > TINY)
        return self.floor.tolerance(rates).max(axis=0)


class Program:
    """Thresholds of all finest cells under constraints on any group systems."""

    def __init__(
        self,
        cuts: Sequence[ThresholdCandidates],
        targets: Sequence[BoundConstraint],
        scale: Sequence[float],
        gain: tuple[float, float],
        floors: Sequence[Floor] = (),
    ) -> None:
        self.cuts = cuts
        self.gains = [gains_of(cut, gain) for cut in cuts]
        self.vertices = [_hull(cut) for cut in cuts]
        bands = [
            _band(cuts, target, rate, factor)
            for target, factor in zip(targets, scale, strict=True)
            for rate in target.metric.compared
        ]
        self.bands: list[_Band | _Minimum] = [b for b in bands if b is not None]
        self.bands += [found for found in (_minimum(cuts, floor) for floor in floors) if found]
        self.sums = [[band.sums(cut) for cut in cuts] for band in self.bands]

    def mixture(self, tolerance: float) -> list[list[tuple[int, float]]] | None:
        """Return the optimal cuts and their shares per cell, None when infeasible."""
        sizes = [len(v) for v in self.vertices]
        starts = np.concatenate([[0], np.cumsum(sizes)])
        n, k = int(starts[-1]), sum(band.n_extra for band in self.bands)
        upper, right = self._band_rows(starts, tolerance)
        cell_of = np.repeat(np.arange(len(sizes)), sizes)
        one_each = csr_matrix((np.ones(n), (cell_of, np.arange(n))), shape=(len(sizes), n + k))
        cost = np.concatenate([-g[v] for g, v in zip(self.gains, self.vertices, strict=True)])
        solved = linprog(
            np.concatenate([cost / max(np.abs(cost).max(), np.finfo(float).tiny), np.zeros(k)]),
            A_ub=upper,
            b_ub=right,
            A_eq=one_each,
            b_eq=np.ones(len(sizes)),
            bounds=(0, 1),
            method="highs",
        )
        if solved.status != 0:
            return None
        return [
            _shares(vertices, solved.x[a:b])
            for vertices, a, b in zip(self.vertices, starts[:-1], starts[1:], strict=True)
        ]

    def _band_rows(self, starts: NDArray[np.int64], tolerance: float) -> tuple[csr_matrix, Floats]:
        """Return the constraints of all bands over the shares of all vertices, then the extras."""
        n, k = int(starts[-1]), sum(band.n_extra for band in self.bands)
        rows, right, first = [csr_matrix((0, n + k))], [np.zeros(0)], 0
        for band, sums in zip(self.bands, self.sums, strict=True):
            values = np.concatenate(
                [of_cell[:, v] for of_cell, v in zip(sums, self.vertices, strict=True)], axis=1
            )
            of_groups = np.repeat(band.weights, np.diff(starts), axis=1) * values[:, None]
            of_shares, own, limits = band.rows(of_groups, tolerance)
            extras = np.zeros((len(limits), k))
            extras[:, first : first + band.n_extra] = own
            first += band.n_extra
            rows.append(csr_matrix(np.hstack([of_shares, extras])))
            right.append(limits)
        return vstack(rows, format="csr"), np.concatenate(right)

    def rounded(self, tolerance: float) -> tuple[int, ...] | None:
        """Return one cut per cell near the randomised optimum, None if none is found."""
        attempt = tolerance
        for _ in range(STRICTER):
            mixture = self.mixture(attempt)
            if mixture is None:
                break
            at = self._descend(
                [_nearest(m, len(c.thresholds)) for m, c in zip(mixture, self.cuts, strict=True)],
                tolerance,
            )
            missed = self._worst(at) - tolerance
            if missed <= SLACK:
                return tuple(at)
            attempt = max(0.0, attempt - missed)
        return self._from_constants(tolerance)

    def value(self, chosen: Sequence[int]) -> float:
        """Return the total gain of one cut per cell."""
        return float(sum(g[at] for g, at in zip(self.gains, chosen, strict=True)))

    def _from_constants(self, tolerance: float) -> tuple[int, ...] | None:
        """Descend from rejecting all rows and from accepting all, where most rates are equal."""
        ends = ([0] * len(self.cuts), [len(cut.thresholds) - 1 for cut in self.cuts])
        found = [tuple(self._descend(end, tolerance)) for end in ends]
        kept = [at for at in found if self._worst(at) <= tolerance + SLACK]
        return max(kept, key=self.value, default=None)

    def _worst(self, at: Sequence[int]) -> float:
        """Return the largest gap per unit of tolerance over all bands."""
        worst = 0.0
        for band, known in zip(self.bands, self._now(at), strict=True):
            worst = max(worst, float(band.gap(known @ band.weights.T)))
        return worst

    def _now(self, at: Sequence[int]) -> list[Floats]:
        """Return the sums of all cells at the given cuts, for every band."""
        return [
            np.stack([of_cell[:, i] for of_cell, i in zip(sums, at, strict=True)], axis=1)
            for sums in self.sums
        ]

    def _descend(self, at: list[int], tolerance: float) -> list[int]:
        """Move one cell at a time: first towards the tolerance, then towards the gain."""
        now = self._now(at)
        for _ in range(ROUNDS):
            before = list(at)
            for cell in range(len(self.cuts)):
                at[cell] = self._best_move(at[cell], now, cell, tolerance)
                for known, sums in zip(now, self.sums, strict=True):
                    known[:, cell] = sums[cell][:, at[cell]]
            if at == before:
                break
        return at

    def _best_move(self, here: int, now: Sequence[Floats], cell: int, tolerance: float) -> int:
        worst = np.zeros(len(self.cuts[cell].thresholds))
        for band, known, sums in zip(self.bands, now, self.sums, strict=True):
            moved = sums[cell] - known[:, [cell]]
            of_groups = (known @ band.weights.T)[:, :, None] + (
                band.weights[:, [cell]] * moved[:, None]
            )
            np.maximum(worst, band.gap(of_groups), out=worst)
        over = np.maximum(worst - tolerance - SLACK, 0.0)
        best = np.flatnonzero(over <= over.min() + SLACK)
        gains = self.gains[cell][best]
        if here in best and self.gains[cell][here] >= gains.max():
            return here
        return int(best[gains.argmax()])


def _band(
    cuts: Sequence[ThresholdCandidates], target: BoundConstraint, rate: Rate, scale: float
) -> _Band | None:
    """Return the band of one rate over the groups that have it, None if they are too few."""
    mass = np.array([cut.mass(rate) for cut in cuts])
    has = np.array([cut.has(rate) for cut in cuts])
    parts = target.system.member * mass
    total = parts.sum(axis=1, keepdims=True)
    filled = (target.system.member & has).any(axis=1)
    weights: Floats = parts[filled] / total[filled]
    if not target.metric.to_overall:
        least = _least(cuts, rate, weights)
        return _Band(rate, target.metric.form, scale, weights, least) if len(weights) > 1 else None
    counted = mass * has
    if not target.system.overlapping:
        counted *= target.system.member.any(axis=0)
    if len(weights) == 0:
        return None
    return _Band(rate, target.metric.over_groups, scale, weights - counted / counted.sum())


def _minimum(cuts: Sequence[ThresholdCandidates], floor: Floor) -> _Minimum | None:
    """Return the floor over the groups that have the rate, None when no group has it."""
    has = np.array([cut.has(floor.rate) for cut in cuts])
    filled = (floor.system.member & has).any(axis=1)
    if not filled.any():
        return None
    member = floor.system.member[filled].astype(np.float64)
    mass = member @ np.array([cut.mass(SELECTION) for cut in cuts])
    denominators = [floor.rate.sums(cut.tables)[1] for cut in cuts]
    steps = np.array([values[values > 0].min(initial=np.inf) for values in denominators])
    positive = np.where(member > 0, steps, np.inf).min(axis=1)
    return _Minimum(floor, member / mass[:, None], positive / mass)


def _least(cuts: Sequence[ThresholdCandidates], rate: Rate, weights: Floats) -> float:
    """Return the smallest positive rate of a group that one cut of one cell produces."""
    positive = [values[values > 0] for values in (cut.rate(rate) for cut in cuts)]
    steps = weights * [values.min() if values.size else 0.0 for values in positive]
    found = steps[steps > 0]
    return float(found.min()) if found.size else 0.0


def _hull(cut: ThresholdCandidates) -> NDArray[np.int64]:
    """Return the cuts on the upper or lower convex hull in the plane of the label rates."""
    x, y = (cut.accepted / np.maximum(cut.totals, np.finfo(float).tiny)).T
    return np.union1d(_chain(x, y), _chain(y, x))


def _chain(x: Floats, y: Floats) -> list[int]:
    """Return the corners of a curve of rising x and y that lie above (Barber et al. 1996)."""
    kept, parts = [0, len(x) - 1], [(0, len(x) - 1)]
    while parts:
        start, end = parts.pop()
        between = slice(start + 1, end)
        height = (x[end] - x[start]) * (y[between] - y[start])
        height -= (y[end] - y[start]) * (x[between] - x[start])
        if height.max(initial=0.0) > 0:
            top = start + 1 + int(height.argmax())
            kept.append(top)
            parts += [(start, top), (top, end)]
    return kept


def _shares(vertices: NDArray[np.int64], x: Floats) -> list[tuple[int, float]]:
    kept = np.flatnonzero(x > SLACK)
    total = float(x[kept].sum())
    return [(int(vertices[i]), float(x[i]) / total) for i in kept]


def _nearest(mixture: list[tuple[int, float]], n_cuts: int) -> int:
    mean = sum(cut * share for cut, share in mixture)
    return min(n_cuts - 1, round(mean))
