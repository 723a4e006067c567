"""Certification sets as they might be drawn, and how often they would give a certificate."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtri

from fairautoml.certification.exact import TAIL, margins, pair_test, screened, statistic
from fairautoml.certification.sizes import SAFETY, rows_needed
from fairautoml.exceptions import InputError
from fairautoml.metrics import Constraint

DRAWS = 400
GROWTH, MOST_GROWTHS = 1.1, 60
SETTLED = 1e9
"""Taken off the statistic of a pair that the screen has settled, so that it is never hardest."""

STANDARD_ERROR = 0.02
"""Of a simulated power; so much below the wanted one counts as reached."""

MANY, LOPSIDED = 5_000, 20
"""Cells of more rows than that are taken for normal, and where one cell of a pair has fewer, the
other counts at the most as so many times as large: the exact test would take minutes to tell what
a plan rounds away. Certification rows themselves are always tested exactly."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Assumptions:
    """What is assumed before anything is seen; never taken from certification rows."""

    rate: float = 0.3  # rate of the events compared, in (0, 1)
    # True distance from parity, in [0, 1): difference of the rates, or one minus their ratio
    gap: float = 0.0
    # share of label 1, in (0, 1): the rows that true positive rates are measured on
    positives: float = 0.3

    def __post_init__(self) -> None:
        if not (0 < self.rate < 1 and 0 < self.positives < 1 and 0 <= self.gap < 1):
            msg = (
                f"rate={self.rate}, positives={self.positives}, gap={self.gap}: the first two "
                "must lie between 0 and 1, the gap in [0, 1); 0.3, 0.3 and 0 are the defaults"
            )
            raise InputError(msg)


