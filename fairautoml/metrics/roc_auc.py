"""Area under the ROC curve."""

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import roc_auc_score

from fairautoml.metrics._base import Metric, Undefined
from fairautoml.metrics._one_class import one_class


def value(
    y: NDArray[np.integer], scores: NDArray[np.floating], weight: NDArray[np.float64]
) -> float | Undefined:
    """Return the area under the ROC curve, in [0, 1]; 0.5 is chance.

    The share of pairs (label 1, label 0) in which the former scores higher; ties count half.

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
    Fawcett, "An introduction to ROC analysis", Pattern Recognition Letters 27(8), 2006.
    """
    undefined = one_class(y, weight)
    if undefined is not None:
        return undefined
    return float(roc_auc_score(y, scores, sample_weight=weight))


METRIC = Metric(
    name="roc_auc", kind="performance", on="scores", value=value, greater_is_better=True
)
