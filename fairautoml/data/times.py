"""When a row was, as ranks."""

from datetime import date
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from fairautoml.exceptions import InputError


def ranks_of_times(times: "pd.Series[Any]", shown: str) -> NDArray[np.int64]:
    """Return ranks 0, 1, ... of times; equal times have equal ranks."""
    moments = _moments(times, shown)
    try:
        return moments.rank(method="dense").to_numpy().astype(np.int64) - 1
    except TypeError as error:
        msg = f"time holds values that have no order: {error}. Give numbers or dates"
        raise InputError(msg) from error


def _moments(series: "pd.Series[Any]", shown: str) -> "pd.Series[Any]":
    """Return texts as the dates that they are: by letters 31/01/2020 is later than 01/02/2020."""
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
            f"{shown} holds {unread.iloc[0]!r}; texts must be dates as ISO 8601 writes them, such "
            "as 2020-01-31, whose order is known. Write all of them so, or give numbers"
        )
        raise InputError(msg)
    return read
