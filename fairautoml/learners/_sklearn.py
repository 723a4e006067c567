"""What the learners that come from scikit-learn share."""

import warnings
from abc import abstractmethod
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.exceptions import ConvergenceWarning

from fairautoml.learners._classifier import BinaryClassifier
from fairautoml.learners._multiclass import MulticlassClassifier
from fairautoml.learners._regressor import Regressor
from fairautoml.threads import one_thread


class SklearnTraining:
    """Trains a scikit-learn estimator with one OpenMP and one BLAS thread."""

    model_: Any

    @abstractmethod
    def _estimator(self, n_rows: int) -> Any:
        """Return the unfitted estimator for so many training rows."""

    def _train(self, X: Any, y: NDArray[Any], weight: NDArray[Any] | None) -> Any:
        with one_thread(), warnings.catch_warnings():
            # A model that stopped at its iteration limit is a candidate like any other.
            warnings.simplefilter("ignore", ConvergenceWarning)
            return self._estimator(X.shape[0]).fit(X, y, **self._weight(weight))

    def _weight(self, weight: NDArray[Any] | None) -> dict[str, Any]:
        return {"sample_weight": weight}


class SklearnClassifier(SklearnTraining, BinaryClassifier):
    """A scikit-learn classifier of two classes."""

    def _positive(self, X: Any) -> NDArray[np.floating]:
        with one_thread():
            scores: NDArray[np.floating] = self.model_.predict_proba(X)[:, 1]
        return scores


class SklearnMulticlass(SklearnTraining, MulticlassClassifier):
    """A scikit-learn classifier of several classes."""

    def _shares(self, X: Any) -> NDArray[np.floating]:
        with one_thread():
            shares: NDArray[np.floating] = self.model_.predict_proba(X)
        return shares


class SklearnRegressor(SklearnTraining, Regressor):
    """A scikit-learn regressor."""

    def _numbers(self, X: Any) -> NDArray[np.floating]:
        with one_thread():
            numbers: NDArray[np.floating] = self.model_.predict(X)
        return numbers
