"""Any table of the user's as pandas columns or as one array, without changing a byte of it.

polars and pyarrow are optional: they are recognised by the name of their module and never
imported, and polars is read without pyarrow.
"""

import difflib
from collections import Counter
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import scipy.sparse as sp
from numpy.typing import NDArray

from fairautoml.exceptions import InputError, ParameterError


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """A table of the user's, read but not yet encoded; exactly one of the two forms is there."""

    names: tuple[str, ...]  # column names; ``x0``, ``x1``, ... where the user gave none
    named: bool  # whether the names are the user's
    n_rows: int  # number of rows
    columns: "tuple[pd.Series[Any], ...] | None" = None  # the columns, in order
    matrix: Any = None  # the whole table, when all of it is plain numbers without names

    @property
    def sparse(self) -> bool:
        """Whether the table is a sparse matrix."""
        return bool(sp.issparse(self.matrix))


_FOREIGN_FRAMES = frozenset({"DataFrame", "LazyFrame", "Table", "RecordBatch"})


def library_of(value: object) -> str:
    """Return the top-level package of the type of ``value``, for example ``"polars"``."""
    return type(value).__module__.partition(".")[0]


def is_foreign(value: object) -> bool:
    """Whether ``value`` is a table or a column of polars or arrow."""
    return library_of(value) in {"polars", "pyarrow"}


def is_frame(value: object) -> bool:
    """Whether ``value`` is a table of pandas, polars or arrow."""
    return isinstance(value, pd.DataFrame) or (
        is_foreign(value) and type(value).__name__ in _FOREIGN_FRAMES
    )


def frame_columns(frame: Any, argument: str) -> "dict[str, pd.Series[Any]]":
    """Return the columns of a pandas, polars or arrow table by name, in order."""
    if isinstance(frame, pd.DataFrame):
        names = [str(name) for name in frame.columns]
        columns = [frame.iloc[:, at] for at in range(frame.shape[1])]
    elif library_of(frame) == "polars":
        table = frame.collect() if hasattr(frame, "collect") else frame
        names = list(table.columns)
        columns = [_of_polars(column, argument) for column in table.iter_columns()]
    else:
        names = list(frame.column_names)
        columns = [column.to_pandas() for column in frame.columns]
    _check_unique(names, argument)
    return dict(zip(names, columns, strict=True))


def _of_polars(column: Any, argument: str) -> "pd.Series[Any]":
    values = column.to_numpy()
    if values.ndim != 1:
        msg = (
            f"column {column.name!r} of {argument} holds several values per row ({column.dtype}); "
            "make columns of them (unnest) or leave it out"
        )
        raise InputError(msg)
    return pd.Series(values)


def _check_unique(names: list[str], argument: str) -> None:
    twice = sorted(name for name, count in Counter(names).items() if count > 1)
    if twice:
        msg = (
            f"{argument} has several columns of one name: {_few(twice)}; names are compared as "
            f"text (1 and '1' are the same). Rename the columns so that each name occurs once."
        )
        raise InputError(msg)


def _few(names: list[str], most: int = 10) -> str:
    shown = ", ".join(repr(name) for name in names[:most])
    return shown if len(names) <= most else f"{shown}, ... ({len(names)} in all)"


def object_array(values: Any, argument: str) -> NDArray[Any]:
    """Return a list (of lists) as an array that keeps the Python type of every value.

    ``numpy.asarray(["a", nan])`` would turn the missing value into the text ``"nan"``.
    """
    try:
        array = np.array(values, dtype=object)
    except ValueError as error:
        msg = f"{argument} cannot be read as a table: {error}. Give rows of equal length."
        raise InputError(msg) from error
    nested = (list, tuple, np.ndarray)
    if array.ndim == 1 and array.size and any(isinstance(value, nested) for value in array):
        msg = f"{argument} has rows of different lengths; give every row the same length."
        raise InputError(msg)
    return array


def as_array(values: Any, argument: str) -> NDArray[Any]:
    """Return an array or a list as an array; no copy is made but where values are masked."""
    if isinstance(values, np.ma.MaskedArray) and np.ma.is_masked(values):
        # What is masked is missing; the value under the mask is not to be read.
        found: NDArray[Any] = values.data.astype(float if values.dtype.kind == "f" else object)
        found[np.ma.getmaskarray(values)] = np.nan if values.dtype.kind == "f" else None
        return found
    if isinstance(values, np.ndarray):
        return np.asarray(values)
    if hasattr(values, "__array__"):
        return np.asarray(values)
    if not hasattr(values, "__len__") or isinstance(values, str | bytes | dict):
        msg = (
            f"{argument} must be a table or an array, found {type(values).__name__}; "
            "give a DataFrame, a NumPy array or a list."
        )
        raise InputError(msg)
    return object_array(values, argument)


