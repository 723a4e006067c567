"""Typed keys: what a category or a group *is*, whatever container it came in.

A key is ``(type name, value)``, so that ``1``, ``"1"`` and ``True`` are three things. NumPy and
pandas scalars are the Python values they hold. A float without fraction is the whole number it
is: pandas stores whole numbers as floats as soon as one of them is missing, and 2 must not
become another group because a different row is incomplete.
"""

from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from fairautoml.exceptions import InputError

Key = tuple[str, Any]


def key_of(value: Any) -> Key:
    """Return the typed key of one value that is not missing.

    Values that are no text, number or boolean (intervals, dates, ...) are known by the name of
    their type and their text, so that a key is always plain data.
    """
    if isinstance(value, np.bool_ | np.integer | np.floating):
        value = value.item()
    if isinstance(value, str):
        return ("str", str(value))
    if isinstance(value, bool | int):
        return (type(value).__name__, value)
    if isinstance(value, float):
        return ("int", int(value)) if value.is_integer() else ("float", value)
    hash(value)
    return (type(value).__name__, str(value))


def types_of(keys: tuple[Key, ...]) -> frozenset[str]:
    """Return the type names that occur."""
    return frozenset(key[0] for key in keys)


def level_arrays(values: "pd.Series[Any]", name: str) -> tuple[NDArray[np.int64], NDArray[Any]]:
    """Return a code per row (-1 = missing) and the distinct values, in no particular order."""
    if isinstance(values.dtype, pd.CategoricalDtype):
        codes = values.cat.codes.to_numpy().astype(np.int64)
        levels = values.cat.categories.to_numpy(dtype=object)
        used, inverse = np.unique(codes, return_inverse=True)
        known = used >= 0
        dense = np.where(known, np.cumsum(known) - 1, -1)
        return dense[inverse], levels[used[known]]
    try:
        return _factorize(values)
    except TypeError as error:
        msg = f"{name} holds values that cannot be categories ({error}); convert them to text."
        raise InputError(msg) from error


def _factorize(values: "pd.Series[Any]") -> tuple[NDArray[np.int64], NDArray[Any]]:
    if values.dtype == object and _mixes_types(values):
        # The hash table of pandas holds 1, 1.0 and True for one value; tuples keep them apart.
        missing = values.isna().to_numpy()
        tagged = np.full(len(values), None, dtype=object)
        rows = np.flatnonzero(~missing)
        for row, value in zip(rows, values.to_numpy()[rows], strict=True):
            tagged[row] = key_of(value)
        codes, keys = pd.factorize(tagged)
        first = np.zeros(len(keys), dtype=np.int64)
        first[codes[rows[::-1]]] = rows[::-1]
        return codes.astype(np.int64), values.to_numpy()[first]
    codes, levels = pd.factorize(values)
    return codes.astype(np.int64), np.asarray(levels, dtype=object)


def _mixes_types(values: "pd.Series[Any]") -> bool:
    inferred = pd.api.types.infer_dtype(values, skipna=True)
    return inferred.startswith("mixed") and inferred != "mixed-integer-float"


def sort_levels(
    codes: NDArray[np.int64], levels: NDArray[Any]
) -> tuple[NDArray[np.int64], tuple[Key, ...]]:
    """Return the codes renumbered to the sorted order of the typed keys, and those keys."""
    keys = [key_of(value) for value in levels]
    ordered = tuple(sorted(set(keys)))
    return recode(codes, tuple(keys), ordered, unknown=-1), ordered


def recode(
    codes: NDArray[np.int64], keys: tuple[Key, ...], known: tuple[Key, ...], *, unknown: int
) -> NDArray[np.int64]:
    """Return codes into ``known`` for codes into ``keys``; -1 stays -1."""
    at = {key: code for code, key in enumerate(known)}
    # The last element is what index -1 finds.
    lookup = np.array([*(at.get(key, unknown) for key in keys), -1], dtype=np.int64)
    return lookup[codes]


def encode_levels(
    values: "pd.Series[Any]", name: str
) -> tuple[NDArray[np.int64], tuple[Key, ...]]:
    """Return a code per row in the sorted order of the typed keys (-1 = missing), and the keys."""
    return sort_levels(*level_arrays(values, name))
