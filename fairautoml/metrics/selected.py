"""The best k rows under bounds on the groups' shares, and the diversity of a selected set."""

from collections.abc import Hashable, Mapping, Sequence
from typing import Any, TypeAlias

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from fairautoml.exceptions import InputError, ParameterError
from fairautoml.records import Floats

ROUNDING = 1e-9
"""Slack of a share times k, so that .3 of 10 rows are 3 rows."""
MOST_CANDIDATES = 200_000
"""Most rows of an integer program: the best k of each combination of groups."""
SECONDS = 60.0
"""Time limit of an integer program."""
SCALE = 1000.0
"""Range of the scores in the integer program, whose tolerances are absolute."""
WHOLE = 1e-6
"""Largest distance of a selected row's share from 0 or 1."""
TOLERANCE = 0.05
"""Difference from the share of the pool at which a group is still fully present."""

Bounds: TypeAlias = tuple[float, float] | Mapping[Any, tuple[float, float]]
"""(lowest, highest) share for every group, or for each group that is named."""


def select_top_k(
    scores: ArrayLike,
    k: int,
    groups: ArrayLike | Mapping[Any, ArrayLike] | None = None,
    bounds: Bounds | Mapping[Any, Bounds] | None = None,
) -> NDArray[np.intp]:
    """Return the k rows with the largest sum of scores under bounds on the groups' shares.

    Exact. With bounds on several columns a linear or integer program is solved, whose sum is the
    largest one up to 1e-9 of the range of the scores. Equal scores keep the order of the rows.

    Parameters
    ----------
    scores : numbers, shape (n_rows,)
        Finite; larger is better.
    k : int
        Number of rows to select, from 1 to n_rows.
    groups : labels, shape (n_rows,), or dict of name -> labels, optional
        Group of each row, in one column or in several; required with ``bounds``.
    bounds : (float, float) or dict of label -> (float, float), optional
        Lowest and highest share of the selected rows, in [0, 1]. A pair holds for every group;
        groups that a dict does not name are free. With several columns a dict of name -> such
        bounds.

    Returns
    -------
    ndarray of int, shape (k,)
        Positions of the rows, best first.

    Raises
    ------
    InputError
        ``scores`` or ``groups`` are invalid; no k rows meet the bounds; or the bounds on several
        columns have more than 200,000 candidates (k rows of each combination of groups) or no
        exact solution within 60 seconds.
    ParameterError
        ``k`` or a bound is outside its range, or a bound names a column that is not given or a
        group without rows.
    """
    values = np.asarray(scores, dtype=np.float64)
    if values.ndim != 1 or not np.isfinite(values).all():
        raise InputError("scores must be one finite number for each row.")
    if isinstance(k, bool) or not isinstance(k, int | np.integer) or not 1 <= k <= len(values):
        raise ParameterError(f"k={k!r} must be a whole number from 1 to {len(values)} rows.")
    order = np.argsort(-values, kind="stable")
    if bounds is None:
        return order[:k]
    codes, quotas = [], []
    for labels, limits in _bounded(groups, bounds):
        if labels is None or np.shape(labels) != values.shape:
            raise InputError("bounds need groups with one label for each row.")
        code, least, most = coded_groups(np.asarray(labels), k, limits)
        codes.append(code[order])
        quotas.append((least, most))
    if len(codes) == 1:
        return order[_filled(codes[0], *quotas[0], k)]
    return order[_best(values[order], codes, quotas, k)]


def _bounded(groups: Any, bounds: Any) -> list[tuple[Any, Any]]:
    """Return labels and bounds of each bounded column."""
    if not isinstance(groups, Mapping):
        return [(groups, bounds)]
    if not isinstance(bounds, Mapping) or not bounds:
        raise ParameterError(f"bounds={bounds!r} must be a dict with bounds for each column.")
    unknown = [name for name in bounds if name not in groups]
    if unknown:
        raise ParameterError(f"bounds name {unknown[0]!r}; the columns are {list(groups)}.")
    return [(groups[name], limits) for name, limits in bounds.items()]


def _places(codes: NDArray[np.intp]) -> NDArray[np.intp]:
    """Return the place of each row within its group."""
    sizes = np.bincount(codes)
    by_group = np.argsort(codes.astype(np.int32), kind="stable")
    places = np.empty(len(codes), dtype=np.intp)
    places[by_group] = np.arange(len(codes)) - np.repeat(np.cumsum(sizes) - sizes, sizes)
    return places


def _filled(
    codes: NDArray[np.intp], least: NDArray[np.intp], most: NDArray[np.intp], k: int
) -> NDArray[np.bool_]:
    """Return the rows that are selected: the best of each group, then the best that fit."""
    place = _places(codes)
    chosen: NDArray[np.bool_] = place < least[codes]
    free = np.flatnonzero(~chosen & (place < most[codes]))
    chosen[free[: k - int(least.sum())]] = True
    return chosen


