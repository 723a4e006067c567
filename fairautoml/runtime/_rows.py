"""Read new rows of any kind as the matrix that the model was trained on."""

import itertools
import math
import re
import warnings
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from functools import lru_cache
from numbers import Number
from typing import Any

import numpy as np

from fairautoml.runtime._base import Array, Floats, ModelFileError, NewRowsError, Spec, small
from fairautoml.runtime._written import (
    PLAIN,
    checked_form,
    part_of,
    read_moment,
    read_value,
    reads_numbers,
)


class Rows:
    """A table by columns; ``names`` is None where the user gave none."""

    sparse: "SparseRows | None" = None  # the rows of a sparse matrix, then without ``columns``

    def __init__(self, names: tuple[str, ...] | None, columns: list[Array], n_rows: int) -> None:
        self.names, self.columns, self.n_rows = names, columns, n_rows
        if names is not None and len(set(names)) < len(names):
            raise NewRowsError(f"several columns have one name: {sorted(names)[:20]}")
        if any(len(column) != n_rows for column in columns):
            raise NewRowsError("the columns differ in length; give one value per row")

    @classmethod
    def of(cls, X: Any) -> "Rows":
        """Read one row, rows or columns in any accepted form."""
        if isinstance(X, Mapping):
            return cls._of_mapping(X)
        if isinstance(X, list | tuple) and len(X) and all(isinstance(row, Mapping) for row in X):
            names = tuple(str(name) for name in X[0])
            values = [[row.get(name, row) for row in X] for name in X[0]]
            if any(
                value is row for column in values for value, row in zip(column, X, strict=True)
            ):
                raise NewRowsError("the rows have different names; give None for a missing value")
            return cls(names, [objects(column) for column in values], len(X))
        if hasattr(X, "tocsr"):
            found = cls(None, [], X.shape[0])
            found.sparse = SparseRows(X)
            return found
        if hasattr(X, "columns"):
            return cls._of_frame(X)
        return cls._of_array(X)

    @classmethod
    def _of_mapping(cls, X: Mapping[Any, Any]) -> "Rows":
        names = tuple(str(name) for name in X)
        one_row = not any(is_column(value) for value in X.values())
        columns = [objects([value]) if one_row else column_of(value) for value in X.values()]
        return cls(names, columns, len(columns[0]) if columns else 0)

    @classmethod
    def _of_frame(cls, X: Any) -> "Rows":
        if hasattr(X, "iloc"):
            names, columns = X.columns, [X.iloc[:, at] for at in range(X.shape[1])]
        elif hasattr(X, "column_names"):
            names, columns = X.column_names, X.columns
        else:
            X = X.collect() if hasattr(X, "collect") else X
            names, columns = X.columns, [X[name] for name in X.columns]
        read = [column_of(column) for column in columns]
        return cls(tuple(str(name) for name in names), read, len(read[0]) if read else 0)

    @classmethod
    def _of_array(cls, X: Any) -> "Rows":
        try:
            array = _unmasked(X) if hasattr(X, "__array__") else np.array(X, dtype=object)
        except (RuntimeError, TypeError, ValueError) as error:
            raise NewRowsError(f"X cannot be read as an array ({error!r})") from error
        if array.ndim != 2 or array.dtype.kind == "c":
            raise NewRowsError(f"X must be a table of two dimensions, found shape {array.shape}")
        return cls(None, list(array.T), len(array))


class SparseRows:
    """Rows of a sparse matrix, made dense in blocks, with absent values as 0 and as missing."""

    def __init__(self, X: Any) -> None:
        self.matrix = X.tocsr()
        if X.dtype.kind not in "biuf":
            raise NewRowsError(f"X is a sparse matrix of {X.dtype}; only numbers can be sparse")
        with np.errstate(over="ignore"):
            if np.isinf(self.matrix.data.astype(np.float32)).any():
                msg = "X holds infinity or a number too large for float32; correct or rescale it"
                raise NewRowsError(msg)

    def __len__(self) -> int:
        return int(self.matrix.shape[0])

    def __getitem__(self, rows: slice) -> Floats:
        block = self.matrix[rows]
        dense, absent = np.zeros(block.shape, dtype=np.float32), np.ones(block.shape, dtype=bool)
        row = np.repeat(np.arange(block.shape[0]), np.diff(block.indptr))
        np.add.at(dense, (row, block.indices), block.data.astype(np.float32))
        absent[row, block.indices] = False
        return _with_absent(dense, absent)


def is_column(value: Any) -> bool:
    return hasattr(value, "__len__") and not isinstance(value, str | bytes)


def objects(values: Iterable[Any]) -> Array:
    listed = list(values)
    found = np.empty(len(listed), dtype=object)
    found[:] = listed
    return found


