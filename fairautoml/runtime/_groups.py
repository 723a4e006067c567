"""Read the sensitive values of new rows as the groups that the rule knows."""

import math
import unicodedata
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from fairautoml.runtime._base import Array, ModelFileError, NewRowsError, Spec
from fairautoml.runtime._rows import (
    Rows,
    codes_of,
    column_of,
    is_column,
    is_missing,
    key_of,
    objects,
    read_each,
)

MISSING = ("missing", None)
UNSEEN, ABSENT = -2, -3


def check_indices(X: Any, sensitive: Any) -> None:
    """Raise if pandas tables have different indices: rows are paired by position."""
    parts = sensitive.values() if isinstance(sensitive, Mapping) else [sensitive]
    for part in parts:
        first: Any = getattr(X, "index", None)
        other: Any = getattr(part, "index", None)
        both = hasattr(first, "equals") and hasattr(other, "equals")
        if both and len(first) == len(other) and not first.equals(other):
            raise NewRowsError("X and sensitive have different indices; bring them into one order")


def sensitive_rows(groups: Spec, table: Rows, sensitive: Any) -> Rows:
    """Return the sensitive columns in the order of the file."""
    names = [column["name"] for column in groups["columns"]]
    if sensitive is None or _names_columns(groups, sensitive):
        if table.names is None or not set(names) <= set(table.names):
            msg = f"the model reads the sensitive column(s) {names}; give predict(X, sensitive)"
            raise NewRowsError(msg)
        given = table
    elif table.names is not None and isinstance(sensitive, str) and sensitive in table.names:
        given = Rows((sensitive,), [table.columns[table.names.index(sensitive)]], table.n_rows)
    else:
        given = _given(sensitive)
    if groups["named"] and given.names is not None:
        lacking = [name for name in names if name not in given.names]
        if lacking:
            raise NewRowsError(f"sensitive lacks the column(s) {lacking}; give one per row")
        columns = [given.columns[given.names.index(name)] for name in names]
    elif len(given.columns) == len(names):
        columns = given.columns
    else:
        msg = f"sensitive has {len(given.columns)} column(s) and the model reads {names}"
        raise NewRowsError(msg)
    return Rows(None, list(columns), given.n_rows)


def _names_columns(groups: Spec, sensitive: Any) -> bool:
    """Return whether the names of the columns are listed from which ``fit`` took the groups."""
    listed = isinstance(sensitive, list | tuple) and all(isinstance(n, str) for n in sensitive)
    return listed and len(sensitive) > 0 and list(sensitive) == groups["from_X"]


def _given(sensitive: Any) -> Rows:
    if isinstance(sensitive, Mapping):
        flat: dict[str, Any] = {}
        for name, value in sensitive.items():
            if hasattr(value, "columns") or isinstance(value, Mapping):
                inner = Rows.of(value)
                flat |= {
                    f"{name}.{one}": column
                    for one, column in zip(inner.names or (), inner.columns, strict=True)
                }
            else:
                flat[str(name)] = value
        return Rows.of(flat)
    if hasattr(sensitive, "columns") or np.ndim(sensitive) == 2:
        return Rows.of(sensitive)
    column = column_of(sensitive) if is_column(sensitive) else objects([sensitive])
    name = getattr(sensitive, "name", None)
    # polars calls a column without a name "".
    return Rows(None if name in (None, "") else (str(name),), [column], len(column))


READINGS = ("value", "indicator", "bins", "scale")
"""How the values of a column become groups."""


def read_groups(spec: Spec) -> dict[str, Any]:
    """Return the groups of a file, checked."""
    columns = [_read_column(column) for column in spec["columns"]]
    cell_codes = spec["cell_codes"]
    sizes = np.array([len(column["codes"]) for column in columns])
    if cell_codes.ndim != 2 or not ((cell_codes >= 0) & (cell_codes < sizes)).all():
        raise ModelFileError("a cell of groups that do not exist")
    return {
        "columns": columns,
        "cell_codes": cell_codes,
        "cells": {tuple(row): at for at, row in enumerate(cell_codes.tolist())},
        "missing": str(spec["missing"]),
        "from_X": [str(name) for name in spec["from_X"]],
        "named": bool(spec["named"]),
        "lenient": spec["unseen"] == "base_model",
    }


def _read_column(spec: Spec) -> dict[str, Any]:
    codes, reading = codes_of(spec["levels"]), spec["reading"]
    found = {
        "name": str(spec["name"]), "reading": reading, "codes": codes,
        "spellings": {text: at[0] for text, at in by_spelling(codes).items() if len(at) == 1},
        "types": {kind for kind, _ in codes} - {MISSING[0]},
    }  # fmt: skip
    if reading not in READINGS:
        raise ModelFileError(f"there is no reading {reading!r}")
    if reading in ("bins", "scale"):
        found |= {"edges": spec["edges"], "steps": spec["steps"]}
        if spec["edges"].ndim != 1 or len(spec["steps"]) != len(spec["edges"]) + 1:
            raise ModelFileError("edges and steps of groups do not match")
    if reading == "scale":
        found["numbers"] = numbers_of(codes)
    return found


def numbers_of(keys: Iterable[tuple[str, Any]]) -> Array:
    """Return the numbers of a scale, NaN for missing."""
    return np.array([np.nan if key == MISSING else key[1] for key in keys], dtype=np.float64)


