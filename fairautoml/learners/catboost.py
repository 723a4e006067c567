"""CatBoost: gradient boosted symmetric trees with ordered target statistics."""

import importlib
from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from fairautoml.data.dataset import FeatureSchema
from fairautoml.learners._base import BinaryClassifier, Learner, ParamValue
from fairautoml.registry import missing_library

_OF_THIS_TRAINING = ("model_guid", "train_finish_time")
"""Metadata that differ between two trainings of the same trees."""


class CatBoostBinary(BinaryClassifier):
    """CatBoost on category codes as integers, -1 for missing."""

    def _frame(self, X: NDArray[np.floating]) -> pd.DataFrame:
        # CatBoost takes category columns only as integers or strings.
        categorical = frozenset(self.feature_schema.categorical)
        return pd.DataFrame(
            {
                at: np.nan_to_num(X[:, at], nan=-1.0).astype(np.int32)
                if at in categorical
                else X[:, at]
                for at in range(X.shape[1])
            }
        )

    def _train(self, X: Any, y: NDArray[Any], weight: NDArray[Any] | None) -> Any:
        catboost = importlib.import_module("catboost")
        model = catboost.CatBoostClassifier(
            **self.params,
            cat_features=list(self.feature_schema.categorical),
            thread_count=1,
            random_seed=self.seed,
            logging_level="Silent",
            allow_writing_files=False,
        )
        model.fit(self._frame(X), y, sample_weight=weight)
        about = model.get_metadata()
        for name in _OF_THIS_TRAINING:
            del about[name]
        return model

    def _predicted(self, X: Any) -> NDArray[np.floating]:
        proba = self.model_.predict_proba(self._frame(X), thread_count=1)
        scores: NDArray[np.floating] = proba[:, 1]
        return scores


def build(
    params: Mapping[str, ParamValue], feature_schema: FeatureSchema, seed: int
) -> CatBoostBinary:
    """Return an unfitted CatBoost classifier; ``params`` have CatBoost's names."""
    try:
        importlib.import_module("catboost")
    except ImportError as error:
        learner, package = "learner 'catboost'", '"fairautoml[catboost]"'
        raise missing_library(learner, "catboost", package, error) from error
    return CatBoostBinary(params, feature_schema, seed)


LEARNER = Learner(name="catboost", build=build, extra="catboost")
