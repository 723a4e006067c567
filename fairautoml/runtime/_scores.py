"""The scores of a model: steps append columns, nodes compute scores from columns and trees."""

import importlib
import math
from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np

from fairautoml.runtime._base import Array, Floats, ModelFileError, NewRowsError, Spec, small
from fairautoml.runtime._rules import draws, groups_of

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
    return numba.njit(walk, nogil=True, cache=True)


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


MOST_ROWS = 512
"""Rows that are scored at once; the layers of all members are in memory."""

_SELU_SCALE, _SELU_ALPHA = np.float32(1.0507009873554805), np.float32(1.6732632423543772)


def _selu(values: Floats) -> Floats:
    return _SELU_SCALE * np.where(
        values > 0, values, _SELU_ALPHA * np.expm1(np.minimum(values, np.float32(0)))
    )


def _relu(values: Floats) -> Floats:
    return np.maximum(values, np.float32(0))


ACTIVATIONS: dict[str, Callable[[Floats], Floats]] = {"relu": _relu, "selu": _selu}


def entries(column: Floats, values: Array) -> Array:
    """Return the entry of each code of a column in a table; the last one is that of missing."""
    last = len(values) - 1
    known = (column >= 0) & (column < last)
    return np.where(known, column, last).astype(np.int64)


def network_sums(spec: Spec, rows: Floats) -> Floats:
    """Return the outputs of the members, shape (n_rows, n_members, n_outputs)."""
    starts = range(0, max(len(rows), 1), MOST_ROWS)
    parts = [_sums(spec, rows[start : start + MOST_ROWS]) for start in starts]
    return np.concatenate(parts)


def _sums(spec: Spec, rows: Floats) -> Floats:
    inputs = _inputs(spec, rows)
    n_members, width = spec["scale"].shape
    hidden: Floats = (inputs[:, None, :] * spec["scale"]).reshape(-1, width)
    for layer in spec["layers"]:
        # Not BLAS, whose order of summation depends on the number of rows.
        sums = np.einsum("nd,ed->ne", hidden, layer["weight"]) + layer["bias"]
        hidden = ACTIVATIONS[spec["activation"]](sums)
    hidden = hidden.reshape(len(rows), n_members, -1)
    heads = spec["heads"]  # shape (n_members, n_outputs, width)
    found = [np.multiply(hidden, heads[:, at], order="C").sum(axis=2)
             for at in range(heads.shape[1])]  # fmt: skip
    return np.stack(found, axis=2) + spec["intercept"]


def _inputs(spec: Spec, rows: Floats) -> Floats:
    numbers = spec["numbers"]
    parts = []
    if numbers is not None:
        values = rows[:, numbers["columns"]]
        gaps = np.isnan(values)
        x = smooth_clip((np.where(gaps, numbers["fill"], values) - numbers["centre"])
                        * numbers["factor"])  # fmt: skip
        waves = np.cos(x[:, :, None] * numbers["frequency"] + numbers["phase"])
        mixed = [np.multiply(waves, one, order="C").sum(axis=2) for one in numbers["mix"]]
        parts = [x, *mixed, gaps[:, numbers["flags"]].astype(np.float32)]
    for table in spec["categories"]:
        parts.append(table["values"][entries(rows[:, table["column"]], table["values"])])
    return np.ascontiguousarray(np.concatenate(parts, axis=1))


def smooth_clip(x: Floats) -> Floats:
    """Return values pressed into (-3, 3), those near 0 hardly changed."""
    return x / np.sqrt(np.float32(1) + (x / np.float32(3)) ** 2)


def network_scores(spec: Spec, rows: Floats) -> Floats:
    """Return the mean score of the members: a number, a probability, or one of each class."""
    sums = network_sums(spec, rows).astype(np.float64)
    if spec["link"] == "logistic":
        with np.errstate(over="ignore"):
            sums = 1.0 / (1.0 + np.exp(-sums))
    elif spec["link"] == "softmax":
        grown = np.exp(sums - sums.max(axis=2, keepdims=True))
        sums = grown / grown.sum(axis=2, keepdims=True)
    found: Floats = sums.sum(axis=1) / sums.shape[1]
    return found if spec["link"] == "softmax" else found[:, 0]


