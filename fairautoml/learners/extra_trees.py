"""Extremely randomized trees: random thresholds, no bootstrap by default."""

from sklearn.ensemble import ExtraTreesClassifier, ExtraTreesRegressor

from fairautoml.learners._base import (
    Learner,
    SklearnClassifier,
    SklearnMulticlass,
    SklearnRegressor,
)
from fairautoml.learners._forest import dump_forest
from fairautoml.portable import Dump, Positions
from fairautoml.threads import n_threads


class ExtraTreesBinary(SklearnClassifier):
    """scikit-learn's extra trees on category codes as ordinal numbers, with missing values."""

    def _estimator(self, n_rows: int) -> ExtraTreesClassifier:
        return ExtraTreesClassifier(**self.params, n_jobs=n_threads(), random_state=self.seed)

    def _dump(self, out: Dump, columns: Positions) -> int:
        return dump_forest(self.model_, out, columns, output=1)


class ExtraTreesMulticlass(SklearnMulticlass):
    """Multiclass variant."""

    def _estimator(self, n_rows: int) -> ExtraTreesClassifier:
        return ExtraTreesClassifier(**self.params, n_jobs=n_threads(), random_state=self.seed)

    def _dump(self, out: Dump, columns: Positions) -> int:
        return dump_forest(self.model_, out, columns, output=None)


class ExtraTreesNumbers(SklearnRegressor):
    """Regression variant."""

    def _estimator(self, n_rows: int) -> ExtraTreesRegressor:
        params = {**self.params, "criterion": "squared_error"}
        return ExtraTreesRegressor(**params, n_jobs=n_threads(), random_state=self.seed)

    def _dump(self, out: Dump, columns: Positions) -> int:
        return dump_forest(self.model_, out, columns, output=0)


LEARNER = Learner(
    name="extra_trees",
    build=ExtraTreesBinary,
    build_multiclass=ExtraTreesMulticlass,
    build_regressor=ExtraTreesNumbers,
    handles_sparse=True,
)
