"""One feature: what is known of it, and its encoding."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from fairautoml.data._keys import Key, encode_levels, key_of, level_arrays, recode, types_of
from fairautoml.data._numbers import Kind, OnNonfinite, kind_of, numbers, to_float32
from fairautoml.exceptions import InputError

_NOUN: dict[Kind, str] = {
    "number": "numbers",
    "category": "text or categories",
    "datetime": "dates",
    "timedelta": "durations",
    "empty": "nothing",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Column:
    """One feature that is kept."""

    name: str  # the user's name, or ``x0``, ``x1``, ... for arrays
    position: int  # its position in the table given to ``fit``
    kind: Kind  # {"number", "category", "datetime", "timedelta", "empty"}: how it is encoded
    levels: tuple[Key, ...] = ()  # category of each code 0, 1, 2, ..


def fit_column(
    name: str, position: int, values: "pd.Series[Any]", on_nonfinite: OnNonfinite
) -> tuple[Column, NDArray[np.float32]]:
    """Learn the encoding of one column and apply it; missing is NaN."""
    kind = kind_of(values, name)
    if kind != "category":
        found = numbers(values, kind, name)
        column = Column(name=name, position=position, kind=kind)
        return column, to_float32(found, (name,), on_nonfinite)
    codes, levels = encode_levels(values, f"column {name!r} of X")
    column = Column(name=name, position=position, kind="category", levels=levels)
    return column, _as_category(codes)


def _as_category(codes: NDArray[np.int64]) -> NDArray[np.float32]:
    encoded = codes.astype(np.float32)
    encoded[codes < 0] = np.nan
    return encoded


def encode_column(
    column: Column, values: "pd.Series[Any]", on_nonfinite: OnNonfinite
) -> NDArray[np.float32]:
    """Encode new values of one column by what was learned at fit; missing and unseen are NaN."""
    name = column.name
    if column.kind == "category":
        return _encode_category(column, values)
    kind = kind_of(values, name)
    if kind == "category" and isinstance(values.dtype, pd.CategoricalDtype):
        values = values.astype(object)
        kind = kind_of(values, name)
    if values.isna().all():
        kind = "empty"  # a column without a value is of any kind
    if kind not in (column.kind, "empty") and column.kind != "empty":
        which = _first_strange(values) if (column.kind, kind) == ("number", "category") else ""
        msg = (
            f"column {name!r} of X held {_NOUN[column.kind]} at fit and holds {_NOUN[kind]} now"
            f"{which}; convert it to what it was at fit."
        )
        raise InputError(msg)
    return to_float32(numbers(values, kind, name), (name,), on_nonfinite)


def _first_strange(values: "pd.Series[Any]") -> str:
    """Say which value is no number, or that all can be read as numbers."""
    read = pd.to_numeric(values.astype(object).astype(str), errors="coerce")
    strange = np.flatnonzero(read.isna() & values.notna())
    if len(strange) == 0:
        return ": numbers as text, which pandas.to_numeric reads"
    at = int(strange[0])
    return (
        f": {len(strange)} value(s) are no number, first {values.iloc[at]!r} in row {at} (from 0)"
    )


def _encode_category(column: Column, values: "pd.Series[Any]") -> NDArray[np.float32]:
    codes, levels = level_arrays(values, f"column {column.name!r} of X")
    keys = tuple(key_of(value) for value in levels)
    now, then = types_of(keys), types_of(column.levels)
    if now and not now & then:
        msg = (
            f"column {column.name!r} of X held categories of type {_types(then)} at fit and of "
            f"type {_types(now)} now; convert it to what it was at fit."
        )
        raise InputError(msg)
    return _as_category(recode(codes, keys, column.levels, unknown=-1))


def _types(names: frozenset[str]) -> str:
    return " and ".join(sorted(names))