FEW_ROWS = 16
"""Fewer rows are added up faster by one call over all trees."""


class Batch:
    """The rows that are scored, and what the nodes have found for them."""

    def __init__(self, matrix: Floats, trees: Trees) -> None:
        self.matrix, self.trees = matrix, trees
        self.slots = trees.slots(matrix)
        self.n_rows = matrix.shape[1]
        self.found: list[Any] = []

    def of(self, node: Spec) -> list[Any]:
        """Return the results that a node depends on."""
        return [self.found[number] for number in node["of"]]


def _exp(values: Floats) -> Floats:
    """Return the exponential by the C library, as the libraries of boosted trees compute it."""
    flat = [math.exp(min(value, 709.0)) for value in values.astype(np.float64).ravel().tolist()]
    return np.array(flat, dtype=values.dtype).reshape(values.shape)


def _logistic(raw: Floats) -> Floats:
    one = raw.dtype.type(1.0)
    return one / (one + _exp(-raw))


def _softmax(raw: Floats) -> Floats:
    grown = np.exp(raw - raw.max(axis=1, keepdims=True))
    return grown / grown.sum(axis=1, keepdims=True)


def _shares(raw: Floats) -> Floats:
    """Return the softmax as the libraries of boosted trees compute it."""
    grown = _exp(raw - raw.max(axis=1, keepdims=True))
    total = np.cumsum(grown.astype(np.float64), axis=1)[:, -1:].astype(raw.dtype)
    return grown / total


LINKS: dict[str, Callable[[Floats], Floats]] = {
    "identity": lambda raw: raw,
    "logistic": _logistic,
    "logistic32": _logistic,
    "shares": _shares,
    "shares32": _shares,
    "softmax": _softmax,
}
"""How sums become scores; the suffix 32 says that they are in float32."""


def _trees(node: Spec, batch: Batch) -> Floats:
    first, count, outputs, classes = (
        int(node[n]) for n in ("first", "count", "outputs", "classes")
    )
    slots = batch.slots[first : first + count]
    if len(slots) != count:
        raise ModelFileError("there are fewer trees than a node counts")
    kind = np.float32 if node["single"] else np.float64
    if outputs > 1:
        sums = [_added(batch.trees.leaves[slots + at], 0.0, kind) for at in range(outputs)]
    else:
        sums = [
            _added(batch.trees.leaves[slots[at::classes]], node["before"][at], kind)
            for at in range(classes)
        ]
    raw: Floats = (sums[0] if len(sums) == 1 else np.stack(sums, axis=1)) + kind(node["after"])
    if node["mean"]:
        raw /= count
    return LINKS[node["link"]](raw)


def _added(values: Floats, start: float, kind: Any) -> Floats:
    """Return the sums over the trees, one after the other."""
    values = values.astype(kind)
    if len(values) == 0:
        return np.full(values.shape[1], start, dtype=kind)
    values[0] += kind(start)
    if values.shape[1] < FEW_ROWS:
        return np.add.accumulate(values, axis=0)[-1]
    total: Floats = values[0]
    for one in values[1:]:
        total += one
    return total


def _linear(node: Spec, batch: Batch) -> Floats:
    return _linked(node, linear_sums(node, batch.matrix.T))


def linear_sums(node: Spec, rows: Floats) -> Floats:
    """Return the sums of a linear model, shape (n_rows, n_sums)."""
    coef = node["coef"]
    total = np.zeros((len(rows), len(coef)), dtype=coef.dtype)
    if node["numbers"] is not None:
        scaled = _scaled(node["numbers"], rows)
        # Not BLAS, whose order of summation depends on the number of rows.
        sums = [np.multiply(scaled, one, order="C").sum(axis=1) for one in coef]
        total = np.stack(sums, axis=1)
    for table in node["categories"]:
        total = total + table["values"][entries(rows[:, table["column"]], table["values"])]
    return total + node["intercept"]


