"""All trees of a model, walked at once."""

import importlib
from collections.abc import Callable
from functools import cache

import numpy as np

from fairautoml.runtime._base import Array, Floats, ModelFileError, Spec

BLOCK_WALKS = 1 << 16
"""Walks through a tree that are made at once, so that the nodes stay in the processor's cache."""


def walk(
    matrix: Floats, roots: Array, nodes: tuple[Array, ...], sets: Array, found: Array
) -> None:
    """Write where the value of each tree and row is; a loop that numba can compile."""
    feature, threshold, left, missing, category = nodes
    n_codes = sets.shape[1]
    for tree in range(len(roots)):
        for row in range(matrix.shape[1]):
            node = roots[tree]
            child = left[node]
            while child >= 0:
                value = matrix[feature[node], row]
                if np.isnan(value):
                    right = not missing[node]
                elif category[node] >= 0:
                    known = 0 <= value < n_codes
                    right = not (known and sets[category[node], int(value)])
                else:
                    right = value > threshold[node]
                node = child + right
                child = left[node]
            found[tree, row] = ~child


@cache
def compiled_walk() -> Callable[..., None] | None:
    """Return the compiled loop, None without numba."""
    try:
        numba = importlib.import_module("numba")
    except ImportError:
        return None
    made: Callable[..., None] = numba.njit(walk, nogil=True, cache=True)
    return made


class Trees:
    """All trees of a model; the right child of a node follows the left one."""

    def __init__(self, spec: Spec, width: int) -> None:
        self.walk: Callable[..., None] | None = None
        self.leaves, self.threshold = spec["leaves"], spec["threshold"]
        # NumPy would convert smaller integers at every use.
        self.roots, self.feature, self.left, self.category = (
            spec[name].astype(np.intp) for name in ("roots", "feature", "left", "category")
        )
        self.sets = spec["sets"].astype(bool)
        self.missing = spec["missing"].astype(bool)
        n_nodes = len(self.feature)
        each = (self.threshold, self.left, self.category, self.missing)
        if any(one.shape != (n_nodes,) for one in each):
            raise ModelFileError("the arrays of the trees differ in length")
        inner = self.left >= 0
        first = self.left[inner]
        checks = (
            (first > np.flatnonzero(inner)).all() and (first + 1 < n_nodes).all(),
            (~self.left[~inner] < len(self.leaves)).all(),
            ((self.roots >= 0) & (self.roots < n_nodes)).all(),
            ((self.feature >= 0) & (self.feature < max(width, 1))).all(),
            ((self.category >= -1) & (self.category < len(self.sets))).all(),
            np.isfinite(self.leaves).all() and self.sets.ndim == 2,
        )
        if not all(checks):
            raise ModelFileError("a tree points to what is not there")

    def slots(self, matrix: Floats) -> Array:
        """Return where the value of each tree and row is, shape (n_trees, n_rows)."""
        n_rows = matrix.shape[1]
        found = np.empty((len(self.roots), n_rows), dtype=np.intp)
        if self.walk is not None:
            nodes = (self.feature, self.threshold, self.left, self.missing, self.category)
            self.walk(matrix, self.roots, nodes, self.sets, found)
            return found
        step = max(1, BLOCK_WALKS // max(n_rows, 1))
        rows = Columns(matrix, self.feature)
        for at in range(0, len(self.roots), step):
            roots = self.roots[at : at + step]
            leaf = self._leaves(np.repeat(roots, n_rows), rows, len(roots))
            found[at : at + step] = ~self.left.take(leaf).reshape(len(roots), n_rows)
        return found

    def _leaves(self, node: Array, rows: "Columns", n_trees: int) -> Array:
        """Return the leaf that is reached from each node, one tree after the other."""
        walking = np.flatnonzero(self.left.take(node) >= 0)
        at, row = node[walking], np.tile(np.arange(rows.n_rows), n_trees)[walking]
        while len(walking):
            value = rows.values.take(rows.places.take(at) + row)
            right = value > self.threshold.take(at)
            if len(self.sets):
                self._correct_categories(at, value, right)
            if rows.gaps:
                gap = np.flatnonzero(np.isnan(value))
                right[gap] = ~self.missing.take(at[gap])
            at = self.left.take(at) + right
            node[walking] = at
            more = np.flatnonzero(self.left.take(at) >= 0)
            walking, at, row = walking.take(more), at.take(more), row.take(more)
        return node

    def _correct_categories(self, at: Array, value: Floats, right: Array) -> None:
        category = self.category.take(at)
        split = np.flatnonzero(category >= 0)
        code = value.take(split)
        known = (code >= 0) & (code < self.sets.shape[1])
        left = self.sets[category.take(split), np.where(known, code, 0).astype(np.intp)]
        right[split] = ~(left & known)


class Columns:
    """The columns of some rows in one array, and where the column of each node begins."""

    def __init__(self, matrix: Floats, feature: Array) -> None:
        self.n_rows = matrix.shape[1]
        self.values, self.places = matrix.ravel(), feature * self.n_rows
        self.gaps = bool(np.isnan(self.values).any())
