"""The small table that learners and training-time mitigators are tried on."""

import numpy as np
from numpy.typing import NDArray

from fairautoml.data.dataset import FeatureLayout


def mixed_table(seed: int) -> tuple[NDArray[np.float32], NDArray[np.int8], FeatureLayout]:
    """Return 60 rows: two numbers, one of them with gaps, a constant, and six category codes.

    Parameters
    ----------
    seed : int
        Another seed gives other rows.

    Returns
    -------
    X : ndarray of float32, shape (60, 4)
    y : ndarray of int8, shape (60,)
    layout : FeatureLayout
    """
    rng = np.random.default_rng(seed)
    y = np.tile(np.array([0, 1, 1], dtype=np.int8), 20)
    X = rng.normal(size=(60, 4)).astype(np.float32)
    X[:, 0] += 2 * y
    X[:, 2] = 1.0
    # Code 5 exists in the table but not in these rows.
    X[:, 3] = rng.integers(5, size=60)
    X[rng.uniform(size=60) < 0.2, 1] = np.nan
    X[rng.uniform(size=60) < 0.2, 3] = np.nan
    return X, y, FeatureLayout(n_features=4, categorical=(3,), cardinalities=(6,))
