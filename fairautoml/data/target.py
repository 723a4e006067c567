"""Labels: any two-class target to 0 and 1."""

from typing import Any
from warnings import warn

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.exceptions import DataConversionWarning

from fairautoml.data._frames import as_array, as_series, frame_columns, is_frame, library_of
from fairautoml.data._keys import Key, encode_levels, key_of, types_of
from fairautoml.exceptions import InputError


def encode_target(y: Any, *, pos_label: Any = None) -> tuple[NDArray[np.int8], NDArray[Any]]:
    """Return the labels as 0 and 1, and what the user calls them.

    Parameters
    ----------
    y : array, list, pandas, polars or arrow column, shape (n_rows,)
        Two distinct labels: numbers, text, booleans or categories. It is not modified.
    pos_label : label, optional
        The positive class; by default the label that is sorted last.

    Returns
    -------
    codes : ndarray of int8, shape (n_rows,)
        1 for the positive class.
    classes : ndarray, shape (2,)
        The labels of 0 and 1.

    Raises
    ------
    InputError
        Missing labels, one label, more than two, a continuous target, or a ``pos_label`` that
        does not occur.

    Warns
    -----
    sklearn.exceptions.DataConversionWarning
        ``y`` is a column vector.

    Examples
    --------
    >>> codes, classes = encode_target(["no", "yes", "no"])
    >>> codes.tolist(), classes.tolist()
    ([0, 1, 0], ['no', 'yes'])
    """
    check_given(y)
    values = _one_column(y)
    _check_complete(values)
    codes, keys = encode_levels(values, "y")
    _check_binary(keys)
    positive = _positive(keys, pos_label)
    classes = _labels(values, codes, keys)
    if positive == 0:
        codes, classes = 1 - codes, classes[::-1].copy()
    return codes.astype(np.int8), classes


def check_given(y: Any) -> None:
    """Refuse a target that is None.

    Parameters
    ----------
    y : any
        The target.

    Raises
    ------
    InputError
        It is None.
    """
    if y is None:
        msg = (
            "FairAutoML requires y to be passed, but the target y is None. Give one label per "
            "row of X."
        )
        raise InputError(msg)


def known_labels(y: Any, classes: NDArray[Any]) -> NDArray[np.int8]:
    """Return labels of known classes as 0 and 1.

    Parameters
    ----------
    y : array, list, pandas, polars or arrow column, shape (n_rows,)
        Labels; one class may be absent.
    classes : ndarray, shape (2,)
        The labels of 0 and 1, as ``encode_target`` returned them.

    Raises
    ------
    InputError
        A label is missing or is neither class.
    """
    found = plain_labels(y)
    codes = np.where(found == classes[1], 1, np.where(found == classes[0], 0, -1))
    unknown = int((codes < 0).sum())
    no, yes = classes.tolist()
    if unknown:
        msg = (
            f"y has {unknown} label(s) that are neither {no!r} nor {yes!r}, the "
            "classes of fit; give labels of the same type"
        )
        raise InputError(msg)
    return codes.astype(np.int8)


def plain_labels(y: Any) -> NDArray[Any]:
    """Return labels as they are, of any number of classes.

    Parameters
    ----------
    y : array, list, pandas, polars or arrow column, shape (n_rows,)
        Labels.

    Returns
    -------
    ndarray of object, shape (n_rows,)

    Raises
    ------
    InputError
        A label is missing.
    """
    values = _one_column(y)
    _check_complete(values)
    return values.to_numpy(dtype=object)


def _one_column(y: Any) -> "pd.Series[Any]":
    if is_frame(y):
        columns = list(frame_columns(y, "y").values())
        shape = (len(columns[0]) if columns else 0, len(columns))
    elif library_of(y) == "pyarrow" or (hasattr(y, "dtype") and getattr(y, "ndim", 1) == 1):
        return as_series(y, "y")
    else:
        array = as_array(y, "y")
        if array.ndim != 2:
            return as_series(array if isinstance(y, np.ndarray) else y, "y")
        shape = array.shape
        columns = [as_series(array[:, at], "y") for at in range(array.shape[1])]
    if len(columns) != 1:
        msg = (
            f"y should be a 1d array, got an array of shape {shape} instead. Give one label per "
            "row."
        )
        raise InputError(msg)
    msg = (
        "A column-vector y was passed when a 1d array was expected. Please change the shape of y "
        "to (n_samples,), for example using ravel()."
    )
    warn(msg, DataConversionWarning, stacklevel=4)
    return columns[0]


def _check_complete(values: "pd.Series[Any]") -> None:
    dtype: Any = values.dtype
    if dtype.kind == "c":
        msg = f"Complex data not supported: y has dtype {dtype}. Give two labels."
        raise InputError(msg)
    missing = int(values.isna().sum())
    if missing:
        msg = (
            f"Input y contains NaN. It has {missing} missing label(s) among {len(values)}; remove "
            "those rows from X, y and sensitive."
        )
        raise InputError(msg)
    if dtype.kind == "f" and np.isinf(values.to_numpy(dtype=np.float64)).any():
        msg = (
            "Input y contains infinity or a value too large for dtype('float64'). Give two labels."
        )
        raise InputError(msg)


def _check_binary(keys: tuple[Key, ...]) -> None:
    types = types_of(keys)
    if "float" in types:
        msg = (
            "Unknown label type: continuous. y holds numbers with fractions; FairAutoML is a "
            "binary classifier. Cut the target into two classes, for example y > threshold."
        )
        raise InputError(msg)
    if len(keys) == 1:
        msg = (
            f"y has only 1 class: {keys[0][1]!r}; a classifier needs rows of two classes. Add "
            "rows of the other class."
        )
        raise InputError(msg)
    if len(keys) > 2:
        shown = ", ".join(repr(key[1]) for key in keys[:10])
        msg = (
            "Only binary classification is supported. The type of the target is multiclass. "
            f"y has {len(keys)} classes: {shown}. Choose one of them as the positive class, for "
            "example y == label."
        )
        raise InputError(msg)
    if len(types) > 1:
        msg = (
            f"y mixes labels of type {' and '.join(sorted(types))}: {keys[0][1]!r} and "
            f"{keys[1][1]!r}. Give both labels the same type."
        )
        raise InputError(msg)


def _positive(keys: tuple[Key, ...], pos_label: Any) -> int:
    if pos_label is None:
        return 1
    wanted = key_of(pos_label)
    if wanted not in keys:
        found = " and ".join(f"{value!r} ({kind})" for kind, value in keys)
        msg = (
            f"pos_label={pos_label!r} ({wanted[0]}) is not a label of y; y has {found}. Give one "
            "of them, with its type."
        )
        raise InputError(msg)
    return keys.index(wanted)


def _labels(
    values: "pd.Series[Any]", codes: NDArray[np.int64], keys: tuple[Key, ...]
) -> NDArray[Any]:
    """Return the two labels in sorted order, in the user's own type where NumPy has it."""
    first = [int(np.argmax(codes == code)) for code in (0, 1)]
    dtype: Any = values.dtype
    if isinstance(dtype, np.dtype) and dtype.kind in "biuf":
        return values.to_numpy()[first].copy()
    if keys[0][0] in {"int", "bool"}:
        return np.array([value for _, value in keys])
    labels = np.empty(2, dtype=object)
    labels[:] = values.iloc[first].astype(object).tolist()
    return labels
