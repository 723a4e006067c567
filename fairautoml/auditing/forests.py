"""Read tree ensembles of scikit-learn, LightGBM and XGBoost as arrays."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.ensemble import (
    ExtraTreesClassifier,
    GradientBoostingClassifier,
    HistGradientBoostingClassifier,
    RandomForestClassifier,
)
from sklearn.tree import DecisionTreeClassifier

from fairautoml.auditing.models import UnsupportedModel
from fairautoml.exceptions import NotPortableError
from fairautoml.learners._forest import sklearn_tree
from fairautoml.learners._lightgbm import lightgbm_trees
from fairautoml.learners.hist_gradient_boosting import MOST_CATEGORIES, histogram_tree
from fairautoml.portable import Tree


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Forest:
    """A sum of trees whose sign is the decision."""

    trees: tuple[Tree, ...]
    offset: float = 0.0  # added to the sum; the decision is 1 if the result is above 0
    single: bool = False  # values are rounded to float32 first
    rounding: float = 1e-12  # of the scores of the model, relative to the sizes of its leaves

    def bounds(
        self, low: NDArray[np.float64], high: NDArray[np.float64]
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return the smallest and the largest sum of leaves that a box can reach, per row.

        These are the sums of the smallest and the largest reachable leaf of each tree. The true
        range may be smaller, because trees may not reach these leaves at a common point.
        """
        if self.single:
            low, high = low.astype(np.float32), high.astype(np.float32)
        least, most = np.full(len(low), self.offset), np.full(len(low), self.offset)
        for tree in self.trees:
            leaves = np.flatnonzero(tree.left < 0)
            reached = self._reached(tree, low, high)[:, leaves]
            values = tree.value[leaves]
            least += np.where(reached, values, np.inf).min(axis=1)
            most += np.where(reached, values, -np.inf).max(axis=1)
        return least, most

    def _reached(self, tree: Tree, low: NDArray[Any], high: NDArray[Any]) -> NDArray[np.bool_]:
        """Return which nodes each box reaches, shape (n_rows, n_nodes)."""
        found = np.zeros((len(low), len(tree.feature)), dtype=np.bool_)
        found[:, 0] = True
        nodes = np.flatnonzero(tree.left[:1] >= 0)
        while nodes.size:
            left, right = self._sides(tree, nodes, low, high)
            here = found[:, nodes]
            found[:, tree.left[nodes]] = here & left
            found[:, tree.right[nodes]] = here & right
            below = np.concatenate((tree.left[nodes], tree.right[nodes]))
            nodes = below[tree.left[below] >= 0]
        return found

    def _sides(
        self, tree: Tree, nodes: NDArray[np.integer], low: NDArray[Any], high: NDArray[Any]
    ) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
        """Return which boxes reach the left and the right child of each node."""
        a, b = low[:, tree.feature[nodes]], high[:, tree.feature[nodes]]
        cut, absent = tree.threshold[nodes], np.isnan(a)
        left, right = a <= cut, b > cut
        for at in np.flatnonzero(np.isin(nodes, list(tree.categories))):
            inside = np.isin(a[:, at], list(tree.categories[int(nodes[at])]))
            moves = a[:, at] < b[:, at]
            left[:, at], right[:, at] = inside | moves, ~inside | moves
        default = tree.missing_left[nodes]
        return np.where(absent, default, left), np.where(absent, ~default, right)


Inside = Callable[[NDArray[Any]], NDArray[np.float64]]


def forest_of(
    estimator: Any, values: NDArray[Any], inside: Inside | None = None
) -> tuple[Forest, float]:
    """Return the trees of a fitted classifier, and the tolerance of their scores.

    The sums are compared with the scores of the model on the given rows; a mismatch raises
    ``UnsupportedModel``.
    """
    try:
        forest, raw = _read(estimator, values, coded=inside is not None)
    except NotPortableError as error:
        raise UnsupportedModel(str(error)) from error
    seen = values if inside is None else inside(values)
    sums = forest.bounds(seen, seen)[0]
    offset = float(np.median(raw - sums))
    apart = float(np.abs(raw - sums - offset).max())
    size = sum(float(np.abs(tree.value[tree.left < 0]).max()) for tree in forest.trees)
    size += abs(offset)
    if apart > 1e-5 * (1 + size):
        raise UnsupportedModel("the sums of the trees are not the scores of the model")
    return replace(forest, offset=offset), 4 * apart + forest.rounding * (1 + size)


def _read(
    estimator: Any, values: NDArray[Any], *, coded: bool
) -> tuple[Forest, NDArray[np.float64]]:
    """Return a forest without offset, and the scores of the model for the positive class."""
    if len(getattr(estimator, "classes_", (0, 1))) != 2:
        raise UnsupportedModel("the model does not decide between two classes")
    if isinstance(estimator, DecisionTreeClassifier):
        return _scaled([estimator], 1, 1.0), estimator.predict_proba(values)[:, 1] - 0.5
    if isinstance(estimator, RandomForestClassifier | ExtraTreesClassifier):
        forest = _scaled(estimator.estimators_, 1, 1 / len(estimator.estimators_))
        return forest, estimator.predict_proba(values)[:, 1] - 0.5
    if isinstance(estimator, GradientBoostingClassifier):
        forest = _scaled(estimator.estimators_[:, 0], 0, estimator.learning_rate)
        return forest, estimator.decision_function(values)
    if isinstance(estimator, HistGradientBoostingClassifier):
        return _histogram(estimator, coded=coded), estimator.decision_function(values)
    booster = getattr(estimator, "booster_", estimator)
    if hasattr(booster, "dump_model") and hasattr(booster, "num_trees"):
        return _lightgbm(booster), np.asarray(booster.predict(values, raw_score=True))
    if hasattr(estimator, "get_booster") or hasattr(estimator, "get_dump"):
        return _xgboost(estimator, values)
    raise UnsupportedModel(f"{type(estimator).__name__} is not a supported tree ensemble")


def _scaled(estimators: Sequence[Any], output: int, factor: float) -> Forest:
    trees = [sklearn_tree(estimator.tree_, output) for estimator in estimators]
    scaled = tuple(replace(tree, value=factor * tree.value) for tree in trees)
    return Forest(trees=scaled, single=True)


def _histogram(estimator: HistGradientBoostingClassifier, *, coded: bool) -> Forest:
    if getattr(estimator, "is_categorical_", None) is not None and not coded:
        raise UnsupportedModel("HistGradientBoostingClassifier with category columns")
    codes = [np.arange(float(MOST_CATEGORIES))] * estimator.n_features_in_
    return Forest(trees=tuple(histogram_tree(trees[0], codes) for trees in estimator._predictors))


def _lightgbm(booster: Any) -> Forest:
    about, trees = lightgbm_trees(booster, None)
    if about["num_tree_per_iteration"] != "1":
        raise UnsupportedModel("a LightGBM model of several scores per row")
    return Forest(trees=tuple(trees))


def _xgboost(estimator: Any, values: NDArray[np.float64]) -> tuple[Forest, NDArray[np.float64]]:
    from fairautoml.learners.xgboost import xgboost_trees

    get = getattr(estimator, "get_booster", None)
    booster = estimator if get is None else get()
    raw = booster.inplace_predict(values, predict_type="margin", validate_features=False)
    forest = Forest(trees=tuple(xgboost_trees(booster)[1]), single=True, rounding=1e-7)
    return forest, np.asarray(raw, dtype=np.float64)