def cells_of(groups: Spec, given: Rows) -> Array:
    """Return the cell of each row, -1 for rows without one."""
    parts = [
        _levels(groups, column, values)
        for column, values in zip(groups["columns"], given.columns, strict=True)
    ]
    levels = np.stack(parts, axis=1)
    distinct, inverse = np.unique(levels, axis=0, return_inverse=True)
    each = [groups["cells"].get(tuple(row), -1) for row in distinct.tolist()]
    each = [_nearest(groups, row) if cell < 0 else cell
            for cell, row in zip(each, distinct, strict=True)]  # fmt: skip
    cells = np.array(each, dtype=np.int64)[inverse.reshape(-1)]
    if not groups["lenient"]:
        outside = np.zeros(len(cells), dtype=bool)
        if groups["missing"] == "exclude":
            absent = [column["codes"].get(MISSING, ABSENT) for column in groups["columns"]]
            outside = (levels == np.array(absent)).any(axis=1)
        if ((cells < 0) & ~outside).any():
            raise NewRowsError("sensitive holds a combination of groups that fit has not seen")
    return cells


def _levels(groups: Spec, column: Spec, values: Array) -> Array:
    """Return the position of each value among the groups of a column."""
    name, codes = column["name"], column["codes"]
    unseen = ABSENT if groups["missing"] == "exclude" else UNSEEN
    kinds: set[str] = set()

    def level(value: Any) -> int:
        read = _read_group(column, value)
        if is_missing(read):
            if groups["missing"] == "error" and not groups["lenient"]:
                raise NewRowsError(f"sensitive {name!r} has missing values; give every group")
            return int(codes.get(MISSING, unseen))
        kind, text = key = key_of(read)
        kinds.add(kind)
        same = column["spellings"].get(normalized(text), UNSEEN) if kind == "str" else UNSEEN
        found = int(codes.get(key, same))
        if found == UNSEEN and not groups["lenient"]:
            shown = ", ".join(repr(one) for _, one in [*codes][:20])
            msg = f"sensitive {name!r} holds the group {read!r}; the model knows {shown}"
            raise NewRowsError(msg)
        return found

    levels = np.array(read_each(values, level), dtype=np.int64)
    if column["reading"] != "scale" and column["types"] and kinds - column["types"]:
        raise NewRowsError(
            f"sensitive {name!r} held groups of type {' and '.join(sorted(column['types']))} and "
            f"holds type {' and '.join(sorted(kinds))} now; convert it"
        )
    return levels


def _read_group(column: Spec, value: Any) -> Any:
    """Return the group of a value: itself, the name of its bin, or the step of a scale."""
    if column["reading"] == "indicator" and not is_missing(value):
        if value not in (0, 1):
            raise NewRowsError(f"sensitive {column['name']!r} holds {value!r}; give True or False")
        return bool(value)
    if column["reading"] not in ("bins", "scale") or is_missing(value):
        return value
    try:
        number = float(value)
    except (OverflowError, TypeError, ValueError):
        raise NewRowsError(f"sensitive {column['name']!r} holds {value!r}; give numbers") from None
    if math.isinf(number):
        raise NewRowsError(
            f"sensitive {column['name']!r} holds infinite numbers; give finite ones"
        )
    at = int(np.searchsorted(column["edges"], number, side="left"))
    return None if math.isnan(number) else column["steps"][at]


def _nearest(groups: Spec, row: Array) -> int:
    scaled = {at: column["numbers"] for at, column in enumerate(groups["columns"])
              if column["reading"] == "scale"}  # fmt: skip
    return nearest_cell(groups["cell_codes"], row, scaled) if scaled else -1


def nearest_cell(known: Array, row: Array, scaled: Mapping[int, Array]) -> int:
    """Return the cell of the same groups with the nearest numbers, -1 where there is none.

    ``scaled`` holds the number of each code of the columns that are scales.
    """
    if (row < 0).any():
        return -1
    others = [at for at in range(known.shape[1]) if at not in scaled]
    apart = np.zeros(len(known))
    for at, numbers in scaled.items():
        step = np.abs(numbers[known[:, at]] - numbers[row[at]])
        # Missing numbers have their own code and match missing ones only.
        apart += np.where(known[:, at] == row[at], 0.0, step)
    same = (known[:, others] == row[others]).all(axis=1) & np.isfinite(apart)
    reachable = np.flatnonzero(same)
    return int(reachable[apart[reachable].argmin()]) if len(reachable) else -1


ZERO_WIDTH = dict.fromkeys(map(ord, "\u200b\u200c\u200d\u2060\ufeff"))
"""Zero-width spaces, joiners and the byte order mark, as ``str.translate`` drops them."""


def by_spelling(keys: Iterable[tuple[str, Any]]) -> dict[str, list[int]]:
    """Return the positions of the texts of each spelling."""
    found: dict[str, list[int]] = {}
    for at, (kind, value) in enumerate(keys):
        if kind == "str":
            found.setdefault(normalized(value), []).append(at)
    return found


def normalized(text: str) -> str:
    """Return a text without differences of spaces, case and Unicode form."""
    plain = unicodedata.normalize("NFKC", text).translate(ZERO_WIDTH)
    return unicodedata.normalize("NFKC", " ".join(plain.split()).casefold())
