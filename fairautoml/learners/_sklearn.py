"""What the learners that come from scikit-learn share."""

import warnings
from abc import abstractmethod
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.exceptions import ConvergenceWarning
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

from fairautoml.learners._classifier import BinaryClassifier
from fairautoml.learners._multiclass import MulticlassClassifier
from fairautoml.learners._regressor import Regressor


class SklearnTraining:
    """Trains a scikit-learn estimator with one OpenMP and one BLAS thread.

    Some of scikit-learn's estimators have no ``n_jobs`` and take every core; two threads on busy
    cores are many times slower than one.
    """

    model_: Any

    @abstractmethod
    def _estimator(self, n_rows: int) -> Any:
        """Return the unfitted estimator for so many training rows."""

    def _train(self, X: Any, y: NDArray[Any], weight: NDArray[Any] | None) -> Any:
        with threadpool_limits(limits=1), warnings.catch_warnings():
            # A model that stopped at its iteration limit is a candidate like any other.
            warnings.simplefilter("ignore", ConvergenceWarning)
            return self._estimator(X.shape[0]).fit(X, y, **self._weight(weight))

    def _weight(self, weight: NDArray[Any] | None) -> dict[str, Any]:
        return {"sample_weight": weight}


class SklearnClassifier(SklearnTraining, BinaryClassifier):
    """A scikit-learn classifier of two classes."""

    def _positive(self, X: Any) -> NDArray[np.floating]:
        with threadpool_limits(limits=1):
            scores: NDArray[np.floating] = self.model_.predict_proba(X)[:, 1]
        return scores


class SklearnMulticlass(SklearnTraining, MulticlassClassifier):
    """A scikit-learn classifier of several classes."""

    def _shares(self, X: Any) -> NDArray[np.floating]:
        with threadpool_limits(limits=1):
            shares: NDArray[np.floating] = self.model_.predict_proba(X)
        return shares


class SklearnRegressor(SklearnTraining, Regressor):
    """A scikit-learn regressor."""

    def _numbers(self, X: Any) -> NDArray[np.floating]:
        with threadpool_limits(limits=1):
            numbers: NDArray[np.floating] = self.model_.predict(X)
        return numbers
