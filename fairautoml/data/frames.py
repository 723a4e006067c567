"""Convert tables of any library to pandas, and split them.

polars and pyarrow are optional: they are recognised by module name and never imported, and polars
is read without pyarrow.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
import pandas as pd
import scipy.sparse as sp
from numpy.typing import NDArray
from scipy.sparse import csr_matrix

from fairautoml.data.columns import PositionalNames, texts_of
from fairautoml.data.sensitive_numbers import kind_of, numbers
from fairautoml.data.splits import row_draws
from fairautoml.exceptions import InputError, ParameterError
from fairautoml.registry import nearest


@dataclass(frozen=True, slots=True, kw_only=True)
class Inputs:
    """The user's inputs; pandas inputs have equal indices."""

    X: Any
    y: Any
    sensitive: Any = None
    sample_weight: Any = None
    groups: Any = None
    proxies: Any = None


def check_same_index(inputs: Inputs) -> None:
    """Raise InputError if pandas inputs have different indices."""
    found = unlike_indices({field.name: getattr(inputs, field.name) for field in fields(inputs)})
    if found:
        raise InputError(
            f"{found}. Use reset_index(drop=True) if they are in the same order, else bring them "
            "into the same order, for example y.loc[X.index]."
        )


def unlike_indices(given: Mapping[str, Any]) -> str:
    """Describe two pandas inputs with different indices; empty if all indices are equal."""
    indices = {
        name: value.index
        for argument, columns in given.items()
        for name, value in _parts(argument, columns).items()
        if isinstance(value, pd.DataFrame | pd.Series)
    }
    first, reference = next(iter(indices.items()), ("", None))
    other = next((name for name, index in indices.items() if not index.equals(reference)), None)
    if other is None or all(_is_default(index) for index in indices.values()):
        return ""
    return (
        f"{first} and {other} have different pandas indices ({_shown(indices[first])} and "
        f"{_shown(indices[other])}), so it is not clear which rows belong together"
    )


def _parts(name: str, columns: Any) -> dict[str, Any]:
    """Return columns that are given in a dict or a list one by one."""
    if isinstance(columns, Mapping):
        return {f"{name}[{key!r}]": value for key, value in columns.items()}
    if isinstance(columns, list | tuple) and any(isinstance(v, pd.Series) for v in columns):
        return {f"{name}[{at}]": value for at, value in enumerate(columns)}
    return {name: columns}


def _is_default(index: "pd.Index[Any]") -> bool:
    return isinstance(index, pd.RangeIndex) and index.start == 0 and index.step == 1


def _shown(index: "pd.Index[Any]") -> str:
    first = ", ".join(repr(label) for label in index[:3].tolist())
    return f"{len(index)} rows from {first}, ..."


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """A table before encoding; exactly one of ``columns`` and ``matrix`` is set."""

    names: Sequence[str]  # column names; ``x0``, ``x1``, ... where the user gave none
    named: bool  # whether the names are the user's
    n_rows: int  # number of rows
    columns: "tuple[pd.Series[Any], ...] | None" = None  # the columns, in order
    matrix: Any = None  # the whole table, when all of it is plain numbers without names

    @property
    def sparse(self) -> bool:
        """Whether the table is a sparse matrix."""
        return bool(sp.issparse(self.matrix))

    @property
    def by_name(self) -> "dict[str, pd.Series[Any]]":
        """The columns by the names that the user gave; empty without names."""
        if not self.named or self.columns is None:
            return {}
        return dict(zip(self.names, self.columns, strict=True))


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
        columns = [column for _, column in frame.items()]
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
        raise InputError(
            f"column {column.name!r} of {argument} holds several values per row ({column.dtype}); "
            "make columns of them (unnest) or leave it out"
        )
    zoned = getattr(column.dtype, "time_zone", None) is not None
    return pd.Series(values).dt.tz_localize("UTC") if zoned else pd.Series(values)


