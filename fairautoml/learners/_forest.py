"""The portable form of scikit-learn's forests."""

from typing import Any

import numpy as np

from fairautoml.portable import Dump, Positions, Sums, Tree


def dump_forest(forest: Any, out: Dump, columns: Positions, *, output: int | None) -> int:
    """Write the mean of one output of the trees, None = of all, and return its node."""
    trees = [_tree(estimator.tree_, output) for estimator in forest.estimators_]
    return out.trees(trees, columns, Sums(mean=True))


def _tree(tree: Any, output: int | None) -> Tree:
    value = tree.value[:, 0, :]
    return Tree(
        feature=tree.feature,
        threshold=tree.threshold,
        left=tree.children_left,
        right=tree.children_right,
        missing_left=np.asarray(tree.missing_go_to_left, dtype=np.bool_),
        value=value if output is None else value[:, output],
    )
