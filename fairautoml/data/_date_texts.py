"""Texts and periods that were meant as dates.

Such a column is one category per value, and new rows have other dates. Nothing is converted, for
a text may be a name that only looks like a date, but it is said.
"""

import re
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fairautoml.data._column import Column
from fairautoml.data._keys import Key

MOST_ALIKE = 0.9
"""Share of the values from which they are taken for dates."""

ISO = re.compile(
    r"\s*\d{4}([-/])(?:0?[1-9]|1[0-2])"  # 2020-01
    r"(?:\1(?:0?[1-9]|[12]\d|3[01])(?:[T ]\d{2}(?::?\d{2}.*)?)?)?\s*"  # -31 23:59
)
"""A month, day or moment as ISO 8601 writes it: not 20200131, which may be a code."""

TYPES = frozenset({"Period", "Timestamp", "datetime", "date"})
"""Kinds of levels that are dates, whatever their text."""


def like_dates(column: Column, rows: NDArray[np.integer[Any]]) -> str:
    """Return how much a column of categories looks like dates, with an example; else nothing."""
    dates = np.array([_is_date(level) for level in column.levels])
    share = float(rows[dates].sum() / rows.sum())
    if share < MOST_ALIKE:
        return ""
    example = column.levels[int(np.flatnonzero(dates)[0])][1]
    return f"{column.name!r} ({share:.0%} of the values, for example {example!r})"


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
