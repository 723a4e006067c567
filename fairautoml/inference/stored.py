"""The fold models of a trial in a file that runs no code when it is read."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fairautoml.exceptions import ModelCorruptError
from fairautoml.inference.export import archived
from fairautoml.inference.restore import runtime_rows
from fairautoml.portable import Dump, Positions
from fairautoml.runtime import ModelFileError
from fairautoml.runtime._file import read_archive
from fairautoml.runtime._predictor import BLOCK_ROWS
from fairautoml.runtime._scores import Program

POSITIONS = frozenset({"column", "columns", "numeric", "flagged", "categorical"})
"""Names of columns of the matrix in a node or step."""


def stored_models(model: Any, n_features: int, *, sparse: bool) -> bytes:
    """Return the file of a model of the encoded features."""
    out = Dump(n_features, sparse=sparse)
    decision = {
        "n_features": n_features,
        "sparse": sparse,
        "scores": out.model(model, np.arange(n_features)),
        "trees": out.plain(out.forest()),
        "steps": out.steps,
        "nodes": out.nodes,
    }
    return archived(decision, out.arrays, {})


def read_models(path: Path) -> "StoredModels":
    """Read a file of ``stored_models``; no code of it is run."""
    try:
        found = StoredModels(read_archive(path)[1])
        found.program(np.zeros((1, found.program.n_read), dtype=np.float32), np.array([-1]))
    except (ModelFileError, OSError) as error:
        raise ModelCorruptError(str(error)) from error
    except (KeyError, TypeError, ValueError, IndexError, AttributeError, ArithmeticError,
            MemoryError) as error:  # fmt: skip
        raise ModelCorruptError(f"{str(path)!r} is damaged: {error!r}") from error
    return found


@dataclass(frozen=True, eq=False)
class StoredModels:
    """Models that were read from a file."""

    spec: Mapping[str, Any]

    @cached_property
    def program(self) -> Program:
        """What computes the scores."""
        schema = {"columns": [0] * self.spec["n_features"], "sparse": self.spec["sparse"]}
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
        """Number of trees."""
        return sum(node["count"] for node in self.spec["nodes"] if node["op"] == "trees")

    @property
    def _top(self) -> Mapping[str, Any]:
        top: Mapping[str, Any] = self.spec["nodes"][self.spec["scores"]]
        return top

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
        result: int = nodes[self.spec["scores"]]
        return result


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
