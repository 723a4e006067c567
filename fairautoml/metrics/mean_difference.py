"""Mean difference: gap in the mean prediction between groups."""

import numpy as np
from numpy.typing import NDArray

from fairautoml.metrics._base import Metric, Undefined
from fairautoml.metrics._values import SUM, GroupValues, per_mass


def value(values: GroupValues) -> float | Undefined:
    """Return the largest minus the smallest mean prediction, in units of the target; 0 is parity.

    ``max_g E[f | g] - min_g E[f | g]``.

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
    Calders, Karim, Kamiran, Ali, Zhang, "Controlling attribute effect in linear regression", ICDM
    2013, section II (mean difference).
    """
    lacking = values.lacking()
    if lacking is not None:
        return lacking
    return float(np.ptp(values.means(values.prediction)))


def many(tables: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the values of tables of shape (n, n_groups, n_columns), shape (n,)."""
    found: NDArray[np.float64] = np.ptp(per_mass(tables, tables[..., SUM]), axis=-1)
    return found


METRIC = Metric(
    name="mean_difference",
    kind="fairness",
    on="decisions",
    value=value,
    greater_is_better=False,
    form="difference",
    many=many,
    tasks=frozenset({"regression"}),
    most=float("inf"),
)
