"""Constant baseline: predicts the share of positives, and sets the score any model must beat.

Needs no training, so every run has a model from the start.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from fairautoml.learners._base import (
    BinaryClassifier,
    EncodedEstimator,
    Learner,
    MulticlassClassifier,
    Regressor,
)
from fairautoml.portable import Dump, Positions


class _Prior(EncodedEstimator):
    """Predicts the same for every row."""

    def _predicted(self, X: Any) -> NDArray[np.floating]:
        return np.full((X.shape[0], *np.shape(self.model_)), self.model_)

    def _dump(self, out: Dump, columns: Positions) -> int:
        return out.node("constant", {"value": self.model_})


class PriorBinary(_Prior, BinaryClassifier):
    """Predicts the share of positives in the training rows."""

    def _train(self, X: Any, y: NDArray[Any], weight: NDArray[Any] | None) -> float:
        return float(np.average(y, weights=weight))


class PriorMulticlass(_Prior, MulticlassClassifier):
    """Predicts the class shares of the training rows."""

    def _train(self, X: Any, y: NDArray[Any], weight: NDArray[Any] | None) -> NDArray[Any]:
        return np.bincount(y, weights=weight) / (len(y) if weight is None else weight.sum())


class PriorNumbers(_Prior, Regressor):
    """Predicts the mean of the training rows, which is 0 in standard units."""

    def _train(self, X: Any, y: NDArray[Any], weight: NDArray[Any] | None) -> float:
        return 0.0


LEARNER = Learner(
    name="prior",
    build=PriorBinary,
    build_multiclass=PriorMulticlass,
    build_regressor=PriorNumbers,
    handles_sparse=True,
    linear=True,
)
