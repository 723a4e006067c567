"""scikit-learn's histogram gradient boosting, with native categories."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.ensemble import HistGradientBoostingClassifier

from fairautoml.data.dataset import FeatureLayout
from fairautoml.learners._base import Learner, ParamValue
from fairautoml.learners._empty import EmptyColumns
from fairautoml.learners._sklearn import SklearnClassifier

MAX_CATEGORIES = 255
"""scikit-learn keeps a bin per category in one byte, less one for missing values."""


class HistGradientBoostingBinary(SklearnClassifier):
    """Histogram gradient boosting; a column of more than 255 categories is taken as numbers."""

    def _estimator(self, n_rows: int) -> HistGradientBoostingClassifier:
        categorical = np.zeros(self.layout.n_features, dtype=bool)
        for at, cardinality in zip(
            self.layout.categorical, self.layout.cardinalities, strict=True
        ):
            categorical[at] = cardinality <= MAX_CATEGORIES
        return HistGradientBoostingClassifier(
            **self.params,
            categorical_features=categorical,
            early_stopping=False,
            random_state=self.seed,
        )

    def _train(self, X: Any, y: NDArray[Any], weight: NDArray[Any] | None) -> Any:
        self.empty_ = EmptyColumns(X)
        return super()._train(self.empty_.fill(X), y, weight)

    def _positive(self, X: Any) -> NDArray[np.floating]:
        return super()._positive(self.empty_.fill(X))


def build(
    params: Mapping[str, ParamValue], layout: FeatureLayout, seed: int
) -> HistGradientBoostingBinary:
    """Return an unfitted classifier; ``params`` in scikit-learn's own names."""
    return HistGradientBoostingBinary(params, layout, seed)


LEARNER = Learner(name="hist_gradient_boosting", build=build)
