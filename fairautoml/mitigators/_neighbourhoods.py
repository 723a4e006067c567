"""Which training rows lie near each other: reference rows and clusters, whatever their order."""

import warnings

import numpy as np
from numpy.typing import NDArray
from sklearn.cluster import KMeans
from sklearn.exceptions import ConvergenceWarning

from fairautoml.data.design import fit_design
from fairautoml.data.draws import row_draws
from fairautoml.mitigators._base import TrainRows
from fairautoml.threads import one_thread

N_REFERENCES = 30
"""Reference points; 30 in arXiv 2010.05057."""

LOOKED_AT = 20_000
"""Rows that clusters and the typical distance are learned from."""


def near_references(rows: TrainRows, seed: int) -> tuple[NDArray[np.float64], float]:
    """Return how far all rows are from some that are drawn as references."""
    matrix = fit_design(rows.X, rows.layout, rows.weight).matrix(rows.X)
    at = _drawn(rows, seed)[:N_REFERENCES]
    # Row by row sums, not a matrix product: rounding must not depend on the number of rows.
    distances = np.stack([((matrix - matrix[one]) ** 2).sum(axis=1) for one in at], axis=1)
    typical = float(np.sqrt(np.median(distances[rows.weight > 0])))
    return distances, typical if typical > 0 else 1.0


def segments_of(rows: TrainRows, n_segments: int, seed: int) -> NDArray[np.int64]:
    """Return the k-means cluster of each row, shape (n_rows,), from 0."""
    matrix = fit_design(rows.X, rows.layout, rows.weight).matrix(rows.X)
    at = _drawn(rows, seed)[:LOOKED_AT]
    clusters = KMeans(n_clusters=min(n_segments, len(at)), n_init=1, random_state=seed)
    with one_thread(), warnings.catch_warnings():
        # Fewer distinct rows than clusters: some segments stay empty.
        warnings.simplefilter("ignore", ConvergenceWarning)
        clusters.fit(matrix[at], sample_weight=rows.weight[at])
        found: NDArray[np.int64] = clusters.predict(matrix).astype(np.int64)
    return found


def _drawn(rows: TrainRows, seed: int) -> NDArray[np.int64]:
    """Return the rows that have weight, in an order that depends on seed and content alone."""
    order = np.lexsort((rows.weight, rows.y, row_draws(rows.X, seed)))
    return order[rows.weight[order] > 0]
