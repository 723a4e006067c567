"""The target column: its task, its classes and the positive class."""

import shlex
from collections import Counter
from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.exceptions import DataConversionWarning

from fairautoml.data.columns import Key, encode_levels, types_of
from fairautoml.data.frames import (
    Inputs,
    as_array,
    as_series,
    check_length,
    frame_columns,
    is_frame,
    library_of,
    read_weights,
)
from fairautoml.data.spelling import matched_keys, merge_spellings, refuse_spellings
from fairautoml.exceptions import DegradedWarning, InputError, warn
from fairautoml.runtime._rows import key_of

SHOWN = 10
"""Most classes listed in a message."""


def positive_notes(classes: Sequence[Any], given: Any) -> tuple[str, ...]:
    """Return a note if the positive class is chosen by default, or if there are several classes.

    Two classes that are numbers or booleans need no note.
    """
    if len(classes) > 2:
        return (_several(classes),)
    if given is not None or len(classes) != 2:
        return ()
    if not all(isinstance(label, str) for label in classes):
        return ()
    other, taken = (str(label) for label in classes)
    return (
        f"the positive class is {taken!r}, because it is sorted last; if it is {other!r}, give "
        f"pos_label={other!r} (--positive {shlex.quote(other)})",
    )


def _several(classes: Sequence[Any]) -> str:
    """Return a note that lists the classes, as a typing error may have added one."""
    more = f" and {len(classes) - SHOWN} more" if len(classes) > SHOWN else ""
    shown = ", ".join(repr(label) for label in classes[:SHOWN])
    bare = Counter(str(label).strip().casefold() for label in classes)
    twice = [label for label in classes if bare[str(label).strip().casefold()] > 1]
    note = f"the target has {len(classes)} classes: {shown}{more}"
    if not twice:
        return note
    duplicates = ", ".join(map(repr, twice[:SHOWN]))
    return f"{note}; {duplicates} differ in case or spaces only: use one spelling per class"


TaskOption = Literal["auto", "binary", "multiclass", "regression"]
"""What kind of target is expected; ``"auto"`` = classes, two or more of them."""

MOST_CLASSES = 50
"""Largest number of classes; a target with more is unlikely to be a class label."""

HALF_OF_FLOAT32 = 1e37
"""Largest absolute target value, as predictions are stored as float32."""


