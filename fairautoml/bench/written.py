"""What a plan in YAML may hold, checked where it is read."""

from collections.abc import Mapping, Sequence
from typing import Any, TypeGuard

from fairautoml.exceptions import InputError


def mapping_of(value: object, allowed: Sequence[str]) -> Mapping[str, Any]:
    """Return a mapping that has no other keys than those allowed."""
    if not isinstance(value, dict) or not set(value) <= set(allowed):
        found = ", ".join(map(str, value)) if isinstance(value, dict) else repr(value)
        raise InputError(f"found {found}; expected a mapping with the keys {', '.join(allowed)}")
    return value


def is_number(value: object) -> TypeGuard[float]:
    """Return whether YAML gave a number; ``true`` is none."""
    return isinstance(value, int | float) and not isinstance(value, bool)
