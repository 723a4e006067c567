"""Extremely randomized trees: random thresholds, no bootstrap by default."""

from sklearn.ensemble import ExtraTreesClassifier, ExtraTreesRegressor

from fairautoml.learners._base import Learner
from fairautoml.learners._forest import ForestClassifier, ForestMulticlass, ForestRegressor


class ExtraTreesBinary(ForestClassifier):
    """Binary classifier; ``params`` have scikit-learn's names."""

    kind = ExtraTreesClassifier


class ExtraTreesMulticlass(ForestMulticlass):
    """Multiclass variant."""

    kind = ExtraTreesClassifier


class ExtraTreesNumbers(ForestRegressor):
    """Regression variant."""

    kind = ExtraTreesRegressor


LEARNER = Learner(
    name="extra_trees",
    build=ExtraTreesBinary,
    build_multiclass=ExtraTreesMulticlass,
    build_regressor=ExtraTreesNumbers,
    handles_sparse=True,
)
