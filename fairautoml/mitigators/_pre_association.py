"""How much a feature tells of the group: bias-corrected Cramer's V.

Numbers are cut into at most ten levels, so that any kind of dependence is seen. Source: Bergsma,
"A bias correction for Cramer's V and Tschuprow's T", Journal of the Korean Statistical Society
2013.
"""

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from fairautoml.mitigators._base import TrainRows
from fairautoml.mitigators._pre import RowGroups

MAX_LEVELS = 10
"""Levels that a number is cut into, besides the missing one."""


def associations(rows: TrainRows, groups: RowGroups) -> NDArray[np.float64]:
    """Return the bias-corrected Cramer's V of each feature and the group, shape (n_features,)."""
    known = groups.of_row >= 0
    of_row, weight = np.searchsorted(groups.present, groups.of_row[known]), rows.weight[known]
    X = sparse.csc_matrix(rows.X[known]) if rows.layout.sparse else rows.X[known]
    categorical = frozenset(rows.layout.categorical)
    found = np.zeros(rows.layout.n_features)
    for at in range(rows.layout.n_features):
        x = X[:, [at]].toarray().ravel() if rows.layout.sparse else X[:, at]
        levels = _levels(x, cut=at not in categorical)
        table = np.zeros((int(levels.max()) + 1, len(groups.present)))
        np.add.at(table, (levels, of_row), weight)
        found[at] = cramers_v(table, len(of_row))
    return found


def cramers_v(table: NDArray[np.float64], n_rows: int) -> float:
    """Return the bias-corrected Cramer's V in [0, 1]; 0 when there is one level or one group."""
    table = table[table.any(axis=1)][:, table.any(axis=0)]
    levels, groups = table.shape
    joint = table / table.sum()
    independent = np.outer(joint.sum(axis=1), joint.sum(axis=0))
    phi2 = float(((joint - independent) ** 2 / independent).sum())
    phi2 = max(0.0, phi2 - (levels - 1) * (groups - 1) / (n_rows - 1))
    smaller = min(size - (size - 1) ** 2 / (n_rows - 1) for size in (levels, groups)) - 1
    return min(1.0, float(np.sqrt(phi2 / smaller))) if smaller > 0 else 0.0


def _levels(x: NDArray[np.floating], *, cut: bool) -> NDArray[np.int64]:
    """Return the level of each value; missing is the last one."""
    values, at = np.unique(x, return_inverse=True)
    levels: NDArray[np.int64] = at.astype(np.int64)
    if cut and len(values) > MAX_LEVELS:
        edges = np.unique(np.nanquantile(x, np.arange(1, MAX_LEVELS) / MAX_LEVELS))
        levels = np.where(np.isnan(x), len(edges) + 1, np.searchsorted(edges, x)).astype(np.int64)
    return levels
