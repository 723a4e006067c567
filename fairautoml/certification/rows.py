"""Recognize rows by salted hashes of their content, those of the fit among them."""

import hashlib
import math
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Self

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.sparse import issparse

from fairautoml.data.columns import texts_of
from fairautoml.data.frames import row_contents
from fairautoml.data.schema import TableSchema
from fairautoml.data.splits import row_bits
from fairautoml.exceptions import DegradedWarning, InputError, warn

Keys = NDArray[np.uint64]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class RowKeys:
    """Salted keys of rows in several readings; equal rows have equal keys.

    Two tables share a row if it has the same key in one reading.
    """

    n_rows: int
    # keys by reading, each of shape (n_rows,): "features" that a model reads, all columns "given"
    by_row: Mapping[str, Keys]
    # of groups and labels of the table as a whole, without and with the order of its rows
    whole: str = ""
    sequence: str = ""

    @property
    def multiset(self) -> str:
        """Hash of the rows without their order."""
        rows = next(iter(self.by_row.values()), None)
        if rows is None:
            return self.whole
        return hashlib.sha256(np.sort(rows).astype("<u8").tobytes()).hexdigest()

    def take(self, kept: NDArray[np.bool_]) -> "RowKeys":
        """Return the keys of some rows of the same table."""
        rows = {name: keys[kept] for name, keys in self.by_row.items()}
        return replace(self, n_rows=int(kept.sum()), by_row=rows)


def row_keys(frame: pd.DataFrame, salt: str, reading: str = "given") -> Keys:
    """Return one salted key per row, shape (n_rows,), independent of the order of the columns."""
    contents, of = np.unique(_hashed_rows(frame), return_inverse=True)
    digests = _digests(contents, np.zeros(len(contents), dtype=np.int64), salt, reading.encode())
    return digests[of]


def keys_of_table(
    by_row: Mapping[str, Keys],
    groups: "Mapping[str, pd.Series[Any]]",
    labels: NDArray[Any] | None,
    salt: str,
) -> RowKeys:
    """Return the keys of the rows with those of the groups and labels of the whole table."""
    columns = [groups[name] for name in sorted(groups)]
    columns += [] if labels is None else [pd.Series(labels, dtype=object)]
    frame = pd.DataFrame({str(at): texts_of(column) for at, column in enumerate(columns)})
    rows = row_keys(frame, salt, "whole")
    return RowKeys(
        n_rows=len(rows),
        by_row=by_row,
        whole=hashlib.sha256(np.sort(rows).astype("<u8").tobytes()).hexdigest(),
        sequence=hashlib.sha256(rows.astype("<u8").tobytes()).hexdigest(),
    )


def features_read(schema: TableSchema, matrix: Any, labels: NDArray[Any]) -> pd.DataFrame:
    """Return the features that a model reads, with the labels, to recognize the same rows.

    Other columns, the order and the types of the columns do not matter. Categories are compared
    by value, because their codes depend on the training rows.
    """
    found: dict[str, Any] = {}
    if issparse(matrix):
        found = {f"X.{name}": bits for name, bits in row_contents(matrix).items()}
    else:
        for at, column in enumerate(schema.columns):
            values = matrix[:, at]
            if column.kind == "category":
                names = np.array([*map(repr, column.levels), ""], dtype=object)
                values = names[np.where(np.isnan(values), -1, values).astype(np.int64)]
            found[f"X.{column.name}" + (f"\0{column.part}" if column.part else "")] = values
        for text, block in zip(schema.texts, schema.feature_schema.texts, strict=True):
            for at in range(block.start, block.stop):
                names = np.array([*text.terms, ""], dtype=object)
                codes = np.where(np.isnan(matrix[:, at]), -1, matrix[:, at]).astype(np.int64)
                found[f"X.{text.name}.{at - block.start}"] = names[codes]
    return pd.DataFrame({**found, "y": texts_of(pd.Series(labels, dtype=object))})


def twin_share(frame: pd.DataFrame) -> float:
    """Return the share of rows that equal another row."""
    return float(pd.Series(_hashed_rows(frame)).duplicated(keep=False).mean())


def held_out(
    frame: pd.DataFrame, share: float, salt: str, *, repeated: bool = False
) -> NDArray[np.bool_]:
    """Draw rows by a keyed hash of their content, shape (n_rows,).

    A row keeps its side when the table grows or changes its order. Equal rows are drawn
    independently, by their number among each other; with ``repeated`` they stay together.
    """
    hashed = _hashed_rows(frame)
    number = np.zeros(len(hashed), dtype=np.int64) if repeated else numbered(hashed)
    return _digests(hashed, number, salt, b"holdout") < np.uint64(share * 2.0**64)


def numbered(keys: Keys) -> NDArray[np.int64]:
    """Return the number of each row among the rows equal to it, from 0."""
    return np.asarray(pd.Series(keys).groupby(keys).cumcount(), dtype=np.int64)


def _hashed_rows(frame: pd.DataFrame) -> Keys:
    plain = frame[sorted(frame.columns, key=str)]
    same = pd.DataFrame({name: _plain(column) for name, column in plain.items()})
    hashed = pd.util.hash_pandas_object(same, index=False).to_numpy(dtype=np.uint64)
    return np.asarray(hashed, dtype=np.uint64)


def _plain(column: "pd.Series[Any]") -> "pd.Series[Any]":
    if pd.api.types.is_numeric_dtype(column):
        return column.astype("float64") + 0.0  # the two zeros are the same number
    return column.astype("str")