def _best(
    values: Floats,
    codes: Sequence[NDArray[np.intp]],
    quotas: Sequence[tuple[NDArray[np.intp], NDArray[np.intp]]],
    k: int,
) -> NDArray[np.bool_]:
    """Return the rows that a linear program selects, or an integer one if a row is divided.

    With two columns no row is: the matrix is totally unimodular.
    """
    from scipy.optimize import Bounds as Range
    from scipy.optimize import LinearConstraint, milp
    from scipy.sparse import csr_array, vstack

    crossed = np.ravel_multi_index(tuple(codes), tuple(len(least) for least, _ in quotas))
    cell = np.unique(crossed, return_inverse=True)[1].reshape(-1)
    most = np.min([limit[code] for code, (_, limit) in zip(codes, quotas, strict=True)], axis=0)
    place = _places(cell)
    rows = np.flatnonzero(place < np.minimum(most, k))
    if len(rows) > MOST_CANDIDATES:
        msg = (
            f"bounds on {len(codes)} columns have {len(rows):,} candidates, the best k={k} rows "
            f"of each of {cell.max() + 1} combinations of groups; at most {MOST_CANDIDATES:,} are "
            "solved exactly. Choose a smaller k, or bound one column."
        )
        raise InputError(msg)
    each = np.arange(len(rows))
    parts = [
        csr_array((np.ones(len(rows)), (code[rows], each)), shape=(len(least), len(rows)))
        for code, (least, _) in zip(codes, quotas, strict=True)
    ]
    low = np.concatenate([*(least for least, _ in quotas), [k]])
    high = np.concatenate([*(limit for _, limit in quotas), [k]])
    span = float(np.ptp(values[rows])) or 1.0
    for integral in (0, 1):
        found = milp(
            -SCALE * (values[rows] - values[rows].min()) / span,
            integrality=np.full(len(rows), integral),
            bounds=Range(0, 1),
            constraints=LinearConstraint(vstack([*parts, np.ones((1, len(rows)))]), low, high),
            options={"mip_rel_gap": 0.0, "time_limit": SECONDS},
        )
        if found.x is None or np.abs(found.x - np.rint(found.x)).max() < WHOLE:
            break
    if found.status not in {0, 2}:
        msg = (
            f"No exact selection under bounds on {len(codes)} columns was found within "
            f"{SECONDS:g} seconds. Choose a smaller k, or bound fewer columns."
        )
        raise InputError(msg)
    if found.x is None:
        msg = (
            f"No set of k={k} rows meets the bounds of all {len(codes)} columns together. Widen "
            "the bounds or change k."
        )
        raise InputError(msg)
    counts = np.bincount(cell[rows], weights=np.rint(found.x), minlength=cell.max() + 1)
    return place < counts[cell]


def coded_groups(
    labels: NDArray[Any], k: int, bounds: Bounds
) -> tuple[NDArray[np.intp], NDArray[np.intp], NDArray[np.intp]]:
    """Return the group of each row as a number, and the least and the most rows of each group."""
    codes, levels = pd.factorize(labels, sort=True)
    n_missing = int((codes < 0).sum())
    if n_missing:
        raise InputError(
            f"{n_missing} row(s) have no label in groups. Give one, or leave these rows out."
        )
    return codes, *_quotas(levels.tolist(), np.bincount(codes), k, bounds)


def _quotas(
    labels: Sequence[Hashable], sizes: NDArray[np.intp], k: int, bounds: Bounds
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


def diversity(
    selected: ArrayLike, pool: ArrayLike, tolerance: float = TOLERANCE
) -> dict[str, float]:
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


def exposure(ranking: ArrayLike) -> dict[Any, float]:
    """Return the share of the attention that each group of a ranking gets, in [0, 1].

    The row at place r, from 1, gets 1 / log2(1 + r). Rows of group -1 have no known group: they
    are left out, and the others move up.

    Parameters
    ----------
    ranking : labels, shape (n_rows,)
        Groups of the ranked rows, best first.

    Raises
    ------
    InputError
        No row has a known group.

    References
    ----------
    Singh, Joachims, "Fairness of exposure in rankings", KDD 2018.
    """
    labels = np.asarray(ranking)
    labels = labels[labels != -1]
    if not len(labels):
        raise InputError("The exposure of an empty ranking is undefined; rank at least one row.")
    attention = 1.0 / np.log2(np.arange(2, len(labels) + 2))
    groups, at = np.unique(labels, return_inverse=True)
    shares = np.bincount(at, weights=attention) / attention.sum()
    return dict(zip(groups.tolist(), shares.tolist(), strict=True))
