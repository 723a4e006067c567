"""What the learners share: a scikit-learn classifier around any trained model."""

from abc import abstractmethod
from collections.abc import Mapping
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.utils.validation import check_is_fitted

from fairautoml.data.dataset import FeatureLayout
from fairautoml.learners._base import ParamValue


class BinaryClassifier(ClassifierMixin, BaseEstimator):  # type: ignore[misc]
    """Binary classifier on the encoded matrix; a family says how to train and how to score.

    Training rows of one class only give a model that always says that class, since most
    libraries refuse them and a small fold may be so.
    """

    def __init__(self, params: Mapping[str, ParamValue], layout: FeatureLayout, seed: int) -> None:
        self.params = params
        self.layout = layout
        self.seed = seed

    def fit(self, X: Any, y: NDArray[Any], sample_weight: NDArray[Any] | None = None) -> Self:
        """Train; what was learned before is forgotten."""
        y = np.asarray(y)
        self.classes_ = np.array([0, 1], dtype=np.int8)
        self.n_features_in_ = X.shape[1]
        self.only_class_ = int(y[0]) if (y == y[0]).all() else None
        trains = self.only_class_ is None
        self.model_: Any = self._train(X, y, sample_weight) if trains else None
        return self

    def predict_proba(self, X: Any) -> NDArray[np.float64]:
        """Return the probabilities of 0 and 1, shape (n_rows, 2)."""
        check_is_fitted(self, "classes_")
        if self.only_class_ is not None:
            positive = np.full(X.shape[0], float(self.only_class_))
        else:
            positive = np.asarray(self._positive(X), dtype=np.float64)
        return np.column_stack((1.0 - positive, positive))

    def predict(self, X: Any) -> NDArray[np.int8]:
        """Return the more probable class of each row, shape (n_rows,)."""
        positive: NDArray[np.int8] = (self.predict_proba(X)[:, 1] > 0.5).astype(np.int8)
        return positive

    @abstractmethod
    def _train(self, X: Any, y: NDArray[Any], weight: NDArray[Any] | None) -> Any:
        """Return a trained model; both classes occur."""

    @abstractmethod
    def _positive(self, X: Any) -> NDArray[np.floating]:
        """Return P(y = 1) by ``model_``, shape (n_rows,)."""