def _check_unique(names: list[str], argument: str) -> None:
    twice = sorted(name for name, count in Counter(names).items() if count > 1)
    if twice:
        more = f", ... ({len(twice)} in all)" if len(twice) > 10 else ""
        raise InputError(
            f"{argument} has several columns of one name: {', '.join(map(repr, twice[:10]))}"
            f"{more}; names are compared as text (1 and '1' are the same). Rename the columns so "
            "that each name occurs once."
        )


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
        # Masked values are missing.
        found: NDArray[Any] = values.data.astype(float if values.dtype.kind == "f" else object)
        found[np.ma.getmaskarray(values)] = np.nan if values.dtype.kind == "f" else None
        return found
    if isinstance(values, np.ndarray):
        return np.asarray(values)
    if hasattr(values, "__array__"):
        try:
            return np.asarray(values)
        except (RuntimeError, TypeError, ValueError) as error:
            msg = f"{argument} cannot be read as an array ({error!r}); give a NumPy array."
            raise InputError(msg) from error
    if not hasattr(values, "__len__") or isinstance(values, str | bytes | dict):
        raise InputError(
            f"{argument} must be a table or an array, found {type(values).__name__}; "
            "give a DataFrame, a NumPy array or a list."
        )
    return object_array(values, argument)


def as_series(values: Any, argument: str) -> "pd.Series[Any]":
    """Return a column as a Series; ``.name`` is the user's name or None."""
    if isinstance(values, pd.Series):
        return values
    if isinstance(values, pd.Categorical | pd.Index | pd.api.extensions.ExtensionArray):
        return pd.Series(values)
    library = library_of(values)
    if library == "polars" and hasattr(values, "to_numpy"):
        return pd.Series(values.to_numpy(), name=values.name or None)
    if library == "pyarrow" and hasattr(values, "to_pandas"):
        return values.to_pandas()
    array = as_array(values, argument)
    if array.ndim != 1:
        msg = f"{argument} should be a 1d array, got an array of shape {array.shape} instead."
        raise InputError(msg)
    if not array.dtype.isnative:
        array = array.astype(array.dtype.newbyteorder("="))
    # pandas cannot hold halves of all operations nor long doubles; float64 holds both kinds.
    if array.dtype.kind == "f" and array.dtype not in (np.float32, np.float64):
        array = array.astype(np.float64)
    return _series(array, argument)


def _series(array: NDArray[Any], argument: str) -> "pd.Series[Any]":
    try:
        return pd.Series(array)
    except UnicodeEncodeError as error:
        msg = f"{argument} holds text that is no valid Unicode ({error.reason}); correct it."
        raise InputError(msg) from error


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
    columns = read_table(X).by_name
    if name not in columns:
        has = f"X has {list(columns)[:20]}." if columns else "X has no column names."
        hint = nearest(name, columns, has)
        wanted = f"{argument}={name!r} must be a column of X"
        raise ParameterError(f"{wanted}; {hint} Give its name, or one value per row")
    return columns[name]


def _read_sparse(X: Any) -> Table:
    _refuse_complex(X.dtype)
    if X.dtype.kind not in "biuf":
        msg = f"X is a sparse matrix of {X.dtype}; only numbers and booleans can be sparse."
        raise InputError(msg)
    return Table(names=PositionalNames(X.shape[1]), named=False, n_rows=X.shape[0], matrix=X)


def _read_array(X: Any) -> Table:
    if X is None:
        raise InputError("X is None; give the features as a table of shape (n_rows, n_features).")
    if isinstance(X, pd.Series) or is_foreign(X):
        X = as_series(X, "X").to_numpy()  # so that the error message can state its shape
    array = as_array(X, "X")
    _refuse_complex(array.dtype)
    if array.ndim != 2:
        raise InputError(
            f"Expected 2D array for X, got {array.ndim}D array of shape {array.shape} instead. "
            "Reshape your data either using array.reshape(-1, 1) if your data has a single "
            "feature or array.reshape(1, -1) if it contains a single sample."
        )
    n_rows, n_columns = array.shape
    names = PositionalNames(n_columns)
    if array.dtype.kind in "biuf":
        return Table(names=names, named=False, n_rows=n_rows, matrix=array)
    columns = tuple(pd.Series(array[:, at]) for at in range(n_columns))
    return Table(names=names, named=False, n_rows=n_rows, columns=columns)


def _refuse_complex(dtype: Any) -> None:
    if dtype.kind == "c":
        raise InputError(f"Complex data not supported: X has dtype {dtype}. Give real numbers.")


def _check_not_empty(table: Table, *, allow_empty: bool) -> None:
    shape = (table.n_rows, len(table.names))
    if not table.names:
        raise InputError(
            f"Found array with 0 feature(s) (shape={shape}) while a minimum of 1 is required. "
            "Give X at least one column."
        )
    if table.n_rows == 0 and not allow_empty:
        raise InputError(
            f"Found array with 0 sample(s) (shape={shape}) while a minimum of 1 is required. "
            "Give X at least one row."
        )


