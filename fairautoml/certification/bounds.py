"""Confidence bounds of rates and means; ``level`` is the error probability of one bound.

Wald, Wilson, Newcombe and bootstrap intervals are too short when no event is observed.
"""

import hashlib
import math
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import betaincinv

LARGEST_BET = 0.5
"""Largest share of the capital that a bet may lose; the authors recommend 1/2 or 3/4."""

BISECTIONS = 50


def cp_lower(x: ArrayLike, n: ArrayLike, level: float) -> NDArray[np.float64]:
    """Return the Clopper-Pearson lower bound of a binomial rate.

    References
    ----------
    Clopper, Pearson, "The use of confidence or fiducial limits", Biometrika 26 (1934).
    """
    x, n = np.broadcast_arrays(np.asarray(x, dtype=np.float64), np.asarray(n, dtype=np.float64))
    some = x > 0
    # betaincinv requires positive shapes even where its value is discarded.
    low = betaincinv(np.where(some, x, 1.0), np.where(some, n - x + 1, 1.0), level)
    lower: NDArray[np.float64] = np.where(some, low, 0.0)
    return lower


def cp_upper(x: ArrayLike, n: ArrayLike, level: float) -> NDArray[np.float64]:
    """Return the Clopper-Pearson upper bound of a binomial rate."""
    upper: NDArray[np.float64] = 1.0 - cp_lower(np.asarray(n) - np.asarray(x), n, level)
    return upper


def largest_difference(upper: NDArray[np.float64], lower: NDArray[np.float64]) -> float:
    """Return ``max over g != h of upper[g] - lower[h]``, in O(groups).

    With one-sided bounds at ``delta / 2`` this bounds the largest gap between two groups with
    probability ``1 - delta`` for any number of groups: only the pair with the largest true gap
    has to be right (intersection-union).

    References
    ----------
    Berger, "Multiparameter hypothesis testing and acceptance sampling", Technometrics 24 (1982).
    """
    return _over_pairs(upper, lower, lambda a, b: a - b)


def smallest_ratio(lower: NDArray[np.float64], upper: NDArray[np.float64]) -> float:
    """Return ``min over g != h of lower[g] / upper[h]``; same argument as for differences."""
    return -_over_pairs(-lower, upper, lambda a, b: a / b, sign=-1)


def _over_pairs(
    first: NDArray[np.float64],
    second: NDArray[np.float64],
    join: Callable[[float, float], float],
    sign: int = 1,
) -> float:
    """Join the two largest of ``first`` with the two smallest (largest, sign -1) of ``second``."""
    ahead = np.argsort(-first, kind="stable")[:2]
    behind = np.argsort(sign * second, kind="stable")[:2]
    return max(join(float(first[g]), float(second[h])) for g in ahead for h in behind if g != h)


def hoeffding_margin(level: float, *n_rows: int) -> float:
    """Return the error margin of a mean in [0, 1], or of a difference of two independent means.

    ``sqrt(ln(1 / level) / 2 * sum(1 / n))``.

    References
    ----------
    Hoeffding, "Probability inequalities for sums of bounded random variables", JASA 58 (1963),
    Theorem 2.
    """
    return math.sqrt(math.log(1 / level) / 2 * sum(1 / n for n in n_rows))


def bernstein_margin(variance: float, n: int, level: float) -> float:
    """Return the one-sided error margin of a mean in [0, 1] with known sample variance.

    ``sqrt(2 V ln(2 / level) / n) + 7 ln(2 / level) / (3 (n - 1))``.

    References
    ----------
    Maurer, Pontil, "Empirical Bernstein bounds and sample variance penalization", COLT 2009,
    Theorem 4 (arXiv 0907.3740).
    """
    if n < 2:
        return 1.0
    log = math.log(2 / level)
    return math.sqrt(2 * variance * log / n) + 7 * log / (3 * (n - 1))


def weighted_bounds(
    sum_wh: float, sum_w: float, n: int, largest: float, level: float
) -> tuple[float, float]:
    """Return lower and upper bounds of ``E[w h] / E[w]`` with ``h`` in [0, 1], ``0 <= w <= W``.

    Applies Hoeffding's bound to ``w (h - theta)``, whose range is ``W``.
    """
    slack = n * largest * hoeffding_margin(level, n)
    return max(0.0, (sum_wh - slack) / sum_w), min(1.0, (sum_wh + slack) / sum_w)


def betting_lower(values: NDArray[np.float64], level: float) -> float:
    """Return a lower bound of the mean of values in [0, 1] by testing by betting.

    A gambler bets that the mean is above ``m``. If the mean is at most ``m``, the capital
    ``prod (1 + lambda_t (x_t - m))`` ever exceeds ``1 / level`` with probability at most
    ``level`` (Ville). The bound is the largest ``m`` that this rules out. The bets are the
    predictable plug-in bets, at most ``LARGEST_BET / m``. Bisection finds the bound because the
    capital decreases in ``m``.

    References
    ----------
    Waudby-Smith, Ramdas, "Estimating means of bounded random variables by betting", JRSS B 86
    (2024), equations (25)-(27) (arXiv 2010.09686).
    """
    n = len(values)
    if n == 0:
        return 0.0
    turns = np.arange(1, n + 1)
    means = (0.5 + np.cumsum(values)) / (turns + 1)
    variances = (0.25 + np.cumsum((values - means) ** 2)) / (turns + 1)
    known = np.r_[0.25, variances[:-1]]
    bets = np.sqrt(2 * math.log(1 / level) / (n * known))
    needed = math.log(1 / level)

    def ruled_out(mean: float) -> bool:
        stakes = np.minimum(bets, LARGEST_BET / mean)
        return bool(np.cumsum(np.log1p(stakes * (values - mean))).max() >= needed)

    low, high = 0.0, 1.0
    for _ in range(BISECTIONS):
        middle = (low + high) / 2
        low, high = (middle, high) if ruled_out(middle) else (low, middle)
    return low


