"""scikit-learn's histogram gradient boosting, with native categories up to 20."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor

from fairautoml.data.dataset import FeatureLayout
from fairautoml.learners._base import Learner, ParamValue
from fairautoml.learners._empty import EmptyColumns
from fairautoml.learners._histograms import DirectTrees, direct_trees
from fairautoml.learners._sklearn import (
    SklearnClassifier,
    SklearnMulticlass,
    SklearnRegressor,
    SklearnTraining,
)
from fairautoml.threads import one_thread


class _Boosting(SklearnTraining):
    """Histogram gradient boosting on codes."""

    params: Mapping[str, ParamValue]
    layout: FeatureLayout
    seed: int
    trees_: DirectTrees | None
    kind: type[Any] = HistGradientBoostingClassifier

    def _estimator(self, n_rows: int) -> Any:
        categorical = np.zeros(self.layout.n_features, dtype=bool)
        categorical[list(self.layout.native)] = True
        return self.kind(
            **self.params,
            categorical_features=categorical,
            early_stopping=False,
            random_state=self.seed,
        )

    def _train(self, X: Any, y: NDArray[Any], weight: NDArray[Any] | None) -> Any:
        self.empty_ = EmptyColumns(X)
        filled = self.empty_.fill(X)
        model = super()._train(filled, y, weight)
        with one_thread():
            self.trees_ = direct_trees(model, filled)
        return model


class HistGradientBoostingBinary(_Boosting, SklearnClassifier):
    """The booster of two classes."""

    def _positive(self, X: Any) -> NDArray[np.floating]:
        filled = self.empty_.fill(X)
        if self.trees_ is None:
            return super()._positive(filled)
        scores: NDArray[np.floating] = self.model_._loss.predict_proba(self.trees_.sums(filled))
        return scores[:, 1]


class HistGradientBoostingMulticlass(_Boosting, SklearnMulticlass):
    """The booster of several classes."""

    def _shares(self, X: Any) -> NDArray[np.floating]:
        filled = self.empty_.fill(X)
        if self.trees_ is None:
            return super()._shares(filled)
        shares: NDArray[np.floating] = self.model_._loss.predict_proba(self.trees_.sums(filled))
        return shares


class HistGradientBoostingNumbers(_Boosting, SklearnRegressor):
    """The booster of numbers, with squared error."""

    kind = HistGradientBoostingRegressor

    def _numbers(self, X: Any) -> NDArray[np.floating]:
        filled = self.empty_.fill(X)
        if self.trees_ is None:
            return super()._numbers(filled)
        # The link of the squared error is the identity.
        return self.trees_.sums(filled)[:, 0]


def build(
    params: Mapping[str, ParamValue], layout: FeatureLayout, seed: int
) -> HistGradientBoostingBinary:
    """Return an unfitted classifier; ``params`` in scikit-learn's own names."""
    return HistGradientBoostingBinary(params, layout, seed)


def build_multiclass(
    params: Mapping[str, ParamValue], layout: FeatureLayout, seed: int, n_classes: int
) -> HistGradientBoostingMulticlass:
    """Return the same for several classes."""
    return HistGradientBoostingMulticlass(params, layout, seed, n_classes)


def build_regressor(
    params: Mapping[str, ParamValue], layout: FeatureLayout, seed: int
) -> HistGradientBoostingNumbers:
    """Return the same for numbers."""
    return HistGradientBoostingNumbers(params, layout, seed)


LEARNER = Learner(
    name="hist_gradient_boosting",
    build=build,
    build_multiclass=build_multiclass,
    build_regressor=build_regressor,
)
