"""Texts that were meant as numbers: decimal commas, thousands separators, one cell of junk.

Such a column is one category per value. Nothing is converted, for what a text means only the user
knows ("1,234" is two numbers, and a postal code is none), but it is said.
"""

import re
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from fairautoml.data._column import Column

MOST_ALIKE = 0.9
"""Share of the values from which they are taken for numbers."""

FEWEST_TEXTS = 20
"""Distinct values below which a column may well be meant as categories."""

MOST_SHOWN = 5
"""Columns that a warning lists."""

PLAIN = re.compile(r"\s*[+-]?(?:(?:0|[1-9]\d*)(?:\.\d*)?|\.\d+)(?:[eE][+-]?\d+)?\s*")
"""A number as files of most programs hold it: not "007", which is a code."""

LOCAL = re.compile(
    r"""\s*[+-]?(?:
        (?:0|[1-9]\d*),\d* | ,\d+                           # 1,5
        | [1-9]\d{0,2}(?:,\d{3})+(?:\.\d*)?                 # 1,234,567.5
        | [1-9]\d{0,2}(?:\.\d{3})+(?:,\d*)?                 # 1.234.567,5
        | [1-9]\d{0,2}(?:[ \u00a0\u202f'\u2019]\d{3})+(?:[.,]\d*)?  # 1 234 567,5
    )\s*""",
    re.VERBOSE,
)
"""A number as people of some country write it."""


def like_numbers(column: Column, values: "pd.Series[Any]", codes: NDArray[np.float32]) -> str:
    """Return how much a column of text looks like numbers, with an example; empty if it does not.

    Parameters
    ----------
    column : Column
        Its name and levels.
    values : pandas.Series
        The column as it was given: one that is declared as categories is what it says.
    codes : ndarray of float32, shape (n_rows,)
        Position of each value in the levels, NaN where missing.
    """
    declared = isinstance(values.dtype, pd.CategoricalDtype)
    if column.kind != "category" or declared or len(column.levels) < FEWEST_TEXTS:
        return ""
    texts = [level if kind == "str" else None for kind, level in column.levels]
    plain = np.array([text is None or bool(PLAIN.fullmatch(text)) for text in texts])
    local = np.array([text is not None and bool(LOCAL.fullmatch(text)) for text in texts])
    rows = np.bincount(codes[~np.isnan(codes)].astype(np.int64), minlength=len(texts))
    share = float(rows[plain | local].sum() / rows.sum())
    if share < MOST_ALIKE:
        return ""
    # What keeps the column from being read is the better example.
    odd = np.flatnonzero(local if local.any() else ~plain)
    example = column.levels[int(odd[0]) if len(odd) else 0][1]
    return f"{column.name!r} ({share:.0%} of the values, for example {example!r})"


def said_of(found: Sequence[str]) -> str:
    """Return the warning about columns that look like numbers.

    Parameters
    ----------
    found : sequence of str
        What ``like_numbers`` says of each, at least one.
    """
    more = "" if len(found) <= MOST_SHOWN else f", and {len(found) - MOST_SHOWN} more"
    return (
        f"columns of X are text although they look like numbers: {', '.join(found[:MOST_SHOWN])}"
        f"{more}. Each value is a category, and one that fit has not seen is missing at predict. "
        "Correct the odd cells or the separators (pandas.read_csv(decimal=',', thousands='.'), "
        "pandas.to_numeric), or declare codes as such with astype('category')"
    )
