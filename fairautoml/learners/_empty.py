"""Columns without a single known value, which some libraries cannot bin."""

import numpy as np
from numpy.typing import NDArray


class EmptyColumns:
    """Remembers which columns of the training rows hold nothing, and makes them constant.

    A column may be empty in one fold only. Nothing was learned from it there, so whatever it
    holds later must not count: it becomes 0 in the new rows too.
    """

    def __init__(self, X: NDArray[np.floating]) -> None:
        self.at = np.flatnonzero(np.isnan(X).all(axis=0))

    def fill(self, X: NDArray[np.floating]) -> NDArray[np.floating]:
        """Return ``X`` with 0 in those columns; a copy if there are any."""
        if self.at.size == 0:
            return X
        filled = X.copy()
        filled[:, self.at] = 0.0
        return filled
