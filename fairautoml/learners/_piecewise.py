"""Piecewise linear encoding of numbers, so that a linear model can bend."""

from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, TransformerMixin


class PiecewiseLinearEncoder(TransformerMixin, BaseEstimator):  # type: ignore[misc]
    """Replaces a number by how far it has come through each of its quantile bins.

    Component t of a number x is ``clip((x - b[t-1]) / (b[t] - b[t-1]), 0, 1)`` for bin edges b
    at quantiles: Gorishniy, Rubachev and Babenko (2022), "On Embeddings for Numerical Features in
    Tabular Deep Learning", equation 1, clipped at both ends. Half the edges are quantiles of the
    rows, half of the distinct values: a column that is nearly always 0 keeps edges in its tail.
    """

    def __init__(self, n_bins: int = 12) -> None:
        self.n_bins = n_bins

    def fit(self, X: NDArray[np.floating], y: Any = None) -> Self:
        """Learn the bin edges."""
        shares = np.linspace(0.0, 1.0, self.n_bins + 1)
        self.edges_ = [_edges(column, shares) for column in np.asarray(X, dtype=np.float64).T]
        self.n_features_in_ = X.shape[1]
        return self

    def transform(self, X: NDArray[np.floating]) -> NDArray[np.float64]:
        """Return the components side by side, shape (n_rows, n_bins in all)."""
        parts = [
            np.clip((X[:, [at]] - edges[:-1]) / np.diff(edges), 0.0, 1.0)
            for at, edges in enumerate(self.edges_)
        ]
        return np.concatenate(parts, axis=1, dtype=np.float64)


def _edges(column: NDArray[np.float64], shares: NDArray[np.float64]) -> NDArray[np.float64]:
    of_rows = np.quantile(column, shares)
    of_values = np.quantile(np.unique(column), shares)
    return np.unique(np.concatenate((of_rows, of_values)))
