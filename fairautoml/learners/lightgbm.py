"""LightGBM: gradient boosted trees grown leaf by leaf, with native categories."""

from collections.abc import Mapping
from typing import Any

import lightgbm
import numpy as np
from numpy.typing import NDArray

from fairautoml.data.dataset import FeatureLayout
from fairautoml.learners._base import Learner, ParamValue
from fairautoml.learners._classifier import BinaryClassifier


class LightGBMBinary(BinaryClassifier):
    """A LightGBM booster on codes.

    A category that is new at prediction goes with the categories that no split names.
    """

    def _train(self, X: Any, y: NDArray[Any], weight: NDArray[Any] | None) -> lightgbm.Booster:
        fixed = {
            "objective": "binary",
            "num_threads": 1,
            "verbosity": -1,
            "seed": self.seed,
            "deterministic": True,
            # Without a choice LightGBM times both layouts, and the sums differ in the last bits.
            "force_col_wise": True,
        }
        # The number of rounds is an argument; among the parameters it would draw a warning.
        given = {key: value for key, value in self.params.items() if key != "n_estimators"}
        rounds = int(self.params.get("n_estimators", 100))
        rows = lightgbm.Dataset(
            X,
            label=y,
            weight=weight,
            categorical_feature=list(self.layout.categorical),
            params=fixed,
            free_raw_data=True,
        )
        return lightgbm.train({**given, **fixed}, rows, num_boost_round=rounds).free_dataset()

    def _positive(self, X: Any) -> NDArray[np.floating]:
        # The threads of prediction are not those of training.
        scores: NDArray[np.floating] = self.model_.predict(X, num_threads=1)
        return scores


def build(params: Mapping[str, ParamValue], layout: FeatureLayout, seed: int) -> LightGBMBinary:
    """Return an unfitted LightGBM classifier; ``params`` in LightGBM's own names."""
    return LightGBMBinary(params, layout, seed)


LEARNER = Learner(name="lightgbm", build=build, handles_sparse=True)