def encode_target(
    y: Any, *, pos_label: Any = None, task: TaskOption = "binary"
) -> tuple[NDArray[np.int8], NDArray[Any]]:
    """Return the labels as codes 0, 1, 2, ..., and the classes.

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
    refuse_spellings("y", codes, keys)
    _check_labels(keys, task)
    classes = _labels(values, codes, keys)
    if len(keys) > 2:
        if pos_label is not None:
            raise InputError(
                f"pos_label={pos_label!r} is for two classes, and y has {len(keys)}; leave "
                "it out, or give y == pos_label as the target."
            )
        return codes.astype(np.int8), classes
    if _positive(keys, pos_label) == 0:
        codes, classes = 1 - codes, classes[::-1].copy()
    return codes.astype(np.int8), classes


def merge_labels(y: Any) -> "tuple[pd.Series[Any], tuple[str, ...]]":
    """Return the labels with one spelling per class, and a note per replacement."""
    return merge_spellings("y", _one_column(y))


def read_numbers(y: Any) -> NDArray[np.float64]:
    """Return a numeric target."""
    numbers = plain_numbers(y)
    if np.abs(numbers).max() > HALF_OF_FLOAT32:
        raise InputError(
            f"y holds numbers beyond {HALF_OF_FLOAT32:g}, which predictions cannot be; give it in "
            "another unit."
        )
    if (numbers == numbers[0]).all():
        raise InputError(
            f"y is {numbers[0]:g} in all {len(numbers)} rows, so there is nothing to learn. Give "
            "rows with different values."
        )
    return numbers


def plain_numbers(y: Any) -> NDArray[np.float64]:
    """Return the target as finite numbers."""
    check_given(y)
    values = _one_column(y)
    _check_complete(values, "finite numbers")
    dtype: Any = values.dtype
    if dtype.kind in "mM":
        # A conversion to numbers would give nanoseconds since 1970.
        raise InputError(
            f"y holds dates or times ({dtype}); regression needs numbers. Give them in a "
            "unit of your choice, such as days: (y - y.min()) / pandas.Timedelta(days=1)."
        )
    try:
        numbers = values.to_numpy(dtype=np.float64).copy()
    except (TypeError, ValueError) as error:
        raise InputError(
            f"y holds something else than numbers ({error}); regression needs numbers. For "
            "classes use FairAutoML."
        ) from error
    # Lists and texts such as "inf" and "nan" are numbers only now.
    strange = int((~np.isfinite(numbers)).sum())
    if strange:
        raise InputError(
            f"y has {strange} number(s) among {len(numbers)} that are infinite or NaN. Give "
            "finite numbers, or remove those rows from X, y and sensitive."
        )
    return numbers


def check_given(y: Any) -> None:
    """Raise if the target is None or a single text."""
    if y is None:
        raise InputError(
            "FairAutoML requires y to be passed, but the target y is None. Give one label per "
            "row of X."
        )
    if isinstance(y, str | bytes):
        raise InputError(
            f"y={y!r} is one text, and y must hold one label per row of X; a column of X is given "
            f"as y=X[{y!r}], with X.drop(columns={y!r}) as X."
        )


def known_labels(y: Any, classes: NDArray[Any]) -> NDArray[np.int8]:
    """Return labels of known classes as their positions, 0 and 1 of two."""
    found = plain_labels(y)
    codes = np.full(len(found), -1)
    for code in range(len(classes)):
        codes[np.asarray(found == classes[code], dtype=bool)] = code
    known = tuple(map(key_of, classes.tolist()))
    texts = sorted({value for value in found[codes < 0] if isinstance(value, str)})
    for text, key in zip(texts, matched_keys("y", [key_of(t) for t in texts], known), strict=True):
        if key in known:
            codes[found == text] = known.index(key)
    unknown = int((codes < 0).sum())
    if unknown:
        shown = " nor ".join(map(repr, classes.tolist()))
        raise InputError(
            f"y has {unknown} label(s) that are neither {shown}, the "
            "classes of fit; give labels of the same type"
        )
    return codes.astype(np.int8)


def warn_about_rare(classes: NDArray[Any], counts: NDArray[np.integer], least: int) -> None:
    """Warn about classes with too few rows."""
    rare = [label for label, n in zip(classes.tolist(), counts, strict=True) if n < least]
    if rare:
        msg = (
            f"y has a single row of class(es) {', '.join(map(repr, rare))}, which cannot be "
            "in training and in evaluation rows. Give more rows of it, or merge it with another "
            "class."
        )
        warn(msg, DegradedWarning)


def plain_labels(y: Any) -> NDArray[Any]:
    """Return labels as they are, of any number of classes."""
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
        raise InputError(
            f"y should be a 1d array, got an array of shape {shape} instead. Give one label per "
            "row."
        )
    msg = (
        "A column-vector y was passed when a 1d array was expected. Please change the shape of y "
        "to (n_samples,), for example using ravel()."
    )
    warn(msg, DataConversionWarning)
    return columns[0]


def _check_complete(values: "pd.Series[Any]", wanted: str = "labels") -> None:
    dtype: Any = values.dtype
    if dtype.kind == "c":
        raise InputError(f"Complex data not supported: y has dtype {dtype}. Give {wanted}.")
    missing = int(values.isna().sum())
    if missing:
        raise InputError(
            f"Input y contains NaN. It has {missing} missing label(s) among {len(values)}; remove "
            "those rows from X, y and sensitive."
        )
    if dtype.kind == "f" and np.isinf(values.to_numpy(dtype=np.float64)).any():
        raise InputError(
            f"Input y contains infinity or a value too large for dtype('float64'). Give {wanted}."
        )


def _check_labels(keys: tuple[Key, ...], task: TaskOption) -> None:
    types = types_of(keys)
    if "float" in types:
        raise InputError(
            "Unknown label type: continuous. y holds numbers with fractions; FairAutoML is a "
            "classifier. Use FairAutoMLRegressor (--task regression) to predict the number, or "
            "cut the target into classes, for example y > threshold."
        )
    if len(keys) == 1:
        raise InputError(
            f"y has only 1 class: {keys[0][1]!r}; a classifier needs rows of two classes. Add "
            "rows of the other class."
        )
    _check_count(keys, task)
    if len(types) > 1:
        raise InputError(
            f"y mixes labels of type {' and '.join(sorted(types))}: {keys[0][1]!r} and "
            f"{keys[-1][1]!r}. Give all labels the same type."
        )


def _check_count(keys: tuple[Key, ...], task: TaskOption) -> None:
    """Raise if the number of classes does not fit the task."""
    shown = ", ".join(repr(key[1]) for key in keys[:10])
    if task == "binary" and len(keys) > 2:
        raise InputError(
            "Only binary classification was requested. The type of the target is multiclass. "
            f"y has {len(keys)} classes: {shown}. Choose one of them as the positive class, for "
            "example y == label, or leave out --task binary to have them all."
        )
    if task == "multiclass" and len(keys) == 2:
        raise InputError(f"y has 2 classes: {shown}; --task multiclass needs more. Leave it out.")
    if len(keys) > MOST_CLASSES:
        numeric = types_of(keys) <= {"int", "float"}
        regressor = "Use FairAutoMLRegressor (--task regression), or"
        way_out = regressor if numeric else "Instead,"
        raise InputError(
            f"y has {len(keys)} different values ({shown}, ...); a classifier takes at most "
            f"{MOST_CLASSES} classes. {way_out} merge values into fewer classes."
        )


def _positive(keys: tuple[Key, ...], pos_label: Any) -> int:
    if pos_label is None:
        return 1
    wanted = key_of(pos_label)
    if wanted not in keys:
        found = " and ".join(f"{value!r} ({kind})" for kind, value in keys)
        raise InputError(
            f"pos_label={pos_label!r} ({wanted[0]}) is not a label of y; y has {found}. Give one "
            "of them, with its type."
        )
    return keys.index(wanted)


def _labels(
    values: "pd.Series[Any]", codes: NDArray[np.int64], keys: tuple[Key, ...]
) -> NDArray[Any]:
    """Return the labels in sorted order, in the user's own type where NumPy has it."""
    first = [int(np.argmax(codes == code)) for code in range(len(keys))]
    dtype: Any = values.dtype
    if isinstance(dtype, np.dtype) and dtype.kind in "biuf":
        return values.to_numpy()[first].copy()
    if keys[0][0] in {"int", "bool"}:
        return np.array([value for _, value in keys])
    labels = np.empty(len(keys), dtype=object)
    labels[:] = values.iloc[first].astype(object).tolist()
    return labels


def checked_weights(rows: Inputs, n_rows: int) -> NDArray[np.float64] | None:
    """Validate rows and labels, and return the weights."""
    if n_rows == 0:
        raise InputError("Found array with 0 sample(s) (X); give at least one row to evaluate.")
    check_given(rows.y)
    check_length(n_rows, rows.y, "y")
    return None if rows.sample_weight is None else read_weights(rows.sample_weight, n_rows)
