"""Bounded group loss: the mean squared error of the group that is worst off."""

import numpy as np
from numpy.typing import NDArray

from fairautoml.metrics._base import Metric, Undefined
from fairautoml.metrics._values import LOSS, GroupValues, per_mass


def value(values: GroupValues) -> float | Undefined:
    """Return the largest mean squared error of a group, in squared units of the target.

    ``max_g E[(y - f)^2 | g]``. It is no gap: it is 0 for perfect predictions only.

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
    algorithms", ICML 2019, arXiv 1905.12843, definition 2.
    """
    lacking = values.lacking()
    if lacking is not None:
        return lacking
    return float(values.means(values.losses).max())


def many(tables: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the values of tables of shape (n, n_groups, n_columns), shape (n,)."""
    found: NDArray[np.float64] = per_mass(tables, tables[..., LOSS]).max(axis=-1)
    return found


METRIC = Metric(
    name="bounded_group_loss",
    kind="fairness",
    on="decisions",
    value=value,
    greater_is_better=False,
    form="level",
    many=many,
    tasks=frozenset({"regression"}),
    most=float("inf"),
)
