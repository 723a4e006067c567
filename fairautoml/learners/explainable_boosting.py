"""Explainable boosting machine: an interpretable sum of one- and two-feature functions."""

import importlib
import warnings
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fairautoml.data.dataset import FeatureSchema
from fairautoml.learners._base import BinaryClassifier, EmptyColumns, Learner, ParamValue
from fairautoml.registry import missing_library


class ExplainableBoostingBinary(BinaryClassifier):
    """InterpretML's explainable boosting machine on category codes."""

    def _train(self, X: Any, y: NDArray[Any], weight: NDArray[Any] | None) -> Any:
        glassbox = importlib.import_module("interpret.glassbox")
        categorical = frozenset(self.feature_schema.categorical)
        kinds = ["nominal" if at in categorical else "continuous" for at in range(X.shape[1])]
        model = glassbox.ExplainableBoostingClassifier(
            **self.params, feature_types=kinds, n_jobs=1, random_state=self.seed
        )
        self.empty_ = EmptyColumns(X)
        with warnings.catch_warnings():
            # The warning is about interpret's own plots.
            warnings.filterwarnings("ignore", "Missing values detected", UserWarning)
            return model.fit(self.empty_.fill(X), y, sample_weight=weight)

    def _predicted(self, X: Any) -> NDArray[np.floating]:
        scores: NDArray[np.floating] = self.model_.predict_proba(self.empty_.fill(X))[:, 1]
        return scores


def build(
    params: Mapping[str, ParamValue], feature_schema: FeatureSchema, seed: int
) -> ExplainableBoostingBinary:
    """Return an unfitted explainable boosting machine; ``params`` have interpret's names."""
    try:
        importlib.import_module("interpret.glassbox")
    except ImportError as error:
        learner, package = "learner 'explainable_boosting'", '"fairautoml[ebm]"'
        raise missing_library(learner, "interpret-core", package, error) from error
    return ExplainableBoostingBinary(params, feature_schema, seed)


LEARNER = Learner(name="explainable_boosting", build=build, extra="ebm")