def column_of(values: Any) -> Array:
    if isinstance(values, list | tuple):
        return objects(values)
    if getattr(getattr(values, "dtype", None), "time_zone", None):
        return objects(values.to_list())  # of polars, whose array has no zone
    kind = getattr(values, "type", None)
    if hasattr(kind, "index_type") or getattr(kind, "tz", None):
        # Of arrow, whose array has no zone, and the last category where a value is missing.
        return objects(values.to_pylist())
    found = _unmasked(values)
    if found.ndim != 1:
        raise NewRowsError(f"a column has shape {found.shape}; give one value per row")
    return found


def _unmasked(values: Any) -> Array:
    """Return an array; masked values are missing."""
    found = np.asarray(values)
    if isinstance(values, np.ma.MaskedArray) and np.ma.is_masked(values):
        number = found.dtype.kind == "f"
        found = found.astype(found.dtype if number else object)
        found[np.ma.getmaskarray(values)] = np.nan if number else None
    return found


def is_missing(value: Any) -> bool:
    if value is None or type(value).__name__ in {"NAType", "NaTType"}:
        return True
    return isinstance(value, float | np.floating | np.datetime64 | np.timedelta64 | Decimal) and (
        value != value
    )


def key_of(value: Any) -> tuple[str, Any]:
    """Return a value with the name of its type, so that 1, "1" and True differ."""
    if isinstance(value, np.bool_ | np.integer | np.floating):
        value = value.item()
    if isinstance(value, str):
        return ("str", str(value))
    if isinstance(value, bool | int):
        return (type(value).__name__, value)
    if isinstance(value, float):
        return ("int", int(value)) if value.is_integer() else ("float", value)
    return (type(value).__name__, str(value))


def read_each(values: Array, read: Callable[[Any], Any]) -> list[Any]:
    """Return what is read of each value; equal values of a type are read once."""
    if values.dtype.kind in "mM":
        # The items of nanoseconds are integers.
        values = values.astype(f"{values.dtype.kind}8[us]")
    known: dict[type, dict[Any, Any]] = {str: {}, int: {}, bool: {}, float: {}}
    found = []
    for value in values.tolist():
        of_type = known.get(type(value))
        if of_type is None:
            found.append(read(value))
            continue
        if value not in of_type:
            of_type[value] = read(value)
        found.append(of_type[value])
    return found


KINDS = {
    "number": "numbers",
    "category": "text or categories",
    "datetime": "dates",
    "timedelta": "durations",
}
"""What a column can hold, and how it is called."""


def codes_of(levels: Any) -> dict[tuple[str, Any], int]:
    """Return the code of each typed value of a file."""
    return {(str(kind), value): code for code, (kind, value) in enumerate(levels)}


def read_schema(spec: Spec) -> dict[str, Any]:
    """Return the features of a file, checked."""
    if spec["sparse"]:
        return _read_sparse_schema(spec)
    names_in, columns = [str(name) for name in spec["names_in"]], []
    for column in spec["columns"]:
        codes = codes_of(column["levels"])
        position = small(column["position"])
        if column["kind"] not in KINDS or position >= len(names_in):
            raise ModelFileError("a column that no table has")
        columns.append({
            "name": str(column["name"]), "position": position, "kind": column["kind"],
            "codes": codes, "types": {kind for kind, _ in codes}, "zoned": column.get("zoned"),
            "part": column.get("part", ""), "newest": int(column.get("newest", 0)),
            "form": column.get("form", ""), "unit": column.get("unit", ""),
        })  # fmt: skip
        if not checked_form(columns[-1]):
            raise ModelFileError("dates or numbers in an unknown form")
    return {
        "columns": columns, "names_in": names_in, "named": bool(spec["named"]), "sparse": False,
        "texts": [_read_text(text, len(names_in)) for text in spec.get("texts", [])],
    }  # fmt: skip


def _read_text(text: Spec, n_columns: int) -> Spec:
    position = small(text["position"])
    if position >= n_columns:
        raise ModelFileError("a column that no table has")
    known = {str(term): code for code, term in enumerate(text["terms"])}
    return {
        "name": str(text["name"]), "position": position, "known": known,
        "width": small(text["width"]),
    }  # fmt: skip


def _read_sparse_schema(spec: Spec) -> dict[str, Any]:
    """Return the features of a sparse matrix, all numbers, by their positions."""
    positions, n_columns = spec["columns"], small(spec["names_in"])
    rising = positions.ndim == 1 and positions.dtype.kind == "i" and (np.diff(positions) > 0).all()
    if not rising or len(positions) == 0 or positions[0] < 0 or positions[-1] >= n_columns:
        raise ModelFileError("a column that no table has")
    return {"columns": positions, "names_in": range(n_columns), "named": False, "sparse": True}


