"""A model that was loaded from a file."""

import os
import re
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np

from fairautoml.runtime._base import Array, Floats, ModelFileError, NewRowsError, Spec, checked
from fairautoml.runtime._groups import cells_of, check_indices, read_groups, sensitive_rows
from fairautoml.runtime._rows import Rows, encoded, read_schema
from fairautoml.runtime._rules import RULES, draws, fair_scores, row_thresholds
from fairautoml.runtime._scores import Program

BLOCK_ROWS, BLOCK_VALUES = 512, 2**24
"""Largest number of rows, and of values, that are scored at once."""

BLOCKS_PER_THREAD = 8
"""Fewer blocks are scored faster by fewer threads."""


class PortablePredictor:
    """A model that was loaded from a file; ``load`` returns it."""

    def __init__(self, manifest: Spec, decision: Spec, model_id: str) -> None:
        self.about = dict(manifest)
        self.model_id = model_id
        self.task: str = decision["task"]
        self.classes: Array = _labels(decision["classes"])
        self.needs_sensitive = decision["groups"] is not None
        self._order = np.argsort(self.classes)
        self._schema = read_schema(decision["schema"])
        self._groups = None if decision["groups"] is None else read_groups(decision["groups"])
        columns = self._schema["columns"]
        if self._schema["sparse"]:
            self.feature_names = tuple(f"x{position}" for position in columns.tolist())
        else:
            self.feature_names = tuple(
                f"{column['name']} ({column['part']})" if column["part"] else column["name"]
                for column in columns
            )
        self._rule, self._odd = decision["rule"], decision["odd"]
        self._constrained, self.salt = bool(decision["constrained"]), int(decision["salt"])
        self._program = Program(decision)

    def __repr__(self) -> str:
        """Return the hash of the model and its headline."""
        name = f"PortablePredictor({self.task}, model {self.model_id[:12]})"
        return f"{name}: {self.about.get('headline', '')}".rstrip(": ")

    @property
    def classes_(self) -> Array:
        """The labels in the order of the columns of the probabilities."""
        return self.classes[self._order]

    def predict(self, X: Any, sensitive: Any = None) -> Array:
        """Return the class or the number of each row; equal rows get equal predictions.

        Parameters
        ----------
        X : dict, list of dicts, DataFrame or array
            One row as a dict of values, columns as a dict of sequences, or a table.
        sensitive : dict, DataFrame or array, optional
            The sensitive values of the rows, by name or by position; columns of ``X`` that have
            their names are used without it.

        Raises
        ------
        NewRowsError
            A column is missing or has the wrong kind of values, or groups are needed.
        """
        found = self._decisions(*self._read(X, sensitive))
        return self.classes[found] if len(self.classes) else found

    def predict_one(self, row: Mapping[str, Any], sensitive: Any = None) -> Any:
        """Return the prediction of one row, given by name."""
        found = self.predict(row, sensitive)
        if len(found) != 1:
            raise NewRowsError(f"predict_one takes one row, found {len(found)}; use predict")
        return found[0].item() if isinstance(found[0], np.generic) else found[0]

    def predict_proba(self, X: Any, sensitive: Any = None) -> Floats:
        """Return scores of the classes that carry the rule, in the order of ``classes_``.

        The larger one is that of the prediction. Without a constraint they are the probabilities.
        """
        matrix, cells = self._read(X, sensitive)
        if self.task == "regression":
            raise NewRowsError("predict_proba: the model predicts a number")
        with checked("the model file"):
            scores, shares = self._scores(matrix, cells)
            if not self._constrained:
                return self._columns(scores)
            accepted = RULES[self._rule["kind"]](self._rule, scores, cells, shares)
            chosen, drawn = self._chosen(matrix, accepted), self._drawn(matrix)
            return self._columns(fair_scores(self._rule, scores, cells, chosen, drawn))

    def base_proba(self, X: Any, sensitive: Any = None) -> Floats:
        """Return the probability of each class without the rule, in the order of ``classes_``."""
        if self.task == "regression":
            raise NewRowsError("base_proba: the model predicts a number")
        return self._columns(self._scores(*self._read(X, sensitive))[0])

    def _columns(self, scores: Floats) -> Floats:
        """Return a column for each class."""
        wide: Floats = scores.astype(np.float64)
        if self.task == "multiclass":
            return wide
        one = wide.mean(axis=1) if wide.ndim == 2 else wide
        return np.stack([1.0 - one, one], axis=1)[:, self._order]

    def acceptance_proba(self, X: Any, sensitive: Any = None) -> Floats:
        """Return the rule's probability of acceptance, of each class, or the numbers."""
        return self._acceptance(*self._read(X, sensitive))

    def thresholds(self, X: Any, sensitive: Any = None) -> Floats | None:
        """Return the probability from which each row is accepted, None for other rules.

        Of a randomized rule it is the one that was drawn for the row.
        """
        matrix, cells = self._read(X, sensitive)
        return row_thresholds(self._rule, cells, self._drawn(matrix))

    def _decisions(self, matrix: Floats, cells: Array) -> Array:
        return self._chosen(matrix, self._acceptance(matrix, cells))

    def _drawn(self, matrix: Floats) -> Floats | None:
        if not self._rule["randomized"]:
            return None
        blocks = self._blocks(len(matrix))
        return np.concatenate([draws(matrix[rows], self._odd) for rows in blocks])

    def _chosen(self, matrix: Floats, accepted: Floats) -> Array:
        """Return the position of the class of each row, or the number."""
        drawn = self._drawn(matrix)
        if drawn is not None:
            return (drawn < accepted).astype(np.int64)
        if self.task == "regression":
            return accepted
        if self.task == "multiclass":
            return accepted.argmax(axis=1).astype(np.int64)
        return (accepted >= 0.5).astype(np.int64)

    def _acceptance(self, matrix: Floats, cells: Array) -> Floats:
        with checked("the model file"):
            scores, shares = self._scores(matrix, cells)
            return RULES[self._rule["kind"]](self._rule, scores, cells, shares)

    def _scores(self, matrix: Floats, cells: Array) -> tuple[Floats, Floats | None]:
        """Return the scores, and the group probabilities if the rule reads them."""
        blocks = self._blocks(len(cells))

        def scored(rows: slice) -> tuple[Floats, Floats | None]:
            return self._program(matrix[rows], cells[rows])

        n_threads = min(len(blocks) // BLOCKS_PER_THREAD, os.cpu_count() or 1)
        if n_threads > 1:
            with ThreadPoolExecutor(n_threads) as pool:
                parts = list(pool.map(scored, blocks))
        else:
            parts = [scored(rows) for rows in blocks]
        scores = np.concatenate([part[0] for part in parts])
        shares = [part[1] for part in parts if part[1] is not None]
        return scores, np.concatenate(shares) if shares else None

    def _blocks(self, n_rows: int) -> list[slice]:
        size = max(1, min(BLOCK_ROWS, BLOCK_VALUES // max(self._program.width, 1)))
        return [slice(at, at + size) for at in range(0, max(n_rows, 1), size)]

    def _read(self, X: Any, sensitive: Any) -> tuple[Floats, Array]:
        table = Rows.of(X)
        matrix = encoded(self._schema, table)
        if self._groups is None:
            return matrix, np.zeros(table.n_rows, dtype=np.int64)
        check_indices(X, sensitive)
        given = sensitive_rows(self._groups, table, sensitive)
        if given.n_rows != table.n_rows:
            msg = f"sensitive has {given.n_rows} rows and X has {table.n_rows}; give one per row"
            raise NewRowsError(msg)
        return matrix, cells_of(self._groups, given)


def _labels(spec: Spec) -> Array:
    kind, values = str(spec["dtype"]), spec["values"]
    if not re.fullmatch(r"<U\d{1,4}|[<|][iuf][1248]|\|b1|\|O", kind):
        raise ModelFileError(f"labels of type {kind!r}")
    if kind[:2] == "|O":
        found = np.empty(len(values), dtype=object)
        found[:] = values
        return found
    return np.array(values, dtype=kind)
