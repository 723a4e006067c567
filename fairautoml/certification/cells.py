"""What was seen of one group in one event, and the bounds that follow from it."""

import hashlib
from dataclasses import dataclass, field
from functools import cached_property
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from fairautoml.certification.bounds import (
    bernstein_margin,
    betting_lower,
    betting_upper,
    cp_lower,
    cp_upper,
    hoeffding_margin,
    weighted_bounds,
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

    def content(self) -> Content:
        """Return what a certificate says of the cell."""
        return {"kind": "count", "n": self.n, "x": self.x}


@dataclass(frozen=True, slots=True, kw_only=True)
class Mean:
    """Independent outcomes in [0, 1], one per row or entity."""

    mean: float  # in [0, 1]
    variance: float  # unbiased sample variance; 0 with fewer than two rows
    n: int  # rows or entities, non-negative
    # which bound, chosen before the rows are seen
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
        """Return what a certificate says of the cell."""
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

    sum_wh: float  # sums of weight times outcome and of weight
    sum_w: float
    n: int  # rows, non-negative; never the sum of the weights
    largest: float  # largest weight that is possible, known before the rows are seen, positive

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
        """Return what a certificate says of the cell."""
        return {
            "kind": "weighted",
            "n": self.n,
            "sum_wh": self.sum_wh,
            "sum_w": self.sum_w,
            "largest": self.largest,
        }


@dataclass(frozen=True, kw_only=True, eq=False)
class Bets:
    """Independent outcomes in [0, 1], bounded by betting; needs the rows, not only sums."""

    # in an order that does not depend on them
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
        """Return what a certificate says of the cell: not the rows, but their hash."""
        return {"kind": "bets", "n": self.n, "values_sha256": self.digest}


Cell = Count | Mean | Weighted | Bets


def empty(cell: Cell) -> bool:
    """Whether nothing at all was seen, so that the rate has no value."""
    return cell.n == 0 or (isinstance(cell, Weighted) and cell.sum_w <= 0)


NUMBERS = frozenset({"x", "n", "mean", "variance", "sum_wh", "sum_w", "largest"})


def cell_from_content(content: Content) -> Cell | None:
    """Return the cell that a certificate speaks of, None if it takes the rows themselves."""
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