def encoded(schema: Spec, table: Rows) -> Any:
    """Return the rows as the model was trained on them, shape (n_rows, n_features)."""
    if schema["sparse"]:
        return _encoded_sparse(schema, table)
    if table.sparse is not None:
        raise NewRowsError("X is a sparse matrix and was a table at fit; give X.toarray()")
    places = _places(schema, table)
    found = np.empty((table.n_rows, len(schema["columns"])), dtype=np.float32)
    at = 0
    for _, several in itertools.groupby(schema["columns"], key=lambda column: column["position"]):
        for values in _features(list(several), table.columns[places[at]]):
            found[:, at] = values
            at += 1
    of_texts = places[len(schema["columns"]) :]
    texts = [_terms(t, table.columns[at]) for t, at in zip(schema["texts"], of_texts, strict=True)]
    return np.concatenate([found, *texts], axis=1)


_WORD = re.compile(r"\w+")


def terms_of(text: str) -> list[str]:
    """Return the distinct words and pairs of words as they occur, then three letters of words.

    Letters begin with ``#``, which no word does; a space stands for the edge of a word.
    """
    words = _WORD.findall(text.lower())
    pairs = [f"{first} {second}" for first, second in itertools.pairwise(words)]
    found = dict.fromkeys([*words[:1], *itertools.chain(*zip(words[1:], pairs, strict=True))])
    for word in words:
        found |= _letters(word)
    return list(found)


@lru_cache(maxsize=2**15)
def _letters(word: str) -> dict[str, None]:
    padded = f" {word} "
    return {f"#{padded[at : at + 3]}": None for at in range(len(word))}


def _terms(text: Spec, values: Array) -> Floats:
    """Return the codes of the known terms of each text; NaN behind them."""
    found = np.full((len(values), text["width"]), np.nan, dtype=np.float32)
    for at, value in enumerate(values.tolist()):
        terms = [] if is_missing(value) else terms_of(str(value))
        codes = [text["known"][term] for term in terms if term in text["known"]]
        codes = codes[: text["width"]]
        found[at, : len(codes)] = codes
    return found


def _encoded_sparse(schema: Spec, table: Rows) -> Any:
    positions, n_columns = schema["columns"], len(schema["names_in"])
    matrix = None if table.sparse is None else table.sparse.matrix
    _check_width(len(table.columns) if matrix is None else matrix.shape[1], n_columns)
    if matrix is not None:
        return SparseRows(matrix if len(positions) == n_columns else matrix[:, positions])
    found = np.empty((table.n_rows, len(positions)), dtype=np.float32)
    for at, position in enumerate(positions.tolist()):
        column = {"name": f"x{position}", "kind": "number", "form": "", "part": ""}
        found[:, at] = _features([column], table.columns[position])[0]
    return _with_absent(found, found == 0)


def _with_absent(found: Floats, absent: Array) -> Floats:
    """Return the values of a sparse matrix twice: absent ones are 0, and they are missing."""
    return np.concatenate([found, np.where(absent, np.float32(np.nan), found)], axis=1)


def _places(schema: Spec, table: Rows) -> list[int]:
    """Return the position of each feature in the table."""
    read = [*schema["columns"], *schema["texts"]]
    wanted = [column["name"] for column in read]
    if schema["named"] and table.names is not None:
        at = {name: place for place, name in enumerate(table.names)}
        lacking = [name for name in wanted if name not in at]
        if lacking:
            msg = f"X lacks the column(s) {lacking[:20]}; it has {list(table.names[:20])}"
            raise NewRowsError(msg)
        return [at[name] for name in wanted]
    _check_width(len(table.columns), len(schema["names_in"]))
    return [column["position"] for column in read]


def _check_width(found: int, wanted: int) -> None:
    if found != wanted:
        raise NewRowsError(f"X has {found} columns and the model reads {wanted}")


def _categories(column: Spec, values: Array) -> Floats:
    codes, then = column["codes"], column["types"]
    kinds: set[str] = set()

    def read(value: Any) -> float:
        if is_missing(value):
            return math.nan
        key = key_of(value)
        kinds.add(key[0])
        return float(codes.get(key, math.nan))

    found = np.array(read_each(values, read), dtype=np.float32)
    if kinds and not kinds & then:
        raise NewRowsError(
            f"column {column['name']!r} of X held categories of type {' and '.join(sorted(then))} "
            f"and holds type {' and '.join(sorted(kinds))} now; convert it"
        )
    return found


def _features(columns: list[Spec], values: Array) -> list[Floats]:
    """Return the features of one column of the table."""
    column = columns[0]
    if column["kind"] == "category":
        return [_categories(column, values)]
    found = _numbers(column, values)
    return [
        _float32(column, part_of(found, one["part"], one["newest"]) if one["part"] else found)
        for one in columns
    ]


