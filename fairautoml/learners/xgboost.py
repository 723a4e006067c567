"""XGBoost: gradient boosted trees on histograms, with native categories."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import xgboost
from numpy.typing import NDArray

from fairautoml.data.dataset import FeatureLayout
from fairautoml.learners._base import Learner, ParamValue
from fairautoml.learners._classifier import BinaryClassifier


class XGBoostBinary(BinaryClassifier):
    """An XGBoost booster on codes.

    The codes are ours and stable, so that a table with fewer categories than the training table
    cannot change their meaning.
    """

    def _matrix(self, X: Any, **fields: Any) -> xgboost.DMatrix:
        categorical = frozenset(self.layout.categorical)
        types = ["c" if at in categorical else "q" for at in range(self.layout.n_features)]
        return xgboost.DMatrix(
            X, missing=np.nan, feature_types=types, enable_categorical=True, nthread=1, **fields
        )

    def _train(self, X: Any, y: NDArray[Any], weight: NDArray[Any] | None) -> xgboost.Booster:
        fixed = {
            "objective": "binary:logistic",
            "tree_method": "hist",
            "nthread": 1,
            "verbosity": 0,
            "seed": self.seed,
        }
        # The number of rounds is an argument; among the parameters it would draw a warning.
        given = {key: value for key, value in self.params.items() if key != "n_estimators"}
        rounds = int(self.params.get("n_estimators", 100))
        rows = self._matrix(X, label=y, weight=weight)
        return xgboost.train({**given, **fixed}, rows, rounds)

    def _positive(self, X: Any) -> NDArray[np.floating]:
        scores: NDArray[np.floating] = self.model_.predict(self._matrix(X))
        return scores


def build(params: Mapping[str, ParamValue], layout: FeatureLayout, seed: int) -> XGBoostBinary:
    """Return an unfitted XGBoost classifier; ``params`` in XGBoost's own names."""
    return XGBoostBinary(params, layout, seed)


LEARNER = Learner(name="xgboost", build=build, handles_sparse=True)