def _scaled(numbers: Spec, rows: Floats) -> Floats:
    block = np.take(rows, numbers["columns"], axis=1)
    gaps = np.isnan(block)
    filled = np.where(gaps, numbers["fill"], block) if gaps.any() else block
    if len(numbers["flags"]):
        filled = np.concatenate([filled, gaps[:, numbers["flags"]].astype(np.float32)], axis=1)
    scaled: Floats = (filled - numbers["mean"]) / numbers["scale"]
    if not numbers["edges"]:
        return scaled
    bent = [
        np.clip((filled[:, [at]] - edges[:-1]) / np.diff(edges), 0.0, 1.0)
        for at, edges in enumerate(numbers["edges"])
    ]
    return np.concatenate([scaled, *bent], axis=1)


def _sparse(node: Spec, batch: Batch) -> Floats:
    block = np.nan_to_num(batch.matrix[node["columns"]].T * node["factor"]).astype(np.float32)
    coef = node["coef"]
    total = [np.cumsum(block * one, axis=1, dtype=coef.dtype)[:, -1] for one in coef]
    return _linked(node, np.stack(total, axis=1) + node["intercept"])


def _linked(node: Spec, raw: Floats) -> Floats:
    return LINKS[node["link"]](raw[:, 0] if raw.shape[1] == 1 else raw)


def _checklist(node: Spec, batch: Batch) -> Floats:
    counts = np.zeros(batch.n_rows, dtype=np.int64)
    for column, test, cut in zip(node["columns"], node["tests"], node["values"], strict=True):
        counts += passed(batch.matrix[column], test, cut)
    return node["scores"][counts]


def passed(column: Floats, test: str, cut: float) -> Array:
    """Return which values pass the test of a checklist item."""
    # Cuts are float64, because a midpoint between two float32 values may need it.
    values = column.astype(np.float64)
    missing = np.isnan(values)
    answers = {
        ">=": values >= cut,
        "<": values < cut,
        "is": values == cut,
        "is not": ~missing & (values != cut),
        "is missing": missing,
        "is given": ~missing,
    }
    return answers[test]


def _designed(design: Spec, matrix: Floats) -> Floats:
    scaled = (matrix[design["numeric"]].T.astype(np.float64) - design["mean"]) / design["scale"]
    farthest = design["farthest"]
    scaled = np.clip(np.nan_to_num(scaled, nan=0.0), -farthest, farthest)
    flags = np.isnan(matrix[design["flagged"]].T).astype(np.float64)
    parts = [
        (np.where(np.isnan(matrix[at]), -1, matrix[at]).astype(np.int64)[:, None] == codes).astype(
            np.float64
        )
        for at, codes in zip(design["categorical"], design["levels"], strict=True)
    ]
    return np.concatenate((scaled, flags, *parts), axis=1)


def _experts(node: Spec, batch: Batch) -> Floats:
    rows = _designed(node["design"], batch.matrix)
    margins = np.einsum("nd,ed->ne", rows, node["w"]) + node["b"]
    gates = _softmax(np.einsum("nd,ed->ne", rows, node["v"]) + node["c"])
    return np.minimum((gates * _logistic(margins)).sum(axis=1), 1.0)


def _additive(node: Spec, batch: Batch) -> Floats:
    total = np.full(batch.n_rows, float(node["start"]))
    for term in node["terms"]:
        places = [
            _bins(one, batch.matrix[column])
            for one, column in zip(term["bins"], term["columns"], strict=True)
        ]
        total += term["scores"][tuple(places)]
    grown = _exp(total)
    return grown / (grown + 1.0)


def _bins(bins: Spec, column: Floats) -> Array:
    """Return the bin of each value; missing values are in the first one."""
    if bins["codes"] is None:
        found = np.searchsorted(bins["cuts"], column.astype(np.float64), side="right") + 1
    else:
        found = np.append(bins["codes"], -1)[entries(column, np.append(bins["codes"], -1))]
    return np.where(np.isnan(column), 0, found)


def _network(node: Spec, batch: Batch) -> Floats:
    return network_scores(node["network"], batch.matrix[node["columns"]].T)


def _spread(node: Spec, batch: Batch) -> Floats:
    found = np.zeros((batch.n_rows, small(node["size"])))
    found[:, node["known"]] = batch.found[node["of"]]
    return found


