"""What the user gave, row by row, cut into parts before anything is learnt from it."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
import scipy.sparse as sp
from numpy.typing import NDArray
from scipy.sparse import csr_matrix

from fairautoml.data._align import Inputs
from fairautoml.data._frames import (
    as_array,
    as_series,
    column_of,
    frame_columns,
    is_foreign,
    is_frame,
    read_table,
)
from fairautoml.data._numbers import kind_of, numbers
from fairautoml.data._per_row import check_length
from fairautoml.data.draws import row_draws
from fairautoml.exceptions import InputError

_CELL_TYPES = (pd.Series, pd.Index, pd.Categorical, pd.api.extensions.ExtensionArray)


def take_rows(values: Any, rows: NDArray[np.integer]) -> Any:
    """Return some rows of anything that ``fit`` takes; values and their types stay as they are.

    What pandas holds is numbered anew: rows of what has an index and of what has none would
    otherwise seem to be in different orders.
    """
    if values is None or isinstance(values, str):
        return values
    if isinstance(values, Mapping):
        return {name: take_rows(column, rows) for name, column in values.items()}
    if sp.issparse(values):
        return values.tocsr()[rows]
    if isinstance(values, pd.DataFrame):
        return values.iloc[rows].reset_index(drop=True)
    if is_frame(values):
        columns = frame_columns(values, "X")
        return pd.DataFrame({n: c.iloc[rows] for n, c in columns.items()}).reset_index(drop=True)
    if isinstance(values, _CELL_TYPES) or is_foreign(values):
        return as_series(values, "X").iloc[rows].reset_index(drop=True)
    return as_array(values, "X")[rows]


def take_inputs(inputs: Inputs, rows: NDArray[np.integer], *, names: bool) -> Inputs:
    """Return some rows of everything that ``fit`` was given."""
    sensitive = inputs.sensitive
    return Inputs(
        X=take_rows(inputs.X, rows),
        y=take_rows(inputs.y, rows),
        sensitive=sensitive if names else take_rows(sensitive, rows),
        sample_weight=take_rows(inputs.sample_weight, rows),
    )


def read_extra(values: Any, X: Any, argument: str) -> "tuple[pd.Series[Any], str]":
    """Return one value per row that is no feature, and the name of the column of ``X`` it was."""
    name = ""
    if isinstance(values, str):
        name, values = values, column_of(X, values, argument)
    series = as_series(values, argument)
    check_length(read_table(X).n_rows, series, argument)
    missing = int(series.isna().sum())
    if missing:
        msg = f"{argument} is missing in {missing} row(s); give a value for every row"
        raise InputError(msg)
    return series.reset_index(drop=True), name


def identity(inputs: Inputs) -> pd.DataFrame:
    """Return the rows as a frame that tells them apart: features and label.

    Groups and weights are left out: they are given in several forms, and the same people under
    other groups or weights are the same people.
    """
    table = read_table(inputs.X)
    if table.columns is not None:
        found: dict[str, Any] = {
            f"X.{name}": column for name, column in zip(table.names, table.columns, strict=True)
        }
    elif table.sparse:
        # One form of the same numbers, which float32 is what models read.
        plain = csr_matrix(table.matrix, dtype=np.float32, copy=True)
        plain.sum_duplicates()
        found = {f"X.{salt}": row_draws(plain, salt) for salt in (0, 1)}
    else:
        found = {f"X.{n}": table.matrix[:, at] for at, n in enumerate(table.names)}
    found["y"] = as_series(_flat(inputs.y), "y")
    return pd.DataFrame(
        {k: _content(pd.Series(c), k.removeprefix("X.")) for k, c in found.items()}
    )


def _content(column: "pd.Series[Any]", name: str) -> "pd.Series[Any]":
    """Return what a column holds, whatever type it is stored as."""
    held = column.reset_index(drop=True).infer_objects()
    kind = kind_of(held, name)
    return held if kind == "category" else pd.Series(numbers(held, kind, name))


def _flat(y: Any) -> Any:
    """Return a column vector as a column."""
    if isinstance(y, pd.DataFrame):
        return y.iloc[:, 0]
    array = y if isinstance(y, pd.Series) else as_array(y, "y")
    return array.ravel() if getattr(array, "ndim", 1) == 2 else array
