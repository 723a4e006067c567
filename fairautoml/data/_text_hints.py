"""Columns of text that were hardly meant as categories, told together."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from fairautoml.data._column import Column
from fairautoml.data._date_texts import like_dates, said_of_dates
from fairautoml.data._number_texts import like_numbers, said_of_numbers

FEWEST_LEVELS = 20
"""Distinct values below which a column may well be meant as categories."""

MOST_SHOWN = 5
"""Columns that a warning lists."""


def text_hints(
    columns: Sequence[Column], series: "Sequence[pd.Series[Any]]", matrix: NDArray[np.float32]
) -> tuple[str, ...]:
    """Return what to say of columns of categories that look like numbers or like dates."""
    numbers: list[str] = []
    dates: list[str] = []
    for column, values, codes in zip(columns, series, matrix.T, strict=True):
        declared = isinstance(values.dtype, pd.CategoricalDtype)
        if column.kind != "category" or declared or len(column.levels) < FEWEST_LEVELS:
            continue
        known = codes[~np.isnan(codes)].astype(np.int64)
        rows = np.bincount(known, minlength=len(column.levels))
        numbers.append(like_numbers(column, rows))
        dates.append(like_dates(column, rows))
    told = ((said_of_numbers, numbers), (said_of_dates, dates))
    return tuple(say(few(list(filter(None, found)))) for say, found in told if any(found))


def few(found: Sequence[str]) -> str:
    """Return what is said of the first few columns, and how many more there are."""
    more = "" if len(found) <= MOST_SHOWN else f", and {len(found) - MOST_SHOWN} more"
    return f"{', '.join(found[:MOST_SHOWN])}{more}"
