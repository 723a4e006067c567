"""Tables as other samples of the same people would give them."""

import numpy as np
from numpy.typing import NDArray


def moved_shares(
    shares: NDArray[np.float64], n_rows: NDArray[np.float64], noise: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Return shares moved like those of a multinomial draw, to first order.

    With z standard normal, ``p_j + (sqrt(p_j) z_j - p_j sum_i sqrt(p_i) z_i) / sqrt(n)`` has the
    covariance of the draw; it is cut at 0 and divided by its sum.

    Parameters
    ----------
    shares : ndarray of float64, shape (n_groups, n_shares)
        Each row sums to 1, or is 0 throughout.
    n_rows : ndarray of float64, shape (n_groups,)
        Effective number of rows behind each group.
    noise : ndarray of float64, shape (n_draws, n_groups, n_shares)
        Standard normal.

    Returns
    -------
    ndarray of float64, shape (n_draws, n_groups, n_shares)
    """
    size = np.maximum(n_rows, 1.0)[:, None]
    # Half a row more in all: a share of 0 out of 10 is not known to be 0.
    smooth = (shares * size + 0.5 / shares.shape[1]) / (size + 0.5)
    root = np.sqrt(smooth)
    steps = noise * root - smooth * (noise * root).sum(axis=2, keepdims=True)
    moved = np.maximum(shares + steps / np.sqrt(size), 0.0)
    total = moved.sum(axis=2, keepdims=True)
    filled = (total > 0) & (shares > 0).any(axis=1, keepdims=True)
    found: NDArray[np.float64] = np.divide(moved, total, out=np.zeros_like(moved), where=filled)
    return found