def _probability(node: Spec, batch: Batch) -> Floats:
    return np.clip(batch.found[node["of"]], 0.0, 1.0).astype(np.float32)


def _class_shares(node: Spec, batch: Batch) -> Floats:
    clipped = np.clip(batch.found[node["of"]].astype(np.float64), 0.0, 1.0)
    return (clipped / clipped.sum(axis=1, keepdims=True)).astype(np.float32)


def _mean(node: Spec, batch: Batch) -> Floats:
    total = np.zeros(1)
    for scores in batch.of(node):
        total = total + scores
    return (total / len(node["of"])).astype(np.float32)


def _weighted(node: Spec, batch: Batch) -> Floats:
    parts = batch.of(node)
    total = np.zeros(parts[0].shape)
    for scores, share in zip(parts, node["shares"], strict=True):
        total += float(share) * scores
    return total.astype(np.float32)


def _membership(node: Spec, batch: Batch) -> Floats:
    found = np.zeros((batch.n_rows, 2 * small(node["n_cells"])))
    for at, scores in zip(node["classes"], batch.of(node), strict=True):
        found[:, at] = scores
    total = found.sum(axis=1, keepdims=True)
    even = np.full_like(found, 1.0 / found.shape[1])
    shares = np.divide(found, total, out=even, where=total > 0)
    return shares.reshape(-1, int(node["n_cells"]), 2).astype(np.float32)


NODES: dict[str, Callable[[Spec, Batch], Any]] = {
    "additive": _additive,
    "averaged": lambda node, batch: (node["omega"] @ np.stack(batch.of(node))).astype(np.float32),
    "checklist": _checklist,
    "columns": lambda node, batch: np.stack(batch.of(node), axis=1),
    "constant": lambda node, batch: np.repeat(np.asarray(node["value"])[None], batch.n_rows, 0),
    "even": lambda node, batch: np.mean(batch.of(node), axis=0),
    "experts": _experts,
    "linear": _linear,
    "mean": _mean,
    "membership": _membership,
    "network": _network,
    "number": lambda node, batch: batch.found[node["of"]].astype(np.float32),
    "probability": _probability,
    "scaled": lambda node, batch: (
        node["mean"] + node["scale"] * batch.found[node["of"]].astype(np.float64)
    ),
    "shares": _class_shares,
    "sparse": _sparse,
    "spread": _spread,
    "trees": _trees,
    "weighted": _weighted,
}


def _lookup(step: Spec, matrix: Floats, cells: Array) -> Floats:
    column, values = matrix[step["column"]], step["values"]
    return values[entries(column, values)]


def _fixed(step: Spec, matrix: Floats, cells: Array) -> Floats:
    return np.repeat(step["values"][:, None], matrix.shape[1], axis=1)


def _decorrelated(step: Spec, matrix: Floats, cells: Array) -> Floats:
    shift = step["shift"][groups_of(step["of_cell"], cells)]
    return (_designed(step["design"], matrix) - shift).T


def _repaired(step: Spec, matrix: Floats, cells: Array) -> Floats:
    row = draws(matrix[step["row"]].T, step["odd"])
    return repaired(step, matrix[step["column"]], groups_of(step["of_cell"], cells), row)


def repaired(step: Spec, column: Floats, of_row: Array, row: Floats) -> Floats:
    """Return a repaired column; missing numbers and unknown categories stay as they are."""
    column, middle, strength = column.copy(), step["middle"], step["strength"]
    for_rank, for_share = np.modf(row * step["factors"][:, None])[0]
    if step["codes"] is None:
        found = ~np.isnan(column)
        x = column[found].astype(np.float64)
        rank = _rank(step, x, of_row[found], for_rank[found])
        full = np.interp(rank, middle["ranks"], middle["values"])
        column[found] = (1 - strength) * x + strength * full
        return column
    present, codes = np.where(np.isnan(column), -1, column), step["codes"]
    sorter = np.argsort(codes)
    at = np.minimum(np.searchsorted(codes, present, sorter=sorter), len(codes) - 1)
    found = (codes[sorter[at]] == present) & (for_share < strength)
    x = sorter[at][found].astype(np.float64)
    rank = _rank(step, x, of_row[found], for_rank[found])
    ends = np.searchsorted(middle["ranks"][:-1], rank, side="right")
    new = codes[middle["values"][ends].astype(np.int64)]
    column[found] = np.where(new == -1, np.nan, new)
    return column


