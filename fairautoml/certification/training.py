"""Recognize training rows among the rows of a certificate."""

import math
import secrets
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from fairautoml.data.splits import row_bits
from fairautoml.exceptions import InputError

ERRORS, ROWS = 4, 3
"""Standard errors, and rows, by which the overlap may exceed what equal rows explain."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class TrainingRows:
    """Salted 64-bit keys of the training rows, for the estimator and its run folder only.

    Whoever has the keys can ask whether a given row was trained on.
    """

    salt: int
    keys: NDArray[np.uint64]  # sorted and distinct
    twins: float  # share of training rows that equal another one

    @classmethod
    def of(cls, X: Any, y: NDArray[Any]) -> Self:
        """Return the keys of encoded training rows."""
        salt = secrets.randbits(63)
        keys, counts = np.unique(_keys(X, y, salt), return_counts=True)
        twins = float(counts[counts > 1].sum() / counts.sum())
        return cls(salt=salt, keys=keys, twins=twins)

    def refuse(self, X: Any, y: NDArray[Any]) -> None:
        """Raise if more rows were trained on than equal rows of one population explain."""
        n = len(y)
        overlap = float(np.isin(_keys(X, y, self.salt), self.keys).mean())
        error = math.sqrt(self.twins * (1 - self.twins) / n)
        if overlap <= self.twins + ERRORS * error + ROWS / n:
            return
        msg = (
            f"X, y: {overlap:.1%} of the {n:,} rows equal training rows of this model, and only "
            f"{self.twins:.1%} would by chance. A certificate needs rows that fit has not seen: "
            "hold rows out before fit (--holdout), or bring new ones."
        )
        raise InputError(msg)


def _keys(X: Any, y: NDArray[Any], salt: int) -> NDArray[np.uint64]:
    """Return one key per row, from its encoded features and label."""
    labels = np.asarray(y, dtype=np.float64).reshape(-1, 1)
    mixed = row_bits(X, salt) * np.uint64(3) + row_bits(labels.astype(np.float32), salt + 1)
    found: NDArray[np.uint64] = mixed
    return found
