"""Group rates of a classifier, counted in chunks of people."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from fairautoml.exceptions import InputError

Decide = Callable[[pd.DataFrame], Any]
"""A classifier: people without their label, to 0, 1 or a probability of acceptance for each."""


def decisions_of(decide: Decide, people: pd.DataFrame) -> NDArray[np.float64]:
    """Return the checked decisions of a classifier, shape (n_rows,), in [0, 1]."""
    decisions = np.asarray(decide(people), dtype=np.float64)
    if decisions.shape != (len(people),):
        msg = f"decide returned shape {decisions.shape}; it must return ({len(people)},)"
        raise InputError(msg)
    if not ((decisions >= 0) & (decisions <= 1)).all():
        raise InputError("decide returned values outside [0, 1]; return 0 or 1 per person")
    return decisions


def group_counts(
    groups: pd.Series, y: NDArray[np.bool_], decisions: NDArray[np.float64]
) -> pd.DataFrame:
    """Return one row of sums per group; the sums of chunks of people can be added."""
    columns = {
        "rows": np.ones(len(y)),
        "positives": y.astype(np.float64),
        "accepted": decisions,
        "hits": decisions * y,
        "right": np.where(y, decisions, 1 - decisions),
    }
    return pd.DataFrame(columns).groupby(groups.to_numpy()).sum()


def group_rates(total: pd.DataFrame) -> pd.DataFrame:
    """Turn sums into rates and their standard errors, NaN where a denominator is empty.

    The variance is p (1 - p) / n, a bound also for decisions between 0 and 1.
    """
    negatives = total["rows"] - total["positives"]
    parts = {
        "selection": (total["accepted"], total["rows"]),
        "tpr": (total["hits"], total["positives"]),
        "fpr": (total["accepted"] - total["hits"], negatives),
        "accuracy": (total["right"], total["rows"]),
    }
    columns: dict[str, pd.Series] = {}
    for name, (top, bottom) in parts.items():
        rate = (top / bottom.where(bottom > 0)).clip(0, 1)
        columns[name] = rate
        columns[f"{name}_se"] = (rate * (1 - rate) / bottom.where(bottom > 0)) ** 0.5
    columns["rows"] = total["rows"].astype(np.int64)
    return pd.DataFrame(columns)
