"""What a front of gaps and accuracies is worth, and which peer is better."""

from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

STANDARD_ERRORS = 2.0
"""How clear the difference in hypervolume must be over the seeds."""


def pareto(
    gap: NDArray[np.float64], accuracy: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the points that no other one beats, gap and accuracy both rising.

    Examples
    --------
    >>> pareto(np.array([0.1, 0.0, 0.2]), np.array([0.9, 0.8, 0.85]))
    (array([0. , 0.1]), array([0.8, 0.9]))
    """
    order = np.lexsort((-accuracy, gap))
    gap, accuracy = gap[order], accuracy[order]
    before = np.concatenate([[-np.inf], np.maximum.accumulate(accuracy)[:-1]])
    better = accuracy > before
    return gap[better], accuracy[better]


def hypervolume(
    gap: NDArray[np.float64],
    accuracy: NDArray[np.float64],
    *,
    gap_at: float,
    accuracy_at: float,
) -> float:
    """Return the area that a front beats, up to a reference point.

    Examples
    --------
    >>> round(hypervolume(np.array([0.1]), np.array([0.9]), gap_at=0.2, accuracy_at=0.5), 9)
    0.04
    """
    inside = (gap < gap_at) & (accuracy > accuracy_at)
    front, worth = pareto(gap[inside], accuracy[inside])
    widths = np.diff(np.append(front, gap_at))
    return float(widths @ (worth - accuracy_at))


def accuracy_within(
    gap: NDArray[np.float64], accuracy: NDArray[np.float64], limit: float
) -> float:
    """Return the best accuracy at a gap of at most ``limit``, on lines between points.

    A line is what drawing one of its two ends for each row gives; on it a gap is at most the mean
    of the two gaps. Of all lines the highest counts: the concave hull.

    Examples
    --------
    >>> round(accuracy_within(np.array([0.0, 0.04, 0.1]), np.array([0.7, 0.7, 0.9]), 0.05), 9)
    0.8
    """
    front, worth = pareto(gap, accuracy)
    kept: list[int] = []
    for at in range(len(front)):
        while len(kept) > 1 and _below(front, worth, kept[-2], kept[-1], at):
            kept.pop()
        kept.append(at)
    return float(np.interp(limit, front[kept], worth[kept]))


def _below(
    x: NDArray[np.float64], y: NDArray[np.float64], first: int, middle: int, last: int
) -> bool:
    """Whether the middle point lies on or below the line through the other two."""
    rise = (y[last] - y[first]) * (x[middle] - x[first])
    return bool((y[middle] - y[first]) * (x[last] - x[first]) <= rise)


def dominated_by(row: "pd.Series[Any]", cells: pd.DataFrame) -> str:
    """Return the peers that are better than one of our methods on a table under a constraint.

    Better is a peer whose mean accuracy at the limit is at least as high, and whose hypervolume
    is higher by more than two standard errors of the paired differences over the seeds. Names of
    those that ask for more than our method are in parentheses.
    """
    if row["is_peer"]:
        return ""
    here = cells[(cells["table"] == row["table"]) & (cells["constraint"] == row["constraint"])]
    own = here[here["method"] == row["method"]].set_index("seed")
    found = []
    for name, peer in here[here["is_peer"]].groupby("method"):
        theirs = peer.set_index("seed")
        if not _better(theirs, own):
            continue
        more = any(
            bool(peer[mark].iloc[0]) and not row[mark]
            for mark in ("needs_sensitive", "randomized")
        )
        found.append(f"({name})" if more else str(name))
    return ", ".join(found)


def _better(theirs: pd.DataFrame, own: pd.DataFrame) -> bool:
    seeds = theirs.index.intersection(own.index)
    ahead = (theirs["hypervolume"] - own["hypervolume"]).loc[seeds].dropna()
    if len(ahead) < 2:
        return False
    error = float(ahead.std()) / np.sqrt(len(ahead))
    clear = float(ahead.mean()) > STANDARD_ERRORS * error
    means = (frame["accuracy_within"].loc[seeds].mean() for frame in (theirs, own))
    return clear and bool(next(means) >= next(means))
