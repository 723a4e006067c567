"""Give a predictor back from a model file: tables are read, and warned about, as after a fit."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, cast

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from fairautoml.data.columns import Column, PositionalNames, SparseColumns
from fairautoml.data.groups import GroupSchema, MissingPolicy
from fairautoml.data.schema import TableSchema
from fairautoml.data.sensitive_numbers import NumberBins, Reading, Scale
from fairautoml.data.texts import TextColumn
from fairautoml.exceptions import ModelCorruptError
from fairautoml.inference.predictor import Predictor
from fairautoml.inference.runtime import ModelFileError, PortablePredictor, load
from fairautoml.inference.runtime._rows import SparseRows
from fairautoml.inference.runtime._rules import RULES
from fairautoml.metrics._table import TaskName


@dataclass(frozen=True, slots=True, eq=False)
class PortableModels:
    """Models and group probabilities of a model file."""

    served: PortablePredictor

    def scores(self, X: Any, cells: NDArray[np.integer]) -> NDArray[np.float32]:
        """Return the scores of encoded rows (``Task``)."""
        found: NDArray[np.float32] = self._scored(X, cells)[0]
        return found

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
class PortableRule:
    """The rule of a model file."""

    spec: Mapping[str, Any]
    needs_sensitive: bool

    @property
    def randomized(self) -> bool:
        """Whether probabilities other than 0 and 1 occur."""
        return bool(self.spec["randomized"])

    def decide(
        self, scores: NDArray[np.floating], cells: NDArray[np.integer]
    ) -> NDArray[np.float64]:
        """Return the probability of the positive class of each row, shape (n_rows,)."""
        return self._decided(scores, cells, None)

    def to_dict(self) -> dict[str, Any]:
        """Return the portable form."""
        return dict(self.spec)

    def describe(self) -> str:
        """Return the kind of the rule."""
        return str(self.spec["kind"])

    def _decided(self, scores: Any, cells: Any, shares: Any) -> NDArray[np.float64]:
        found: Any = RULES[self.spec["kind"]](self.spec, scores, cells, shares)
        return np.asarray(found, dtype=np.float64)


class PortableBlindRule(PortableRule):
    """A rule that reads the group probabilities of a row."""

    __slots__ = ()

    def decide_by(
        self, scores: NDArray[np.floating], membership: NDArray[np.floating]
    ) -> NDArray[np.float64]:
        """Return the probability of the positive class of each row, shape (n_rows,)."""
        return self._decided(scores, np.zeros(len(scores), dtype=np.int64), membership)


@dataclass(frozen=True, slots=True, kw_only=True)
class Restored:
    """A predictor, and how it reads unknown groups."""

    predictor: Predictor
    unseen: Literal["error", "base_model"]


def restored(path: Path) -> Restored:
    """Return the predictor of a model file; reading it runs no code."""
    try:
        served = load(path)
    except ModelFileError as error:
        raise ModelCorruptError(str(error)) from error
    models, spec = PortableModels(served), served._rule
    blind = spec["kind"] == "bias"
    groups = served._groups
    predictor = Predictor(
        models=models,
        rule=(PortableBlindRule if blind else PortableRule)(spec, served.needs_sensitive),
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
    return Restored(predictor=predictor, unseen="base_model" if lenient else "error")


def _schema(spec: Mapping[str, Any]) -> TableSchema:
    if spec["sparse"]:
        columns = SparseColumns(spec["columns"])
        names = PositionalNames(len(spec["names_in"]))
        return TableSchema(columns=columns, names_in=names, named=False, sparse=True)
    return TableSchema(
        columns=tuple(
            Column(
                name=c["name"],
                position=c["position"],
                kind=c["kind"],
                levels=tuple(c["codes"]),
                zoned=c["zoned"],
                part=c["part"],
                newest=c["newest"],
                form=c["form"],
                unit=c["unit"],
            )
            for c in spec["columns"]
        ),
        names_in=tuple(spec["names_in"]),
        named=spec["named"],
        texts=tuple(
            TextColumn(
                name=t["name"], position=t["position"], terms=tuple(t["known"]), width=t["width"]
            )
            for t in spec["texts"]
        ),
    )


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
