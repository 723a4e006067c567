"""Root mean squared error."""

import numpy as np

from fairautoml.metrics._base import Metric, Undefined
from fairautoml.metrics._values import GroupValues


def value(values: GroupValues) -> float | Undefined:
    """Return the root of the mean squared error, in units of the target, 0 is best.

    ``sqrt(mean((y - prediction)^2))``.

    Parameters
    ----------
    values : GroupValues
        Predictions and true values; the groups are pooled.

    Returns
    -------
    float or Undefined
        Undefined without rows.

    References
    ----------
    Willmott, Matsuura, "Advantages of the mean absolute error (MAE) over the root mean square
    error (RMSE)", Climate Research 30, 2005.
    """
    if not values.weight.any():
        return Undefined("no rows")
    return float(np.sqrt(np.average(values.losses, weights=values.weight)))


METRIC = Metric(
    name="rmse",
    kind="performance",
    on="decisions",
    value=value,
    greater_is_better=False,
    tasks=frozenset({"regression"}),
)
