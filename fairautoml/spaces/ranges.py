"""What one hyperparameter may be: a real number, an integer, or one of a list."""

import math
from dataclasses import dataclass

import numpy as np

from fairautoml.exceptions import SpaceError

ParamValue = bool | int | float | str


def same_value(one: object, other: object) -> bool:
    """Whether two values agree in type as well: ``1``, ``1.0`` and ``True`` are three things."""
    return type(one) is type(other) and one == other


def _check_bounds(low: float, high: float, log: bool, default: float) -> None:
    if not low < high:
        raise SpaceError(f"low must be less than high; found low {low!r} and high {high!r}")
    if log and low <= 0:
        raise SpaceError(f"a log range needs low > 0; found low {low!r}; raise it or drop log")
    if not low <= default <= high:
        raise SpaceError(f"default must lie in [{low!r}, {high!r}]; found {default!r}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Real:
    """A real number in [low, high].

    Examples
    --------
    >>> Real(low=0.01, high=0.3, log=True, default=0.1).contains(0.5)
    False
    """

    low: float  # bounds, both inside; finite, ``low < high``
    high: float
    default: float  # first guess, in [low, high]
    log: bool = False  # uniform in the logarithm; then ``low > 0``

    def __post_init__(self) -> None:
        if not all(math.isfinite(value) for value in (self.low, self.high, self.default)):
            raise SpaceError("low, high and default must be finite numbers")
        _check_bounds(self.low, self.high, self.log, self.default)

    def sample(self, rng: np.random.Generator) -> float:
        """Draw a value, uniform on the scale of the range."""
        if not self.log:
            return float(rng.uniform(self.low, self.high))
        drawn = math.exp(rng.uniform(math.log(self.low), math.log(self.high)))
        # exp(log(x)) may leave the range by one unit in the last place.
        return min(max(drawn, self.low), self.high)

    def contains(self, value: object) -> bool:
        """Whether ``value`` is a plain ``float`` in the range."""
        return type(value) is float and self.low <= value <= self.high


@dataclass(frozen=True, slots=True, kw_only=True)
class Integer:
    """An integer in [low, high]."""

    low: int  # bounds, both inside; ``low < high``
    high: int
    default: int  # first guess, in [low, high]
    log: bool = False  # uniform in the logarithm; then ``low > 0``

    def __post_init__(self) -> None:
        _check_bounds(self.low, self.high, self.log, self.default)

    def sample(self, rng: np.random.Generator) -> int:
        """Draw a value, uniform on the scale of the range."""
        if not self.log:
            return int(rng.integers(self.low, self.high, endpoint=True))
        # Half a step of room on both sides gives the two bounds their full share.
        drawn = math.exp(rng.uniform(math.log(self.low - 0.5), math.log(self.high + 0.5)))
        return min(max(round(drawn), self.low), self.high)

    def contains(self, value: object) -> bool:
        """Whether ``value`` is a plain ``int`` in the range."""
        return type(value) is int and self.low <= value <= self.high


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """One of a list."""

    values: tuple[ParamValue, ...]  # all possibilities, at least one, none twice
    default: ParamValue  # first guess, one of them

    def __post_init__(self) -> None:
        if not self.values:
            raise SpaceError("values is empty; a choice needs at least one value")
        for position, value in enumerate(self.values):
            if any(same_value(value, before) for before in self.values[:position]):
                raise SpaceError(f"values holds {value!r} twice; keep one")
        if not self.contains(self.default):
            raise SpaceError(f"default must be one of {self.values!r}; found {self.default!r}")

    def sample(self, rng: np.random.Generator) -> ParamValue:
        """Draw a value, all equally likely."""
        return self.values[int(rng.integers(len(self.values)))]

    def contains(self, value: object) -> bool:
        """Whether ``value`` is in the list, type and all."""
        return any(same_value(value, known) for known in self.values)


Range = Real | Integer | Choice
