"""Extremely randomized trees: random thresholds, no bootstrap by default."""

from collections.abc import Mapping

from sklearn.ensemble import ExtraTreesClassifier, ExtraTreesRegressor

from fairautoml.data.dataset import FeatureSchema
from fairautoml.learners._base import (
    Learner,
    ParamValue,
    SklearnClassifier,
    SklearnMulticlass,
    SklearnRegressor,
)
from fairautoml.threads import n_threads


class ExtraTreesBinary(SklearnClassifier):
    """scikit-learn's extra trees on category codes as ordinal numbers, with missing values."""

    def _estimator(self, n_rows: int) -> ExtraTreesClassifier:
        return ExtraTreesClassifier(**self.params, n_jobs=n_threads(), random_state=self.seed)


class ExtraTreesMulticlass(SklearnMulticlass):
    """Multiclass variant."""

    def _estimator(self, n_rows: int) -> ExtraTreesClassifier:
        return ExtraTreesClassifier(**self.params, n_jobs=n_threads(), random_state=self.seed)


class ExtraTreesNumbers(SklearnRegressor):
    """Regression variant."""

    def _estimator(self, n_rows: int) -> ExtraTreesRegressor:
        params = {**self.params, "criterion": "squared_error"}
        return ExtraTreesRegressor(**params, n_jobs=n_threads(), random_state=self.seed)


def build(
    params: Mapping[str, ParamValue], feature_schema: FeatureSchema, seed: int
) -> ExtraTreesBinary:
    """Return an unfitted binary classifier; ``params`` have scikit-learn's names."""
    return ExtraTreesBinary(params, feature_schema, seed)


def build_multiclass(
    params: Mapping[str, ParamValue], feature_schema: FeatureSchema, seed: int, n_classes: int
) -> ExtraTreesMulticlass:
    """Return an unfitted multiclass classifier."""
    return ExtraTreesMulticlass(params, feature_schema, seed, n_classes)


def build_regressor(
    params: Mapping[str, ParamValue], feature_schema: FeatureSchema, seed: int
) -> ExtraTreesNumbers:
    """Return an unfitted regressor with squared error."""
    return ExtraTreesNumbers(params, feature_schema, seed)


LEARNER = Learner(
    name="extra_trees",
    build=build,
    build_multiclass=build_multiclass,
    build_regressor=build_regressor,
    handles_sparse=True,
)
