"""A linear map after which no linear model can tell the group.

Source: Belrose, Schneider-Joseph, Ravfogel, Cotterell, Raff and Biderman, *LEACE: Perfect linear
concept erasure in closed form*, NeurIPS 2023, arXiv 2306.03819, theorem 4.3: of all affine maps
that make the means of the groups equal it moves the rows least. It does not need the group of a
row that it is applied to.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

ROUNDING = 1e-10
"""Directions whose variance is below this share of the largest are constant."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Erasure:
    """``x - moved (x - mean)``."""

    mean: NDArray[np.float64]  # shape (n_columns,): weighted mean of the rows it was fitted on
    # what is taken off, as a linear map of rows
    moved: NDArray[np.float64]  # shape (n_columns, n_columns)

    def apply(self, matrix: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the rows without what told the group, shape (n_rows, n_columns)."""
        kept: NDArray[np.float64] = matrix - (matrix - self.mean) @ self.moved
        return kept


def fit_erasure(
    matrix: NDArray[np.float64],
    weight: NDArray[np.float64],
    group: NDArray[np.integer],
    strength: float,
) -> Erasure:
    """Return the map that makes the weighted means of all groups equal."""
    share = weight / weight.sum()
    mean = share @ matrix
    centred = matrix - mean
    values, vectors = np.linalg.eigh((centred * share[:, None]).T @ centred)
    kept = values > ROUNDING * max(float(values[-1]), 0.0)
    deviation, axes = np.sqrt(values[kept]), vectors[:, kept]
    belongs = indicators(group)
    # Covariance with the group indicators, in axes where the rows have variance 1.
    told = (axes.T @ ((centred * share[:, None]).T @ belongs)) / deviation[:, None]
    left, size, _ = np.linalg.svd(told, full_matrices=False)
    span = left[:, size > ROUNDING]
    moved = ((axes / deviation) @ span) @ ((axes * deviation) @ span).T
    return Erasure(mean=mean, moved=strength * moved)


def indicators(group: NDArray[np.integer]) -> NDArray[np.float64]:
    """Return 1 in the column of each row's group, shape (n_rows, n_groups that occur)."""
    found: NDArray[np.float64] = (group[:, None] == np.unique(group)).astype(np.float64)
    return found
