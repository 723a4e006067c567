"""Distribution gap: Kolmogorov-Smirnov distance between the groups' predictions."""

import numpy as np
from numpy.typing import NDArray

from fairautoml.metrics._base import Metric, Undefined
from fairautoml.metrics._values import FIRST_BIN, GroupValues, distances, heights_of, per_mass


def value(values: GroupValues) -> float | Undefined:
    """Return the largest distance of two groups' distribution functions, in [0, 1]; 0 is parity.

    ``max_{g, h} sup_z |P(f <= z | g) - P(f <= z | h)|``: the largest gap in any share that a
    threshold on the prediction may select.

    Parameters
    ----------
    values : GroupValues
        Predictions and true values by group.

    Returns
    -------
    float or Undefined
        Undefined with fewer than two groups, or when a group has no rows.

    References
    ----------
    Agarwal, Dudik, Wu, "Fair regression: quantitative definitions and reduction-based
    algorithms", ICML 2019, arXiv 1905.12843, definition 1 (statistical parity).
    """
    lacking = values.lacking()
    if lacking is not None:
        return lacking
    return float(distances(heights_of(values)))


def many(tables: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the values of tables of shape (n, n_groups, n_columns), shape (n,)."""
    return distances(per_mass(tables, np.cumsum(tables[..., FIRST_BIN:], axis=-1)))


METRIC = Metric(
    name="distribution_gap",
    kind="fairness",
    on="decisions",
    value=value,
    greater_is_better=False,
    form="difference",
    many=many,
    tasks=frozenset({"regression"}),
    most=1.0,
)
