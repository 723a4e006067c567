"""What the learners share when there are several classes."""

from abc import abstractmethod
from collections.abc import Mapping
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.utils.validation import check_is_fitted

from fairautoml.data.dataset import FeatureLayout
from fairautoml.learners._base import ParamValue


class MulticlassClassifier(ClassifierMixin, BaseEstimator):  # type: ignore[misc]
    """Classifier of several classes on the encoded matrix.

    A family is trained on the labels that occur, renumbered without gaps: a fold of a small table
    may lack one, and most libraries need them all. What did not occur has probability 0.
    """

    def __init__(
        self, params: Mapping[str, ParamValue], layout: FeatureLayout, seed: int, n_classes: int
    ) -> None:
        self.params = params
        self.layout = layout
        self.seed = seed
        self.n_classes = n_classes

    def fit(self, X: Any, y: NDArray[Any], sample_weight: NDArray[Any] | None = None) -> Self:
        """Train; what was learned before is forgotten."""
        self.classes_ = np.arange(self.n_classes, dtype=np.int8)
        self.n_features_in_ = X.shape[1]
        self.known_, codes = np.unique(np.asarray(y), return_inverse=True)
        trains = len(self.known_) > 1
        self.model_: Any = self._train(X, codes, sample_weight) if trains else None
        return self

    def predict_proba(self, X: Any) -> NDArray[np.float64]:
        """Return the probability of each class, shape (n_rows, n_classes)."""
        check_is_fitted(self, "classes_")
        found = np.zeros((X.shape[0], self.n_classes))
        found[:, self.known_] = 1.0 if len(self.known_) == 1 else self._shares(X)
        return found

    def predict(self, X: Any) -> NDArray[np.int64]:
        """Return the most probable class of each row, shape (n_rows,)."""
        chosen: NDArray[np.int64] = self.predict_proba(X).argmax(axis=1).astype(np.int64)
        return chosen

    @abstractmethod
    def _train(self, X: Any, y: NDArray[Any], weight: NDArray[Any] | None) -> Any:
        """Return a trained model; the labels 0, 1, ... all occur, at least two of them."""

    @abstractmethod
    def _shares(self, X: Any) -> NDArray[np.floating]:
        """Return the probabilities of the labels that occurred, shape (n_rows, n_known)."""
