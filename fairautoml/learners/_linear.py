"""Cache of binned matrices, and a piecewise linear encoding of numeric features.

Binning takes a quarter to a half of a short training in boosting libraries, and the bins do not
depend on labels, weights and most parameters.
"""

import weakref
from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Any, Generic, Self, TypeVar

import numpy as np
from numpy.typing import NDArray
from scipy import sparse
from sklearn.base import BaseEstimator, TransformerMixin

Rows = TypeVar("Rows")

MOST_BYTES = 128 * 2**20
"""Bytes of binned rows that one library caches per process."""

BYTES_PER_VALUE = 2
"""A bin takes one or two bytes, and a library may store it by row and by column."""


class Binned(Generic[Rows]):
    """Cache of binned rows, keyed by the matrix and the parameters that determine the bins.

    Only read-only matrices are cached, because a writable one may change. Entries are removed
    when their matrix is freed, or, least recently used first, when the cache is full.
    """

    def __init__(self, most_bytes: int = MOST_BYTES) -> None:
        self.most_bytes = most_bytes
        self._kept: OrderedDict[Hashable, tuple[weakref.ref[Any], Rows, int]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._kept)

    def get(self, X: Any, bins: Hashable, make: Callable[[], Rows]) -> Rows:
        """Return the binned rows of a matrix, from the cache if possible."""
        if not _read_only(X):
            return make()
        key = (id(X), bins)
        if key in self._kept:
            self._kept.move_to_end(key)
            return self._kept[key][1]
        made = make()
        size = BYTES_PER_VALUE * X.size
        if size <= self.most_bytes:
            # The id of a freed matrix may be reused, so its entry must be removed first.
            freed = weakref.ref(X, lambda _: self._kept.pop(key, None))
            self._kept[key] = (freed, made, size)
            while sum(entry[2] for entry in self._kept.values()) > self.most_bytes:
                self._kept.popitem(last=False)
        return made


def _read_only(X: Any) -> bool:
    values = X.data if sparse.issparse(X) else X
    return not values.flags.writeable


class PiecewiseLinearEncoder(TransformerMixin, BaseEstimator):  # type: ignore[misc]
    """Encodes a number by its relative position in each of its quantile bins.

    Component t of a number x is ``clip((x - b[t-1]) / (b[t] - b[t-1]), 0, 1)`` for bin edges b
    at quantiles: Gorishniy, Rubachev and Babenko (2022), "On Embeddings for Numerical Features in
    Tabular Deep Learning", equation 1, clipped at both ends. Half the edges are quantiles of the
    rows, half of the distinct values, so that a column that is mostly 0 has edges in its tail.
    """

    def __init__(self, n_bins: int = 12) -> None:
        self.n_bins = n_bins

    def fit(self, X: NDArray[np.floating], y: Any = None) -> Self:
        """Fit the bin edges."""
        shares = np.linspace(0.0, 1.0, self.n_bins + 1)
        self.edges_ = [_edges(column, shares) for column in np.asarray(X, dtype=np.float64).T]
        self.n_features_in_ = X.shape[1]
        return self

    def transform(self, X: NDArray[np.floating]) -> NDArray[np.float64]:
        """Return the components of all columns, shape (n_rows, total number of bins)."""
        parts = [
            np.clip((X[:, [at]] - edges[:-1]) / np.diff(edges), 0.0, 1.0)
            for at, edges in enumerate(self.edges_)
        ]
        return np.concatenate(parts, axis=1, dtype=np.float64)


def _edges(column: NDArray[np.float64], shares: NDArray[np.float64]) -> NDArray[np.float64]:
    of_rows = np.quantile(column, shares)
    of_values = np.quantile(np.unique(column), shares)
    return np.unique(np.concatenate((of_rows, of_values)))
