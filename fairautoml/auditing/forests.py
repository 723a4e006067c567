"""Read tree ensembles of scikit-learn, LightGBM and XGBoost as arrays."""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
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

LEAF = -1


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Tree:
    """One binary tree; node 0 is the root."""

    feature: NDArray[np.integer]  # shape (n_nodes,): column that a node splits on, -1 for leaves
    # values up to the threshold go left (values below it if the forest is strict)
    threshold: NDArray[np.float64]  # shape (n_nodes,)
    left: NDArray[np.integer]  # shape (n_nodes,): children
    right: NDArray[np.integer]  # shape (n_nodes,)
    value: NDArray[np.float64]  # shape (n_nodes,): value of a leaf
    missing_left: NDArray[np.bool_]  # shape (n_nodes,): whether missing values go left
    # category codes that go left, by node with a categorical split
    categories: Mapping[int, frozenset[int]]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Forest:
    """A sum of trees whose sign is the decision."""

    trees: tuple[Tree, ...]
    offset: float = 0.0  # added to the sum; the decision is 1 if the result is above 0
    strict: bool = False  # only values below the threshold go left
    single: bool = False  # values are rounded to float32 first

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
            leaves = np.flatnonzero(tree.feature == LEAF)
            reached = self._reached(tree, low, high)[:, leaves]
            values = tree.value[leaves]
            least += np.where(reached, values, np.inf).min(axis=1)
            most += np.where(reached, values, -np.inf).max(axis=1)
        return least, most

    def _reached(self, tree: Tree, low: NDArray[Any], high: NDArray[Any]) -> NDArray[np.bool_]:
        """Return which nodes each box reaches, shape (n_rows, n_nodes)."""
        found = np.zeros((len(low), len(tree.feature)), dtype=np.bool_)
        found[:, 0] = True
        nodes = np.flatnonzero(tree.feature[:1] != LEAF)
        while nodes.size:
            left, right = self._sides(tree, nodes, low, high)
            here = found[:, nodes]
            found[:, tree.left[nodes]] = here & left
            found[:, tree.right[nodes]] = here & right
            below = np.concatenate((tree.left[nodes], tree.right[nodes]))
            nodes = below[tree.feature[below] != LEAF]
        return found

    def _sides(
        self, tree: Tree, nodes: NDArray[np.integer], low: NDArray[Any], high: NDArray[Any]
    ) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
        """Return which boxes reach the left and the right child of each node."""
        a, b = low[:, tree.feature[nodes]], high[:, tree.feature[nodes]]
        cut, absent = tree.threshold[nodes], np.isnan(a)
        left, right = (a < cut, b >= cut) if self.strict else (a <= cut, b > cut)
        for at in np.flatnonzero(np.isin(nodes, list(tree.categories))):
            inside = np.isin(a[:, at], list(tree.categories[int(nodes[at])]))
            moves = a[:, at] < b[:, at]
            left[:, at], right[:, at] = inside | moves, ~inside | moves
        default = tree.missing_left[nodes]
        return np.where(absent, default, left), np.where(absent, ~default, right)


@dataclass(slots=True)
class _Nodes:
    """Nodes of a tree that is being read."""

    feature: list[int] = field(default_factory=list)
    threshold: list[float] = field(default_factory=list)
    left: list[int] = field(default_factory=list)
    right: list[int] = field(default_factory=list)
    value: list[float] = field(default_factory=list)
    missing_left: list[bool] = field(default_factory=list)
    categories: dict[int, frozenset[int]] = field(default_factory=dict)

    def add(self, feature: int, threshold: float, value: float, *, missing_left: bool) -> int:
        """Add a node without children and return its number."""
        self.feature.append(feature)
        self.threshold.append(threshold)
        self.left.append(LEAF)
        self.right.append(LEAF)
        self.value.append(value)
        self.missing_left.append(missing_left)
        return len(self.feature) - 1

    def tree(self) -> Tree:
        """Return the tree."""
        return Tree(
            feature=np.array(self.feature, dtype=np.int64),
            threshold=np.array(self.threshold, dtype=np.float64),
            left=np.array(self.left, dtype=np.int64),
            right=np.array(self.right, dtype=np.int64),
            value=np.array(self.value, dtype=np.float64),
            missing_left=np.array(self.missing_left, dtype=np.bool_),
            categories=dict(self.categories),
        )


def lightgbm_forest(booster: Any) -> Forest:
    """Return the trees of a LightGBM booster."""
    dump = booster.dump_model()
    if dump["num_tree_per_iteration"] != 1 or dump.get("average_output", False):
        raise UnsupportedModel("a LightGBM model of several scores per row, or of averaged trees")
    trees = []
    for info in dump["tree_info"]:
        nodes = _Nodes()
        _lightgbm_node(info["tree_structure"], nodes)
        trees.append(nodes.tree())
    return Forest(trees=tuple(trees))


