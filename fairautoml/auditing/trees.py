"""Ensembles of trees, read from the fitted models of scikit-learn, LightGBM and XGBoost."""

from collections.abc import Callable, Sequence
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

from fairautoml.auditing.boosters import lightgbm_forest, xgboost_forest
from fairautoml.auditing.forest import LEAF, Forest, Tree
from fairautoml.auditing.pipelines import Unreadable

Inside = Callable[[NDArray[Any]], NDArray[np.float64]]


def forest_of(
    estimator: Any, values: NDArray[Any], inside: Inside | None = None
) -> tuple[Forest, float]:
    """Return the trees of a fitted classifier, and how well they give its own scores.

    The sums are compared with the model's own on the given rows: a structure that was not read
    rightly is refused, never used.
    """
    forest, raw = _read(estimator, values, coded=inside is not None)
    seen = values if inside is None else inside(values)
    sums = forest.bounds(seen, seen)[0]
    offset = float(np.median(raw - sums))
    apart = float(np.abs(raw - sums - offset).max())
    size = sum(float(np.abs(tree.value).max()) for tree in forest.trees) + abs(offset)
    if apart > 1e-5 * (1 + size):
        raise Unreadable("the sums of the trees read are not the scores of the model")
    tolerance = 4 * apart + 1e-7 * (1 + size) if forest.strict else 4 * apart + 1e-12 * (1 + size)
    whole = Forest(trees=forest.trees, offset=offset, strict=forest.strict, single=forest.single)
    return whole, tolerance


def _read(
    estimator: Any, values: NDArray[Any], *, coded: bool
) -> tuple[Forest, NDArray[np.float64]]:
    """Return a forest without offset, and the model's own scores, positive for acceptance."""
    if len(getattr(estimator, "classes_", (0, 1))) != 2:
        raise Unreadable("the model does not decide between two classes")
    if isinstance(estimator, DecisionTreeClassifier):
        return _averaged([estimator]), estimator.predict_proba(values)[:, 1] - 0.5
    if isinstance(estimator, RandomForestClassifier | ExtraTreesClassifier):
        return _averaged(estimator.estimators_), estimator.predict_proba(values)[:, 1] - 0.5
    if isinstance(estimator, GradientBoostingClassifier):
        rate = estimator.learning_rate
        trees = [
            _sklearn_tree(one.tree_, rate * one.tree_.value[:, 0, 0])
            for one in estimator.estimators_[:, 0]
        ]
        return Forest(trees=tuple(trees), single=True), estimator.decision_function(values)
    if isinstance(estimator, HistGradientBoostingClassifier):
        return _histogram(estimator, coded=coded), estimator.decision_function(values)
    booster = getattr(estimator, "booster_", estimator)
    if hasattr(booster, "dump_model") and hasattr(booster, "num_trees"):
        return lightgbm_forest(booster), np.asarray(booster.predict(values, raw_score=True))
    if hasattr(estimator, "get_booster") or hasattr(estimator, "get_dump"):
        return _xgboost(estimator, values)
    raise Unreadable(f"{type(estimator).__name__} is no ensemble of trees that can be read")


def _xgboost(estimator: Any, values: NDArray[np.float64]) -> tuple[Forest, NDArray[np.float64]]:
    get = getattr(estimator, "get_booster", None)
    booster = estimator if get is None else get()
    raw = booster.inplace_predict(values, predict_type="margin", validate_features=False)
    return xgboost_forest(booster), np.asarray(raw, dtype=np.float64)


def _averaged(estimators: Sequence[Any]) -> Forest:
    trees = []
    for estimator in estimators:
        counts = estimator.tree_.value[:, 0, :]
        shares = counts[:, 1] / counts.sum(axis=1)
        trees.append(_sklearn_tree(estimator.tree_, shares / len(estimators)))
    return Forest(trees=tuple(trees), single=True)


def _sklearn_tree(tree: Any, value: NDArray[np.float64]) -> Tree:
    leaf = tree.children_left < 0
    absent = getattr(tree, "missing_go_to_left", None)
    return Tree(
        feature=np.where(leaf, LEAF, tree.feature),
        threshold=tree.threshold.astype(np.float64),
        left=tree.children_left,
        right=tree.children_right,
        value=np.where(leaf, value, 0.0),
        missing_left=np.zeros(len(leaf), bool) if absent is None else absent.astype(bool),
        categories={},
    )


def _histogram(estimator: HistGradientBoostingClassifier, *, coded: bool) -> Forest:
    if getattr(estimator, "is_categorical_", None) is not None and not coded:
        raise Unreadable("HistGradientBoostingClassifier with category columns")
    trees = []
    for predictors in estimator._predictors:
        nodes = predictors[0].nodes
        leaf = nodes["is_leaf"].astype(bool)
        trees.append(
            Tree(
                feature=np.where(leaf, LEAF, nodes["feature_idx"].astype(np.int64)),
                threshold=nodes["num_threshold"].astype(np.float64),
                left=nodes["left"].astype(np.int64),
                right=nodes["right"].astype(np.int64),
                value=np.where(leaf, nodes["value"], 0.0),
                missing_left=nodes["missing_go_to_left"].astype(bool),
                categories=_categories(nodes, predictors[0].raw_left_cat_bitsets),
            )
        )
    return Forest(trees=tuple(trees))


def _categories(nodes: Any, bits: NDArray[np.uint32]) -> dict[int, frozenset[int]]:
    """Return the codes that go left by node; a row of ``bits`` has one bit per code."""
    known = np.unpackbits(bits.astype("<u4").view(np.uint8), axis=1, bitorder="little")
    return {
        int(at): frozenset(np.flatnonzero(known[nodes["bitset_idx"][at]]).tolist())
        for at in np.flatnonzero(nodes["is_categorical"] & ~nodes["is_leaf"].astype(bool))
    }
