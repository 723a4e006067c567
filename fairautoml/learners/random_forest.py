"""A random forest: trees on bootstrap samples."""

from collections.abc import Mapping
from typing import Any

from sklearn.ensemble import RandomForestClassifier, RandomForestRegressor

from fairautoml.data.dataset import FeatureSchema
from fairautoml.learners._base import (
    Learner,
    ParamValue,
    SklearnClassifier,
    SklearnMulticlass,
    SklearnRegressor,
)
from fairautoml.threads import n_threads


class RandomForestBinary(SklearnClassifier):
    """scikit-learn's random forest on category codes as ordinal numbers, with missing values."""

    def _estimator(self, n_rows: int) -> RandomForestClassifier:
        params = _counted(self.params, n_rows)
        return RandomForestClassifier(**params, n_jobs=n_threads(), random_state=self.seed)


class RandomForestMulticlass(SklearnMulticlass):
    """Multiclass variant."""

    def _estimator(self, n_rows: int) -> RandomForestClassifier:
        params = _counted(self.params, n_rows)
        return RandomForestClassifier(**params, n_jobs=n_threads(), random_state=self.seed)


class RandomForestNumbers(SklearnRegressor):
    """Regression variant."""

    def _estimator(self, n_rows: int) -> RandomForestRegressor:
        params = {**_counted(self.params, n_rows), "criterion": "squared_error"}
        return RandomForestRegressor(**params, n_jobs=n_threads(), random_state=self.seed)


def _counted(params: Mapping[str, ParamValue], n_rows: int) -> dict[str, Any]:
    """Return the parameters with the sample size of a tree as a number of rows."""
    # scikit-learn 1.9 takes a fraction of the sum of the weights, not of the rows.
    share = float(params.get("max_samples", 1.0))
    return {**params, "max_samples": max(1, round(share * n_rows))}


def build(
    params: Mapping[str, ParamValue], feature_schema: FeatureSchema, seed: int
) -> RandomForestBinary:
    """Return an unfitted binary classifier; ``params`` have scikit-learn's names."""
    return RandomForestBinary(params, feature_schema, seed)


def build_multiclass(
    params: Mapping[str, ParamValue], feature_schema: FeatureSchema, seed: int, n_classes: int
) -> RandomForestMulticlass:
    """Return an unfitted multiclass classifier."""
    return RandomForestMulticlass(params, feature_schema, seed, n_classes)


def build_regressor(
    params: Mapping[str, ParamValue], feature_schema: FeatureSchema, seed: int
) -> RandomForestNumbers:
    """Return an unfitted regressor with squared error."""
    return RandomForestNumbers(params, feature_schema, seed)


LEARNER = Learner(
    name="random_forest",
    build=build,
    build_multiclass=build_multiclass,
    build_regressor=build_regressor,
    handles_sparse=True,
)
