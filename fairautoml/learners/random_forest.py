"""A random forest: trees on bootstrap samples."""

from typing import Any

from sklearn.ensemble import RandomForestClassifier, RandomForestRegressor

from fairautoml.learners._base import EncodedEstimator, Learner
from fairautoml.learners._forest import ForestClassifier, ForestMulticlass, ForestRegressor


class _Sampled(EncodedEstimator):
    """The sample size of a tree as a number of rows."""

    def _options(self, n_rows: int) -> dict[str, Any]:
        # scikit-learn 1.9 takes a fraction of the sum of the weights, not of the rows.
        share = float(self.params.get("max_samples", 1.0))
        return {**self.params, "max_samples": max(1, round(share * n_rows))}


class RandomForestBinary(_Sampled, ForestClassifier):
    """Binary classifier; ``params`` have scikit-learn's names."""

    kind = RandomForestClassifier


class RandomForestMulticlass(_Sampled, ForestMulticlass):
    """Multiclass variant."""

    kind = RandomForestClassifier


class RandomForestNumbers(_Sampled, ForestRegressor):
    """Regression variant."""

    kind = RandomForestRegressor


LEARNER = Learner(
    name="random_forest",
    build=RandomForestBinary,
    build_multiclass=RandomForestMulticlass,
    build_regressor=RandomForestNumbers,
    handles_sparse=True,
)
