"""Type inference and encoding of one column: numbers, dates or categories.

A key is ``(type name, value)``, so ``1``, ``"1"`` and ``True`` differ. NumPy and pandas scalars
become Python values, and integral floats become integers, because pandas stores integers as floats
if one is missing. Texts that look like dates or numbers stay categories, with a warning.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import date
from itertools import compress
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from fairautoml.data.sensitive_numbers import (
    Kind,
    has_time_zone,
    kind_of,
    numbers,
    to_float32,
)
from fairautoml.exceptions import DegradedWarning, InputError, warn

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


def texts_of(column: "pd.Series[Any]") -> NDArray[Any]:
    """Return the values as text, independent of the type of the column; missing is empty."""
    codes, values = pd.factorize(column.to_numpy(dtype=object))  # -1 = missing
    return np.array([*(str(key_of(value)[1]) for value in values), ""], dtype=object)[codes]


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
    except (TypeError, ValueError, ArithmeticError, RuntimeError) as error:
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


_NOUN: dict[Kind, str] = {
    "number": "numbers",
    "category": "text or categories",
    "datetime": "dates",
    "timedelta": "durations",
    "empty": "nothing",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Column:
    """Encoding of one feature."""

    name: str  # the user's name, or ``x0``, ``x1``, ... for arrays
    position: int  # its position in the table given to ``fit``
    kind: Kind  # {"number", "category", "datetime", "timedelta", "empty"}: how it is encoded
    levels: tuple[Key, ...] = ()  # category of each code 0, 1, 2, ..
    zoned: bool | None = None  # whether dates had a time zone; None = not known, or no dates


@dataclass(frozen=True, slots=True)
class PositionalNames(Sequence[str]):
    """Names ``x0``, ``x1``, ... of the columns of a table without names."""

    n_columns: int

    def __len__(self) -> int:
        return self.n_columns

    def __getitem__(self, at: Any) -> Any:
        found = range(self.n_columns)[at]
        return tuple(f"x{n}" for n in found) if isinstance(at, slice) else f"x{found}"


@dataclass(frozen=True, slots=True, eq=False)
class SparseColumns(Sequence[Column]):
    """Columns of a sparse matrix, all numbers; no object per column is stored."""

    positions: NDArray[np.int64]  # rising positions in the matrix given to ``fit``

    def __len__(self) -> int:
        return len(self.positions)

    def __getitem__(self, at: Any) -> Any:
        if isinstance(at, slice):
            return tuple(SparseColumns(self.positions[at]))
        position = int(self.positions[at])
        return Column(name=f"x{position}", position=position, kind="number")


def fit_column(
    name: str, position: int, values: "pd.Series[Any]"
) -> tuple[Column, NDArray[np.float32]]:
    """Learn the encoding of one column and apply it; missing is NaN."""
    kind = kind_of(values, name)
    if kind != "category":
        found = numbers(values, kind, name)
        zoned = has_time_zone(values) if kind == "datetime" else None
        column = Column(name=name, position=position, kind=kind, zoned=zoned)
        return column, to_float32(found, (name,))
    codes, levels = encode_levels(values, f"column {name!r} of X")
    column = Column(name=name, position=position, kind="category", levels=levels)
    return column, _as_category(codes)


MIN_LEVEL_ROWS = 2
"""Rows of ``fit`` in which a category must occur, so that no file holds a value of one row only;
a rarer one is read like one that ``fit`` has not seen."""


def without_rare(
    column: Column, values: NDArray[np.float32]
) -> tuple[Column, NDArray[np.float32]]:
    """Return an encoded column without the categories of too few rows, which are missing then."""
    codes = np.where(np.isnan(values), -1, values).astype(np.int64)
    kept = np.bincount(codes[codes >= 0], minlength=len(column.levels)) >= MIN_LEVEL_ROWS
    if kept.all():
        return column, values
    renumbered = np.append(np.where(kept, np.cumsum(kept) - 1, -1), -1)
    levels = tuple(compress(column.levels, kept))
    return replace(column, levels=levels), _as_category(renumbered[codes])


def _as_category(codes: NDArray[np.int64]) -> NDArray[np.float32]:
    encoded = codes.astype(np.float32)
    encoded[codes < 0] = np.nan
    return encoded


def encode_column(column: Column, values: "pd.Series[Any]") -> NDArray[np.float32]:
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
    if kind == "datetime" and column.zoned is not None:
        _check_time_zone(column, values)
    return to_float32(numbers(values, kind, name), (name,))


def _check_time_zone(column: Column, dates: "pd.Series[Any]") -> None:
    zoned = has_time_zone(dates)
    if zoned in (None, column.zoned):
        return
    then, now = ("a", "none") if column.zoned else ("no", "one")
    remedy = ".dt.tz_localize('Europe/Paris')" if column.zoned else ".dt.tz_localize(None)"
    msg = (
        f"column {column.name!r} of X held dates with {then} time zone at fit and has {now} now; "
        "dates without a zone are taken for UTC, which may be hours off. Convert it to what it "
        f"was at fit, for example with {remedy}"
    )
    warn(msg, DegradedWarning)


def _first_strange(values: "pd.Series[Any]") -> str:
    """Return the end of an error message, with the first value that is not a number."""
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


MIN_READABLE_SHARE = 0.9
"""Smallest share of date-like values that causes a warning."""

ISO = re.compile(
    r"\s*\d{4}([-/])(?:0?[1-9]|1[0-2])"  # 2020-01
    r"(?:\1(?:0?[1-9]|[12]\d|3[01])(?:[T ]\d{2}(?::?\d{2}.*)?)?)?\s*"  # -31 23:59
)
"""A month, day or time in ISO 8601 format; not 20200131, which may be a code."""

TYPES = frozenset({"Period", "Timestamp", "datetime", "date"})
"""Types of levels that are always dates."""


def like_dates(column: Column, rows: NDArray[np.integer[Any]]) -> tuple[str, str] | None:
    """Return how much a column of categories looks like dates, and an example."""
    dates = np.array([_is_date(level) for level in column.levels])
    share = float(rows[dates].sum() / rows.sum())
    if share < MIN_READABLE_SHARE:
        return None
    example = column.levels[int(np.flatnonzero(dates)[0])][1]
    return f"{column.name!r} ({share:.0%} of the values", repr(example)


def said_of_dates(found: str) -> str:
    """Return the warning about columns that look like dates."""
    return (
        f"columns of X look like dates but are read as categories: {found}. A date that fit has "
        "not seen, as new rows have, is missing at predict. Convert them before fit and predict "
        "(pandas.to_datetime; periods by .dt.to_timestamp()), leave them out (--drop), or declare "
        "them as categories with astype('category'); on the command line, dates are read as such "
        "from parquet files"
    )


def _is_date(level: Key) -> bool:
    kind, value = level
    return kind in TYPES or (kind == "str" and bool(ISO.fullmatch(value)))


PLAIN = re.compile(r"\s*[+-]?(?:(?:0|[1-9]\d*)(?:\.\d*)?|\.\d+)(?:[eE][+-]?\d+)?\s*")
"""A number in the usual notation; not "007", which is a code."""

CODE = re.compile(r"\s*0\d+\s*")
"""A code such as "007"."""


def _form(thousands: str, decimal: str) -> str:
    groups = rf"[1-9]\d{{0,2}}(?:{re.escape(thousands)}\d{{3}})+|" if thousands else ""
    mark = re.escape(decimal)
    return rf"\s*[+-]?(?:(?:{groups}0|[1-9]\d*)(?:{mark}\d*)?|{mark}\d+)\s*"


def _arguments(thousands: str, decimal: str) -> str:
    """Return the arguments with which ``pandas.read_csv`` reads such numbers."""
    given = [] if decimal == "." else [f"decimal={decimal!r}"]
    if thousands:
        given.append(f"thousands={thousands!r}")
    # The C engine silently leaves them unconverted.
    return ", ".join(given if thousands.isascii() else [*given, "engine='python'"])


_MARKS = (
    (",", "."),  # 1,234.5
    ("", ","),  # 1,5
    (".", ","),  # 1.234,5
    *((space, decimal) for space in " \u00a0\u202f'\u2019" for decimal in ".,"),  # 1 234,5
)

FORMS = {_arguments(*marks): re.compile(_form(*marks)) for marks in _MARKS}
"""Locale-specific number formats by their ``pandas.read_csv`` arguments."""

LOCAL = re.compile("|".join(_form(*marks) for marks in _MARKS))
"""Any of ``FORMS``."""

MOST_READ = 1000
"""Most texts that the locale is detected from."""


_NUMBERS = frozenset({"int", "float"})


def like_numbers(column: Column, rows: NDArray[np.integer[Any]]) -> tuple[str, str] | None:
    """Return how much a column of categories looks like numbers, and an example."""
    plain = np.array([_matches(PLAIN, level) or level[0] in _NUMBERS for level in column.levels])
    local = np.array([_matches(LOCAL, level) for level in column.levels]) & ~plain
    share = float(rows[plain | local].sum() / rows.sum())
    if share < MIN_READABLE_SHARE:
        return None
    values = [value for _, value in column.levels]
    odd = [value for value, fine in zip(values, plain, strict=True) if not fine]
    if local.any():
        why = _needed([value for value, found in zip(values, local, strict=True) if found])
    elif 2 * sum(bool(CODE.fullmatch(str(value))) for value in odd) > len(odd):
        return None
    elif odd:
        why = f"{odd[0]!r}, which is no number"
    else:
        why = f"{values[0]!r}, which pandas.to_numeric reads"
    return f"{column.name!r} ({share:.0%} of the values", why


def said_of_numbers(found: str) -> str:
    """Return the warning about columns that look like numbers."""
    return (
        f"columns of X are text although they look like numbers: {found}. Each value is a "
        "category, and one that fit has not seen is missing at predict. Read them with these "
        "arguments of pandas.read_csv, correct the cells that are no numbers, or declare codes as "
        "such with astype('category'); in a file for the command line write numbers as 1234.5"
    )


def _matches(form: re.Pattern[str], level: Key) -> bool:
    kind, value = level
    return kind == "str" and bool(form.fullmatch(value))


def _needed(texts: Sequence[str]) -> str:
    """Return an example, and the arguments that most of the texts need to be read as numbers."""
    readings = {
        text: [given for given, form in FORMS.items() if form.fullmatch(text)]
        for text in texts[:: -(-len(texts) // MOST_READ)]
    }
    best = max(FORMS, key=lambda given: sum(given in fitting for fitting in readings.values()))
    # "1,234" can be read in two ways, "1,234.5" in one.
    example = min(
        (text for text in readings if best in readings[text]), key=lambda text: len(readings[text])
    )
    return f"{example!r}, which needs {best}"


MOST_SHOWN = 5
"""Columns that a message lists."""

FEWEST_LEVELS = 20
"""Distinct values below which a column is likely meant as categories."""


def text_hints(
    columns: Sequence[Column], series: "Sequence[pd.Series[Any]]", matrix: NDArray[np.float32]
) -> tuple[tuple[str, str], ...]:
    """Return warnings about category columns that look like numbers or dates.

    Each comes with a note to store, which holds no value of the rows.
    """
    numbers: list[tuple[str, str] | None] = []
    dates: list[tuple[str, str] | None] = []
    for column, values, codes in zip(columns, series, matrix.T, strict=True):
        declared = isinstance(values.dtype, pd.CategoricalDtype)
        if column.kind != "category" or declared or len(column.levels) < FEWEST_LEVELS:
            continue
        known = codes[~np.isnan(codes)].astype(np.int64)
        rows = np.bincount(known, minlength=len(column.levels))
        numbers.append(like_numbers(column, rows))
        dates.append(like_dates(column, rows))
    readings = ((said_of_numbers, numbers), (said_of_dates, dates))
    pairs = [(say, list(filter(None, found))) for say, found in readings if any(found)]
    return tuple(
        (
            say(few([f"{shown}, for example {example})" for shown, example in found])),
            say(few([f"{shown})" for shown, _ in found])),
        )
        for say, found in pairs
    )


def few(found: Sequence[str]) -> str:
    """Join the first few descriptions of columns, and the number of further ones."""
    more = "" if len(found) <= MOST_SHOWN else f", and {len(found) - MOST_SHOWN} more"
    return f"{', '.join(found[:MOST_SHOWN])}{more}"


MOST_UNSEEN = 0.5
"""Largest share of unseen values in a column without a warning."""

FEWEST_ROWS = 20
"""Fewest rows at which a column without values causes a warning."""


def strange_values(
    columns: Sequence[Column],
    given: "Sequence[pd.Series[Any] | NDArray[Any]]",
    matrix: NDArray[np.float32],
) -> tuple[str, ...]:
    """Return warnings about columns of new rows that are mostly unseen or missing."""
    unread = np.isnan(matrix)
    unseen: list[str] = []
    empty: list[str] = []
    for at in np.flatnonzero(unread.any(axis=0)).tolist():
        column, there = columns[at], np.asarray(pd.notna(given[at]))
        if column.kind == "category" and there.any():
            new = there & unread[:, at]
            share = float(new.sum() / there.sum())
            if share > MOST_UNSEEN:
                unseen.append(
                    _shown_strange_values(column.name, share, pd.Series(given[at])[new].iloc[0])
                )
        elif unread[:, at].all() and len(unread) >= FEWEST_ROWS:
            empty.append(repr(column.name))
    readings = ((_said_of_unseen, unseen), (_said_of_empty, empty))
    return tuple(say(few(found)) for say, found in readings if found)


def _shown_strange_values(name: str, share: float, example: Any) -> str:
    return f"{name!r} ({share:.0%} of the values, for example {str(example)!r})"


def _said_of_unseen(found: str) -> str:
    return (
        f"columns of X hold mostly categories that fit has not seen: {found}. They are read as "
        "missing. Write them as in the rows of fit, or fit again, with rows that have them or "
        "without columns whose values are always new, such as dates as text or numbers of persons"
    )


def _said_of_empty(found: str) -> str:
    return (
        f"columns of X have values at fit and none in these rows: {found}. They are read as "
        "missing. Give their values, or fit again without these columns"
    )


def ranks_of_times(times: "pd.Series[Any]", shown: str) -> NDArray[np.int64]:
    """Return ranks 0, 1, ... of times; equal times have equal ranks."""
    moments = _moments(times, shown)
    try:
        return moments.rank(method="dense").to_numpy().astype(np.int64) - 1
    except TypeError as error:
        msg = f"time holds values that have no order: {error}. Give numbers or dates"
        raise InputError(msg) from error


def _moments(series: "pd.Series[Any]", shown: str) -> "pd.Series[Any]":
    """Parse texts as dates: as text 31/01/2020 sorts after 01/02/2020."""
    declared = isinstance(series.dtype, pd.CategoricalDtype) and series.dtype.ordered
    if declared or series.dtype.kind != "O":
        return series
    values = series.astype(object)
    if not values.map(lambda value: isinstance(value, str)).any():
        return series
    dates = values.where(values.map(lambda value: isinstance(value, str | date)))
    read = pd.to_datetime(dates, format="ISO8601", utc=True, errors="coerce")
    unread = values[read.isna()]
    if len(unread):
        msg = (
            f"{shown} holds {unread.iloc[0]!r}; texts must be dates in ISO 8601 format, "
            "such as 2020-01-31. Convert all values, or give numbers"
        )
        raise InputError(msg)
    return read
