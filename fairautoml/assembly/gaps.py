"""The gap of many tables at once."""

import numpy as np
from numpy.typing import NDArray

from fairautoml.metrics.rates import values_of
from fairautoml.mitigators import Target


def gaps_of(target: Target, tables: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the gap of each table, infinite where undefined, shape (n_draws,)."""
    overlapping = target.system.overlapping
    groups, everybody = (tables[:, :-1], tables[:, -1]) if overlapping else (tables, None)
    values = values_of(target.metric, groups, everybody)
    gaps = 1.0 - values if target.metric.form == "ratio" else values
    return np.where(np.isnan(gaps), np.inf, gaps)
