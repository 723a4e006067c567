"""Exact unconditional test of ``tau theta_1 - theta_2 < eps``, and its sample size.

``tau = 1`` tests a difference of two rates, ``eps = 0`` a ratio.
"""

import math
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtri

from fairautoml.certification.bounds import cp_lower, cp_upper

SCREEN, RANGE, TAIL = 0.02, 0.02, 0.96
"""Shares of the level: quick screen, confidence range of the nuisance rate, tail."""

TIE = 1e-12
"""Statistics that differ by less count as equal; a tie counts against certification."""

ROUNDING = 1e-12
"""Added to every upper bound, for truncated binomial tails and floating-point error."""

MOST_EVALUATIONS = 4000
START = 8
"""Initial number of intervals in the range of the nuisance rate."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PairResult:
    """Result of the test of one ordered pair of cells."""

    passed: bool  # ``tau theta_1 - theta_2 < eps`` is shown at the level
    # bound of the largest tail probability under the null hypothesis: an upper bound if passed,
    # otherwise a lower bound; 0 if the screen was decisive
    tail: float


def margins(form: str, bound: float) -> tuple[float, float]:
    """Return ``eps`` and ``tau`` of a bound on every ordered pair of rates."""
    return (0.0, bound) if form == "ratio" else (bound, 1.0)


def statistic(
    x1: NDArray[np.integer] | int,
    n1: int | NDArray[np.integer],
    x2: NDArray[np.integer] | int,
    n2: int | NDArray[np.integer],
    eps: float,
    tau: float = 1.0,
) -> NDArray[np.float64]:
    """Return T: how many standard errors ``tau theta_1 - theta_2`` is above ``eps``.

    One event and one non-event are added to each cell, so that no standard error is 0.

    References
    ----------
    Agresti, Caffo, "Simple and effective confidence intervals for proportions", The American
    Statistician 54 (2000).
    """
    p, q = (x1 + 1) / (n1 + 2), (x2 + 1) / (n2 + 2)
    scale = np.sqrt(tau**2 * p * (1 - p) / (n1 + 2) + q * (1 - q) / (n2 + 2))
    return (tau * p - q - eps) / scale


def rejection_region(
    t: float, n1: int, n2: int, eps: float, tau: float = 1.0
) -> NDArray[np.int64]:
    """Return ``c``: outcome ``(x1, x2)`` is at least as extreme as ``t`` iff ``x2 >= c[x1]``.

    ``c`` is made non-decreasing, so that the region shrinks with theta_1 and grows with theta_2
    and its probability is largest on the boundary of the hypothesis (Barnard's convexity).
    T is not monotone in ``x2`` when ``tau`` times the first rate is below ``eps``: if ``x2 = 0``
    belongs to the region, every larger ``x2`` does; otherwise bisection is exact. With
    ``eps = 0``, T always decreases in ``x2``.
    """
    x1 = np.arange(n1 + 1)
    low, high = np.zeros(n1 + 1, dtype=np.int64), np.full(n1 + 1, n2 + 1, dtype=np.int64)
    while (open_ := low < high).any():
        middle = (low + high) // 2
        inside = statistic(x1, n1, np.minimum(middle, n2), n2, eps, tau) <= t + TIE
        inside &= middle <= n2
        high = np.where(open_ & inside, middle, high)
        low = np.where(open_ & ~inside, middle + 1, low)
    at_zero = statistic(x1, n1, 0, n2, eps, tau) <= t + TIE
    return np.minimum.accumulate(np.where(at_zero, 0, high)[::-1])[::-1]


@lru_cache(maxsize=512)
def _binomial(n: int, p: float) -> tuple[int, NDArray[np.float64]]:
    """Return the first outcome and the probabilities from it on; all but 1e-13 of the mass."""
    # Ratios of neighbours keep the precision: log-gamma loses ten digits at a million rows.
    if p <= 0 or p >= 1:
        return (0 if p <= 0 else n), np.ones(1)
    reach = 8 * math.sqrt(n * p * (1 - p)) + 25
    first, last = max(0, int(n * p - reach)), min(n, int(n * p + reach))
    x = np.arange(first, last)
    log = np.zeros(len(x) + 1)
    np.cumsum(np.log((n - x) / (x + 1)) + math.log(p / (1 - p)), out=log[1:])
    mass = np.exp(log - log.max())
    return first, mass / mass.sum()


@lru_cache(maxsize=512)
def _at_least(n: int, p: float) -> tuple[int, NDArray[np.float64]]:
    """Return the first outcome, and P(Bin(n, p) >= outcome) from it on, with a final 0."""
    first, mass = _binomial(n, p)
    shares = np.zeros(len(mass) + 1)
    shares[:-1] = np.cumsum(mass[::-1])[::-1]
    shares[0] = 1.0
    return first, shares


def _tail(region: NDArray[np.int64], n2: int, p1: float, p2: float) -> float:
    """Return the probability of a region at rates ``p1``, ``p2``."""
    first, mass = _binomial(len(region) - 1, p1)
    start, at_least = _at_least(n2, p2)
    least = region[first : first + len(mass)]
    return float(mass @ at_least.take(least - start, mode="clip"))


class _Largest:
    """Largest tail on an interval of the nuisance rate, between a lower and an upper bound."""

    def __init__(self, region: NDArray[np.int64], n2: int, eps: float, tau: float) -> None:
        self._region, self._n2, self._eps, self._tau = region, n2, eps, tau
        self.lower = 0.0
        self.n_evaluations = 0

    def at(self, low: float, high: float) -> float:
        """Return the tail at ``((low + eps) / tau, high)``, an upper bound on [low, high]."""
        self.n_evaluations += 1
        first = min((low + self._eps) / self._tau, 1.0)
        return _tail(self._region, self._n2, first, high)

    def search(self, low: float, high: float, limit: float | None, tolerance: float) -> float:
        """Raise ``lower`` and return the upper bound, or 1.0 once ``lower`` exceeds ``limit``."""
        ends = np.linspace(low, high, START + 1).tolist()
        self.lower = max(self.at(q, q) for q in ends)
        todo = list(pairwise(ends))
        decided = self.lower
        while todo:
            goal = self.lower + tolerance if limit is None else limit
            if self.lower > goal:
                return 1.0
            bounds = [self.at(*interval) + ROUNDING for interval in todo]
            decided = max([decided, *(bound for bound in bounds if bound <= goal)])
            todo = [part for part, bound in zip(todo, bounds, strict=True) if bound > goal]
            if todo and self.n_evaluations > MOST_EVALUATIONS:
                return max(bounds)
            todo = [half for part in todo for half in self._halves(*part)]
        return max(decided, self.lower)

    def _halves(self, low: float, high: float) -> tuple[tuple[float, float], tuple[float, float]]:
        middle = (low + high) / 2
        self.lower = max(self.lower, self.at(middle, middle))
        return (low, middle), (middle, high)


def largest_tail(
    counts: tuple[int, int, int, int],
    eps: float,
    tau: float = 1.0,
    *,
    range_level: float,
    limit: float | None = None,
    tolerance: float = 1e-6,
) -> tuple[float, float]:
    """Return a lower and an upper bound of the largest tail, ``tau theta_1 - theta_2 >= eps``.

    The nuisance rate is ``theta_2`` on the boundary of the hypothesis, within the range of both
    rates. With ``l_1`` the lower end of ``theta_1``, a pair ``(theta_1, theta_2)`` of the
    hypothesis in that range has no larger tail than the boundary at
    ``max(theta_2, tau l_1 - eps)``, which is at least ``theta_2`` and where the first rate is at
    most ``theta_1``.

    References
    ----------
    Berger, Boos, "P values maximized over a confidence set for the nuisance parameter", JASA 89
    (1994).
    """
    x1, n1, x2, n2 = counts
    t = float(statistic(x1, n1, x2, n2, eps, tau))
    if t > 0:
        return 1.0, 1.0
    xs, ns = np.array([x1, x2]), np.array([n1, n2])
    l1, l2 = cp_lower(xs, ns, range_level / 4).tolist()
    u1, u2 = cp_upper(xs, ns, range_level / 4).tolist()
    if tau * u1 - eps < l2:
        return 0.0, 0.0
    low, high = max(0.0, l2, tau * l1 - eps), min(tau - eps, u2, tau * u1 - eps)
    if low > high:
        return 1.0, 1.0
    largest = _Largest(rejection_region(t, n1, n2, eps, tau), n2, eps, tau)
    upper = largest.search(low, high, limit, tolerance)
    return largest.lower, upper


def screened(
    x1: NDArray[np.integer], n1: NDArray[np.integer], eps: float, level: float, tau: float = 1.0
) -> NDArray[np.bool_]:
    """Return which ordered pairs pass by wide intervals, shape (n_cells, n_cells)."""
    upper, lower = (bound(x1, n1, SCREEN / 2 * level) for bound in (cp_upper, cp_lower))
    return tau * upper[:, None] - lower[None, :] <= eps


@lru_cache(maxsize=65536)
def pair_test(
    x1: int, n1: int, x2: int, n2: int, eps: float, level: float, tau: float = 1.0
) -> PairResult:
    """Test ``tau theta_1 - theta_2 >= eps`` against ``< eps``; valid in finite samples.

    The probability of passing although ``tau theta_1 - theta_2 >= eps`` (``> eps`` for
    ``tau = 0``) is at most ``level``. A pair without events never passes with ``eps = 0``, because
    both rates may be 0.
    """
    if min(n1, n2) == 0:
        return PairResult(passed=False, tail=1.0)
    if screened(np.array([x1, x2]), np.array([n1, n2]), eps, level, tau)[0, 1]:
        return PairResult(passed=True, tail=0.0)
    limit = TAIL * level
    counts = (x1, n1, x2, n2)
    lower, upper = largest_tail(counts, eps, tau, range_level=RANGE * level, limit=limit)
    passed = upper <= limit
    return PairResult(passed=passed, tail=upper if passed else lower)


def all_pairs_pass(
    x: NDArray[np.integer], n: NDArray[np.integer], eps: float, level: float, tau: float = 1.0
) -> PairResult:
    """Test every ordered pair of cells; the result passes if all pairs pass.

    The number of pairs needs no correction: a false pass requires that the pair with the largest
    true gap passes.
    """
    if n.min() == 0:
        return PairResult(passed=False, tail=1.0)
    todo = ~screened(x, n, eps, level, tau)
    np.fill_diagonal(todo, val=False)
    first, second = np.nonzero(todo)
    pairs = np.unique(np.c_[x[first], n[first], x[second], n[second]], axis=0)
    if len(pairs) == 0:
        return PairResult(passed=True, tail=0.0)
    hardest_first = np.argsort(
        -statistic(pairs[:, 0], pairs[:, 1], pairs[:, 2], pairs[:, 3], eps, tau), kind="stable"
    )
    worst = 0.0
    for x1, n1, x2, n2 in pairs[hardest_first].tolist():
        result = pair_test(x1, n1, x2, n2, eps, level, tau)
        worst = max(worst, result.tail)
        if not result.passed:
            return PairResult(passed=False, tail=worst)
    return PairResult(passed=True, tail=worst)


SAFETY = 1.1
"""Factor on the normal approximation, for the discreteness of the exact test."""


def rows_without_positives(eps: float, delta: float) -> float:
    """Return the fewest rows with which two cells without events can pass.

    ``ceil(ln(.96 delta) / ln(1 - eps))``; used in messages only.
    """
    if eps <= 0:
        return math.inf
    return 1 if eps >= 1 else max(1, math.ceil(math.log(TAIL * delta) / math.log1p(-eps)))


def rows_without_failures(bound: float, delta: float) -> float:
    """Return the fewest rows with which a cell of events only shows a minimum.

    ``ceil(ln(delta) / ln(bound))``, as its Clopper-Pearson bound is ``delta^(1 / n)``.
    """
    if bound >= 1:
        return math.inf
    return 1 if bound <= 0 else max(1, math.ceil(math.log(delta) / math.log(bound)))


def rows_needed_above(
    bound: float, *, delta: float = 0.05, rate: float, power: float = 0.8
) -> float:
    """Return the rows with which a group of this rate shows a minimum, by normal approximation.

    Infinite if the rate is not above the bound; at least ``rows_without_failures``.
    """
    if rate <= bound or bound >= 1:
        return math.inf
    wanted = ndtri(1 - delta) * math.sqrt(bound * (1 - bound))
    wanted += ndtri(power) * math.sqrt(rate * (1 - rate))
    return max(float((wanted / (rate - bound)) ** 2), rows_without_failures(bound, delta))


def spread(rate: float, gap: float, ratio: float = 1.0) -> float:
    """Return n1 times the variance of the difference of two rates around ``rate``."""
    one, two = (min(max(rate + side * gap / 2, 0.0), 1.0) for side in (1, -1))
    larger, smaller = sorted((one * (1 - one), two * (1 - two)), reverse=True)
    return larger + smaller / ratio


def rows_needed(
    eps: float,
    *,
    delta: float = 0.05,
    rate: float = 0.3,
    gap: float = 0.0,
    power: float = 0.8,
    ratio: float = 1.0,
) -> float:
    """Return the rows that the smaller of two cells needs, by normal approximation.

    ``V ((z_(1 - .96 delta) + z_power) / (eps - gap))^2``, neither rounded nor multiplied by
    ``SAFETY``.
    """
    if gap >= eps:
        return math.inf
    # Without a gap, both directions are equally close to the bound and both must pass.
    share = (1 + power) / 2 if gap == 0 else power
    errors = float(ndtri(1 - TAIL * delta) + ndtri(share))
    return spread(rate, gap, ratio) * (errors / (eps - gap)) ** 2
