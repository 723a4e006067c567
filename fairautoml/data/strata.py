"""Numbers as a few labels, so that every fold holds small, middle and large ones."""

from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

MOST_STRATA = 10
"""Strata at the most."""

ROWS_PER_STRATUM = 10
"""Rows that a stratum should hold at the least, so that it reaches every fold."""


def strata_of(y: NDArray[Any]) -> NDArray[np.int64]:
    """Return the stratum of each row: its label, or the share of the rows that are smaller."""
    if y.dtype.kind != "f":
        return y.astype(np.int64)
    count = min(MOST_STRATA, max(1, len(y) // ROWS_PER_STRATUM))
    cuts = np.quantile(y, np.arange(1, count) / count) if count > 1 else np.empty(0)
    return np.unique(np.searchsorted(cuts, y, side="left"), return_inverse=True)[1]


def strata_of_column(y: "pd.Series[Any]", most: int) -> NDArray[np.int64]:
    """Return the stratum of each row of a column as the user gave it."""
    codes, levels = pd.factorize(y, use_na_sentinel=False)
    if len(levels) <= most or not pd.api.types.is_numeric_dtype(y) or y.isna().any():
        return codes.astype(np.int64)
    return strata_of(y.to_numpy(dtype=np.float64))
