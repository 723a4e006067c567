"""What weighted rows are worth as a sample, and rows of which some are one person's."""

import numpy as np
from numpy.typing import NDArray


def effective_rows(
    groups: NDArray[np.integer],
    weight: NDArray[np.float64],
    n_groups: int,
    entities: NDArray[np.integer] | None = None,
) -> NDArray[np.float64]:
    """Return (sum w)^2 / sum w^2 of each group: what weighted rows are worth as a sample.

    Rows of one person count as one row of their weight together. That is what they are worth when
    they are all alike, and they are worth more when they are not.

    Parameters
    ----------
    groups : ndarray of int, shape (n_rows,)
        Group of each row, 0 .. n_groups - 1.
    weight : ndarray of float64, shape (n_rows,)
        Sample weights.
    n_groups : int
        Number of groups.
    entities : ndarray of int, shape (n_rows,), optional
        Whose row it is, 0 or more; each row is its own without.

    References
    ----------
    Kish, "Survey Sampling", Wiley 1965: unequal weights cost ``1 + relvariance of w``, clusters
    of ``m`` rows ``1 + (m - 1) roh``, here with ``roh = 1``.
    """
    total, squares = weight_sums(groups, weight, n_groups, entities)
    return np.divide(total**2, squares, out=np.zeros(n_groups), where=squares > 0)


def weight_sums(
    groups: NDArray[np.integer],
    weight: NDArray[np.float64],
    n_groups: int,
    entities: NDArray[np.integer] | None = None,
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return sum w and sum w^2 of each group, over rows or over what each person has there.

    Parameters
    ----------
    groups, weight, n_groups, entities
        As in ``effective_rows``.
    """
    if entities is not None:
        n_entities = int(entities.max(initial=0)) + 1
        pairs, at = np.unique(groups.astype(np.int64) * n_entities + entities, return_inverse=True)
        groups, weight = pairs // n_entities, np.bincount(at, weights=weight).astype(np.float64)
    total = np.bincount(groups, weights=weight, minlength=n_groups)
    squares = np.bincount(groups, weights=weight**2, minlength=n_groups)
    return total.astype(np.float64), squares.astype(np.float64)
