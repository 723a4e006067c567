"""What the learners share when the target is a number."""

from abc import abstractmethod
from collections.abc import Mapping
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, RegressorMixin
from sklearn.utils.validation import check_is_fitted

from fairautoml.data.dataset import FeatureLayout
from fairautoml.learners._base import ParamValue


class Regressor(RegressorMixin, BaseEstimator):  # type: ignore[misc]
    """Regressor on the encoded matrix.

    Families are trained on the standardised target, so that their regularisation means the same
    whatever unit it is in.
    """

    def __init__(self, params: Mapping[str, ParamValue], layout: FeatureLayout, seed: int) -> None:
        self.params = params
        self.layout = layout
        self.seed = seed

    def fit(self, X: Any, y: NDArray[Any], sample_weight: NDArray[Any] | None = None) -> Self:
        """Train; what was learned before is forgotten."""
        y = np.asarray(y, dtype=np.float64)
        self.n_features_in_ = X.shape[1]
        self.mean_ = float(np.average(y, weights=sample_weight))
        self.scale_ = float(np.sqrt(np.average((y - self.mean_) ** 2, weights=sample_weight)))
        # Below rounding there is nothing to learn; most libraries refuse a constant target.
        varies = self.scale_ > np.finfo(np.float64).eps * abs(self.mean_)
        standard = (y - self.mean_) / self.scale_ if varies else y
        self.model_: Any = self._train(X, standard, sample_weight) if varies else None
        return self

    def predict(self, X: Any) -> NDArray[np.float64]:
        """Return the predicted numbers, shape (n_rows,)."""
        check_is_fitted(self, "mean_")
        if self.model_ is None:
            return np.full(X.shape[0], self.mean_)
        return self.mean_ + self.scale_ * np.asarray(self._numbers(X), dtype=np.float64)

    @abstractmethod
    def _train(self, X: Any, y: NDArray[Any], weight: NDArray[Any] | None) -> Any:
        """Return a trained model of a target of mean 0 and variance 1."""

    @abstractmethod
    def _numbers(self, X: Any) -> NDArray[np.floating]:
        """Return the predictions by ``model_``, shape (n_rows,)."""
