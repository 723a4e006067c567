"""The guard of the metrics on scores: both labels must have weight."""

import numpy as np
from numpy.typing import NDArray

from fairautoml.metrics._base import Undefined


def one_class(y: NDArray[np.integer], weight: NDArray[np.float64]) -> Undefined | None:
    """Return ``Undefined`` when a label has no rows of positive weight, else None.

    Parameters
    ----------
    y : ndarray of int, shape (n_rows,)
        Labels 0 or 1.
    weight : ndarray of float64, shape (n_rows,)
        Sample weights, not negative.
    """
    for label in (0, 1):
        if not weight[y == label].any():
            return Undefined(f"no rows with label {label}")
    return None
