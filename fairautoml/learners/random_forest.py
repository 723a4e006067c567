"""A random forest: trees on bootstrap samples."""

from collections.abc import Mapping

from sklearn.ensemble import RandomForestClassifier

from fairautoml.data.dataset import FeatureLayout
from fairautoml.learners._base import Learner, ParamValue
from fairautoml.learners._sklearn import SklearnClassifier


class RandomForestBinary(SklearnClassifier):
    """scikit-learn's forest on the codes as ordinal numbers; missing values are routed by it."""

    def _estimator(self, n_rows: int) -> RandomForestClassifier:
        # Given as a share, scikit-learn 1.9 takes it of the sum of the weights, not of the rows.
        share = float(self.params.get("max_samples", 1.0))
        params = {**self.params, "max_samples": max(1, round(share * n_rows))}
        return RandomForestClassifier(**params, n_jobs=1, random_state=self.seed)


def build(
    params: Mapping[str, ParamValue], layout: FeatureLayout, seed: int
) -> RandomForestBinary:
    """Return an unfitted forest; ``params`` in scikit-learn's own names."""
    return RandomForestBinary(params, layout, seed)


LEARNER = Learner(name="random_forest", build=build, handles_sparse=True)