def _numbers(column: Spec, values: Array) -> Floats:
    """Return values as numbers, dates in days since 1970-01-01."""
    kind, form = _kind(values), column["form"]
    if kind == "empty":
        return np.full(len(values), np.nan)
    plain = kind == "number" and form == PLAIN and not column["unit"]
    if form and (kind == "category" or (kind == "number" and reads_numbers(form))):
        found, zoned = _read_texts(column, values)
    elif kind != column["kind"] or (form and kind == "number" and not plain):
        text = " as text" if form else ""
        msg = f"column {column['name']!r} of X held {KINDS[column['kind']]}{text}"
        raise NewRowsError(f"{msg} and holds {KINDS[kind]} now; convert it")
    else:
        found = _as_floats(values, kind)
        zoned = _zoned(values) if kind == "datetime" else None
    _check_zone(column, zoned)
    return found


def _read_texts(column: Spec, values: Array) -> tuple[Floats, bool | None]:
    """Return numbers or dates that are written as text, and whether dates have a time zone."""
    zones: set[bool] = set()

    def read(value: Any) -> float:
        if is_missing(value):
            return math.nan
        if column["kind"] == "number":
            return read_value(value, column["form"], column["unit"])
        days, zoned = read_moment(value, column["form"])
        zones.update(() if math.isnan(days) else (zoned,))
        return days

    found = np.array(read_each(values, read), dtype=np.float64)
    return found, (all(zones) if column["zoned"] else any(zones)) if zones else None


def _check_zone(column: Spec, zoned: bool | None) -> None:
    then = column.get("zoned")
    if None in (then, zoned) or zoned == then:
        return
    said, now = ("a", "none") if then else ("no", "one")
    msg = (
        f"column {column['name']!r} of X held dates with {said} time zone at fit and has "
        f"{now} now; dates without a zone are taken for UTC"
    )
    warnings.warn(msg, stacklevel=2)


def _float32(column: Spec, values: Floats) -> Floats:
    with np.errstate(over="ignore"):
        found = values.astype(np.float32)
    if np.isinf(found).any():
        msg = f"column {column['name']!r} of X holds infinity or a number too large for float32"
        raise NewRowsError(f"{msg}; correct or rescale it")
    return found


KIND_OF_DTYPE = {"b": "number", "i": "number", "u": "number", "f": "number", "M": "datetime",
                 "m": "timedelta"}  # fmt: skip


def _kind(values: Array) -> str:
    """Return what a column holds: number, datetime, timedelta, category or nothing (empty)."""
    kind = KIND_OF_DTYPE.get(values.dtype.kind)
    if kind == "number":
        return "empty" if np.isnan(values.astype(np.float64)).all() else kind
    if kind is not None:
        return "empty" if np.isnat(values).all() else kind
    types = {type(value) for value in values.tolist() if not is_missing(value)}
    groups: dict[str, tuple[type, ...]] = {
        "datetime": (date, np.datetime64),
        "timedelta": (timedelta, np.timedelta64),
        "number": (Number, np.bool_),
    }
    if not types:
        return "empty"
    if any(issubclass(one, complex | np.complexfloating) for one in types):
        raise NewRowsError("X holds complex numbers; give real ones")
    return next((name for name, kinds in groups.items()
                 if all(issubclass(one, kinds) for one in types)), "category")  # fmt: skip


def _as_floats(values: Array, kind: str) -> Floats:
    if kind == "number":
        if values.dtype.kind in "biuf":
            return values
        return np.array([_float(value) for value in values.tolist()], dtype=np.float64)
    if values.dtype.kind == "O":
        moments = [_moment(value) for value in values.tolist()]
        values = np.array(moments, dtype="M8[us]" if kind == "datetime" else "m8[us]")
    start = np.datetime64(0, "D") if kind == "datetime" else np.timedelta64(0, "D")
    return (values - start) / np.timedelta64(1, "D")


def _float(value: Any) -> float:
    try:
        return math.nan if is_missing(value) else float(value)
    except OverflowError:
        return math.inf  # which no column may hold


def _zoned(values: Array) -> bool:
    """Return whether dates have a time zone; those of NumPy have none."""
    if values.dtype.kind != "O":
        return False
    first = next(value for value in values.tolist() if not is_missing(value))
    return getattr(first, "tzinfo", None) is not None


def _moment(value: Any) -> Any:
    """Return a date or a duration as NumPy reads it, without its time zone."""
    if is_missing(value):
        return None
    if isinstance(value, datetime) and value.tzinfo is not None:
        return value.astimezone(UTC).replace(tzinfo=None)
    return value