def check_length(n_rows: int, values: Any, argument: str) -> None:
    """Raise unless there is one value per row."""
    found = _length(values)
    if found != n_rows:
        raise InputError(
            f"Found input variables with inconsistent numbers of samples: [{n_rows}, {found}]: X "
            f"has {n_rows} rows and {argument} has {found}. Give one value per row of X."
        )


def read_weights(sample_weight: Any, n_rows: int) -> NDArray[np.float64]:
    values = as_series(sample_weight, "sample_weight")
    check_length(n_rows, values, "sample_weight")
    if values.dtype.kind == "c":
        raise InputError("sample_weight holds complex numbers. Give one number >= 0 per row.")
    try:
        weight = np.array(values.to_numpy(dtype=np.float64, na_value=np.nan))
    except (TypeError, ValueError) as error:
        msg = f"sample_weight must hold numbers: {error}. Give one number >= 0 per row."
        raise InputError(msg) from error
    bad = int((~np.isfinite(weight) | (weight < 0)).sum())
    if bad:
        raise InputError(
            f"sample_weight has {bad} value(s) that are NaN, infinite or negative; weights must "
            "be finite numbers of at least 0. Give such rows weight 0 to leave them out."
        )
    with np.errstate(over="ignore"):
        total = weight.sum()
    if not np.isfinite(total):
        raise InputError(
            f"sample_weight: the sum of the weights, up to {weight.max():.3g}, is too large for a "
            "float. Divide all weights by the same number."
        )
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


def read_extra(values: Any, X: Any, argument: str) -> "tuple[pd.Series[Any], str]":
    """Return one non-feature value per row, and the name of its column in ``X`` if it had one."""
    name = ""
    if isinstance(values, str):
        name, values = values, column_of(X, values, argument)
    series = as_series(values, argument)
    check_length(read_table(X).n_rows, series, argument)
    missing = int(series.isna().sum())
    if missing:
        raise InputError(f"{argument} is missing in {missing} row(s); give a value for every row")
    return series.reset_index(drop=True), name


def read_entities(groups: Any, X: Any) -> tuple[NDArray[np.int64] | None, str]:
    """Return the entity of each row, from 0, and the name of its column in ``X`` if it had one."""
    ids, name = entity_ids(groups, X)
    if ids is None:
        return None, name
    return np.unique(ids, return_inverse=True)[1].astype(np.int64), name


def entity_ids(groups: Any, X: Any) -> tuple[NDArray[Any] | None, str]:
    """Return the identifier of each row's entity as text, and the name of its column in ``X``."""
    if groups is None:
        return None, ""
    series, name = read_extra(groups, X, "groups")
    return texts_of(series), name


def identity(inputs: Inputs) -> pd.DataFrame:
    """Return features and label of the rows, to recognise the same rows.

    Groups and weights are excluded: they can be given in several forms, and the rows stay the same
    with other groups or weights.
    """
    table = read_table(inputs.X)
    if table.columns is not None:
        found: dict[str, Any] = {
            f"X.{name}": column for name, column in zip(table.names, table.columns, strict=True)
        }
    elif table.sparse:
        found = {f"X.{name}": bits for name, bits in row_contents(table.matrix).items()}
    else:
        found = {f"X.{n}": table.matrix[:, at] for at, n in enumerate(table.names)}
    found["y"] = as_series(_flat(inputs.y), "y")
    return pd.DataFrame(
        {k: _content(pd.Series(c), k.removeprefix("X.")) for k, c in found.items()}
    )


def row_contents(matrix: Any) -> dict[str, NDArray[np.float64]]:
    """Return two numbers per row of a sparse matrix that its content determines."""
    # Canonical form of the same numbers; models read float32.
    plain = csr_matrix(matrix, dtype=np.float32, copy=True)
    plain.sum_duplicates()
    return {str(salt): row_draws(plain, salt) for salt in (0, 1)}


def _content(column: "pd.Series[Any]", name: str) -> "pd.Series[Any]":
    """Return the values of a column, independent of its storage type."""
    held = column.reset_index(drop=True).infer_objects()
    kind = kind_of(held, name)
    return held if kind == "category" else pd.Series(numbers(held, kind, name))


def _flat(y: Any) -> Any:
    """Return a column vector as a column."""
    if isinstance(y, pd.DataFrame):
        return y.iloc[:, 0]
    array = y if isinstance(y, pd.Series) else as_array(y, "y")
    return array.ravel() if getattr(array, "ndim", 1) == 2 else array
