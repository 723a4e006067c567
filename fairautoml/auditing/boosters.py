"""What LightGBM and XGBoost write of their own models, as forests; neither is imported."""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from fairautoml.auditing.forest import LEAF, Forest, Tree
from fairautoml.auditing.pipelines import Unreadable


@dataclass(slots=True)
class _Nodes:
    """The nodes of a tree, as they are found."""

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
        """Return what was found."""
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
        raise Unreadable("a LightGBM model of several scores per row, or of averaged trees")
    trees = []
    for info in dump["tree_info"]:
        nodes = _Nodes()
        _lightgbm_node(info["tree_structure"], nodes)
        trees.append(nodes.tree())
    return Forest(trees=tuple(trees))


def _lightgbm_node(found: Mapping[str, Any], nodes: _Nodes) -> int:
    if "split_feature" not in found:
        if "leaf_coeff" in found:
            raise Unreadable("a LightGBM model with linear leaves")
        return nodes.add(LEAF, 0.0, float(found["leaf_value"]), missing_left=False)
    kind, missing = found["decision_type"], found["missing_type"]
    if missing == "Zero" or kind not in ("<=", "=="):
        raise Unreadable(f"a LightGBM split of type {kind!r} with missing type {missing!r}")
    if kind == "==":
        at = nodes.add(int(found["split_feature"]), 0.0, 0.0, missing_left=False)
        nodes.categories[at] = frozenset(int(code) for code in found["threshold"].split("||"))
    else:
        cut = float(found["threshold"])
        # Without missing values in training LightGBM reads them as 0.
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
