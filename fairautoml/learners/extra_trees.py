"""Extremely randomized trees: thresholds at random, no bootstrap by default."""

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


class ExtraTreesBinary(SklearnClassifier):
    """scikit-learn's forest on the codes as ordinal numbers; missing values are routed by it."""

    def _estimator(self, n_rows: int) -> ExtraTreesClassifier:
        return ExtraTreesClassifier(**self.params, n_jobs=1, random_state=self.seed)


class ExtraTreesMulticlass(SklearnMulticlass):
    """The same for several classes."""

    def _estimator(self, n_rows: int) -> ExtraTreesClassifier:
        return ExtraTreesClassifier(**self.params, n_jobs=1, random_state=self.seed)


class ExtraTreesNumbers(SklearnRegressor):
    """The same for numbers."""

    def _estimator(self, n_rows: int) -> ExtraTreesRegressor:
        params = {**self.params, "criterion": "squared_error"}
        return ExtraTreesRegressor(**params, n_jobs=1, random_state=self.seed)


def build(
    params: Mapping[str, ParamValue], feature_schema: FeatureSchema, seed: int
) -> ExtraTreesBinary:
    """Return an unfitted forest; ``params`` in scikit-learn's own names."""
    return ExtraTreesBinary(params, feature_schema, seed)


def build_multiclass(
    params: Mapping[str, ParamValue], feature_schema: FeatureSchema, seed: int, n_classes: int
) -> ExtraTreesMulticlass:
    """Return the same for several classes."""
    return ExtraTreesMulticlass(params, feature_schema, seed, n_classes)


def build_regressor(
    params: Mapping[str, ParamValue], feature_schema: FeatureSchema, seed: int
) -> ExtraTreesNumbers:
    """Return the same for numbers; the criterion is the squared error."""
    return ExtraTreesNumbers(params, feature_schema, seed)


LEARNER = Learner(
    name="extra_trees",
    build=build,
    build_multiclass=build_multiclass,
    build_regressor=build_regressor,
    handles_sparse=True,
)
