"""Logarithmic loss of the predicted probabilities."""

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import log_loss

from fairautoml.metrics._base import Metric, Undefined
from fairautoml.metrics._one_class import one_class

EPS = float(np.finfo(np.float32).eps)
"""Scores are stored as float32; nearer to 0 or 1 than this they only tell of rounding."""


def value(
    y: NDArray[np.integer], scores: NDArray[np.floating], weight: NDArray[np.float64]
) -> float | Undefined:
    """Return the mean negative log-likelihood in nats, from 0 (best) to about 15.9.

    ``-mean(y log p + (1 - y) log(1 - p))`` with ``p`` clipped to ``[eps, 1 - eps]``.

    Parameters
    ----------
    y : ndarray of int, shape (n_rows,)
        Labels 0 or 1, or 0 .. n_classes - 1.
    scores : ndarray of float, shape (n_rows,) or (n_rows, n_classes)
        P(y = 1), in [0, 1]; of several classes the probability of each.
    weight : ndarray of float64, shape (n_rows,)
        Sample weights, not negative.

    Returns
    -------
    float or Undefined
        Undefined when a label has no rows.

    References
    ----------
    Good, "Rational decisions", Journal of the Royal Statistical Society B 14(1), 1952.
    """
    if scores.ndim == 2:
        return _of_classes(y, scores, weight)
    undefined = one_class(y, weight)
    if undefined is not None:
        return undefined
    # In float64: 1 - eps is a float32, but the logarithm of a float32 has 7 digits only.
    clipped = np.clip(scores.astype(np.float64), EPS, 1 - EPS)
    return float(log_loss(y, clipped, sample_weight=weight, labels=[0, 1]))


def _of_classes(
    y: NDArray[np.integer], scores: NDArray[np.floating], weight: NDArray[np.float64]
) -> float | Undefined:
    mass = np.bincount(y, weights=weight, minlength=scores.shape[1])
    if not mass.all():
        return Undefined(f"no rows with label {int(mass.argmin())}")
    clipped = np.clip(scores.astype(np.float64), EPS, 1 - EPS)
    clipped /= clipped.sum(axis=1, keepdims=True)
    return float(-np.average(np.log(clipped[np.arange(len(y)), y]), weights=weight))


METRIC = Metric(
    name="log_loss",
    kind="performance",
    on="scores",
    value=value,
    greater_is_better=False,
    tasks=frozenset({"binary", "multiclass"}),
)
