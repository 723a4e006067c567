"""Extremely randomized trees: thresholds at random, no bootstrap by default."""

from collections.abc import Mapping

from sklearn.ensemble import ExtraTreesClassifier

from fairautoml.data.dataset import FeatureLayout
from fairautoml.learners._base import Learner, ParamValue
from fairautoml.learners._sklearn import SklearnClassifier


class ExtraTreesBinary(SklearnClassifier):
    """scikit-learn's forest on the codes as ordinal numbers; missing values are routed by it."""

    def _estimator(self, n_rows: int) -> ExtraTreesClassifier:
        return ExtraTreesClassifier(**self.params, n_jobs=1, random_state=self.seed)


def build(params: Mapping[str, ParamValue], layout: FeatureLayout, seed: int) -> ExtraTreesBinary:
    """Return an unfitted forest; ``params`` in scikit-learn's own names."""
    return ExtraTreesBinary(params, layout, seed)


LEARNER = Learner(name="extra_trees", build=build, handles_sparse=True)
