"""Warnings about columns of text that look like dates or numbers and stay categories."""

import math
import re
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from fairautoml.data.columns import Column, Key, are_recurring, are_whole_numbers, few
from fairautoml.data.written import FEWEST_LEVELS, MIN_READABLE_SHARE, Doubt, has_short_year
from fairautoml.runtime._written import (
    DAY_FIRST,
    MARKS,
    MONTH_FIRST,
    PLAIN,
    read_date,
    read_number,
    split_unit,
)

TYPES = frozenset({"Period", "Timestamp", "datetime", "date"})
"""Types of levels that are always dates."""

CODE = re.compile(r"\s*0\d+\s*")
"""A code such as "007"."""

_SAMPLE = 200
"""Values of a column that are looked at first."""

MOST_READ = 1000
"""Most texts that are read first to find the marks of numbers; all, if none of them has one."""

_NUMBERS = frozenset({"int", "float"})

_LIKE_NUMBERS = (
    "columns of X are text although they look like numbers: {}. Each value is a category, and one "
    "that fit has not seen is missing at predict. Read them with these arguments of "
    "pandas.read_csv, correct the values that are no number, or declare codes as such with "
    "astype('category') (--categories); in a file for the command line write numbers as 1234.5"
)
_LIKE_DATES = (
    "columns of X look like dates but are read as categories: {}. A date that fit has not seen, "
    "as new rows have, is missing at predict. Say how they are written with "
    "ColumnOptions(dates={{'when': '%d/%m/%Y'}}) (--dates 'when:%d/%m/%Y'; a year of two digits "
    "is %y), convert them before fit and predict (pandas.to_datetime; periods by "
    ".dt.to_timestamp()), leave them out (--drop), or declare them as categories with "
    "astype('category') (--categories)"
)


def text_hints(
    columns: Sequence[Column],
    series: "Sequence[pd.Series[Any]]",
    matrix: NDArray[np.float32],
    doubts: Sequence[Doubt | None],
) -> tuple[tuple[str, str], ...]:
    """Return warnings about category columns that look like numbers or dates.

    Each comes with a note to store, which holds no value of the rows.
    """
    found: dict[str, list[tuple[str, str]]] = {_LIKE_NUMBERS: [], _LIKE_DATES: []}
    for column, values, codes, doubt in zip(columns, series, matrix.T, doubts, strict=True):
        declared = isinstance(values.dtype, pd.CategoricalDtype)
        few_levels = len(column.levels) < FEWEST_LEVELS and doubt is None
        if column.kind != "category" or declared or few_levels:
            continue
        if doubt is None and not _worth(column.levels):
            continue
        known = codes[~np.isnan(codes)].astype(np.int64)
        rows = np.bincount(known, minlength=len(column.levels))
        for text, like in ((_LIKE_NUMBERS, _like_numbers), (_LIKE_DATES, _like_dates)):
            if (said := like(column, rows, doubt)) is not None:
                found[text].append(said)
    return tuple(
        (
            text.format(few([f"{shown}, for example {example})" for shown, example in pairs])),
            text.format(few([f"{shown})" for shown, _ in pairs])),
        )
        for text, pairs in found.items()
        if pairs
    )


def _worth(levels: Sequence[Key]) -> bool:
    """Return whether half of a sample of the values looks like dates or numbers."""
    sample = levels[:: -(-len(levels) // _SAMPLE)]
    like = [kind in _NUMBERS or _is_date((kind, v)) or _is_number((kind, v)) for kind, v in sample]
    return 2 * sum(like) >= len(sample)


def _is_number(level: Key) -> bool:
    return any(_reads(level, form) for form in MARKS)


def _like_dates(
    column: Column, rows: NDArray[np.integer], doubt: Doubt | None
) -> tuple[str, str] | None:
    """Return how much a column of categories looks like dates, and an example."""
    dates = np.array([_is_date(level) for level in column.levels])
    share = float(rows[dates].sum() / rows.sum())
    if share < MIN_READABLE_SHARE:
        return None
    example = column.levels[int(np.flatnonzero(dates)[0])][1]
    why = f"; {doubt.reason}" if doubt is not None and doubt.kind == "datetime" else ""
    if any(kind == "str" and has_short_year(value) for kind, value in column.levels):
        why = "; a year of two digits could be of either century"
    return f"{column.name!r} ({share:.0%} of the values{why}", repr(example)


def _is_date(level: Key) -> bool:
    kind, value = level
    if kind != "str":
        return kind in TYPES
    readings = (read_date(value, form)[0] for form in (DAY_FIRST, MONTH_FIRST))
    return not all(map(math.isnan, readings)) or has_short_year(value)


def _like_numbers(
    column: Column, rows: NDArray[np.integer], doubt: Doubt | None
) -> tuple[str, str] | None:
    """Return how much a column of categories looks like numbers, and an example."""
    if are_whole_numbers(column.levels) and are_recurring(rows):
        return None
    plain = np.array([level[0] in _NUMBERS or _reads(level, PLAIN) for level in column.levels])
    local = np.array([_is_number(level) for level in column.levels])
    share = float(rows[plain | local].sum() / rows.sum())
    if share < MIN_READABLE_SHARE:
        return None
    values = [value for _, value in column.levels]
    junk = [value for value, fine in zip(values, plain | local, strict=True) if not fine]
    if doubt is not None and "units" in doubt.reason:
        why = f"{values[0]!r}, {doubt.reason}"
    elif 2 * sum(bool(CODE.fullmatch(str(value))) for value in junk) > max(len(junk), 1):
        return None
    elif junk:
        why = f"{junk[0]!r}, which is no number"
    elif (local & ~plain).any() or doubt is not None:
        why = _needed([value for value in values if isinstance(value, str)])
    else:
        why = f"{values[0]!r}, which pandas.to_numeric reads"
    return f"{column.name!r} ({share:.0%} of the values", why


def _reads(level: Key, form: str) -> bool:
    kind, value = level
    return kind == "str" and _value(value, form) is not None


def _value(text: str, form: str) -> float | None:
    """Return the number in a text, whatever its unit; None if there is none."""
    found = split_unit(text)
    value = math.nan if found is None else read_number(found[0], form, "")
    return None if math.isnan(value) else value


def _needed(texts: Sequence[str]) -> str:
    """Return an example, and the arguments that most of the texts need to be read as numbers."""
    forms = [form for form in MARKS if form != PLAIN]
    readings = _readings(texts[:: -(-len(texts) // MOST_READ)], forms) or _readings(texts, forms)
    if not readings:
        # The marks are those of typed numbers, such as 1.125 among texts.
        return f"{texts[0]!r}, which pandas.to_numeric reads"
    best = max(forms, key=lambda form: sum(form in fitting for fitting in readings.values()))
    # "1,234" can be read in two ways, "1,234.5" in one.
    example = min(
        (text for text in readings if best in readings[text]), key=lambda text: len(readings[text])
    )
    return f"{example!r}, which needs {_arguments(*MARKS[best])}"


def _readings(texts: Sequence[str], forms: Sequence[str]) -> dict[str, list[str]]:
    """Return the forms in which a text is another number than in plain form, if any."""
    found = {
        text: [form for form in forms if _value(text, form) not in (_value(text, PLAIN), None)]
        for text in texts
    }
    return {text: fitting for text, fitting in found.items() if fitting}


def _arguments(thousands: str, decimal: str) -> str:
    """Return the arguments with which ``pandas.read_csv`` reads such numbers."""
    given = [] if decimal == "." else [f"decimal={decimal!r}"]
    return ", ".join([*given, f"thousands={thousands!r}"] if thousands else given)
