"""Parts of a table by balanced hierarchical clustering of its rows."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from pandas.api.types import is_bool_dtype, is_numeric_dtype
from sklearn.cluster import KMeans

MOST_VALUES = 12
"""Maximum number of distinct values of a category, the most frequent ones."""
SMALLEST_PART = 60
"""Fewest clustered rows of a part, but at least one in a hundred."""
BALANCE = (1 / 3, 2 / 3)
"""Least and largest share of its rows that a part passes on to either of its two parts."""
STARTS = 3
"""Random starts of each division."""
MOST_NAMED = 3
"""Columns that describe a part: those that set it apart most."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Part:
    """Similar rows, and how they differ from the others."""

    conditions: tuple[str, ...]
    inside: NDArray[np.bool_]  # shape (n_rows,)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Coordinates:
    """Columns in standard deviations, categories as indicators."""

    values: NDArray[np.float32]  # shape (n_rows, n_coordinates)
    names: tuple[str, ...]
    scale: NDArray[np.float64]  # standard deviation behind each coordinate; 0 = an indicator
    center: NDArray[np.float64]


def balanced_parts(X: pd.DataFrame, clustered: NDArray[np.bool_], seed: int) -> Iterator[Part]:
    """Yield the parts of a binary hierarchy, in which every division is balanced.

    Parameters
    ----------
    X : DataFrame, shape (n_rows, n_features)
        Rows of the table.
    clustered : ndarray of bool, shape (n_rows,)
        Rows that determine the divisions; the others are assigned to the parts.
    seed : int
        Seed of the starts.

    References
    ----------
    Balance of a third to two thirds: Knittel, Springer, Dickerson, Hajiaghayi, "Generalized
    reductions: making any hierarchical clustering fair and balanced with low cost", ICML 2023.
    """
    table = _coordinates(X, clustered)
    if not table.names:
        return
    smallest = max(SMALLEST_PART, int(clustered.sum()) // 100)
    front = [np.ones(len(X), dtype=np.bool_)]
    while front:
        inside = front.pop()
        known = inside & clustered
        if known.sum() < 2 * smallest or not np.ptp(table.values[known], axis=0).any():
            continue
        centers = KMeans(2, n_init=STARTS, random_state=seed).fit(table.values[known])
        distance = centers.transform(table.values)
        side = distance[:, 0] - distance[:, 1]
        # Ties on the boundary stay together, so that a division can be less balanced.
        cut = np.clip(0.0, *np.quantile(side[known], BALANCE))
        for part in (inside & (side <= cut), inside & (side > cut)):
            if (part & clustered).sum() >= smallest:
                yield Part(conditions=_described(table, part & clustered), inside=part)
                front.append(part)


def _coordinates(X: pd.DataFrame, clustered: NDArray[np.bool_]) -> _Coordinates:
    values, names, scale, center = [], [], [], []
    for name in X.columns:
        column = X[name].reset_index(drop=True)
        if is_numeric_dtype(column) and not is_bool_dtype(column):
            numbers = column.to_numpy(dtype=np.float64, na_value=np.nan)
            numbers = np.where(np.isfinite(numbers), numbers, np.nan)
            known = numbers[clustered & ~np.isnan(numbers)]
            if len(known) and np.ptp(known) > 0:
                values.append(np.nan_to_num((numbers - known.mean()) / known.std()))
                names.append(str(name))
                scale.append(float(known.std()))
                center.append(float(known.mean()))
            continue
        text = column.astype(object).where(column.notna(), "(missing)").map(str)
        for value in text[clustered].value_counts().index[:MOST_VALUES]:
            values.append((text == value).to_numpy(dtype=np.float64))
            names.append(f"{name} = {value}")
            scale.append(0.0)
            center.append(float(values[-1][clustered].mean()))
    return _Coordinates(
        values=np.array(values, dtype=np.float32).T.reshape(len(X), -1),
        names=tuple(names),
        scale=np.array(scale),
        center=np.array(center),
    )


def _described(table: _Coordinates, rows: NDArray[np.bool_]) -> tuple[str, ...]:
    """Return the mean of the columns whose mean differs most from that of all rows."""
    mean = table.values[rows].mean(axis=0, dtype=np.float64)
    is_number = table.scale > 0
    apart = np.abs(np.where(is_number, mean, mean - table.center))
    said = []
    for at in np.argsort(-apart, kind="stable")[:MOST_NAMED]:
        name, center = table.names[at], table.center[at]
        if is_number[at]:
            said.append(f"{name} about {center + mean[at] * table.scale[at]:.4g} ({center:.4g})")
        else:
            said.append(f"{name} in {100 * mean[at]:.0f} % ({100 * center:.0f} %)")
    return tuple(said)