def as_series(values: Any, argument: str) -> "pd.Series[Any]":
    """Return one column of the user's as a Series; ``.name`` is the user's name or None."""
    if isinstance(values, pd.Series):
        return values
    if isinstance(values, pd.Categorical | pd.Index | pd.api.extensions.ExtensionArray):
        return pd.Series(values)
    library = library_of(values)
    if library == "polars" and hasattr(values, "to_numpy"):
        return pd.Series(values.to_numpy(), name=values.name or None)
    if library == "pyarrow" and hasattr(values, "to_pandas"):
        converted: pd.Series[Any] = values.to_pandas()
        return converted
    array = as_array(values, argument)
    if array.ndim != 1:
        msg = f"{argument} should be a 1d array, got an array of shape {array.shape} instead."
        raise InputError(msg)
    if not array.dtype.isnative:
        array = array.astype(array.dtype.newbyteorder("="))
    # pandas cannot hold halves of all operations nor long doubles; float64 holds both kinds.
    if array.dtype.kind == "f" and array.dtype not in (np.float32, np.float64):
        array = array.astype(np.float64)
    return pd.Series(array)


def read_table(X: Any, *, allow_empty: bool = False) -> Table:
    """Read features in any accepted form and check their shape."""
    if sp.issparse(X):
        table = _read_sparse(X)
    elif is_frame(X):
        columns = frame_columns(X, "X")
        n_rows = len(next(iter(columns.values()))) if columns else len(X)
        table = Table(
            names=tuple(columns), named=True, n_rows=n_rows, columns=tuple(columns.values())
        )
    else:
        table = _read_array(X)
    _check_not_empty(table, allow_empty=allow_empty)
    return table


def column_of(X: Any, name: str, argument: str) -> "pd.Series[Any]":
    """Return the column of a table that an argument names."""
    table = read_table(X)
    columns = dict(zip(table.names, table.columns or (), strict=False)) if table.named else {}
    if name not in columns:
        near = difflib.get_close_matches(name, columns, n=3)
        has = f"X has {list(columns)[:20]}." if columns else "X has no column names."
        hint = f"did you mean {', '.join(map(repr, near))}?" if near else has
        wanted = f"{argument}={name!r} must be a column of X"
        raise ParameterError(f"{wanted}; {hint} Give its name, or one value per row")
    return columns[name]


def _read_sparse(X: Any) -> Table:
    _refuse_complex(X.dtype)
    if X.dtype.kind not in "biuf":
        msg = f"X is a sparse matrix of {X.dtype}; only numbers and booleans can be sparse."
        raise InputError(msg)
    return Table(names=_positional(X.shape[1]), named=False, n_rows=X.shape[0], matrix=X)


def _read_array(X: Any) -> Table:
    if X is None:
        msg = "X is None; give the features as a table of shape (n_rows, n_features)."
        raise InputError(msg)
    array = as_array(_unwrapped(X), "X")
    _refuse_complex(array.dtype)
    if array.ndim != 2:
        msg = (
            f"Expected 2D array for X, got {array.ndim}D array of shape {array.shape} instead. "
            "Reshape your data either using array.reshape(-1, 1) if your data has a single "
            "feature or array.reshape(1, -1) if it contains a single sample."
        )
        raise InputError(msg)
    n_rows, n_columns = array.shape
    names = _positional(n_columns)
    if array.dtype.kind in "biuf":
        return Table(names=names, named=False, n_rows=n_rows, matrix=array)
    columns = tuple(pd.Series(array[:, at]) for at in range(n_columns))
    return Table(names=names, named=False, n_rows=n_rows, columns=columns)


def _unwrapped(X: Any) -> Any:
    """Return a column given where a table belongs as an array, so that its shape is told."""
    if isinstance(X, pd.Series) or is_foreign(X):
        return as_series(X, "X").to_numpy()
    return X


def _refuse_complex(dtype: Any) -> None:
    if dtype.kind == "c":
        msg = f"Complex data not supported: X has dtype {dtype}. Give real numbers."
        raise InputError(msg)


def _positional(n_columns: int) -> tuple[str, ...]:
    return tuple(f"x{at}" for at in range(n_columns))


def _check_not_empty(table: Table, *, allow_empty: bool) -> None:
    shape = (table.n_rows, len(table.names))
    if not table.names:
        msg = (
            f"Found array with 0 feature(s) (shape={shape}) while a minimum of 1 is required. "
            "Give X at least one column."
        )
        raise InputError(msg)
    if table.n_rows == 0 and not allow_empty:
        msg = (
            f"Found array with 0 sample(s) (shape={shape}) while a minimum of 1 is required. "
            "Give X at least one row."
        )
        raise InputError(msg)
