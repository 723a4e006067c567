"""Sums of trees, and how far their sum can move inside a box: sound, not always tight."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

LEAF = -1


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Tree:
    """One binary tree; node 0 is the root."""

    feature: NDArray[np.integer]  # shape (n_nodes,): column that a node asks about, -1 for leaves
    # values up to it go left (below it, if the forest is strict)
    threshold: NDArray[np.float64]  # shape (n_nodes,)
    left: NDArray[np.integer]  # shape (n_nodes,): children
    right: NDArray[np.integer]  # shape (n_nodes,)
    value: NDArray[np.float64]  # shape (n_nodes,): what a leaf adds
    missing_left: NDArray[np.bool_]  # shape (n_nodes,): where missing values go
    # codes that go left, of nodes that ask about categories
    categories: Mapping[int, frozenset[int]]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Forest:
    """A sum of trees that decides by its sign."""

    trees: tuple[Tree, ...]  # all of them
    offset: float = 0.0  # added to the sum; the decision is 1 when the whole is above 0
    strict: bool = False  # only values below the threshold go left
    single: bool = False  # values are rounded to float32 first

    def bounds(
        self, low: NDArray[np.float64], high: NDArray[np.float64]
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return the smallest and the largest sum of leaves that a box can reach, per row.

        Per tree the smallest and the largest reachable leaf, summed: trees may not reach them
        at one point, so the true range lies inside.
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
        """Return which boxes reach the left, and which the right child of each node."""
        a, b = low[:, tree.feature[nodes]], high[:, tree.feature[nodes]]
        cut, absent = tree.threshold[nodes], np.isnan(a)
        left, right = (a < cut, b >= cut) if self.strict else (a <= cut, b > cut)
        for at in np.flatnonzero(np.isin(nodes, list(tree.categories))):
            inside = np.isin(a[:, at], list(tree.categories[int(nodes[at])]))
            moves = a[:, at] < b[:, at]
            left[:, at], right[:, at] = inside | moves, ~inside | moves
        default = tree.missing_left[nodes]
        return np.where(absent, default, left), np.where(absent, ~default, right)