def _rank(step: Spec, x: Floats, of_row: Array, draw: Floats) -> Floats:
    rank = np.empty(len(x))
    for group in (-1, *range(len(step["groups"]))):
        table = step["pooled"] if group < 0 else step["groups"][group]
        # Rows of a group without values keep the rank among all rows.
        mine = np.ones(len(x), dtype=bool) if group < 0 else of_row == group
        if len(table["values"]):
            spread = np.interp(x[mine], table["values"], table["spread"])
            ranks = np.interp(x[mine], table["values"], table["ranks"])
            rank[mine] = ranks + (2 * draw[mine] - 1) * spread
    return rank


def _represented(step: Spec, matrix: Floats, cells: Array) -> Floats:
    rows = _designed(step["design"], matrix)
    if step["layer"] is not None:
        rows = np.tanh(rows @ step["layer"]["coefficients"] + step["layer"]["intercepts"])
    return (rows - (rows - step["mean"]) @ step["moved"]).T


def _text(step: Spec, matrix: Floats, cells: Array) -> Floats:
    values, squares = step["values"], step["squares"]
    total, square = np.zeros((matrix.shape[1], values.shape[1])), np.zeros(matrix.shape[1])
    for column in matrix[step["columns"]]:
        codes = entries(column, squares)
        total += values[codes]
        square += squares[codes]
    norm = np.sqrt(np.where(square > 0, square, 1.0))
    return (total / norm[:, None] + step["offset"]).T


STEPS: dict[str, Callable[[Spec, Floats, Array], Floats]] = {
    "decorrelated": _decorrelated,
    "fixed": _fixed,
    "lookup": _lookup,
    "repaired": _repaired,
    "represented": _represented,
    "text": _text,
}


class Program:
    """Steps that append columns, trees, and nodes that compute the scores."""

    def __init__(self, decision: Spec) -> None:
        # Of a sparse matrix absent values are read twice: as 0, and as missing.
        texts = decision["schema"].get("texts", [])
        n_features = len(decision["schema"]["columns"]) + sum(text["width"] for text in texts)
        self.n_read = 2 * n_features if decision["schema"]["sparse"] else n_features
        self.steps, self.nodes = decision["steps"], decision["nodes"]
        self.result, self.membership = decision["scores"], decision["membership"]
        width = self.n_read
        for step in self.steps:
            if step["op"] not in STEPS:
                raise ModelFileError(f"there is no step {step['op']!r}")
            width = small(width + small(step["width"]))
        self.width = width
        for number, node in enumerate(self.nodes):
            _check_node(number, node)
        ends = [self.result] if self.membership is None else [self.result, self.membership]
        if not all(0 <= end < len(self.nodes) for end in ends):
            raise ModelFileError("the scores are no node")
        self.trees = Trees(decision["trees"], width)

    def __call__(self, X: Floats, cells: Array) -> tuple[Floats, Floats | None]:
        """Return the scores of encoded rows, and their group probabilities."""
        matrix = np.empty((self.width, len(X)), dtype=np.float32)
        matrix[: self.n_read] = X.T
        at = self.n_read
        for step in self.steps:
            matrix[at : at + step["width"]] = STEPS[step["op"]](step, matrix[:at], cells)
            at += step["width"]
        batch = Batch(matrix, self.trees)
        for node in self.nodes:
            batch.found.append(NODES[node["op"]](node, batch))
        scores = batch.found[self.result]
        if not np.isfinite(scores).all():
            raise NewRowsError("a score of the model is not finite; check the values of the rows")
        return scores, None if self.membership is None else batch.found[self.membership]


def _check_node(number: int, node: Spec) -> None:
    if node["op"] not in NODES:
        raise ModelFileError(f"there is no node {node['op']!r}")
    of = node.get("of", [])
    for other in of if isinstance(of, list) else [of]:
        if not isinstance(other, int) or not 0 <= other < number:
            raise ModelFileError("a node depends on a later one")
