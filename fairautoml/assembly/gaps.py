"""The gap of many tables at once."""

import numpy as np
from numpy.typing import NDArray

from fairautoml.metrics._many import values_of
from fairautoml.mitigators import Target


def gaps_of(target: Target, tables: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the gap of each table, infinite where undefined, shape (n_draws,).

    Parameters
    ----------
    target : Target
        What is measured.
    tables : ndarray of float64, shape (n_draws, n_cells, ...)
        As ``Tally.table``, over the finest cells.
    """
    system, metric = target.system, target.metric
    merged = np.zeros((len(tables), system.n_groups, *tables.shape[2:]))
    for group, cell in np.argwhere(system.member):
        merged[:, group] += tables[:, cell]
    values = values_of(metric, merged, tables.sum(axis=1))
    gaps = 1.0 - values if metric.form == "ratio" else values
    return np.where(np.isnan(gaps), np.inf, gaps)
