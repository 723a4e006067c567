"""Convex stand-ins for "this row is decided so", as functions of how far it leans that way.

A decision is a step of the margin (log-odds): nothing to descend on. Each proxy rises smoothly
and, at a margin of 0, is as high as the step or higher.

Source: Cruz et al., *FairGBM: Gradient Boosting with Fairness Constraints*, ICLR 2023,
arXiv 2209.07850, and its code (feedzai/fairgbm), which names the three.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit

Array = NDArray[np.float64]


class Proxy(Protocol):
    """A convex, rising stand-in for the step at 0."""

    def value(self, lean: Array) -> Array:
        """Return the height of the proxy."""
        ...

    def slope(self, lean: Array) -> Array:
        """Return the first derivative, at least 0."""
        ...

    def curve(self, lean: Array) -> Array:
        """Return the second derivative, at least 0."""
        ...


@dataclass(frozen=True, slots=True)
class CrossEntropy:
    """``log(1 + e^(lean + h))`` with ``h = log(e^margin - 1)``: ``margin`` at 0."""

    margin: float  # positive; from 1 on the proxy bounds the step

    @property
    def _shift(self) -> float:
        return math.log(math.expm1(self.margin))

    def value(self, lean: Array) -> Array:
        """Return the height of the proxy."""
        return np.logaddexp(0.0, lean + self._shift)

    def slope(self, lean: Array) -> Array:
        """Return the first derivative, in [0, 1]."""
        found: Array = expit(lean + self._shift)
        return found

    def curve(self, lean: Array) -> Array:
        """Return the second derivative, at most 1/4."""
        slope = self.slope(lean)
        return slope * (1 - slope)


@dataclass(frozen=True, slots=True)
class Hinge:
    """``max(0, lean + margin)``."""

    margin: float  # positive; from 1 on the proxy bounds the step

    def value(self, lean: Array) -> Array:
        """Return the height of the proxy."""
        return np.maximum(0.0, lean + self.margin)

    def slope(self, lean: Array) -> Array:
        """Return the first derivative, 0 or 1."""
        return (lean >= -self.margin).astype(np.float64)

    def curve(self, lean: Array) -> Array:
        """Return zeros: a hinge has no curvature."""
        return np.zeros_like(lean)


@dataclass(frozen=True, slots=True)
class Quadratic:
    """Half the square of ``max(0, lean + margin)``."""

    margin: float  # positive; from the root of 2 on the proxy bounds the step

    def value(self, lean: Array) -> Array:
        """Return the height of the proxy."""
        found: Array = 0.5 * np.square(self.slope(lean))
        return found

    def slope(self, lean: Array) -> Array:
        """Return the first derivative, at least 0."""
        return np.maximum(0.0, lean + self.margin)

    def curve(self, lean: Array) -> Array:
        """Return the second derivative, 0 or 1."""
        return (lean >= -self.margin).astype(np.float64)


PROXIES: Mapping[str, Callable[[float], Proxy]] = {
    "cross_entropy": CrossEntropy,
    "hinge": Hinge,
    "quadratic": Quadratic,
}
"""Proxy of a margin, by its published name."""
