"""Keys of rows, so that a ledger knows them again without storing them."""

import hashlib

import numpy as np
import pandas as pd
from numpy.typing import NDArray


def row_keys(frame: pd.DataFrame, salt: str) -> NDArray[np.uint64]:
    """Return salted hashes of rows; row order, column order and file name do not matter.

    Equal rows have equal keys, so that in a table with few distinct rows any later sample counts
    as a further opening; give a column that identifies people to tell them apart.
    """
    plain = frame[sorted(frame.columns, key=str)]
    numeric = {name for name in plain if pd.api.types.is_numeric_dtype(plain[name])}
    same = pd.DataFrame(
        {
            name: plain[name].astype("float64" if name in numeric else "str")
            for name in plain.columns
        }
    )
    hashed = pd.util.hash_pandas_object(same, index=False).to_numpy(dtype=np.uint64)
    key = salt.encode()
    digests = b"".join(
        hashlib.blake2b(value.tobytes(), digest_size=8, key=key).digest()
        for value in np.unique(hashed).astype("<u8")
    )
    return np.unique(np.frombuffer(digests, dtype="<u8").astype(np.uint64))
