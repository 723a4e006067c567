"""Explainable boosting machine: an interpretable sum of one- and two-feature functions."""

import importlib
import warnings
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fairautoml.data.dataset import FeatureSchema
from fairautoml.exceptions import NotPortableError
from fairautoml.learners._base import BinaryClassifier, EmptyColumns, Learner
from fairautoml.portable import Dump, Positions
from fairautoml.records import ParamValues
from fairautoml.registry import imported


class ExplainableBoostingBinary(BinaryClassifier):
    """InterpretML's explainable boosting machine on category codes."""

    def _train(self, X: Any, y: NDArray[Any], weight: NDArray[Any] | None) -> Any:
        glassbox = importlib.import_module("interpret.glassbox")
        categorical = self.feature_schema.n_codes
        kinds = ["nominal" if at in categorical else "continuous" for at in range(X.shape[1])]
        model = glassbox.ExplainableBoostingClassifier(
            **self.params, feature_types=kinds, n_jobs=1, random_state=self.seed
        )
        self.empty_ = EmptyColumns(X)
        with warnings.catch_warnings():
            # The warning is about interpret's own plots.
            warnings.filterwarnings("ignore", "Missing values detected", UserWarning)
            return model.fit(self.empty_.fill(X), y, sample_weight=weight)

    def native_input(self, X: Any) -> Any:
        """Return the rows as the model takes them."""
        return self.empty_.fill(X)

    def _predicted(self, X: Any) -> NDArray[np.floating]:
        return self.model_.predict_proba(self.native_input(X))[:, 1]

    def _dump(self, out: Dump, columns: Positions) -> int:
        model = self.model_
        if model.link_ != "logit":
            msg = f"an explainable boosting machine with link {model.link_!r} has no portable form"
            raise NotPortableError(msg)
        columns = out.change(self.empty_, columns)
        terms = [
            {
                "columns": columns[list(features)],
                "scores": scores,
                "bins": [self._bins(at, len(features)) for at in features],
            }
            for features, scores in zip(model.term_features_, model.term_scores_, strict=True)
        ]
        start = float(np.atleast_1d(model.intercept_)[0])
        return out.node("additive", {"terms": terms, "start": start})

    def _bins(self, feature: int, n_features: int) -> dict[str, Any]:
        """Return the cuts of a number, or the bin of each code; missing values are in bin 0."""
        levels = self.model_.bins_[feature]
        found = levels[min(len(levels), n_features) - 1]
        if not isinstance(found, dict):
            return {"cuts": found, "codes": None}
        # Unknown codes have the last bin, which the position -1 finds.
        codes = [found.get(str(code), -1) for code in range(self.feature_schema.n_codes[feature])]
        return {"cuts": None, "codes": np.array(codes, dtype=np.int32)}


def build(
    params: ParamValues, feature_schema: FeatureSchema, seed: int
) -> ExplainableBoostingBinary:
    """Return an unfitted explainable boosting machine; ``params`` have interpret's names."""
    learner, package = "learner 'explainable_boosting'", '"fairautoml-search[ebm]"'
    imported(learner, "interpret.glassbox", "interpret-core", package)
    return ExplainableBoostingBinary(params, feature_schema, seed)


LEARNER = Learner(name="explainable_boosting", build=build, extra="ebm")
