"""The portable form of fitted models: nodes of JSON values and arrays, read by the runtime.

Each model writes itself with ``dump(out, columns)`` and returns the number of its node. Columns
are positions in a matrix of float32 that begins with the encoded features; steps append columns
to it, for example the target means of one fold.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from fairautoml.exceptions import NotPortableError

Positions = NDArray[np.int64]
"""Columns of the matrix that a model reads, in its own order."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Tree:
    """One binary tree; node 0 is the root."""

    feature: NDArray[np.integer]  # shape (n_nodes,): column of the model's matrix
    threshold: NDArray[np.floating]  # shape (n_nodes,): values up to it go left
    left: NDArray[np.integer]  # shape (n_nodes,): children, -1 for a leaf
    right: NDArray[np.integer]  # shape (n_nodes,)
    missing_left: NDArray[np.bool_]  # shape (n_nodes,): whether missing values go left
    value: NDArray[np.floating]  # shape (n_nodes,) or (n_nodes, n_outputs): values of leaves
    # codes that go left, by node that splits on a category
    categories: Mapping[int, Sequence[int]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Sums:
    """How the leaves of an ensemble become scores."""

    link: str = "identity"  # a key of ``LINKS`` in the runtime
    n_classes: int = 1  # trees of several classes alternate
    before: tuple[float, ...] = (0.0,)  # start of the sum of each class
    after: float = 0.0  # added to the sum
    mean: bool = False  # whether the sum is divided by the number of trees
    single: bool = False  # whether sums are in float32


class Dump:
    """Collects the nodes, steps, arrays and trees of a model."""

    def __init__(self, n_features: int, *, sparse: bool = False) -> None:
        # Of a sparse matrix there are two copies: absent values are 0, and they are missing.
        self.width = 2 * n_features if sparse else n_features
        self.n_features = n_features
        self.sparse = sparse
        self.arrays: list[NDArray[Any]] = []
        self.nodes: list[dict[str, Any]] = []
        self.steps: list[dict[str, Any]] = []
        self._known: dict[Any, Any] = {}
        self._forests: list[dict[str, NDArray[Any]]] = []
        self._sizes = {"nodes": 0, "leaves": 0, "sets": 0, "trees": 0}

    def plain(self, value: Any) -> Any:
        """Return a value as JSON, with arrays by their number."""
        if isinstance(value, np.ndarray):
            return {"array": self._array(np.ascontiguousarray(value))}
        if isinstance(value, Mapping):
            return {str(key): self.plain(one) for key, one in value.items()}
        if isinstance(value, list | tuple):
            return [self.plain(one) for one in value]
        return value.item() if isinstance(value, np.generic) else value

    def _array(self, values: NDArray[Any]) -> int:
        key = (values.dtype.str, values.shape, hashlib.sha256(values.data).digest())
        if key not in self._known:
            self._known[key] = len(self.arrays)
            self.arrays.append(values)
        return self._known[key]

    def node(self, op: str, content: Mapping[str, Any]) -> int:
        """Add a node and return its number; equal nodes are one."""
        return self._added(self.nodes, {**self.plain(content), "op": op})

    def step(self, op: str, content: Mapping[str, Any], n_columns: int) -> Positions:
        """Append columns to the matrix and return their positions; equal steps are one."""
        spec = {**self.plain(content), "op": op}
        before = len(self.steps)
        number = self._added(self.steps, {**spec, "width": n_columns})
        if number == before:
            self._known["step", number] = self.width
            self.width += n_columns
        first: int = self._known["step", number]
        return np.arange(first, first + n_columns)

    def _added(self, to: list[dict[str, Any]], spec: dict[str, Any]) -> int:
        key = (id(to), json.dumps(spec, sort_keys=True))
        if key not in self._known:
            self._known[key] = len(to)
            to.append(spec)
        return self._known[key]

    def model(self, model: Any, columns: Positions) -> int:
        """Add a model that knows its portable form, and return its node."""
        return _portable(model).dump(self, columns)

    def change(self, change: Any, columns: Positions) -> Positions:
        """Append the columns that a transformation makes, and return those of the result."""
        return _portable(change).dump(self, columns)

    def absent(self, columns: Positions) -> Positions:
        """Return the columns in which the absent values of a sparse matrix are missing."""
        return columns + self.n_features if self.sparse else columns

    def trees(self, trees: Sequence[Tree], columns: Positions, sums: Sums) -> int:
        """Add the trees of an ensemble and return its node."""
        first, n_outputs = self._sizes["trees"], 1
        if trees:
            n_outputs = 1 if trees[0].value.ndim == 1 else trees[0].value.shape[1]
            self._forests.append(_arranged(trees, columns, self._sizes))
        content = {
            "first": first,
            "count": len(trees),
            "outputs": n_outputs,
            "classes": sums.n_classes,
            "before": np.asarray(sums.before, dtype=np.float64),
            "after": sums.after,
            "mean": sums.mean,
            "single": sums.single,
            "link": sums.link,
        }
        return self.node("trees", content)

    def replant(
        self, node: Mapping[str, Any], forest: Mapping[str, NDArray[Any]], columns: Positions
    ) -> int:
        """Add the trees of a node of another portable form, and return the new node."""
        content = {key: value for key, value in node.items() if key != "op"}
        content["first"] = self._sizes["trees"]
        if node["count"]:
            self._forests.append(_moved(node, forest, columns, self._sizes))
        return self.node("trees", content)

    def forest(self) -> dict[str, Any]:
        """Return the trees of all ensembles in common arrays."""
        names = ("roots", "feature", "threshold", "left", "missing", "category", "leaves")
        empty = {"threshold": np.float32, "leaves": np.float64, "missing": np.uint8}
        found: dict[str, Any] = {}
        for name in names:
            parts = [np.zeros(0, dtype=empty.get(name, np.int32))]
            found[name] = np.concatenate([*parts, *(one[name] for one in self._forests)])
        width = max((one["sets"].shape[1] for one in self._forests), default=1)
        sets = [np.pad(one["sets"], ((0, 0), (0, width - one["sets"].shape[1])))
                for one in self._forests]  # fmt: skip
        found["sets"] = np.concatenate([np.zeros((0, width), dtype=np.uint8), *sets])
        return found


@runtime_checkable
class Portable(Protocol):
    """A model, a transformation of columns or an estimator with a portable form."""

    def dump(self, out: Dump, columns: Positions) -> Any:
        """Write itself and return its node, or the positions of the columns that it made."""


def _portable(part: Any) -> Portable:
    if not isinstance(part, Portable):
        raise NotPortableError(f"{type(part).__name__} has no portable form")
    return part


def _arranged(
    trees: Sequence[Tree], columns: Positions, sizes: dict[str, int]
) -> dict[str, NDArray[Any]]:
    """Return trees level by level, siblings side by side, in numbers of the whole model."""
    starts = np.cumsum([0, *(len(tree.feature) for tree in trees)])
    left, right = (
        np.concatenate([np.where(child < 0, -1, child + start) for child, start in pairs])
        for pairs in (
            zip((tree.left for tree in trees), starts, strict=False),
            zip((tree.right for tree in trees), starts, strict=False),
        )
    )
    levels = [starts[:-1]]
    while len(levels[-1]):
        inner = levels[-1][left[levels[-1]] >= 0]
        levels.append(np.stack([left[inner], right[inner]], axis=1).ravel())
    order = np.concatenate(levels)
    place = np.empty(len(left), dtype=np.int64)
    place[order] = np.arange(len(order)) + sizes["nodes"]
    leaf = left[order] < 0
    value = np.concatenate([tree.value for tree in trees])[order][leaf].astype(np.float64)
    n_outputs = 1 if value.ndim == 1 else value.shape[1]
    slot = np.cumsum(leaf) - 1
    first = np.where(leaf, ~(sizes["leaves"] + slot * n_outputs), place[left[order]])
    sets, category = _sets(trees, starts, len(left), sizes["sets"])
    feature = np.concatenate([tree.feature for tree in trees])[order]
    threshold = np.concatenate([tree.threshold for tree in trees])[order]
    found = {
        "roots": np.arange(len(trees), dtype=np.int32) + np.int32(sizes["nodes"]),
        "feature": np.where(leaf, 0, columns[np.where(leaf, 0, feature)]).astype(np.int32),
        "threshold": np.where(leaf, np.float32(0), floor32(threshold)),
        "left": first.astype(np.int32),
        "missing": np.concatenate([tree.missing_left for tree in trees])[order].astype(np.uint8),
        "category": category[order],
        "sets": sets,
        "leaves": value.ravel(),
    }
    for name, size in (("nodes", len(order)), ("leaves", value.size), ("sets", len(sets)),
                       ("trees", len(trees))):  # fmt: skip
        sizes[name] += size
    return found


def _moved(
    node: Mapping[str, Any],
    forest: Mapping[str, NDArray[Any]],
    columns: Positions,
    sizes: dict[str, int],
) -> dict[str, NDArray[Any]]:
    """Return the trees of a node, which follow each other, in numbers of another model."""
    first, count, roots = node["first"], node["count"], forest["roots"]
    start = int(roots[first])
    end = int(roots[first + count]) if first + count < len(roots) else len(forest["feature"])
    found = {
        name: forest[name][start:end]
        for name in ("feature", "threshold", "left", "missing", "category")
    }
    left, category = found["left"], found["category"]
    leaf, splits = left < 0, category >= 0
    slots, sets = ~left[leaf], category[splits]
    low, high = int(slots.min()), int(slots.max()) + node["outputs"]
    kept = (int(sets.min()), int(sets.max()) + 1) if len(sets) else (0, 0)
    moved = np.where(leaf, left + (low - sizes["leaves"]), left + (sizes["nodes"] - start))
    found |= {
        "roots": roots[first : first + count] + np.int32(sizes["nodes"] - start),
        "feature": np.where(leaf, 0, columns[found["feature"]]).astype(np.int32),
        "left": moved.astype(np.int32),
        "category": np.where(splits, category + (sizes["sets"] - kept[0]), -1).astype(np.int32),
        "sets": forest["sets"][slice(*kept)],
        "leaves": forest["leaves"][low:high],
    }
    if not all(start < child < end - 1 for child in left[~leaf].tolist()):
        raise IndexError("a tree points out of its ensemble")
    for name, size in (("nodes", end - start), ("leaves", high - low),
                       ("sets", kept[1] - kept[0]), ("trees", count)):  # fmt: skip
        sizes[name] += size
    return found


def _sets(
    trees: Sequence[Tree], starts: NDArray[np.integer], n_nodes: int, first: int
) -> tuple[NDArray[np.uint8], NDArray[np.int32]]:
    """Return which codes go left, one row per set, and the set of each node, -1 for none."""
    category = np.full(n_nodes, -1, dtype=np.int32)
    splits = [
        (int(start) + node, codes)
        for tree, start in zip(trees, starts, strict=False)
        for node, codes in tree.categories.items()
    ]
    width = 1 + max((max(codes, default=0) for _, codes in splits), default=0)
    sets = np.zeros((len(splits), width), dtype=np.uint8)
    for at, (node, codes) in enumerate(splits):
        sets[at, list(codes)] = 1
        category[node] = first + at
    return sets, category


def floor32(values: NDArray[np.floating]) -> NDArray[np.float32]:
    """Return the largest float32 of at most each value: no float32 lies between the two."""
    with np.errstate(over="ignore"):
        near = values.astype(np.float32)
        lower = np.nextafter(near, np.float32(-np.inf))
    return np.where(near.astype(np.float64) > values, lower, near)
