"""Rows between a row and a neighbour, for numbers and categories (SMOTE and SMOTE-NC)."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fairautoml.exceptions import DegradedWarning, warn
from fairautoml.mitigators._base import TrainRows

NEIGHBOURS = 5
"""As in the source."""

MAX_POOL = 1000
"""Rows of a cell among which neighbours are looked for; time is linear in the cell's size."""

CHUNK = 1024
"""Rows whose distances are computed at once."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Columns:
    """What must be known of the columns of the training rows to lie between two of them."""

    numeric: NDArray[np.int64]  # positions of numbers and of category codes
    categorical: NDArray[np.int64]
    mean: NDArray[np.float64]  # shape (n_numeric,): mean and standard deviation of the numbers
    scale: NDArray[np.float64]  # shape (n_numeric,)
    whole: NDArray[np.bool_]  # shape (n_numeric,): columns of whole numbers


def columns_of(rows: TrainRows) -> Columns:
    """Return what must be known of the columns."""
    categorical = np.array(rows.layout.categorical, dtype=np.int64)
    numeric = np.setdiff1d(np.arange(rows.layout.n_features), categorical)
    mean, scale = _moments(rows.X[:, numeric])
    return Columns(
        numeric=numeric,
        categorical=categorical,
        mean=mean,
        scale=scale,
        whole=_whole(rows.X[:, numeric]),
    )


def between(
    table: NDArray[np.floating],
    columns: Columns,
    members: NDArray[np.int64],
    sources: NDArray[np.int64],
    rng: np.random.Generator,
) -> NDArray[np.float32]:
    """Return one new row per source, shape (n_sources, n_features).

    Numbers lie between row and neighbour, at one share of the way per new row, whole-number
    columns rounded; a number that one of them misses is the row's own. Categories, missing ones
    among them, are the row's or the neighbour's by the toss of a coin.
    """
    X: NDArray[np.float32] = table[sources].astype(np.float32)
    if len(members) == 1:
        warn(
            f"group_oversampling: a cell of group and label has a single row; it is copied "
            f"{len(sources)} times",
            DegradedWarning,
        )
        return X
    distinct = members[: len(sources)]
    near = _nearest(table, columns, distinct, members[:MAX_POOL])
    pick = rng.integers(near.shape[1], size=len(sources))
    neighbour = table[near[np.arange(len(sources)) % len(distinct), pick]]
    way = rng.uniform(size=(len(sources), 1))
    codes, numbers = columns.categorical, columns.numeric
    coin = rng.uniform(size=(len(sources), len(codes))) < 0.5
    X[:, codes] = np.where(coin, X[:, codes], neighbour[:, codes])
    X[:, numbers] = interpolated(X[:, numbers], neighbour[:, numbers], way, columns.whole)
    return X


def interpolated(
    x: NDArray[np.floating],
    neighbour: NDArray[np.floating],
    way: NDArray[np.float64],
    whole: NDArray[np.bool_],
) -> NDArray[np.float64]:
    """Return ``x + way (neighbour - x)``, ``x`` where one of them is missing."""
    new = x + way * (neighbour.astype(np.float64) - x)
    new = np.where(whole, np.rint(new), new)
    # Rounding of the product may lead past the end.
    new = np.clip(new, np.minimum(x, neighbour), np.maximum(x, neighbour))
    return np.where(np.isnan(new), x, new)


def _nearest(
    table: NDArray[np.floating],
    columns: Columns,
    asked: NDArray[np.int64],
    pool: NDArray[np.int64],
) -> NDArray[np.int64]:
    """Return the nearest rows of the pool for each asked row, shape (n_asked, at most 5).

    Numbers in units of their standard deviation, a missing one as the mean; a category that
    differs counts as one standard deviation (SMOTE-NC).
    """
    n = min(NEIGHBOURS, len(pool) - 1)
    near = np.empty((len(asked), n), dtype=np.int64)
    numbers, codes = _comparable(table[pool], columns)
    for start in range(0, len(asked), CHUNK):
        part = asked[start : start + CHUNK]
        own, own_codes = _comparable(table[part], columns)
        apart = (own**2).sum(axis=1)[:, None] - 2 * own @ numbers.T + (numbers**2).sum(axis=1)
        for column in range(codes.shape[1]):
            apart += own_codes[:, column, None] != codes[:, column]
        apart[part[:, None] == pool] = np.inf
        near[start : start + CHUNK] = pool[np.argsort(apart, axis=1, kind="stable")[:, :n]]
    return near


def _comparable(
    X: NDArray[np.floating], columns: Columns
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return scaled numbers, 0 for missing ones, and codes, -1 for missing ones."""
    numbers = np.nan_to_num((X[:, columns.numeric] - columns.mean) / columns.scale)
    return numbers, np.nan_to_num(X[:, columns.categorical].astype(np.float64), nan=-1.0)


def _whole(X: NDArray[np.floating]) -> NDArray[np.bool_]:
    whole: NDArray[np.bool_] = (np.isnan(X) | (np.rint(X) == X)).all(axis=0)
    return whole


def _moments(X: NDArray[np.floating]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return mean and standard deviation of each column's values; 1 for a constant column."""
    found = ~np.isnan(X)
    n = np.maximum(found.sum(axis=0), 1)
    values = np.where(found, X, 0.0).astype(np.float64)
    mean = values.sum(axis=0) / n
    spread = np.sqrt((np.where(found, values - mean, 0.0) ** 2).sum(axis=0) / n)
    return mean, np.where(spread > 0, spread, 1.0)
