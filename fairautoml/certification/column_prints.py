"""What a table is known by when its columns were chosen, renamed or derived anew."""

import hashlib
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

DISTINCT = 10
"""Values that a column has at the least, for its counts to be equal by no chance."""


def column_prints(frame: pd.DataFrame, y: "pd.Series[Any]") -> NDArray[np.uint64]:
    """Return one hash per telling column: how often each value occurs, whoever has it.

    Another order of rows or columns, other names and columns that come or go leave the others
    as they are; another sample of people changes every one, and so does another target of the
    same people. Columns of few values, and those that look the same in any table of this length
    (numbers of rows, balanced designs), are no sign and have none.
    """
    classes = np.sort(y.value_counts().to_numpy())
    found = [_print_of(frame.iloc[:, at], classes) for at in range(frame.shape[1])]
    return np.unique(np.array([one for one in found if one is not None], dtype=np.uint64))


def print_keys(prints: NDArray[np.uint64], salt: str) -> NDArray[np.uint64]:
    """Return the prints as a ledger with this salt keeps them, beside the keys of its rows."""
    key = salt.encode()
    digests = b"".join(
        hashlib.blake2b(value.tobytes(), digest_size=8, key=key, person=b"column").digest()
        for value in prints.astype("<u8")
    )
    return np.unique(np.frombuffer(digests, dtype="<u8").astype(np.uint64))


def _print_of(column: "pd.Series[Any]", classes: NDArray[np.integer]) -> np.uint64 | None:
    number = pd.api.types.is_numeric_dtype(column) and not pd.api.types.is_bool_dtype(column)
    # A number of half the precision is the same number.
    plain = column.astype("float32" if number else "str")
    counts = plain.value_counts(sort=False)
    if len(counts) < DISTINCT or _by_design(counts, number=number):
        return None
    hashed = pd.util.hash_pandas_object(plain, index=False).to_numpy(dtype=np.uint64)
    total = np.array([hashed.sum(dtype=np.uint64), *classes], dtype="<u8")
    digest = hashlib.blake2b(total.tobytes(), digest_size=8).digest()
    return np.uint64(int.from_bytes(digest, "little"))


def _by_design(counts: "pd.Series[int]", *, number: bool) -> bool:
    """Whether every value occurs as often as every other, and numbers are evenly spaced."""
    if counts.min() != counts.max():
        return False
    if not number:
        return True
    steps = np.diff(np.sort(counts.index.to_numpy(dtype=np.float64)))
    return bool(np.allclose(steps, steps[0], rtol=0.01))
