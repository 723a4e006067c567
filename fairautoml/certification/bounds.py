"""Confidence bounds of rates and means; ``level`` is the error probability of one bound.

Wald, Wilson, Newcombe and bootstrap intervals are too short when no event is observed.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import betaincinv


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
    return np.where(some, low, 0.0)


def cp_upper(x: ArrayLike, n: ArrayLike, level: float) -> NDArray[np.float64]:
    """Return the Clopper-Pearson upper bound of a binomial rate."""
    return 1.0 - cp_lower(np.asarray(n) - np.asarray(x), n, level)


def largest_difference(upper: NDArray[np.float64], lower: NDArray[np.float64]) -> float:
    """Return ``max over g != h of upper[g] - lower[h]``, in O(groups).

    With one-sided bounds at ``delta / 2`` this bounds the largest gap between two groups with
    probability ``1 - delta`` for any number of groups: only the pair with the largest true gap
    has to be right (intersection-union).

    References
    ----------
    Berger, "Multiparameter hypothesis testing and acceptance sampling", Technometrics 24 (1982).
    """
    return float(max(upper[g] - lower[h] for g, h in _extreme_pairs(-upper, lower)))


def smallest_ratio(lower: NDArray[np.float64], upper: NDArray[np.float64]) -> float:
    """Return ``min over g != h of lower[g] / upper[h]``; same argument as for differences."""
    return float(min(lower[g] / upper[h] for g, h in _extreme_pairs(lower, -upper)))


def _extreme_pairs(
    first: NDArray[np.float64], second: NDArray[np.float64]
) -> Iterator[tuple[int, int]]:
    """Yield the pairs of different groups among the two smallest of ``first`` and ``second``."""
    for g in np.argsort(first, kind="stable")[:2].tolist():
        for h in np.argsort(second, kind="stable")[:2].tolist():
            if g != h:
                yield g, h


def hoeffding_margin(level: float, *n_rows: float) -> float:
    """Return the error margin of a mean in [0, 1], or of a difference of two independent means.

    ``sqrt(ln(1 / level) / 2 * sum(1 / n))``.

    References
    ----------
    Hoeffding, "Probability inequalities for sums of bounded random variables", JASA 58 (1963),
    Theorem 2.
    """
    return math.sqrt(math.log(1 / level) / 2 * sum(1 / n for n in n_rows))


def weighted_bounds(
    sum_wh: float, sum_w: float, n: int, largest: float, level: float
) -> tuple[float, float]:
    """Return lower and upper bounds of ``E[w h] / E[w]`` with ``h`` in [0, 1], ``0 <= w <= W``.

    Applies Hoeffding's bound to ``w (h - theta)``, whose range is ``W``.
    """
    slack = n * largest * hoeffding_margin(level, n)
    return max(0.0, (sum_wh - slack) / sum_w), min(1.0, (sum_wh + slack) / sum_w)


Ends = tuple[NDArray[np.float64], NDArray[np.float64]]
"""Lower and upper bounds of one rate in all groups."""


def bound_toward_disparity(ends: Sequence[Ends], form: str) -> float:
    """Return the bound of the worst of several rates that is farther from parity."""
    if form == "minimum":
        return min(float(low.min()) for low, _ in ends)
    if form == "difference":
        return max(largest_difference(high, low) for low, high in ends)
    return min(smallest_ratio(low, high) if high.min() > 0 else 0.0 for low, high in ends)


def bound_toward_parity(ends: Sequence[Ends], form: str) -> float:
    """Return the bound of the worst of several rates that is closer to parity."""
    if form == "minimum":
        return min(float(high.min()) for _, high in ends)
    if form == "difference":
        return max(0.0, *(largest_difference(low, high) for low, high in ends))
    return min(
        min(1.0, float(high.min() / low.max())) if low.max() > 0 else 1.0 for low, high in ends
    )


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


@dataclass(frozen=True, slots=True, kw_only=True)
class Mean:
    """Independent outcomes in [0, 1], one per row or entity."""

    mean: float  # in [0, 1]
    n: int  # rows or entities, non-negative

    def lower(self, level: float) -> float:
        """Return Hoeffding's lower bound of the expectation."""
        return max(0.0, self.mean - self._margin(level))

    def upper(self, level: float) -> float:
        """Return Hoeffding's upper bound of the expectation."""
        return min(1.0, self.mean + self._margin(level))

    def _margin(self, level: float) -> float:
        return hoeffding_margin(level, self.n) if self.n else 1.0


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


Cell = Count | Mean | Weighted
KINDS: dict[str, type[Cell]] = {"count": Count, "mean": Mean, "weighted": Weighted}


def empty(cell: Cell) -> bool:
    """Return whether the cell has no rows or no weight, so that its rate is undefined."""
    return cell.n == 0 or (isinstance(cell, Weighted) and cell.sum_w <= 0)


def content_of(cell: Cell) -> Content:
    """Return the record of a cell in a certificate."""
    kind = next(name for name, one in KINDS.items() if isinstance(cell, one))
    return {"kind": kind, **asdict(cell)}


def cell_from_content(content: Content) -> Cell:
    """Return the cell of a certificate record."""
    values = {name: value for name, value in content.items() if name != "kind"}
    if any(isinstance(value, str) for value in values.values()):
        raise TypeError
    return KINDS[str(content["kind"])](**values)  # type: ignore[arg-type]
