"""Type inference and encoding of one column: numbers, dates or categories.

A key is ``(type name, value)``, so ``1``, ``"1"`` and ``True`` differ. NumPy and pandas scalars
become Python values, and integral floats become integers, because pandas stores integers as floats
if one is missing. Texts that are all dates or numbers of one reading are read as such.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import date
from itertools import compress
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from fairautoml.data.sensitive_numbers import Kind, has_time_zone, kind_of, numbers, to_float32
from fairautoml.data.written import Doubt, Reading, reading_of
from fairautoml.exceptions import DegradedWarning, InputError, warn
from fairautoml.runtime._rows import KINDS, key_of
from fairautoml.runtime._written import (
    CLEAR,
    PARTS,
    PLAIN,
    part_of,
    read_moment,
    read_value,
    reads_numbers,
)

Key = tuple[str, Any]


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
            hash(value)  # raises for a list, whose text would be a category
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


@dataclass(frozen=True, slots=True, kw_only=True)
class Column:
    """Encoding of one feature."""

    name: str  # the user's name, or ``x0``, ``x1``, ... for arrays
    position: int  # its position in the table given to ``fit``
    kind: Kind  # {"number", "category", "datetime", "timedelta", "empty"}: how it is encoded
    levels: tuple[Key, ...] = ()  # category of each code 0, 1, 2, ..
    zoned: bool | None = None  # whether dates had a time zone; None = not known, or no dates
    part: str = ""  # year, month, ... of dates; empty = the value itself
    newest: int = 0  # newest day of ``fit``, days since 1970-01-01
    form: str = ""  # how dates or numbers are written as text; empty = they are typed
    unit: str = ""  # of numbers as text

    @property
    def label(self) -> str:
        """Name of the feature, which the parts of a date do not share."""
        return f"{self.name} ({self.part})" if self.part else self.name

    @property
    def shown_form(self) -> str:
        """How dates or numbers are written as text, in words."""
        if self.kind == "datetime":
            return "" if self.form == CLEAR else f", {self.form}"
        return f", {self.form}{f' {self.unit}' if self.unit else ''}"


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


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Fitted:
    """A column of the table as features."""

    columns: tuple[Column, ...]  # several for the parts of dates
    values: tuple[NDArray[np.float32], ...]  # of each feature, shape (n_rows,); NaN = missing
    doubt: Doubt | None = None  # why text was not read as dates or numbers


def fit_column(
    name: str, position: int, values: "pd.Series[Any]", date_form: str | None = None
) -> Fitted:
    """Learn the encoding of one column and apply it.

    ``date_form`` is that of dates as text, None to find out.
    """
    kind = kind_of(values, name)
    if date_form is not None:
        column = _written(name, position, Reading(kind="datetime", form=date_form))
        days, zoned = _read_texts(column, values)
        return _fit_dates(replace(column, zoned=zoned), days)
    if kind == "datetime":
        return _fit_dates(
            Column(name=name, position=position, kind=kind, zoned=has_time_zone(values)),
            numbers(values, kind, name).astype(np.float64),
        )
    if kind != "category":
        column = Column(name=name, position=position, kind=kind)
        return _fitted(column, to_float32(numbers(values, kind, name), (name,)))
    codes, levels = _in_order_of_numbers(*encode_levels(values, f"column {name!r} of X"))
    found = None
    if not isinstance(values.dtype, pd.CategoricalDtype):
        found = _reading(levels, np.bincount(codes[codes >= 0], minlength=len(levels)))
    if isinstance(found, Reading) and found.values is not None:
        column, read = _written(name, position, found), np.append(found.values, np.nan)[codes]
        if column.kind == "datetime":
            return _fit_dates(column, read)
        return _fitted(column, read.astype(np.float32))
    column = Column(name=name, position=position, kind="category", levels=levels)
    doubt = found if isinstance(found, Doubt) else None
    return replace(_fitted(column, _as_category(codes)), doubt=doubt)


def _fitted(column: Column, values: NDArray[np.float32]) -> Fitted:
    return Fitted(columns=(column,), values=(values,))


def are_whole_numbers(levels: Sequence[Key]) -> bool:
    """Return whether all categories are whole numbers or their texts."""
    digits = (kind == "int" or (kind == "str" and str(v).isdecimal()) for kind, v in levels)
    return len(levels) > 0 and all(digits)


def _in_order_of_numbers(
    codes: NDArray[np.int64], levels: tuple[Key, ...]
) -> tuple[NDArray[np.int64], tuple[Key, ...]]:
    if types_of(levels) != {"str"} or not are_whole_numbers(levels):
        return codes, levels
    ordered = tuple(sorted(levels, key=_size))
    return recode(codes, levels, ordered, unknown=-1), ordered


def _size(level: Key) -> tuple[int, str]:
    digits = str(level[1]).lstrip("0")
    return len(digits), digits


AS_GOOD_AS_UNIQUE = 0.95
"""Distinct values per row from which a column of categories is an identifier."""

ROWS_OF_A_CODE = 20
"""Rows of the median value from which whole numbers as text are codes."""


def are_recurring(counts: NDArray[np.integer]) -> bool:
    """Return whether most categories occur in enough rows to be codes if they are numbers."""
    return float(np.median(counts)) >= ROWS_OF_A_CODE


def _reading(levels: tuple[Key, ...], counts: NDArray[np.int64]) -> Reading | Doubt | None:
    """Return how a column of texts, or of texts and numbers, is read."""
    types = types_of(levels)
    texts = [value for kind, value in levels if kind == "str"]
    if not texts or not types <= {"str", "int", "float"}:
        return None
    unique = len(levels) >= AS_GOOD_AS_UNIQUE * counts.sum()
    found = reading_of([str(value) for _, value in levels], codes=unique or are_recurring(counts))
    if types == {"str"} or not isinstance(found, Reading):
        return found
    return found if (found.kind, found.form, found.unit) == ("number", PLAIN, "") else None


def _written(name: str, position: int, found: Reading) -> Column:
    return Column(
        name=name,
        position=position,
        kind=found.kind,
        form=found.form,
        unit=found.unit,
        zoned=found.zoned,
    )


def _read_texts(
    column: Column, values: "pd.Series[Any]"
) -> tuple[NDArray[np.float64], bool | None]:
    """Return numbers, or dates in days since 1970-01-01, and whether dates have a time zone."""
    # Mixed types, as pandas takes 1 and True for one value.
    codes, levels = level_arrays(values, f"column {column.name!r} of X")
    if column.kind == "number":
        read = [read_value(value, column.form, column.unit) for value in levels.tolist()]
        return np.array([*read, np.nan])[codes], None
    moments = [read_moment(value, column.form) for value in levels.tolist()]
    days = np.array([*(day for day, _ in moments), np.nan])
    zones = [zoned for day, zoned in moments if not np.isnan(day)]
    # Where some have a zone, those without differ from fit if all had one.
    zoned = all(zones) if column.zoned else any(zones)
    return days[codes], zoned if zones else None


def _fit_dates(column: Column, days: NDArray[np.float64]) -> Fitted:
    """Return the parts that vary; the days alone if none does."""
    known = days[~np.isnan(days)]
    newest = int(np.floor(known.max())) if len(known) else 0
    columns, values = [], []
    for part in PARTS:
        one = part_of(days, part, newest if part == "days" else 0).astype(np.float32)
        if part == "days" or len(np.unique(one[~np.isnan(one)])) > 1:
            columns.append(replace(column, part=part, newest=newest if part == "days" else 0))
            values.append(one)
    return Fitted(columns=tuple(columns), values=tuple(values))


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


def encode_column(
    columns: Sequence[Column], values: "pd.Series[Any]"
) -> list[NDArray[np.float32]]:
    """Encode new values as the features of one column; missing and unseen are NaN."""
    column = columns[0]
    if column.kind == "category":
        return [_encode_category(column, values)]
    found = _read_new(column, values)
    if column.kind != "datetime":
        return [to_float32(found, (column.name,))]
    return [part_of(found, one.part, one.newest).astype(np.float32) for one in columns]


def _read_new(column: Column, values: "pd.Series[Any]") -> NDArray[Any]:
    """Return new values as numbers, dates in days since 1970-01-01."""
    name, kind = column.name, kind_of(values, column.name)
    if kind == "category" and isinstance(values.dtype, pd.CategoricalDtype):
        values = values.astype(object)
        kind = kind_of(values, name)
    if values.isna().all():
        return np.full(len(values), np.nan)  # a column without a value is of any kind
    plain = kind == "number" and column.form == PLAIN and not column.unit
    if column.form and (kind == "category" or (kind == "number" and reads_numbers(column.form))):
        texts, zoned = _read_texts(column, values)
        found: NDArray[Any] = texts
    elif kind != column.kind or (column.form and kind == "number" and not plain):
        raise InputError(_of_other_kind(column, kind, values))
    else:
        found = numbers(values, kind, name)
        zoned = has_time_zone(values) if kind == "datetime" else None
    if kind != "number" and column.zoned is not None:
        _check_time_zone(column, zoned)
    return found


def _of_other_kind(column: Column, kind: Kind, values: "pd.Series[Any]") -> str:
    then = f"{KINDS[column.kind]}{' as text' if column.form else ''}"
    which = _first_strange(values) if (column.kind, kind) == ("number", "category") else ""
    return (
        f"column {column.name!r} of X held {then} at fit and holds {KINDS[kind]} now"
        f"{which}; convert it to what it was at fit."
    )


def _check_time_zone(column: Column, zoned: bool | None) -> None:
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
        raise InputError(
            f"column {column.name!r} of X held categories of type {' and '.join(sorted(then))} at "
            f"fit and of type {' and '.join(sorted(now))} now; convert it to what it was at fit."
        )
    return _as_category(recode(codes, keys, column.levels, unknown=-1))


MOST_SHOWN = 5
"""Columns that a message lists."""


def few(found: Sequence[str]) -> str:
    """Join the first few descriptions of columns, and the number of further ones."""
    more = "" if len(found) <= MOST_SHOWN else f", and {len(found) - MOST_SHOWN} more"
    return f"{', '.join(found[:MOST_SHOWN])}{more}"


MOST_UNSEEN = 0.5
"""Largest share of unseen values in a column without a warning."""

FEWEST_ROWS = 20
"""Fewest rows at which a column without values causes a warning."""

_UNSEEN = (
    "columns of X hold mostly categories that fit has not seen: {}. They are read as missing. "
    "Write them as in the rows of fit, or fit again, with rows that have them or without columns "
    "whose values are always new, such as ids or dates as text"
)
_ILLEGIBLE = (
    "columns of X hold values that are no dates or numbers as in the rows of fit: {}. They are "
    "read as missing. Write them as in the rows of fit"
)
_EMPTY = (
    "columns of X have values at fit and none in these rows: {}. They are read as missing. Give "
    "their values, or fit again without these columns"
)


def strange_values(
    columns: Sequence[Column],
    given: "Sequence[pd.Series[Any] | NDArray[Any]]",
    matrix: NDArray[np.float32],
) -> tuple[str, ...]:
    """Return warnings about columns of new rows that are mostly unseen or missing."""
    unread = np.isnan(matrix)
    found: dict[str, list[str]] = {_UNSEEN: [], _ILLEGIBLE: [], _EMPTY: []}
    for at in np.flatnonzero(unread.any(axis=0)).tolist():
        column, there = columns[at], np.asarray(pd.notna(given[at]))
        new = there & unread[:, at]
        share = float(new.sum() / max(there.sum(), 1))
        if new.any() and column.form:
            found[_ILLEGIBLE].append(_shown_strange_values(column.name, share, given[at], new))
        elif column.kind == "category" and share > MOST_UNSEEN:
            found[_UNSEEN].append(_shown_strange_values(column.name, share, given[at], new))
        elif unread[:, at].all() and len(unread) >= FEWEST_ROWS and not there.any():
            found[_EMPTY].append(repr(column.name))
    # The parts of a date are one column.
    listed = {text: few([*dict.fromkeys(columns)]) for text, columns in found.items() if columns}
    return tuple(text.format(columns) for text, columns in listed.items())


def _shown_strange_values(name: str, share: float, values: Any, new: NDArray[np.bool_]) -> str:
    example = pd.Series(values)[new].iloc[0]
    return f"{name!r} ({share:.0%} of the values, for example {str(example)!r})"


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
        raise InputError(
            f"{shown} holds {unread.iloc[0]!r}; texts must be dates in ISO 8601 format, "
            "such as 2020-01-31. Convert all values, or give numbers"
        )
    return read