def _digests(hashed: Keys, number: NDArray[np.int64], salt: str, purpose: bytes) -> Keys:
    """Return keyed hashes of the row hashes with their numbers."""
    key = salt.encode()
    digests = b"".join(
        hashlib.blake2b(
            value.tobytes() + k.to_bytes(8, "little"), digest_size=8, key=key, person=purpose
        ).digest()
        for value, k in zip(hashed.astype("<u8"), number.tolist(), strict=True)
    )
    return np.frombuffer(digests, dtype="<u8").astype(np.uint64)


def data_hash(frame: pd.DataFrame) -> str:
    """Return the SHA-256 of a table: column names, order of rows, and all values."""
    digest = hashlib.sha256()
    for name in sorted(frame.columns):
        digest.update(f"{name}\0{len(frame)}\0".encode())
        # The number 1 and the text '1' must have different hashes.
        digest.update(b"number" if pd.api.types.is_numeric_dtype(frame[name]) else b"text")
        digest.update(_hashed(frame[name]).astype("<u8").tobytes())
    return digest.hexdigest()


def _hashed(column: "pd.Series[Any]") -> Keys:
    values = column if pd.api.types.is_numeric_dtype(column) else column.astype("str")
    return np.asarray(pd.util.hash_pandas_object(values, index=False), dtype=np.uint64)


BLOCK = 20_000
"""Rows that are hashed at a time."""

FACTOR = np.uint64(0x9E3779B97F4A7C15)
"""Odd multiplier: 2^64 over the golden ratio."""

ERRORS, ROWS = 4, 3
"""Standard errors, and rows, by which a share of common rows may exceed that of equal rows."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class TrainingRows:
    """Salted 64-bit keys of the training rows, for the estimator and its run folder only.

    The keys reveal whether a given row was in the training data.
    """

    salt: int
    keys: NDArray[np.uint64]  # sorted and distinct
    twins: float  # share of training rows that equal another one, estimates the share of new ones
    twins_error: float  # standard error of that estimate
    entities: NDArray[np.uint64]  # sorted and distinct keys of the entities, empty without them
    entity_column: str = ""  # column of the identifiers, empty if they were given apart

    @classmethod
    def of(
        cls, X: Any, y: NDArray[Any], entities: NDArray[Any] | None = None, entity_column: str = ""
    ) -> Self:
        """Return the keys of encoded training rows, and of the identifiers of their entities."""
        salt = secrets.randbits(63)
        keys, counts = np.unique(_keys(X, y, salt), return_counts=True)
        n, once, twice = counts.sum(), (counts == 1).sum(), (counts == 2).sum()
        # Good and Turing's estimate of the rows seen before, with the variance of Esty (1983).
        error = math.sqrt(once * (1 - once / n) + 2 * twice) / n
        ids = np.empty(0, dtype=object) if entities is None else entities
        return cls(
            salt=salt,
            keys=keys,
            twins=float(1 - once / n),
            twins_error=error,
            entities=np.unique(_entity_keys(ids, salt)),
            entity_column=entity_column,
        )

    def refuse(self, X: Any, y: NDArray[Any], entities: NDArray[Any] | None = None) -> None:
        """Raise if entities or too many rows were trained on.

        Equal rows of one population explain a share of them. Warn if even the training rows
        themselves would not be refused.
        """
        if entities is not None:
            self._refuse_entities(entities)
        n = len(y)
        overlap = float(np.isin(_keys(X, y, self.salt), self.keys).mean())
        error = math.hypot(math.sqrt(self.twins * (1 - self.twins) / n), self.twins_error)
        most = self.twins + ERRORS * error + ROWS / n
        if most >= 1 and n > ROWS:
            warn(
                f"{self.twins:.1%} of the training rows equal another one, so training rows "
                "cannot be recognized. Make sure that fit has not seen X, y.",
                DegradedWarning,
            )
        if overlap <= most:
            return
        raise InputError(
            f"X, y: {overlap:.1%} of the {n:,} rows equal training rows of this model, but only "
            f"{self.twins:.1%} are expected to by chance. A certificate needs rows that fit has "
            "not seen: hold rows out before fit (--holdout), or bring new ones."
        )

    def _refuse_entities(self, entities: NDArray[Any]) -> None:
        known = np.isin(_entity_keys(entities, self.salt), self.entities)
        if known.any():
            raise InputError(
                f"groups: {int(known.sum()):,} of the {len(known):,} rows belong to entities that "
                f"fit has seen, such as {entities[known.argmax()]!r}. A certificate needs new "
                "entities: hold entities out before fit (--holdout with --groups), or, if the "
                "same identifiers mean other entities here, rename them."
            )


def _entity_keys(ids: NDArray[Any], salt: int) -> NDArray[np.uint64]:
    return pd.util.hash_array(ids.astype(object), hash_key=f"{salt:016x}")


def _keys(X: Any, y: NDArray[Any], salt: int) -> NDArray[np.uint64]:
    """Return one key per row, from its encoded features and label."""
    parts = [
        _mixed(X[at : at + BLOCK], y[at : at + BLOCK], salt) for at in range(0, len(y), BLOCK)
    ]
    return np.concatenate(parts) if parts else np.empty(0, dtype=np.uint64)


def _mixed(X: Any, y: NDArray[Any], salt: int) -> NDArray[np.uint64]:
    """Return the keys of a block: a chain of multiplications and shifts over the columns."""
    columns: NDArray[Any]
    if isinstance(X, np.ndarray):
        # All missing values are the same, and so are the two zeros.
        clean = np.where(np.isnan(X), np.float32(np.inf), X) + np.float32(0.0)
        columns = clean.astype(np.float32).view(np.uint32).T
    else:
        columns = row_bits(X, salt).reshape(1, -1)
    label = np.asarray(y, dtype=np.float64).view(np.uint64)
    found = np.full(len(label), salt, dtype=np.uint64)
    for column in (*columns, label):
        found = (found ^ column) * FACTOR
        found ^= found >> np.uint64(29)
    return found
