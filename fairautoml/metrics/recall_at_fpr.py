"""Recall at a small false positive rate."""

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import roc_curve

from fairautoml.metrics._base import Metric, Undefined
from fairautoml.metrics._one_class import one_class

FPR_LIMIT = 0.05
"""Largest false positive rate allowed; the operating point of Jesus et al. (2022)."""


def value(
    y: NDArray[np.integer], scores: NDArray[np.floating], weight: NDArray[np.float64]
) -> float | Undefined:
    """Return the largest recall at a false positive rate of at most ``FPR_LIMIT``, in [0, 1].

    ``max_t P(s >= t | y = 1)`` over thresholds ``t`` with ``P(s >= t | y = 0) <= 0.05``. Equal
    scores are accepted together or not at all; accepting nobody is always possible.

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
    Jesus et al., "Turning the tables: biased, imbalanced, dynamic tabular datasets for ML
    evaluation", NeurIPS 2022 (true positive rate at 5 % false positive rate, bank fraud).
    """
    undefined = one_class(y, weight)
    if undefined is not None:
        return undefined
    # drop_intermediate removes collinear points, and the best allowed one may be among them.
    fpr, tpr, _ = roc_curve(y, scores, sample_weight=weight, drop_intermediate=False)
    return float(tpr[fpr <= FPR_LIMIT].max())


METRIC = Metric(
    name="recall_at_fpr", kind="performance", on="scores", value=value, greater_is_better=True
)