class Simulation:
    """Certification sets under assumptions; the same seed draws for every question."""

    def __init__(
        self,
        constraint: Constraint,
        rows: tuple[int, ...],
        delta: float,
        assumed: Assumptions,
        seed: int,
    ) -> None:
        self._constraint, self._delta, self._seed = constraint, delta, seed
        self._assumed = assumed
        self._ratio = constraint.metric.form == "ratio"
        self._eps, self._tau = margins(constraint.metric.form, constraint.bound)
        events = [
            rate.expected_share(assumed.positives, assumed.rate)
            for rate in constraint.metric.rates
        ]
        self._rows = np.outer(events, rows)
        self._smallest = np.argmin(rows)

    @property
    def _rates(self) -> NDArray[np.float64]:
        """True rate of each group: the smallest group stands against all others."""
        rate, gap = self._assumed.rate, self._assumed.gap
        if self._ratio:
            others, smallest = rate, rate * (1 - gap)
        else:
            others = min(max(rate - gap / 2, 0.0), 1.0 - gap)
            smallest = others + gap
        rates = np.full(self._rows.shape[1], others)
        rates[self._smallest] = smallest
        return rates

    def cells(self, fraction: float) -> NDArray[np.int64]:
        """Return the rows of each cell, shape (n_events, n_groups), at least one."""
        rows: NDArray[np.int64] = np.floor(fraction * self._rows).astype(np.int64)
        return np.maximum(rows, 1)

    def _drawn(self, fraction: float) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Return rows per cell and events, shape (n_draws, n_events, n_groups)."""
        sizes = self.cells(fraction)
        rng = np.random.default_rng(self._seed)
        x = rng.binomial(sizes, self._rates, size=(DRAWS, *sizes.shape)).astype(np.int64)
        return sizes, x

    def fraction_for(self, power: float) -> float:
        """Return the share of the rows that gives the power; above 1 if there are too few."""
        limit, gap = self._constraint.limit, self._assumed.gap
        if gap >= limit:
            return np.inf
        # A ratio at rate p bounds the difference by p times its distance from one.
        scale = self._assumed.rate if self._ratio else 1.0
        smallest = self._rows.min(axis=0)
        first, second = np.sort(smallest)[:2]
        # The larger rate counts by tau, and its error too.
        less = (second + self._tau**2 * first) / (second + first)
        wanted = rows_needed(
            limit * scale,
            delta=self._delta,
            rate=self._assumed.rate,
            gap=gap * scale,
            power=power,
            ratio=float(second / first),
        )
        fraction = float(SAFETY * less * wanted / first)
        if fraction > 1 and self.cells(fraction).max() > MANY:
            # Far more rows than there are: about how many is all that is asked.
            return fraction
        for _ in range(MOST_GROWTHS):
            if self.power(fraction) >= power - STANDARD_ERROR:
                break
            fraction *= GROWTH
        return fraction

    def power(self, fraction: float) -> float:
        """Return the share of draws that would be certified."""
        sizes, drawn = self._drawn(fraction)
        hardest = [self._hardest(sizes, x) for x in drawn]
        hardest.sort()
        passed, failed = 0, len(hardest)
        # The harder a draw's hardest pair, the less it passes: bisection finds the border.
        while passed < failed:
            middle = (passed + failed) // 2
            if self._passes(*hardest[middle][1]):
                passed = middle + 1
            else:
                failed = middle
        return passed / len(hardest)

    def _passes(self, x1: int, n1: int, x2: int, n2: int) -> bool:
        """Return whether a pair would pass."""
        fewer = min(n1, n2)
        if fewer > MANY:
            t = float(statistic(x1, n1, x2, n2, self._eps, self._tau))
            return t <= -float(ndtri(1 - TAIL * self._delta))
        most = max(MANY, LOPSIDED * fewer)
        pair = (*_thinned(x1, n1, most), *_thinned(x2, n2, most))
        return pair_test(*pair, self._eps, self._delta, self._tau).passed

    def _hardest(
        self, sizes: NDArray[np.int64], x: NDArray[np.int64]
    ) -> tuple[float, tuple[int, int, int, int]]:
        """Return the largest statistic of a draw that the screen leaves open, and its pair."""
        found: list[tuple[float, tuple[int, int, int, int]]] = []
        for n, events in zip(sizes, x, strict=True):
            cells = events[:, None], n[:, None], events[None, :], n[None, :]
            t = statistic(*cells, self._eps, self._tau)
            t[screened(events, n, self._eps, self._delta, self._tau)] -= SETTLED
            np.fill_diagonal(t, -np.inf)
            g, h = np.unravel_index(np.argmax(t), t.shape)
            pair = (int(events[g]), int(n[g]), int(events[h]), int(n[h]))
            found.append((float(t[g, h]), pair))
        return max(found)

    def bound_within_reach(self, fraction: float, power: float) -> float:
        """Return the bound that this share of draws would show, by normal approximation."""
        sizes, drawn = self._drawn(fraction)
        p = (drawn + 1) / (sizes + 2)
        variance = p * (1 - p) / (sizes + 2)
        z = float(ndtri(1 - TAIL * self._delta)) * np.sqrt(SAFETY)
        if self._ratio:
            ratios = [
                min(_lower_ratio(rates, spread, z) for rates, spread in zip(*draw, strict=True))
                for draw in zip(p, variance, strict=True)
            ]
            return float(np.quantile(ratios, 1 - power))
        shown = [
            max(_upper(rates, spread, z) for rates, spread in zip(*draw, strict=True))
            for draw in zip(p, variance, strict=True)
        ]
        return min(1.0, float(np.quantile(shown, power)))


def _thinned(x: int, n: int, most: int) -> tuple[int, int]:
    """Return a cell of at most so many rows with about the same rate."""
    return (x, n) if n <= most else (round(x * most / n), most)


def _upper(rates: NDArray[np.float64], variance: NDArray[np.float64], z: float) -> float:
    """Return the largest approximate upper bound of a difference between two groups."""
    bounds = rates[:, None] - rates[None, :]
    bounds = bounds + z * np.sqrt(variance[:, None] + variance[None, :])
    np.fill_diagonal(bounds, -np.inf)
    return float(bounds.max())


def _lower_ratio(rates: NDArray[np.float64], variance: NDArray[np.float64], z: float) -> float:
    """Return the smallest approximate lower bound of a ratio between two groups, in [0, 1].

    The ``tau`` at which ``q - tau p`` is ``z`` standard errors, the smaller root of a quadratic
    equation (Fieller, "Some problems in interval estimation", JRSS B 16, 1954).
    """
    own = rates**2 - z**2 * variance
    product = rates[:, None] * rates[None, :]
    root = np.sqrt(np.maximum(product**2 - own[:, None] * own[None, :], 0.0))
    bounds = np.maximum(own[:, None], 0.0) / (product + root)
    np.fill_diagonal(bounds, 1.0)
    return float(min(1.0, bounds.min()))
