"""Write the portable form of a binary model as an ONNX graph."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fairautoml.data.files import write_whole
from fairautoml.exceptions import MissingExtraError, NotPortableError
from fairautoml.runtime._groups import MISSING
from fairautoml.runtime._rules import row_thresholds

try:
    from onnx import TensorProto, checker, helper, numpy_helper
except ImportError as error:
    msg = "to_onnx needs onnx; install it with: pip install 'fairautoml-search[onnx]'"
    raise MissingExtraError(msg) from error

ML = "ai.onnx.ml"
OPSETS = {"": 21, ML: 5}
IR_VERSION = 10
OUTPUTS = ("decision", "fair_score", "base_score")
LEQ, MEMBER = 0, 6
"""Modes of the nodes of a TreeEnsemble: values up to a threshold, codes of a set."""
MOST_GROUPS = 1_000_000
"""Largest number of combinations of groups in a table."""

Array = NDArray[Any]
Spec = Mapping[str, Any]


class _Graph:
    """Nodes, constants and inputs of a graph; inner values have shape (n_rows, k)."""

    def __init__(self) -> None:
        self.nodes: list[Any] = []
        self.constants: list[Any] = []
        self.inputs: dict[str, int] = {}

    def add(
        self, op: str, *inputs: str, attributes: Mapping[str, Any] | None = None, domain: str = ""
    ) -> str:
        name = f"fairautoml/{len(self.nodes)}"
        given = {} if attributes is None else attributes
        self.nodes.append(helper.make_node(op, inputs, [name], domain=domain, **given))
        return name

    def constant(self, values: Any) -> str:
        name = f"fairautoml/constant/{len(self.constants)}"
        self.constants.append(numpy_helper.from_array(np.asarray(values), name))
        return name

    def input(self, name: str, *, text: bool) -> str:
        """Add a column, or return the one of that name."""
        kind = TensorProto.STRING if text else TensorProto.FLOAT
        if name in OUTPUTS:
            raise NotPortableError(f"column {name!r} has the name of an output of the ONNX graph")
        if self.inputs.setdefault(name, kind) != kind:
            msg = f"column {name!r} is text as a feature or as a group, and a number as the other"
            raise NotPortableError(msg)
        return name

    def cast(self, value: str, to: int = TensorProto.DOUBLE) -> str:
        return self.add("Cast", value, attributes={"to": to})

    def rounded(self, value: str) -> str:
        """Return the nearest float32, as float64."""
        return self.cast(self.cast(value, TensorProto.FLOAT))

    def clipped(self, value: str) -> str:
        limits = self.constant(np.float64(0)), self.constant(np.float64(1))
        return self.add("Clip", value, *limits)

    def column(self, value: str, at: int) -> str:
        return self.add("Gather", value, self.constant(np.array([at])), attributes={"axis": 1})

    def entries(self, table: Array, index: str) -> str:
        """Return the entries of a table of one dimension."""
        return self.add("Gather", self.constant(table), index)

    def concat(self, parts: Sequence[str]) -> str:
        return self.add("Concat", *parts, attributes={"axis": 1})


def write_onnx(decision: Spec, path: Path) -> None:
    """Write the resolved portable form of a binary model."""
    graph, rule = _Graph(), decision["rule"]
    if decision["task"] != "binary" or decision["schema"]["sparse"]:
        raise NotPortableError("to_onnx writes binary models of dense tables alone")
    if decision["schema"].get("texts"):
        name = decision["schema"]["texts"][0]["name"]
        raise NotPortableError(f"to_onnx writes no text, and column {name!r} is text; use export")
    if rule["kind"] != "thresholds" or rule["randomized"]:
        kind = "randomized" if rule["randomized"] else rule["kind"]
        raise NotPortableError(f"a rule of kind {kind!r} has no form in ONNX; only thresholds do")
    columns = [_feature(graph, column) for column in decision["schema"]["columns"]]
    rows = graph.add("Shape", columns[0])
    groups = decision["groups"]
    cells = _fixed(graph, rows, np.int64(0)) if groups is None else _cells(graph, groups)
    for step in decision["steps"]:
        columns += _step(graph, step, columns, rows)
    program = _Program(graph, decision, columns, rows)
    n_cells = 1 if groups is None else len(groups["cell_codes"])
    cuts = np.asarray(row_thresholds(rule, np.append(np.arange(n_cells), -1), None))
    cut = graph.entries(cuts, _entry(graph, cells, n_cells))
    decided = _decided(graph, program.scores, cut, constrained=decision["constrained"])
    labels = np.array(decision["classes"]["values"])
    labels = labels.astype(object) if labels.dtype.kind == "U" else labels
    outputs = (graph.entries(labels, graph.cast(decided[0], TensorProto.INT64)), *decided[1:])
    kinds = (helper.np_dtype_to_tensor_dtype(labels.dtype), TensorProto.DOUBLE, TensorProto.DOUBLE)
    flat = graph.constant(np.array([-1]))
    for name, value in zip(OUTPUTS, outputs, strict=True):
        graph.nodes.append(helper.make_node("Reshape", [value, flat], [name]))
    info = helper.make_tensor_value_info
    given = [info(name, kind, ["rows", 1]) for name, kind in graph.inputs.items()]
    answers = [info(name, kind, ["rows"]) for name, kind in zip(OUTPUTS, kinds, strict=True)]
    made = helper.make_graph(graph.nodes, "fairautoml", given, answers, graph.constants)
    opsets = [helper.make_opsetid(domain, version) for domain, version in OPSETS.items()]
    model = helper.make_model(made, opset_imports=opsets, producer_name="fairautoml")
    model.ir_version = IR_VERSION
    checker.check_model(model)
    write_whole(model.SerializeToString(), path)


def _feature(graph: _Graph, column: Spec) -> str:
    name, kind = column["name"], column["kind"]
    if kind in ("datetime", "timedelta"):
        raise NotPortableError(f"column {name!r} holds dates; to_onnx reads numbers and text")
    if column.get("form"):
        msg = f"column {name!r} holds numbers as text, which to_onnx does not read; use export"
        raise NotPortableError(msg)
    if kind != "category":
        return graph.input(name, text=False)
    codes = np.arange(len(column["levels"]), dtype=np.float32)
    return _coded(graph, name, column["levels"], codes, np.float32(np.nan))


def _coded(graph: _Graph, name: str, levels: Sequence[Any], codes: Array, other: Any) -> str:
    """Return the code of each typed value of a column, ``other`` of an unknown one."""
    kinds = {kind for kind, _ in levels}
    text = kinds == {"str"}
    if not text and not kinds <= {"int", "float", "bool"}:
        shown = " and ".join(sorted(kinds))
        raise NotPortableError(f"column {name!r} holds values of type {shown}; convert it to text")
    keys = np.array([value for _, value in levels], dtype=object if text else np.float32)
    exact = text or (keys == np.array([value for _, value in levels], dtype=np.float64)).all()
    if len(set(keys.tolist())) < len(keys) or not exact:
        raise NotPortableError(f"column {name!r} holds categories that are equal as float32")
    attributes = {
        "keys_tensor": numpy_helper.from_array(keys),
        "values_tensor": numpy_helper.from_array(codes),
        "default_tensor": numpy_helper.from_array(np.array([other], dtype=codes.dtype)),
    }
    given = graph.input(name, text=text)
    return graph.add("LabelEncoder", given, attributes=attributes, domain=ML)


def _fixed(graph: _Graph, rows: str, value: Any) -> str:
    return graph.add("Expand", graph.constant(value), rows)


def _cells(graph: _Graph, groups: Spec) -> str:
    """Return the cell of each row, -1 for rows without one."""
    cell_codes = groups["cell_codes"]
    sizes = [len(column["levels"]) for column in groups["columns"]]
    if np.prod(sizes, dtype=np.float64) > MOST_GROUPS:
        raise NotPortableError(f"the sensitive columns have more than {MOST_GROUPS} combinations")
    table = np.full(int(np.prod(sizes)) + 1, -1, dtype=np.int64)
    table[np.ravel_multi_index(tuple(cell_codes.T), sizes)] = np.arange(len(cell_codes))
    codes = graph.concat([_group(graph, column) for column in groups["columns"]])
    strides = np.cumprod([1, *sizes[:0:-1]])[::-1]
    axis = graph.constant(np.array([1]))
    place = graph.add("ReduceSum", graph.add("Mul", codes, graph.constant(strides)), axis)
    least = graph.add("ReduceMin", codes, axis)
    known = graph.add("GreaterOrEqual", least, graph.constant(np.int64(0)))
    last = graph.constant(np.int64(len(table) - 1))
    return graph.entries(table, graph.add("Where", known, place, last))


def _group(graph: _Graph, column: Spec) -> str:
    """Return the position of each value among the groups of a column, -1 for an unknown one."""
    name, reading = str(column["name"]), column["reading"]
    keys = [tuple(level) for level in column["levels"]]
    missing = keys.index(MISSING) if MISSING in keys else -1
    if reading == "bins":
        given = graph.input(name, text=False)
        above = graph.add("Less", graph.constant(column["edges"][None]), graph.cast(given))
        place = graph.add(
            "ReduceSum", graph.cast(above, TensorProto.INT64), graph.constant(np.array([1]))
        )
        steps = [("str", step) for step in column["steps"]]
        codes_of_steps = [keys.index(step) if step in keys else -1 for step in steps]
        found = graph.entries(np.array(codes_of_steps), place)
    elif reading == "value":
        levels = [(at, key) for at, key in enumerate(keys) if at != missing]
        codes, known = [at for at, _ in levels], [key for _, key in levels]
        if missing >= 0 and {kind for kind, _ in known} == {"str"} and ("str", "") not in known:
            codes, known = [*codes, missing], [*known, ("str", "")]
        found = _coded(graph, name, known, np.array(codes, dtype=np.int64), -1)
    else:
        raise NotPortableError(f"sensitive {name!r} is read as {reading}, which ONNX cannot do")
    if graph.inputs[name] == TensorProto.STRING:
        return found
    gap = graph.add("IsNaN", name)
    return graph.add("Where", gap, graph.constant(np.int64(missing)), found)


def _places(graph: _Graph, column: str, n_codes: int) -> str:
    """Return the entry of each code of a column in a table; the last one is that of missing."""
    last = graph.constant(np.float32(n_codes))
    least = graph.add("GreaterOrEqual", column, graph.constant(np.float32(0)))
    known = graph.add("And", least, graph.add("Less", column, last))
    return graph.cast(graph.add("Where", known, column, last), TensorProto.INT64)


def _step(graph: _Graph, step: Spec, columns: Sequence[str], rows: str) -> list[str]:
    if step["op"] == "lookup":
        place = _places(graph, columns[step["column"]], len(step["values"]) - 1)
        return [graph.entries(step["values"].astype(np.float32), place)]
    if step["op"] == "fixed":
        return [_fixed(graph, rows, value) for value in step["values"].astype(np.float32)]
    raise NotPortableError(f"the pre-processing step {step['op']!r} has no form in ONNX")


def _entry(graph: _Graph, cells: str, n_cells: int) -> str:
    """Return the entry of each cell in a table whose last entry is that of unknown cells."""
    known = graph.add("GreaterOrEqual", cells, graph.constant(np.int64(0)))
    return graph.add("Where", known, cells, graph.constant(np.int64(n_cells)))


class _Program:
    """The nodes of a model, each with one column of float64."""

    def __init__(self, graph: _Graph, decision: Spec, columns: list[str], rows: str) -> None:
        self.graph, self.columns, self.rows = graph, columns, rows
        nodes = decision["nodes"]
        self.first: dict[int, int] = {}
        forests = [(at, node) for at, node in enumerate(nodes) if node["op"] == "trees"]
        if forests:
            self.trees = self._forest(decision["trees"], forests)
        self.found: list[str] = []
        for at, node in enumerate(nodes):
            self.found.append(self._node(at, node))
        self.scores = self.found[decision["scores"]]

    def _forest(self, spec: Spec, forests: Sequence[tuple[int, Spec]]) -> str:
        """Return the sums of the leaves of every ensemble, one column each."""
        owner = np.full(len(spec["roots"]), -1)
        for number, (at, node) in enumerate(forests):
            if node["classes"] != 1 or node["outputs"] != 1:
                raise NotPortableError("trees of several outputs have no form in ONNX here")
            self.first[at] = number
            owner[node["first"] : node["first"] + node["count"]] = number
        matrix = self.graph.cast(self.graph.concat(self.columns))
        attributes = {**_tree_attributes(spec, owner), "n_targets": len(forests)}
        return self.graph.add("TreeEnsemble", matrix, attributes=attributes, domain=ML)

    def _node(self, at: int, node: Spec) -> str:
        graph, op = self.graph, node["op"]
        if op == "trees":
            return self._trees(at, node)
        if op == "linear":
            return self._linear(node)
        if op == "constant":
            return _fixed(graph, self.rows, np.float64(node["value"]))
        if op == "probability":
            return graph.rounded(graph.clipped(self.found[node["of"]]))
        if op in ("mean", "weighted", "averaged"):
            parts = graph.concat([self.found[number] for number in node["of"]])
            even = np.full(len(node["of"]), 1.0 / len(node["of"]))
            shares = {"mean": even, "weighted": node.get("shares"), "averaged": node.get("omega")}
            weights = np.asarray(shares[op], dtype=np.float64)[:, None]
            return graph.rounded(graph.add("MatMul", parts, graph.constant(weights)))
        raise NotPortableError(f"a model of kind {op!r} has no form in ONNX")

    def _trees(self, at: int, node: Spec) -> str:
        graph = self.graph
        start = graph.constant(float(node["before"][0]) + float(node["after"]))
        total = graph.add("Add", graph.column(self.trees, self.first[at]), start)
        if node["mean"]:
            total = graph.add("Div", total, graph.constant(np.float64(node["count"])))
        return self._linked(node["link"], total)

    def _linked(self, link: str, total: str) -> str:
        if link in ("logistic", "logistic32"):
            return self.graph.add("Sigmoid", total)
        if link != "identity":
            raise NotPortableError(f"the link {link!r} has no form in ONNX")
        return total

    def _linear(self, node: Spec) -> str:
        graph = self.graph
        total = _fixed(graph, self.rows, np.float64(np.ravel(node["intercept"])[0]))
        if len(node["coef"]) != 1:
            raise NotPortableError("linear models of several classes have no form in ONNX here")
        if node["numbers"] is not None:
            weights = graph.constant(node["coef"].T.astype(np.float64))
            product = graph.add("MatMul", self._scaled(node["numbers"]), weights)
            total = graph.add("Add", total, product)
        for table in node["categories"]:
            values = table["values"].reshape(len(table["values"]), -1)[:, 0].astype(np.float64)
            place = _places(graph, self.columns[table["column"]], len(values) - 1)
            total = graph.add("Add", total, graph.entries(values, place))
        return self._linked(node["link"], total)

    def _scaled(self, numbers: Spec) -> str:
        graph = self.graph
        block = graph.concat([self.columns[at] for at in numbers["columns"]])
        gaps = graph.add("IsNaN", block)
        fill = graph.constant(numbers["fill"].astype(np.float32))
        filled = graph.cast(graph.add("Where", gaps, fill, block))
        flagged = [graph.cast(graph.column(gaps, int(at))) for at in numbers["flags"]]
        known = graph.concat([filled, *flagged])
        centred = graph.add("Sub", known, graph.constant(numbers["mean"].astype(np.float64)))
        scale = graph.constant(numbers["scale"].astype(np.float64))
        found = [graph.add("Div", centred, scale)]
        for at, edges in enumerate(numbers["edges"]):
            starts = graph.constant(edges[None, :-1].astype(np.float64))
            over = graph.add("Sub", graph.column(known, at), starts)
            width = graph.constant(np.diff(edges)[None].astype(np.float64))
            found.append(graph.clipped(graph.add("Div", over, width)))
        return graph.concat(found)


def _tree_attributes(spec: Spec, target: Array) -> dict[str, Any]:
    """Return the nodes of all trees, as a TreeEnsemble of ``ai.onnx.ml`` 5 stores them.

    Trees are walked together, level by level; inner nodes and leaves are numbered apart.
    """
    left, n_trees = spec["left"], len(spec["roots"])
    levels, node, owner = [], spec["roots"], np.arange(n_trees)
    while len(node):
        levels.append((node, owner))
        inner = left[node] >= 0
        first = left[node[inner]]
        node = np.stack([first, first + 1], axis=1).ravel()
        owner = np.repeat(owner[inner], 2)
    nodes, owners = (np.concatenate(part) for part in zip(*levels, strict=True))
    inner = left[nodes] >= 0
    number = np.where(inner, np.cumsum(inner), np.cumsum(~inner)) - 1
    n_inner = int(inner.sum())
    yes = n_trees + 2 * np.arange(n_inner)
    # A tree of one leaf gets a node with that leaf on both sides.
    lone = np.flatnonzero(~inner[:n_trees])
    roots = number[:n_trees].copy()
    roots[lone] = n_inner + np.arange(len(lone))
    true, false = (np.concatenate([number[side], number[lone]]) for side in (yes, yes + 1))
    true_leaf, false_leaf = (
        np.concatenate([~inner[side], np.ones(len(lone), dtype=bool)]) for side in (yes, yes + 1)
    )
    of = nodes[inner]
    modes, splits, sets = _splits(spec, of)
    padding = np.zeros(len(lone))
    leaf = nodes[~inner]
    return {
        "tree_roots": roots.tolist(),
        "nodes_featureids": [*spec["feature"][of].tolist(), *[0] * len(lone)],
        "nodes_modes": numpy_helper.from_array(np.concatenate([modes, padding]).astype(np.uint8)),
        "nodes_splits": numpy_helper.from_array(np.concatenate([splits, padding])),
        "nodes_truenodeids": true.tolist(),
        "nodes_trueleafs": true_leaf.astype(int).tolist(),
        "nodes_falsenodeids": false.tolist(),
        "nodes_falseleafs": false_leaf.astype(int).tolist(),
        "nodes_missing_value_tracks_true": [
            *spec["missing"][of].astype(int).tolist(), *[0] * len(lone),
        ],
        "leaf_targetids": target[owners[~inner]].tolist(),
        "leaf_weights": numpy_helper.from_array(spec["leaves"][~left[leaf]]),
        "aggregate_function": 1,
        "post_transform": 0,
        **({"membership_values": numpy_helper.from_array(sets)} if len(sets) else {}),
    }  # fmt: skip


def _splits(spec: Spec, of: Array) -> tuple[Array, Array, Array]:
    """Return mode and threshold of each node, and the codes of its sets, each ended by NaN."""
    category = spec["category"][of]
    chosen = np.flatnonzero(category >= 0)
    modes = np.full(len(of), LEQ)
    splits = spec["threshold"][of].astype(np.float64)
    sets: list[float] = []
    for at in chosen:
        codes = np.flatnonzero(spec["sets"][category[at]]).tolist()
        modes[at], splits[at] = (MEMBER, 0.0) if codes else (LEQ, -np.inf)
        sets += [*codes, np.nan] if codes else []
    return modes, splits, np.array(sets, dtype=np.float64)


def _decided(graph: _Graph, scores: str, cuts: str, *, constrained: bool) -> tuple[str, str, str]:
    """Return decision, fair score and base score, as ``fair_scores`` computes them."""
    accepted = graph.add("GreaterOrEqual", scores, cuts)
    if not constrained:
        return accepted, scores, scores
    zero, half, one = (graph.constant(np.float64(number)) for number in (0, 0.5, 1))
    cut = graph.clipped(cuts)
    above = graph.add("Mul", scores, graph.add("Sub", one, cut))
    below = graph.add("Mul", graph.add("Sub", one, scores), cut)
    total = graph.add("Add", above, below)
    positive = graph.add("Greater", total, zero)
    moved = graph.add("Div", above, graph.add("Where", positive, total, one))
    low = graph.add("Mul", half, graph.add("Add", one, scores))
    high = graph.add("Mul", half, scores)
    moved = graph.add("Where", graph.add("GreaterOrEqual", cuts, one), high, moved)
    moved = graph.add("Where", graph.add("LessOrEqual", cuts, zero), low, moved)
    sides = [graph.constant(np.nextafter(0.5, end)) for end in (1.0, 0.0)]
    upper, lower = graph.add("Max", moved, sides[0]), graph.add("Min", moved, sides[1])
    return accepted, graph.add("Where", accepted, upper, lower), scores
