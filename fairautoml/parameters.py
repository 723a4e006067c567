"""Checks of the parameters that users give; each returns the value in its own type."""

import math
import numbers
from collections.abc import Callable, Sequence
from typing import Any, TypeGuard

import numpy as np

from fairautoml.exceptions import ParameterError


def is_number(value: Any) -> TypeGuard[float]:
    """Return whether a value is a finite number and not a bool."""
    real = isinstance(value, numbers.Real) and not isinstance(value, bool)
    return real and math.isfinite(float(value))


def check_number(name: str, value: Any, wanted: str, valid: Callable[[float], bool]) -> float:
    """Return a finite, valid number; ``wanted`` describes it in the error message."""
    if not is_number(value) or not valid(float(value)):
        raise ParameterError(f"{name}={value!r} must be {wanted}")
    return float(value)


def check_share(name: str, value: Any) -> float:
    """Return a number in [0, 1]."""
    return check_number(name, value, "a number in [0, 1]", lambda share: 0 <= share <= 1)


def check_error_probability(delta: Any) -> float:
    """Return the error probability of a statement, above 0 and below 0.5."""
    wanted = "an error probability above 0 and below 0.5; a confidence of 95 % is delta=0.05"
    return check_number("delta", delta, wanted, lambda level: 0 < level < 0.5)


def check_integer(name: str, value: Any, wanted: str, valid: Callable[[int], bool]) -> int:
    """Return a valid integer; ``wanted`` describes it in the error message."""
    whole = isinstance(value, numbers.Integral) and not isinstance(value, bool)
    if not whole or not valid(int(value)):
        raise ParameterError(f"{name}={value!r} must be {wanted}")
    return int(value)


def check_count(name: str, value: Any, *, least: int, also: str = "") -> int:
    """Return an integer of at least ``least``; ``also`` names other allowed values."""
    wanted = f"{also}a whole number of at least {least}"
    return check_integer(name, value, wanted, lambda count: count >= least)


def check_choice(name: str, value: Any, allowed: Sequence[str]) -> str:
    """Return the value if it is one of the allowed strings."""
    if not isinstance(value, str) or value not in allowed:
        raise ParameterError(f"{name}={value!r} must be one of {', '.join(map(repr, allowed))}")
    return value


def check_flag(name: str, value: Any) -> bool:
    """Return a bool; a string such as "False" would silently count as true."""
    if not isinstance(value, bool | np.bool_):
        raise ParameterError(f"{name}={value!r} must be True or False")
    return bool(value)
