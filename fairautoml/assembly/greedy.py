"""Which models are averaged, and how much each counts: greedy selection by log loss.

Source: Caruana, Niculescu-Mizil, Crew, Ksikes, "Ensemble Selection from Libraries of Models",
ICML 2004: forward selection with replacement, the best round kept. Their bags of models are bags
of rows here: one selection per fold on the rows of the other folds, then the mean.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from fairautoml.metrics import TaskName

ROUNDS = 25
"""Models that are added, repetitions included."""

SMALLEST_PROBABILITY = 1e-6
"""What the true label is given at the least: a float32 holds no 1 - 1e-8."""


def select_greedily(
    columns: NDArray[np.float32],
    y: NDArray[Any],
    weight: NDArray[np.float64],
    *,
    most: int | None,
    rounds: int = ROUNDS,
    task: TaskName = "binary",
) -> NDArray[np.float64]:
    """Return the share of each column in the mean of lowest log loss that is found."""
    given = _given(columns, y, task)
    loss = _squared_error if task == "regression" else _loss
    share = (weight / weight.sum()).astype(np.float32)
    picked = np.zeros(len(columns))
    total = np.zeros(len(y), dtype=np.float32)
    best_loss, best = np.inf, picked
    for done in range(1, rounds + 1):
        open_to = np.arange(len(columns))
        if most is not None and np.count_nonzero(picked) >= most:
            open_to = np.flatnonzero(picked)
        losses = np.array([loss(total + given[at], done, share) for at in open_to])
        at = open_to[losses.argmin()]
        picked[at] += 1
        total += given[at]
        if losses.min() < best_loss:
            best_loss, best = losses.min(), picked / done
    return best


def _given(columns: NDArray[np.float32], y: NDArray[Any], task: TaskName) -> NDArray[np.float32]:
    """Return what the loss of a mean is computed from by the mean of it, (n_columns, n_rows)."""
    if task == "regression":
        # Differences first: float32 sums of large numbers would lose what matters.
        errors: NDArray[np.float32] = (columns - y).astype(np.float32)
        return errors
    if task == "multiclass":
        given = columns[:, np.arange(len(y)), y]
    else:
        given = np.where(y == 1, columns, np.float32(1.0) - columns)
    # The mean of what the models give the true label is what their mean gives it.
    return np.maximum(given, np.float32(SMALLEST_PROBABILITY))


def _squared_error(total: NDArray[np.float32], count: int, share: NDArray[np.float32]) -> float:
    return float(share @ np.square(total / count))


def _loss(total: NDArray[np.float32], count: int, share: NDArray[np.float32]) -> float:
    return float(np.log(count) - share @ np.log(total))


def shares_by_fold(
    columns: NDArray[np.float32],
    y: NDArray[Any],
    weight: NDArray[np.float64],
    folds: NDArray[np.integer],
    *,
    most: int | None,
    task: TaskName = "binary",
) -> NDArray[np.float64]:
    """Return for each fold the shares that the rows of the other folds select."""
    return np.array(
        [
            select_greedily(
                columns[:, folds != fold],
                y[folds != fold],
                weight[folds != fold],
                most=most,
                task=task,
            )
            for fold in range(int(folds.max()) + 1)
        ]
    )


def mean_shares(by_fold: NDArray[np.float64], *, most: int | None) -> NDArray[np.float64]:
    """Return the shares that are deployed: the mean over the folds, of the largest ones only."""
    mean: NDArray[np.float64] = by_fold.mean(axis=0)
    if most is not None:
        # A stable order: of equal shares the first columns stay.
        mean[np.argsort(-mean, kind="stable")[most:]] = 0.0
    shares: NDArray[np.float64] = mean / mean.sum()
    return shares


def weighted_sums(
    shares: NDArray[np.float32], columns: NDArray[np.float32]
) -> NDArray[np.float32]:
    """Return sums of columns, of one row of shares or of several."""
    flat: NDArray[np.float32] = shares @ columns.reshape(len(columns), -1)
    return flat.reshape(*shares.shape[:-1], *columns.shape[1:])
