"""The best k rows under bounds on the groups' shares, and the diversity of a selected set."""

from collections.abc import Mapping
from typing import Any, TypeAlias

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from fairautoml.exceptions import InputError, ParameterError

ROUNDING = 1e-9
"""Slack of a share times k, so that .3 of 10 rows are 3 rows."""

Bounds: TypeAlias = tuple[float, float] | Mapping[Any, tuple[float, float]]
"""(lowest, highest) share for every group, or for each group that is named."""


def select_top_k(
    scores: ArrayLike, k: int, groups: ArrayLike | None = None, bounds: Bounds | None = None
) -> NDArray[np.intp]:
    """Return the k rows with the largest sum of scores under bounds on the groups' shares.

    Exact, as each row belongs to one group; equal scores keep the order of the rows.

    Parameters
    ----------
    scores : numbers, shape (n_rows,)
        Finite; larger is better.
    k : int
        Number of rows to select, from 1 to n_rows.
    groups : labels, shape (n_rows,), optional
        Group of each row; required with ``bounds``.
    bounds : (float, float) or dict of label -> (float, float), optional
        Lowest and highest share of the selected rows, in [0, 1]. A pair holds for every group;
        groups that a dict does not name are free.

    Returns
    -------
    ndarray of int, shape (k,)
        Positions of the rows, best first.

    Raises
    ------
    InputError
        ``scores`` or ``groups`` are invalid, or no k rows meet the bounds.
    ParameterError
        ``k`` or a bound is outside its range, or a bound names a group without rows.
    """
    values = np.asarray(scores, dtype=np.float64)
    if values.ndim != 1 or not np.isfinite(values).all():
        raise InputError("scores must be one finite number for each row.")
    if isinstance(k, bool) or not isinstance(k, int | np.integer) or not 1 <= k <= len(values):
        raise ParameterError(f"k={k!r} must be a whole number from 1 to {len(values)} rows.")
    order = np.argsort(-values, kind="stable")
    if bounds is None:
        return order[:k]
    if groups is None or np.shape(groups) != values.shape:
        raise InputError("bounds need groups with one label for each row.")
    codes, labels = pd.factorize(np.asarray(groups), sort=True)
    sizes = np.bincount(codes)
    least, most = _quotas(labels.tolist(), sizes, k, bounds)
    within = codes[order]
    by_group = np.argsort(within.astype(np.int32), kind="stable")
    place = np.empty(len(values), dtype=np.intp)
    starts = np.repeat(np.cumsum(sizes) - sizes, sizes)
    place[by_group] = np.arange(len(values)) - starts
    chosen = place < least[within]
    free = np.flatnonzero(~chosen & (place < most[within]))
    chosen[free[: k - int(least.sum())]] = True
    return order[chosen]


def _quotas(
    labels: list[Any], sizes: NDArray[np.intp], k: int, bounds: Bounds
) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Return the least and the most rows of each group."""
    named = bounds if isinstance(bounds, Mapping) else dict.fromkeys(labels, bounds)
    unknown = [label for label in named if label not in labels]
    if unknown:
        raise ParameterError(f"bounds name {unknown[0]!r}; the groups are {labels}.")
    least, most = np.zeros_like(sizes), sizes.copy()
    for at, label in enumerate(labels):
        low, high = _checked(named.get(label, (0.0, 1.0)), label)
        least[at] = np.ceil(low * k - ROUNDING)
        most[at] = min(sizes[at], np.floor(high * k + ROUNDING))
        if least[at] > most[at]:
            msg = (
                f"No set of k={k} rows has a share of {label!r} in [{low}, {high}]: at least "
                f"{least[at]} rows are needed and at most {most[at]} are possible, of "
                f"{sizes[at]} in the table. Widen the bounds or change k."
            )
            raise InputError(msg)
    if not least.sum() <= k <= most.sum():
        msg = (
            f"No set of k={k} rows meets the bounds: together the groups must have at least "
            f"{least.sum()} rows and can have at most {most.sum()}. Widen the bounds or change k."
        )
        raise InputError(msg)
    return least, most


def _checked(pair: Any, label: Any) -> tuple[float, float]:
    try:
        low, high = map(float, pair)
    except (TypeError, ValueError):
        low, high = np.nan, np.nan
    if not 0 <= low <= high <= 1:
        msg = (
            f"The bounds of {label!r} are {pair!r}; they must be a pair (low, high) with "
            "0 <= low <= high <= 1."
        )
        raise ParameterError(msg)
    return low, high


def presence(share: float, low: float, high: float) -> float:
    """Return the presence of a group in a selected set (Mitchell et al. 2020), in [0, 1].

    1 if the share is in [low, high], else 1 - distance / max(low, 1 - high), at least 0.
    """
    low, high = _checked((low, high), "share")
    distance = max(low - share, share - high, 0.0)
    return 1.0 if distance == 0 else max(0.0, 1.0 - distance / max(low, 1.0 - high))


def diversity(selected: ArrayLike, pool: ArrayLike, tolerance: float = 0.05) -> dict[str, float]:
    """Return the diversity of a selected set, compared with the pool it was selected from.

    The target of each group is its share of the pool, plus or minus ``tolerance``.

    Parameters
    ----------
    selected, pool : labels, shapes (n_selected,) and (n_rows,)
        Groups of the selected rows and of all rows; neither is empty.
    tolerance : float
        Difference from the pool's share that is accepted, in [0, 1].

    Returns
    -------
    dict of str -> float
        Aggregates of the groups' presences: ``mean`` (utilitarian), ``nash`` (geometric mean) and
        ``min`` (egalitarian), each in [0, 1].

    Raises
    ------
    InputError
        A set is empty.
    ParameterError
        ``tolerance`` is not in [0, 1].
    """
    chosen, rows = np.asarray(selected), np.asarray(pool)
    if not len(chosen) or not len(rows):
        raise InputError("The diversity of an empty set is undefined; select at least one row.")
    if not 0 <= tolerance <= 1:
        raise ParameterError(f"tolerance={tolerance!r} must be in [0, 1].")
    found = []
    for label in np.unique(rows):
        target = float(np.mean(rows == label))
        low, high = max(0.0, target - tolerance), min(1.0, target + tolerance)
        found.append(presence(float(np.mean(chosen == label)), low, high))
    return aggregated(found)


def aggregated(presences: ArrayLike) -> dict[str, float]:
    """Return mean, geometric mean and minimum of the presences."""
    values = np.asarray(presences, dtype=np.float64)
    nash = 0.0 if (values == 0).any() else float(np.exp(np.log(values).mean()))
    return {"mean": float(values.mean()), "nash": nash, "min": float(values.min())}
