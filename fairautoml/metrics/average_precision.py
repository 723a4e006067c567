"""Average precision: area under the precision-recall steps."""

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import average_precision_score

from fairautoml.metrics._base import Metric, Undefined
from fairautoml.metrics._one_class import one_class


def value(
    y: NDArray[np.integer], scores: NDArray[np.floating], weight: NDArray[np.float64]
) -> float | Undefined:
    """Return the mean of precision over the steps of recall, in [0, 1].

    ``sum_n (R_n - R_(n-1)) P_n`` over the distinct scores, without interpolation.

    Parameters
    ----------
    y : ndarray of int, shape (n_rows,)
        Labels 0 or 1.
    scores : ndarray of float, shape (n_rows,)
        P(y = 1), in [0, 1].
    weight : ndarray of float64, shape (n_rows,)
        Sample weights, not negative.

    Returns
    -------
    float or Undefined
        Undefined when a label has no rows.

    References
    ----------
    Davis, Goadrich, "The relationship between precision-recall and ROC curves", ICML 2006 (why
    not to interpolate).
    """
    undefined = one_class(y, weight)
    if undefined is not None:
        return undefined
    return float(average_precision_score(y, scores, sample_weight=weight))


METRIC = Metric(
    name="average_precision", kind="performance", on="scores", value=value, greater_is_better=True
)
