"""Read the YAML files of experiments with a runner of their own."""

from collections.abc import Mapping, Sequence
from typing import Any

from fairautoml.exceptions import InputError


def mapping_of(value: object, allowed: Sequence[str]) -> Mapping[str, Any]:
    """Return a mapping that has no other keys than those allowed."""
    if not isinstance(value, dict) or not set(value) <= set(allowed):
        found = ", ".join(map(str, value)) if isinstance(value, dict) else repr(value)
        raise InputError(f"found {found}; expected a mapping with the keys {', '.join(allowed)}")
    return value
