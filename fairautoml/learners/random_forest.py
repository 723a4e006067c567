"""A random forest: trees on bootstrap samples."""

from collections.abc import Mapping
from typing import Any

from sklearn.ensemble import RandomForestClassifier, RandomForestRegressor

from fairautoml.learners._base import (
    Learner,
    ParamValue,
    SklearnClassifier,
    SklearnMulticlass,
    SklearnRegressor,
)
from fairautoml.learners._forest import dump_forest
from fairautoml.portable import Dump, Positions
from fairautoml.threads import n_threads


class RandomForestBinary(SklearnClassifier):
    """scikit-learn's random forest on category codes as ordinal numbers, with missing values."""

    def _estimator(self, n_rows: int) -> RandomForestClassifier:
        params = _counted(self.params, n_rows)
        return RandomForestClassifier(**params, n_jobs=n_threads(), random_state=self.seed)

    def _dump(self, out: Dump, columns: Positions) -> int:
        return dump_forest(self.model_, out, columns, output=1)


class RandomForestMulticlass(SklearnMulticlass):
    """Multiclass variant."""

    def _estimator(self, n_rows: int) -> RandomForestClassifier:
        params = _counted(self.params, n_rows)
        return RandomForestClassifier(**params, n_jobs=n_threads(), random_state=self.seed)

    def _dump(self, out: Dump, columns: Positions) -> int:
        return dump_forest(self.model_, out, columns, output=None)


class RandomForestNumbers(SklearnRegressor):
    """Regression variant."""

    def _estimator(self, n_rows: int) -> RandomForestRegressor:
        params = {**_counted(self.params, n_rows), "criterion": "squared_error"}
        return RandomForestRegressor(**params, n_jobs=n_threads(), random_state=self.seed)

    def _dump(self, out: Dump, columns: Positions) -> int:
        return dump_forest(self.model_, out, columns, output=0)


def _counted(params: Mapping[str, ParamValue], n_rows: int) -> dict[str, Any]:
    """Return the parameters with the sample size of a tree as a number of rows."""
    # scikit-learn 1.9 takes a fraction of the sum of the weights, not of the rows.
    share = float(params.get("max_samples", 1.0))
    return {**params, "max_samples": max(1, round(share * n_rows))}


LEARNER = Learner(
    name="random_forest",
    build=RandomForestBinary,
    build_multiclass=RandomForestMulticlass,
    build_regressor=RandomForestNumbers,
    handles_sparse=True,
)
