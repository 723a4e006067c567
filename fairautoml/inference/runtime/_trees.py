"""All trees of a model, walked at once."""

import numpy as np

from fairautoml.inference.runtime._base import Array, Floats, ModelFileError, Spec

BLOCK_WALKS = 1 << 16
"""Walks through a tree that are made at once, so that the nodes stay in the processor's cache."""


class Trees:
    """All trees of a model; the right child of a node follows the left one."""

    def __init__(self, spec: Spec, width: int) -> None:
        self.roots, self.leaves, self.sets = spec["roots"], spec["leaves"], spec["sets"]
        self.feature, self.threshold = spec["feature"], spec["threshold"]
        self.left, self.category = spec["left"], spec["category"]
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
        found = np.empty((len(self.roots), n_rows), dtype=np.int32)
        step, flat = max(1, BLOCK_WALKS // max(n_rows, 1)), matrix.ravel()
        for at in range(0, len(self.roots), step):
            found[at : at + step] = self._walked(self.roots[at : at + step], flat, n_rows)
        return found

    def _walked(self, roots: Array, flat: Floats, n_rows: int) -> Array:
        node = np.repeat(roots, n_rows)
        row = np.tile(np.arange(n_rows), len(roots))
        walking = np.flatnonzero(self.left[node] >= 0)
        at, row = node[walking], row[walking]
        while len(walking):
            value = flat[self.feature[at] * n_rows + row]
            right = value > self.threshold[at]
            self._exceptions(at, value, right)
            at = self.left[at] + right
            more = self.left[at] >= 0
            node[walking] = at
            walking, at, row = walking[more], at[more], row[more]
        found: Array = ~self.left[node]
        return found.reshape(len(roots), n_rows)

    def _exceptions(self, at: Array, value: Floats, right: Array) -> None:
        """Correct the direction where a value is missing or a category."""
        if len(self.sets):
            split = np.flatnonzero(self.category[at] >= 0)
            code = np.nan_to_num(value[split], nan=0.0).astype(np.int64)
            known = (code >= 0) & (code < self.sets.shape[1])
            inside = self.sets[self.category[at[split]], np.where(known, code, 0)].astype(bool)
            right[split] = ~(inside & known)
        gap = np.flatnonzero(np.isnan(value))
        right[gap] = ~self.missing[at[gap]]
