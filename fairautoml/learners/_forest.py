"""Forests of scikit-learn, with fast prediction and a portable form.

scikit-learn starts joblib and checks the rows for each tree, which for one row takes ten times as
long as the trees.
"""

from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from fairautoml.data.dataset import FeatureSchema
from fairautoml.learners._base import (
    Learner,
    SklearnClassifier,
    SklearnMulticlass,
    SklearnRegressor,
    SklearnTraining,
)
from fairautoml.portable import Dump, Positions, Sums, Tree
from fairautoml.records import ParamValues
from fairautoml.threads import n_threads


class _Forest(SklearnTraining):
    """A forest on category codes as ordinal numbers, with missing values.

    ``kind`` is the class of scikit-learn, whose names ``params`` have.
    """

    output: int | None  # output of the trees that is the score, None = all

    def __init__(
        self,
        kind: type[Any],
        params: ParamValues,
        feature_schema: FeatureSchema,
        seed: int,
        n_classes: int = 2,
    ) -> None:
        super().__init__(params, feature_schema, seed, n_classes)
        self.kind = kind

    def _estimator(self, n_rows: int) -> Any:
        options = dict(self.params)
        if "max_samples" in options:
            # scikit-learn 1.9 takes a fraction of the sum of the weights, not of the rows.
            options["max_samples"] = max(1, round(float(options["max_samples"]) * n_rows))
        return self.kind(**options, n_jobs=n_threads(), random_state=self.seed)

    @property
    def n_trees_(self) -> int:
        """Number of trees."""
        return 0 if self.model_ is None else len(self.model_.estimators_)

    def _direct(self, X: Any) -> NDArray[np.floating] | None:
        if sparse.issparse(X):
            return None
        rows, trees = np.ascontiguousarray(X, dtype=np.float32), self.model_.estimators_
        total: NDArray[np.float64] = np.zeros((len(rows), trees[0].tree_.value.shape[2]))
        for tree in trees:
            total += tree.tree_.predict(rows)
        total /= len(trees)
        return total if self.output is None else total[:, self.output]

    def _dump(self, out: Dump, columns: Positions) -> int:
        trees = [
            sklearn_tree(estimator.tree_, self.output) for estimator in self.model_.estimators_
        ]
        return out.trees(trees, columns, Sums(mean=True))


class ForestClassifier(_Forest, SklearnClassifier):
    """Binary classifier."""

    output = 1


class ForestMulticlass(_Forest, SklearnMulticlass):
    """Multiclass classifier."""

    output = None


class ForestRegressor(_Forest, SklearnRegressor):
    """Regressor with squared error."""

    output = 0

    def _estimator(self, n_rows: int) -> Any:
        return super()._estimator(n_rows).set_params(criterion="squared_error")


def forest_learner(name: str, classifier: type[Any], regressor: type[Any]) -> Learner:
    """Return the learner of two forests of scikit-learn."""
    return Learner(
        name=name,
        build=partial(ForestClassifier, classifier),
        build_multiclass=partial(ForestMulticlass, classifier),
        build_regressor=partial(ForestRegressor, regressor),
        handles_sparse=True,
    )


def sklearn_tree(tree: Any, output: int | None) -> Tree:
    """Return a tree of scikit-learn with the values of one output, None = all."""
    value = tree.value[:, 0, :]
    return Tree(
        feature=tree.feature,
        threshold=tree.threshold,
        left=tree.children_left,
        right=tree.children_right,
        missing_left=np.asarray(tree.missing_go_to_left, dtype=np.bool_),
        value=value if output is None else value[:, output],
    )
