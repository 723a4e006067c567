"""The weighted mean of several models: what an ensemble serves."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fairautoml.mitigators import ScoreModel


@dataclass(frozen=True, slots=True)
class Blend:
    """Models and their shares.

    Parameters
    ----------
    members : tuple of (ScoreModel, float)
        At least one model; the shares sum to 1.
    """

    members: tuple[tuple[ScoreModel, float], ...]

    def scores(self, X: Any, cells: NDArray[np.integer]) -> NDArray[np.float32]:
        """Return the weighted mean of P(y = 1), shape (n_rows,)."""
        total = np.zeros(X.shape[0])
        for model, share in self.members:
            total += share * model.scores(X, cells)
        return total.astype(np.float32)
