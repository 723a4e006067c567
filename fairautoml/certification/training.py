"""Recognize training rows among the rows of a certificate."""

import math
import secrets
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from fairautoml.data.splits import row_bits
from fairautoml.exceptions import DegradedWarning, InputError, warn

BLOCK = 20_000
"""Rows that are hashed at a time."""

FACTOR = np.uint64(0x9E3779B97F4A7C15)
"""Odd multiplier: 2^64 over the golden ratio."""

ERRORS, ROWS = 4, 3
"""Standard errors, and rows, by which the overlap may exceed what equal rows explain."""


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
        cls,
        X: Any,
        y: NDArray[Any],
        entities: NDArray[Any] | None = None,
        entity_column: str = "",
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
        msg = (
            f"X, y: {overlap:.1%} of the {n:,} rows equal training rows of this model, but only "
            f"{self.twins:.1%} are expected to by chance. A certificate needs rows that fit has "
            "not seen: hold rows out before fit (--holdout), or bring new ones."
        )
        raise InputError(msg)

    def _refuse_entities(self, entities: NDArray[Any]) -> None:
        known = np.isin(_entity_keys(entities, self.salt), self.entities)
        if known.any():
            msg = (
                f"groups: {int(known.sum()):,} of the {len(known):,} rows belong to entities that "
                f"fit has seen, such as {entities[known.argmax()]!r}. A certificate needs new "
                "entities: hold entities out before fit (--holdout with --groups), or, if the "
                "same identifiers mean other entities here, rename them."
            )
            raise InputError(msg)


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
