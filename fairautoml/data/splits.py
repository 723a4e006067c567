"""Splits by label and finest group, so that small groups do not vanish from a fold."""

from warnings import warn

import numpy as np
from numpy.typing import NDArray

from fairautoml.exceptions import DegradedWarning, InputError

MIN_FOLDS = 2


def stratified_folds(
    y: NDArray[np.integer], cells: NDArray[np.integer], n_folds: int, seed: int
) -> NDArray[np.int16]:
    """Deal the rows to folds, evenly within every label and every group.

    Rows are shuffled within each stratum (label and cell), the strata laid end to end, all cells
    of one label together, and dealt out in turn. So the sizes of any two folds differ by at most
    one row: in all, within each label, and within each stratum.

    Parameters
    ----------
    y : ndarray of int, shape (n_rows,)
        Labels.
    cells : ndarray of int, shape (n_rows,)
        Finest group cells; -1 counts as a cell.
    n_folds : int
        Number of folds, at least 2.
    seed : int
        Non-negative; the same seed gives the same folds.

    Returns
    -------
    ndarray of int16, shape (n_rows,)
        Fold of each row, 0 .. n_folds - 1.

    Raises
    ------
    InputError
        ``n_folds`` is less than 2.
    """
    _check_folds(n_folds, "n_folds")
    rng = np.random.default_rng(seed)
    order = np.lexsort((rng.random(len(y)), cells, y))
    folds = np.empty(len(y), dtype=np.int16)
    # Which folds get the surplus rows is drawn too.
    folds[order] = rng.permutation(n_folds)[np.arange(len(y)) % n_folds]
    return folds


def fold_count(y: NDArray[np.integer], wanted: int) -> int:
    """Return how many folds the labels allow: each class must reach every fold.

    Parameters
    ----------
    y : ndarray of int, shape (n_rows,)
        Labels 0 or 1.
    wanted : int
        Number of folds asked for, at least 2.

    Returns
    -------
    int
        ``wanted``, or the size of the smaller class, never less than 2.

    Raises
    ------
    InputError
        ``wanted`` is less than 2.

    Warns
    -----
    DegradedWarning
        There are fewer folds than wanted.
    """
    _check_folds(wanted, "the number of folds")
    smallest = int(np.bincount(y.astype(np.int64), minlength=2).min())
    if smallest >= wanted:
        return wanted
    count = max(MIN_FOLDS, smallest)
    if count < wanted:
        msg = (
            f"the smaller class has {smallest} row(s): {count} folds are used instead of {wanted}"
        )
        warn(msg, DegradedWarning, stacklevel=2)
    return count


def _check_folds(n_folds: int, argument: str) -> None:
    if n_folds < MIN_FOLDS:
        msg = f"{argument} must be at least {MIN_FOLDS}, found {n_folds}."
        raise InputError(msg)


def holdout_split(
    y: NDArray[np.integer], cells: NDArray[np.integer], fraction: float, seed: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Set a share of the rows aside, the same share of every label and every group.

    Within each label the rows, shuffled and sorted by cell, are sampled at equal steps from a
    random start, so every cell's share is right to within one row. A label with at least two rows
    is on both sides.

    Parameters
    ----------
    y : ndarray of int, shape (n_rows,)
        Labels.
    cells : ndarray of int, shape (n_rows,)
        Finest group cells; -1 counts as a cell.
    fraction : float
        Share of the second part, in (0, 1).
    seed : int
        Non-negative; the same seed gives the same parts.

    Returns
    -------
    train_rows, test_rows : ndarray of int64
        Row positions, increasing.

    Raises
    ------
    InputError
        ``fraction`` is not between 0 and 1.
    """
    if not 0 < fraction < 1:
        msg = f"fraction must lie strictly between 0 and 1, found {fraction}."
        raise InputError(msg)
    rng = np.random.default_rng(seed)
    order = np.lexsort((rng.random(len(y)), cells, y))
    held = np.zeros(len(y), dtype=bool)
    start = 0
    for size in np.unique(y, return_counts=True)[1].tolist():
        block = order[start : start + size]
        held[block[_steps(size, fraction, rng.random())]] = True
        start += size
    return np.flatnonzero(~held), np.flatnonzero(held)


def _steps(size: int, fraction: float, offset: float) -> NDArray[np.int64]:
    """Return equally spaced positions in a block of ``size`` rows (systematic sampling)."""
    wanted = round(size * fraction)
    if size > 1:
        wanted = min(max(wanted, 1), size - 1)
    if wanted == 0:
        return np.empty(0, dtype=np.int64)
    steps = ((np.arange(wanted) + offset) * size / wanted).astype(np.int64)
    return np.minimum(steps, size - 1)
