"""Columns of one kind each, as float32."""

from numbers import Number
from typing import Any, Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.sparse import csr_matrix

from fairautoml.exceptions import InputError

Kind = Literal["number", "category", "datetime", "timedelta", "empty"]
OnNonfinite = Literal["error", "impute"]

_KIND_OF_DTYPE: dict[str, Kind] = {
    "b": "number",
    "i": "number",
    "u": "number",
    "f": "number",
    "M": "datetime",
    "m": "timedelta",
}
_KIND_OF_OBJECTS: dict[str, Kind] = {
    "integer": "number",
    "floating": "number",
    "mixed-integer-float": "number",
    "boolean": "number",
    "decimal": "number",
    "datetime": "datetime",
    "datetime64": "datetime",
    "date": "datetime",
    "timedelta": "timedelta",
    "timedelta64": "timedelta",
    "empty": "empty",
}


def kind_of(values: "pd.Series[Any]", name: str) -> Kind:
    """Return what a column holds.

    A column of Python objects is what its values are: all numbers make a numeric column.
    """
    dtype: Any = values.dtype
    if isinstance(dtype, pd.CategoricalDtype | pd.StringDtype):
        return "category"
    if dtype.kind != "O":
        found, inferred = dtype.kind, ""
    else:
        found, inferred = _kind_of_objects(values.astype(object))
    if found == "c":
        msg = f"Complex data not supported: column {name!r} of X. Give real numbers."
        raise InputError(msg)
    return _KIND_OF_DTYPE.get(found) or _KIND_OF_OBJECTS.get(inferred, "category")


def _kind_of_objects(values: "pd.Series[Any]") -> tuple[str, str]:
    """Return the NumPy kind, and the name that pandas has for such values."""
    inferred = pd.api.types.infer_dtype(values, skipna=True)
    if inferred.startswith("mixed"):
        types = set(map(type, values[values.notna()]))
        if all(issubclass(kind, Number | np.bool_) for kind in types):
            real = not any(issubclass(kind, complex | np.complexfloating) for kind in types)
            return ("f" if real else "c"), inferred
    return ("c" if inferred == "complex" else "O"), inferred


def numbers(values: "pd.Series[Any]", kind: Kind, name: str) -> NDArray[np.floating]:
    """Return a column as floats, NaN = missing; dates in days since 1970-01-01 (UTC)."""
    if kind == "empty":
        return np.full(len(values), np.nan)
    if kind == "datetime":
        # Arrow-backed columns would stay so, as arrays of Timestamp objects.
        plain = values.astype(object) if isinstance(values.dtype, pd.ArrowDtype) else values
        naive = pd.to_datetime(plain, utc=True).dt.tz_localize(None).to_numpy()
        return _days(naive - np.datetime64(0, "D"))
    if kind == "timedelta":
        return _days(pd.to_timedelta(values).to_numpy())
    dtype: Any = values.dtype
    if isinstance(dtype, np.dtype) and dtype.kind in "biuf":
        return values.to_numpy()
    try:
        return values.to_numpy(dtype=np.float64, na_value=np.nan)
    except OverflowError as error:
        msg = f"column {name!r} of X holds a number too large for a float; rescale the column."
        raise InputError(msg) from error


def _days(durations: NDArray[Any]) -> NDArray[np.float64]:
    days: NDArray[np.float64] = durations / np.timedelta64(1, "D")
    return days


def to_float32(
    values: NDArray[Any], names: tuple[str, ...], on_nonfinite: OnNonfinite
) -> NDArray[np.float32]:
    """Return a new float32 array; what float32 cannot hold is an error or missing."""
    with np.errstate(over="ignore"):
        result = np.array(values, dtype=np.float32, order="C", copy=True)
    infinite = np.isinf(result)
    if infinite.any():
        counts = infinite.reshape(len(result), -1).sum(axis=0)
        _refuse_infinite(counts, names, on_nonfinite)
        result[infinite] = np.nan
    return result


def _refuse_infinite(
    counts: NDArray[np.integer], names: tuple[str, ...], on_nonfinite: OnNonfinite
) -> None:
    if on_nonfinite == "impute":
        return
    found = [f"{name!r} ({n})" for name, n in zip(names, counts.tolist(), strict=True) if n]
    msg = (
        f"X contains infinity (inf) or a value too large for dtype('float32'), largest "
        f"{np.finfo(np.float32).max:.3g}, in {len(found)} column(s), with their counts: "
        f"{', '.join(found[:10])}. Correct or rescale them, or treat them as missing with "
        "on_nonfinite='impute' (--on-nonfinite impute)."
    )
    raise InputError(msg)


def sparse_float32(matrix: Any, names: tuple[str, ...], on_nonfinite: OnNonfinite) -> Any:
    """Return a new float32 CSR matrix under the same rules; it is never made dense."""
    with np.errstate(over="ignore"):
        # LightGBM knows csr_matrix but not every sparse array class.
        result = csr_matrix(matrix, dtype=np.float32, copy=True)
    result.sum_duplicates()
    infinite = np.isinf(result.data)
    if infinite.any():
        counts = np.bincount(result.indices[infinite], minlength=len(names))
        _refuse_infinite(counts, names, on_nonfinite)
        result.data[infinite] = np.nan
    return result
