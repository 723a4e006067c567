"""Coefficient of determination."""

import numpy as np

from fairautoml.metrics._base import Metric, Undefined
from fairautoml.metrics._values import GroupValues


def value(values: GroupValues) -> float | Undefined:
    """Return the share of the variance that is explained, at most 1; 0 is the mean for everybody.

    ``1 - mean((y - prediction)^2) / var(y)``.

    Parameters
    ----------
    values : GroupValues
        Predictions and true values; the groups are pooled.

    Returns
    -------
    float or Undefined
        Undefined without rows, or when all true values are equal.

    References
    ----------
    Wright, "Correlation and causation", Journal of Agricultural Research 20, 1921.
    """
    if not values.weight.any():
        return Undefined("no rows")
    mean = np.average(values.y, weights=values.weight)
    spread = np.average(np.square(values.y - mean), weights=values.weight)
    if spread == 0:
        return Undefined("all true values are equal")
    return float(1.0 - np.average(values.losses, weights=values.weight) / spread)


METRIC = Metric(
    name="r2",
    kind="performance",
    on="decisions",
    value=value,
    greater_is_better=True,
    tasks=frozenset({"regression"}),
)
