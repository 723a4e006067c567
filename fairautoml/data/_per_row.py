"""What is given once per row: its length, and the weights."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from fairautoml.data._frames import as_series
from fairautoml.exceptions import InputError


def check_length(n_rows: int, values: Any, argument: str) -> None:
    """Refuse values that are not one per row."""
    found = _length(values)
    if found != n_rows:
        msg = (
            f"Found input variables with inconsistent numbers of samples: [{n_rows}, {found}]: X "
            f"has {n_rows} rows and {argument} has {found}. Give one value per row of X."
        )
        raise InputError(msg)


def read_weights(sample_weight: Any, n_rows: int) -> NDArray[np.float64]:
    """Return the weights of the rows."""
    values = as_series(sample_weight, "sample_weight")
    check_length(n_rows, values, "sample_weight")
    try:
        weight = np.array(values.to_numpy(dtype=np.float64, na_value=np.nan))
    except (TypeError, ValueError) as error:
        msg = f"sample_weight must hold numbers: {error}. Give one number >= 0 per row."
        raise InputError(msg) from error
    bad = int((~np.isfinite(weight) | (weight < 0)).sum())
    if bad:
        msg = (
            f"sample_weight has {bad} value(s) that are NaN, infinite or negative; weights must "
            "be finite numbers of at least 0. Give such rows weight 0 to leave them out."
        )
        raise InputError(msg)
    if not weight.any():
        msg = "sample_weight: every weight is zero. Give at least some rows a positive weight."
        raise InputError(msg)
    return weight


def _length(values: Any) -> int:
    shape = getattr(values, "shape", None)
    if shape is None and not hasattr(values, "__len__"):
        shape = np.asarray(values).shape
    if shape is not None:
        return int(shape[0]) if len(shape) > 0 else 1
    return len(values)
