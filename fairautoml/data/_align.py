"""Rows that belong together: the index rule for pandas inputs."""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, Literal

import pandas as pd

from fairautoml.exceptions import InputError

Align = Literal["error", "index"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Inputs:
    """What the user gave, row by row in one order once `align_inputs` is through."""

    X: Any
    y: Any
    sensitive: Any = None
    sample_weight: Any = None
    groups: Any = None
    time: Any = None
    proxies: Any = None


def align_inputs(inputs: Inputs, align: Align) -> Inputs:
    """Check that pandas inputs speak of the same rows, or bring them into the order of ``X``."""
    indices = _indices({field.name: getattr(inputs, field.name) for field in fields(inputs)})
    if len(indices) < 2:
        return inputs
    reference = next(iter(indices.values()))
    if align == "index" and not all(index.equals(reference) for index in indices.values()):
        return _reindexed(inputs, reference, indices)
    found = _unlike(indices)
    if found:
        msg = (
            f"{found}. Use reset_index(drop=True) if they are in the same order, or align='index' "
            "to match them by index."
        )
        raise InputError(msg)
    return inputs


def unlike_indices(given: Mapping[str, Any]) -> str:
    """Say which two pandas inputs speak of different rows; an empty text when all are alike."""
    return _unlike(_indices(given))


def _unlike(indices: "dict[str, pd.Index[Any]]") -> str:
    first, reference = next(iter(indices.items()), ("", None))
    other = next((name for name, index in indices.items() if not index.equals(reference)), None)
    if other is None or all(_is_default(index) for index in indices.values()):
        return ""
    return (
        f"{first} and {other} have different pandas indices ({_shown(indices[first])} and "
        f"{_shown(indices[other])}), so it is not clear which rows belong together"
    )


def _indices(given: Mapping[str, Any]) -> "dict[str, pd.Index[Any]]":
    return {
        name: value.index
        for argument, columns in given.items()
        for name, value in _parts(argument, columns).items()
        if isinstance(value, pd.DataFrame | pd.Series)
    }


def _parts(name: str, columns: Any) -> dict[str, Any]:
    """Return columns that are given in a dict or a list one by one."""
    if isinstance(columns, Mapping):
        return {f"{name}[{key!r}]": value for key, value in columns.items()}
    if _lists_columns(columns):
        return {f"{name}[{at}]": value for at, value in enumerate(columns)}
    return {name: columns}


def _lists_columns(value: Any) -> bool:
    return isinstance(value, list | tuple) and any(isinstance(v, pd.Series) for v in value)


def _is_default(index: "pd.Index[Any]") -> bool:
    return isinstance(index, pd.RangeIndex) and index.start == 0 and index.step == 1


def _shown(index: "pd.Index[Any]") -> str:
    first = ", ".join(repr(label) for label in index[:3].tolist())
    return f"{len(index)} rows from {first}, ..."


def _reindexed(
    inputs: Inputs, reference: "pd.Index[Any]", indices: dict[str, "pd.Index[Any]"]
) -> Inputs:
    for name, index in indices.items():
        if not index.is_unique:
            msg = (
                f"align='index': the index of {name} has duplicates, so rows cannot be matched; "
                "make it unique or use reset_index(drop=True)."
            )
            raise InputError(msg)
        lacking = reference.difference(index, sort=False)
        if len(lacking):
            msg = (
                f"align='index': {name} lacks {len(lacking)} row(s) of the index of "
                f"{next(iter(indices))}, for example {lacking[0]!r}. Give it a value for every "
                "row."
            )
            raise InputError(msg)

    def take(value: Any) -> Any:
        if isinstance(value, Mapping):
            return {name: take(column) for name, column in value.items()}
        if _lists_columns(value):
            return [take(column) for column in value]
        return value.loc[reference] if isinstance(value, pd.DataFrame | pd.Series) else value

    return Inputs(
        X=take(inputs.X),
        y=take(inputs.y),
        sensitive=take(inputs.sensitive),
        sample_weight=take(inputs.sample_weight),
        groups=take(inputs.groups),
        time=take(inputs.time),
        proxies=take(inputs.proxies),
    )
