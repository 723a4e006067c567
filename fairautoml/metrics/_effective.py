"""What weighted rows are worth as a sample."""

import numpy as np
from numpy.typing import NDArray


def effective_rows(
    groups: NDArray[np.integer], weight: NDArray[np.float64], n_groups: int
) -> NDArray[np.float64]:
    """Return (sum w)^2 / sum w^2 of each group: what weighted rows are worth as a sample.

    Parameters
    ----------
    groups : ndarray of int, shape (n_rows,)
        Group of each row, 0 .. n_groups - 1.
    weight : ndarray of float64, shape (n_rows,)
        Sample weights.
    n_groups : int
        Number of groups.
    """
    total = np.bincount(groups, weights=weight, minlength=n_groups)
    squares = np.bincount(groups, weights=weight**2, minlength=n_groups)
    return np.divide(total**2, squares, out=np.zeros(n_groups), where=squares > 0)
