"""Constant baseline: predicts the share of positives, and sets the score any model must beat.

Needs no training, so every run has a model from the start.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from fairautoml.learners._base import (
    BinaryClassifier,
    Learner,
    MulticlassClassifier,
    Regressor,
)
from fairautoml.portable import Dump, Positions


class PriorBinary(BinaryClassifier):
    """Predicts the share of positives in the training rows."""

    def _train(self, X: Any, y: NDArray[Any], weight: NDArray[Any] | None) -> float:
        return float(np.average(y, weights=weight))

    def _predicted(self, X: Any) -> NDArray[np.floating]:
        return np.full(X.shape[0], self.model_)

    def _dump(self, out: Dump, columns: Positions) -> int:
        return out.node("constant", {"value": self.model_})


class PriorMulticlass(MulticlassClassifier):
    """Predicts the class shares of the training rows."""

    def _train(self, X: Any, y: NDArray[Any], weight: NDArray[Any] | None) -> NDArray[Any]:
        return np.bincount(y, weights=weight) / (len(y) if weight is None else weight.sum())

    def _predicted(self, X: Any) -> NDArray[np.floating]:
        return np.tile(self.model_, (X.shape[0], 1))

    def _dump(self, out: Dump, columns: Positions) -> int:
        return out.node("constant", {"value": self.model_})


class PriorNumbers(Regressor):
    """Predicts the mean of the training rows."""

    def _train(self, X: Any, y: NDArray[Any], weight: NDArray[Any] | None) -> float:
        return 0.0

    def _predicted(self, X: Any) -> NDArray[np.floating]:
        return np.zeros(X.shape[0])

    def _dump(self, out: Dump, columns: Positions) -> int:
        return out.node("constant", {"value": 0.0})


LEARNER = Learner(
    name="prior",
    build=PriorBinary,
    build_multiclass=PriorMulticlass,
    build_regressor=PriorNumbers,
    handles_sparse=True,
    linear=True,
)
