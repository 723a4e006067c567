"""What models and tables are called in a certificate: hashes of their content."""

import hashlib
import io
import pickle
from typing import Any

import numpy as np
import pandas as pd
from joblib.hashing import NumpyHasher
from numpy.typing import NDArray
from sklearn.tree import BaseDecisionTree


class _TreePickler(pickle.Pickler):
    """Writes the values of one tree, whatever its arrays share and however they lie in memory."""

    def reducer_override(self, obj: Any) -> Any:
        """Write arrays by type, shape and values, records field by field."""
        if not isinstance(obj, np.ndarray):
            return NotImplemented
        if obj.dtype.names is not None:
            return tuple, ([(name, np.ascontiguousarray(obj[name])) for name in obj.dtype.names],)
        return tuple, ([obj.dtype.str, obj.shape, obj.tobytes()],)


def _bytes_of(tree: BaseDecisionTree) -> bytes:
    written = io.BytesIO()
    pickler = _TreePickler(written, protocol=4)
    pickler.fast = True  # without a memory of what was written before
    pickler.dump(tree)
    return written.getvalue()


class _Hasher(NumpyHasher):  # type: ignore[misc]
    """Hashes values only: neither the bytes between the fields of records nor what is shared.

    Models that came from a worker share no parts with each other; those trained here may.
    """

    def memoize(self, obj: Any) -> None:
        """Remember nothing, so that an object is hashed in full wherever it stands."""
        del obj

    def save(self, obj: Any) -> None:
        """Hash one object; called for each part of it."""
        if isinstance(obj, BaseDecisionTree):
            # A forest has hundreds, each of many small parts: ten times as fast.
            obj = _bytes_of(obj)
        elif isinstance(obj, np.ndarray) and obj.dtype.names is not None:
            obj = {name: np.ascontiguousarray(obj[name]) for name in obj.dtype.names}
        super().save(obj)


def model_hash(classifier: Any) -> str:
    """Return the SHA-256 of a classifier: models, shares, thresholds, how rows are read."""
    # Stored and loaded arrays may lie otherwise in memory, which their hash would tell.
    plain = pickle.loads(pickle.dumps(classifier))
    return str(_Hasher(hash_name="sha256").hash(plain))


def data_hash(frame: pd.DataFrame) -> str:
    """Return the SHA-256 of a table: names, order of rows, and every value."""
    digest = hashlib.sha256()
    for name in sorted(frame.columns):
        digest.update(f"{name}\0{len(frame)}\0".encode())
        # A text and a number that is written like it are two things.
        digest.update(b"number" if pd.api.types.is_numeric_dtype(frame[name]) else b"text")
        digest.update(_hashed(frame[name]).astype("<u8").tobytes())
    return digest.hexdigest()


def row_hashes(frame: pd.DataFrame) -> NDArray[np.uint64]:
    """Return one number per row, the same for equal rows of this table, shape (n_rows,)."""
    columns = pd.DataFrame({name: _hashed(frame[name]) for name in frame.columns})
    return np.asarray(pd.util.hash_pandas_object(columns, index=False), dtype=np.uint64)


def _hashed(column: "pd.Series[Any]") -> NDArray[np.uint64]:
    values = column if pd.api.types.is_numeric_dtype(column) else column.astype("str")
    return np.asarray(pd.util.hash_pandas_object(values, index=False), dtype=np.uint64)