def _lightgbm_node(found: Mapping[str, Any], nodes: _Nodes) -> int:
    if "split_feature" not in found:
        if "leaf_coeff" in found:
            raise UnsupportedModel("a LightGBM model with linear leaves")
        return nodes.add(LEAF, 0.0, float(found["leaf_value"]), missing_left=False)
    kind, missing = found["decision_type"], found["missing_type"]
    if missing == "Zero" or kind not in ("<=", "=="):
        raise UnsupportedModel(f"a LightGBM split of type {kind!r} with missing type {missing!r}")
    if kind == "==":
        at = nodes.add(int(found["split_feature"]), 0.0, 0.0, missing_left=False)
        nodes.categories[at] = frozenset(int(code) for code in found["threshold"].split("||"))
    else:
        cut = float(found["threshold"])
        # LightGBM treats missing values as 0 if training data had none.
        default = bool(found["default_left"]) if missing == "NaN" else cut >= 0
        at = nodes.add(int(found["split_feature"]), cut, 0.0, missing_left=default)
    nodes.left[at] = _lightgbm_node(found["left_child"], nodes)
    nodes.right[at] = _lightgbm_node(found["right_child"], nodes)
    return at


def xgboost_forest(booster: Any) -> Forest:
    """Return the trees of an XGBoost booster."""
    names = booster.feature_names
    trees = tuple(_xgboost_trees(booster.get_dump(dump_format="json"), names))
    return Forest(trees=trees, strict=True, single=True)


def _xgboost_trees(dumps: Sequence[str], names: Sequence[str] | None) -> Iterator[Tree]:
    for dump in dumps:
        nodes = _Nodes()
        _xgboost_node(json.loads(dump), names, nodes)
        yield nodes.tree()


def _xgboost_node(found: Mapping[str, Any], names: Sequence[str] | None, nodes: _Nodes) -> int:
    if "leaf" in found:
        return nodes.add(LEAF, 0.0, float(found["leaf"]), missing_left=False)
    cut = found["split_condition"]
    name = str(found["split"])
    column = int(name[1:]) if names is None else list(names).index(name)
    default = found["missing"] == found["yes"]
    if isinstance(cut, int | float):
        # Thresholds are single precision and written in decimals.
        at = nodes.add(column, float(np.float32(cut)), 0.0, missing_left=default)
    else:
        at = nodes.add(column, 0.0, 0.0, missing_left=default)
        nodes.categories[at] = frozenset(map(int, cut))
    children = {child["nodeid"]: child for child in found["children"]}
    nodes.left[at] = _xgboost_node(children[found["yes"]], names, nodes)
    nodes.right[at] = _xgboost_node(children[found["no"]], names, nodes)
    return at


Inside = Callable[[NDArray[Any]], NDArray[np.float64]]


def forest_of(
    estimator: Any, values: NDArray[Any], inside: Inside | None = None
) -> tuple[Forest, float]:
    """Return the trees of a fitted classifier, and the tolerance of their scores.

    The sums are compared with the scores of the model on the given rows; a mismatch raises
    ``UnsupportedModel``.
    """
    forest, raw = _read(estimator, values, coded=inside is not None)
    seen = values if inside is None else inside(values)
    sums = forest.bounds(seen, seen)[0]
    offset = float(np.median(raw - sums))
    apart = float(np.abs(raw - sums - offset).max())
    size = sum(float(np.abs(tree.value).max()) for tree in forest.trees) + abs(offset)
    if apart > 1e-5 * (1 + size):
        raise UnsupportedModel("the sums of the trees are not the scores of the model")
    tolerance = 4 * apart + 1e-7 * (1 + size) if forest.strict else 4 * apart + 1e-12 * (1 + size)
    whole = Forest(trees=forest.trees, offset=offset, strict=forest.strict, single=forest.single)
    return whole, tolerance


def _read(
    estimator: Any, values: NDArray[Any], *, coded: bool
) -> tuple[Forest, NDArray[np.float64]]:
    """Return a forest without offset, and the scores of the model for the positive class."""
    if len(getattr(estimator, "classes_", (0, 1))) != 2:
        raise UnsupportedModel("the model does not decide between two classes")
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
    raise UnsupportedModel(f"{type(estimator).__name__} is not a supported tree ensemble")


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
        raise UnsupportedModel("HistGradientBoostingClassifier with category columns")
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