def betting_upper(values: NDArray[np.float64], level: float) -> float:
    """Return an upper bound of the mean of values in [0, 1], by ``betting_lower`` of 1 - x."""
    return 1.0 - betting_lower(1.0 - values, level)


Content = dict[str, int | float | str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Count:
    """Independent 0/1 outcomes."""

    x: int  # outcomes that are 1, ``0 <= x <= n``
    n: int  # rows, non-negative

    def lower(self, level: float) -> float:
        """Return the Clopper-Pearson lower bound."""
        return float(cp_lower(self.x, self.n, level))

    def upper(self, level: float) -> float:
        """Return the Clopper-Pearson upper bound."""
        return float(cp_upper(self.x, self.n, level))

    def content(self) -> Content:
        """Return the record of the cell in a certificate."""
        return {"kind": "count", "n": self.n, "x": self.x}


@dataclass(frozen=True, slots=True, kw_only=True)
class Mean:
    """Independent outcomes in [0, 1], one per row or entity."""

    mean: float  # in [0, 1]
    variance: float  # unbiased sample variance; 0 with fewer than two rows
    n: int  # rows or entities, non-negative
    # bound to use, chosen before the rows are seen
    method: Literal["hoeffding", "empirical_bernstein"] = "hoeffding"

    def lower(self, level: float) -> float:
        """Return the lower bound of the expectation."""
        return max(0.0, self.mean - self._margin(level))

    def upper(self, level: float) -> float:
        """Return the upper bound of the expectation."""
        return min(1.0, self.mean + self._margin(level))

    def _margin(self, level: float) -> float:
        if self.n == 0:
            return 1.0
        if self.method == "hoeffding":
            return hoeffding_margin(level, self.n)
        return bernstein_margin(self.variance, self.n, level)

    def content(self) -> Content:
        """Return the record of the cell in a certificate."""
        return {
            "kind": "mean",
            "n": self.n,
            "mean": self.mean,
            "variance": self.variance,
            "method": self.method,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Weighted:
    """Weighted outcomes in [0, 1]: the rate is ``E[w h] / E[w]``."""

    sum_wh: float  # sum of weight times outcome
    sum_w: float  # sum of weights
    n: int  # rows, non-negative; never the sum of the weights
    largest: float  # largest possible weight, known before the rows are seen, positive

    def lower(self, level: float) -> float:
        """Return the lower bound of the weighted rate, 0 without weight."""
        return self._bounds(level)[0]

    def upper(self, level: float) -> float:
        """Return the upper bound of the weighted rate, 1 without weight."""
        return self._bounds(level)[1]

    def _bounds(self, level: float) -> tuple[float, float]:
        if self.sum_w <= 0:
            return 0.0, 1.0
        return weighted_bounds(self.sum_wh, self.sum_w, self.n, self.largest, level)

    def content(self) -> Content:
        """Return the record of the cell in a certificate."""
        return {
            "kind": "weighted",
            "n": self.n,
            "sum_wh": self.sum_wh,
            "sum_w": self.sum_w,
            "largest": self.largest,
        }


@dataclass(frozen=True, kw_only=True, eq=False)
class Bets:
    """Independent outcomes in [0, 1], bounded by betting, which needs each outcome."""

    # in an order that is independent of the outcomes
    values: NDArray[np.float64] = field(repr=False)  # shape (n,)

    @property
    def n(self) -> int:
        """Rows."""
        return len(self.values)

    @cached_property
    def digest(self) -> str:
        """SHA-256 of the outcomes as little-endian doubles."""
        return hashlib.sha256(self.values.astype("<f8").tobytes()).hexdigest()

    def lower(self, level: float) -> float:
        """Return the lower bound of the expectation."""
        return betting_lower(self.values, level)

    def upper(self, level: float) -> float:
        """Return the upper bound of the expectation."""
        return betting_upper(self.values, level)

    def content(self) -> Content:
        """Return the record of the cell in a certificate, with a hash instead of the outcomes."""
        return {"kind": "bets", "n": self.n, "values_sha256": self.digest}


Cell = Count | Mean | Weighted | Bets


def empty(cell: Cell) -> bool:
    """Return whether the cell has no rows or no weight, so that its rate is undefined."""
    return cell.n == 0 or (isinstance(cell, Weighted) and cell.sum_w <= 0)


NUMBERS = frozenset({"x", "n", "mean", "variance", "sum_wh", "sum_w", "largest"})


def cell_from_content(content: Content) -> Cell | None:
    """Return the cell of a certificate record, or None if the record has only a hash of it."""
    values = {name: value for name, value in content.items() if name != "kind"}
    kinds: dict[str, type[Count | Mean | Weighted]] = {
        "count": Count,
        "mean": Mean,
        "weighted": Weighted,
    }
    kind = str(content["kind"])
    if any(isinstance(value, str) for name, value in values.items() if name in NUMBERS):
        raise TypeError
    return None if kind == "bets" else kinds[kind](**values)  # type: ignore[arg-type]
