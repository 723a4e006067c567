"""Give predictors and fold models back from their files, which run no code when they are read.

New tables are read, and warned about, as after a fit.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from fairautoml.data.columns import Column, PositionalNames, SparseColumns
from fairautoml.data.groups import GroupSchema, MissingPolicy, UnseenPolicy
from fairautoml.data.schema import TableSchema
from fairautoml.data.sensitive_numbers import NumberBins, Reading, Scale
from fairautoml.data.texts import TextColumn
from fairautoml.exceptions import ModelCorruptError
from fairautoml.inference.export import archived, program_of
from fairautoml.inference.predictor import Predictor
from fairautoml.metrics._table import TaskName
from fairautoml.mitigators import RuntimeRule
from fairautoml.portable import Dump, Positions
from fairautoml.records import Floats
from fairautoml.runtime import ModelFileError, PortablePredictor, load
from fairautoml.runtime._base import DAMAGE, small
from fairautoml.runtime._file import read_archive
from fairautoml.runtime._predictor import BLOCK_ROWS
from fairautoml.runtime._rows import SparseRows
from fairautoml.runtime._rules import RULES
from fairautoml.runtime._scores import Program

POSITIONS = frozenset({"column", "columns", "numeric", "flagged", "categorical"})
"""Names of columns of the matrix in a node or step."""


def stored_models(model: Any, n_features: int, *, sparse: bool) -> bytes:
    """Return the file of a model of the encoded features."""
    out = Dump(n_features, sparse=sparse)
    program = program_of(model, out, n_features)
    decision = {"n_features": n_features, "sparse": sparse, **program}
    return archived(decision, out.arrays, {})


def read_models(path: Path) -> "StoredModels":
    """Read a file of ``stored_models``; no code of it is run."""
    try:
        found = StoredModels(read_archive(path)[1])
        found.program(np.zeros((1, found.program.n_read), dtype=np.float32), np.array([-1]))
    except (ModelFileError, OSError) as error:
        raise ModelCorruptError(str(error)) from error
    except DAMAGE as error:
        raise ModelCorruptError(f"{str(path)!r} is damaged: {error!r}") from error
    return found


@dataclass(frozen=True, eq=False)
class StoredModels:
    """Models that were read from a file."""

    spec: Mapping[str, Any]

    @cached_property
    def program(self) -> Program:
        """What computes the scores."""
        n_features = small(self.spec["n_features"])
        schema = {"columns": [0] * n_features, "sparse": self.spec["sparse"]}
        return Program({**self.spec, "schema": schema, "membership": None})

    def __len__(self) -> int:
        return len(self._top["of"]) if self._top["op"] == "mean" else 1

    def first(self, count: int) -> "StoredModels":
        """Return the mean of the first ``count`` models."""
        if count >= len(self):
            return self
        of = self._top["of"][:count]
        nodes = [*self.spec["nodes"][: of[-1] + 1], {**self._top, "of": of}]
        return StoredModels({**self.spec, "nodes": nodes, "scores": len(nodes) - 1})

    @property
    def n_trees_(self) -> int:
        return sum(node["count"] for node in self.spec["nodes"] if node["op"] == "trees")

    @property
    def _top(self) -> Mapping[str, Any]:
        return self.spec["nodes"][self.spec["scores"]]

    def scores(self, X: Any, cells: NDArray[np.integer]) -> NDArray[np.float32]:
        """Return the scores of encoded rows (``Task``)."""
        matrix, of_row = runtime_rows(X), cells.astype(np.int64)
        starts = range(0, max(len(of_row), 1), BLOCK_ROWS)
        blocks = [slice(at, at + BLOCK_ROWS) for at in starts]
        return np.concatenate([self.program(matrix[b], of_row[b])[0] for b in blocks])

    def membership(self, X: Any) -> NDArray[np.float32]:
        """Return P(cell, y | features) of encoded rows, shape (n_rows, n_cells, 2)."""
        return self.scores(X, np.full(X.shape[0], -1))

    def dump(self, out: Dump, columns: Positions) -> int:
        """Write the portable form and return its node."""
        place = columns
        if self.spec["sparse"]:
            place = np.concatenate([columns, out.absent(columns)])
        for step in self.spec["steps"]:
            content = _placed(step, place)
            made = out.step(step["op"], content, step["width"])
            place = np.concatenate([place, made])
        nodes: list[int] = []
        for node in self.spec["nodes"]:
            if node["op"] == "trees":
                nodes.append(out.replant(node, self.spec["trees"], place))
                continue
            content = _placed(node, place)
            if "of" in content:
                of = content["of"]
                many = isinstance(of, list)
                content["of"] = [nodes[one] for one in of] if many else nodes[of]
            nodes.append(out.node(node["op"], content))
        return nodes[self.spec["scores"]]


def _placed(spec: Mapping[str, Any], place: Positions) -> dict[str, Any]:
    """Return the content of a node or step with columns of another matrix."""
    return {
        key: _moved(value, place) if key in POSITIONS else _inside(value, place)
        for key, value in spec.items()
        if key not in ("op", "width")
    }


def _inside(value: Any, place: Positions) -> Any:
    if isinstance(value, Mapping):
        return _placed(value, place)
    return [_inside(one, place) for one in value] if isinstance(value, list) else value


def _moved(columns: Any, place: Positions) -> Any:
    if isinstance(columns, list):
        return [int(place[one]) for one in columns]
    return int(place[columns]) if isinstance(columns, int) else place[columns]


@dataclass(frozen=True, slots=True, eq=False)
class PortableModels:
    """Models and group probabilities of a model file."""

    served: PortablePredictor

    def scores(self, X: Any, cells: NDArray[np.integer]) -> NDArray[np.float32]:
        """Return the scores of encoded rows (``Task``)."""
        return self._scored(X, cells)[0]

    def membership(self, X: Any) -> NDArray[np.float32]:
        """Return P(cell, y | features) of encoded rows, shape (n_rows, n_cells, 2)."""
        found = self._scored(X, np.full(X.shape[0], -1))[1]
        return cast("NDArray[np.float32]", found)

    def _scored(self, X: Any, cells: NDArray[np.integer]) -> tuple[Any, Any]:
        return self.served._scores(runtime_rows(X), cells.astype(np.int64))


def runtime_rows(X: Any) -> Any:
    """Return encoded rows as the runtime reads them: of a sparse matrix in dense blocks."""
    return SparseRows(X) if sparse.issparse(X) else X


@dataclass(frozen=True, slots=True, eq=False)
class _FileRule(RuntimeRule):
    """The rule of a model file."""

    spec: Mapping[str, Any]
    needs_sensitive: bool

    @property
    def randomized(self) -> bool:
        """Whether probabilities other than 0 and 1 occur."""
        return bool(self.spec["randomized"])

    def to_dict(self) -> dict[str, Any]:
        return dict(self.spec)

    def describe(self) -> str:
        return str(self.spec["kind"])


class _BlindFileRule(_FileRule):
    """A rule that reads the group probabilities of a row."""

    __slots__ = ()

    def decide_by(self, scores: NDArray[np.floating], membership: NDArray[np.floating]) -> Floats:
        """Return the probability of the positive class of each row, shape (n_rows,)."""
        cells = np.zeros(len(scores), dtype=np.int64)
        found = RULES[self.spec["kind"]](self.spec, scores, cells, membership)
        return np.asarray(found, dtype=np.float64)


def restored(path: Path) -> tuple[Predictor, UnseenPolicy]:
    """Return the predictor of a model file, and how it reads unknown groups; no code is run."""
    try:
        served = load(path)
    except ModelFileError as error:
        raise ModelCorruptError(str(error)) from error
    models, spec = PortableModels(served), served._rule
    blind = spec["kind"] == "bias"
    groups = served._groups
    predictor = Predictor(
        models=models,
        rule=(_BlindFileRule if blind else _FileRule)(spec, served.needs_sensitive),
        schema=_schema(served._schema),
        groups=None if groups is None else _groups(groups),
        classes=served.classes,
        needs_sensitive=served.needs_sensitive,
        salt=served.salt,
        membership=models if blind else None,
        task=cast("TaskName", served.task),
        constrained=served._constrained,
    )
    lenient = groups is not None and groups["lenient"]
    return predictor, "base_model" if lenient else "error"


def _schema(spec: Mapping[str, Any]) -> TableSchema:
    if spec["sparse"]:
        columns = SparseColumns(spec["columns"])
        names = PositionalNames(len(spec["names_in"]))
        return TableSchema(columns=columns, names_in=names, named=False, sparse=True)
    return TableSchema(
        columns=tuple(map(_column, spec["columns"])),
        names_in=tuple(spec["names_in"]),
        named=spec["named"],
        texts=tuple(
            TextColumn(
                name=t["name"], position=t["position"], terms=tuple(t["known"]), width=t["width"]
            )
            for t in spec["texts"]
        ),
    )


def _column(spec: Mapping[str, Any]) -> Column:
    plain = {name: value for name, value in spec.items() if name not in ("codes", "types")}
    return Column(levels=tuple(spec["codes"]), **plain)


def _groups(spec: Mapping[str, Any]) -> GroupSchema:
    return GroupSchema(
        columns=tuple(column["name"] for column in spec["columns"]),
        systems=(),
        levels=tuple(tuple(column["codes"]) for column in spec["columns"]),
        cell_codes=tuple(tuple(row) for row in spec["cell_codes"].tolist()),
        cell_labels=(),
        missing=cast("MissingPolicy", spec["missing"]),
        named=spec["named"],
        sensitive_from_X=tuple(spec["from_X"]),
        readings=tuple(_reading(column) for column in spec["columns"]),
    )


def _reading(column: Mapping[str, Any]) -> Reading | None:
    if column["reading"] == "bins":
        return NumberBins(source=column["name"], cuts=tuple(column["edges"].tolist()))
    if column["reading"] == "scale":
        edges, steps = tuple(column["edges"].tolist()), tuple(column["steps"])
        return Scale(
            source=column["name"], edges=edges, steps=steps,
            centre=0.0, unit=1.0, exact=True, kept=1.0,
        )  # fmt: skip
    return None
