"""The accepted forms of ``proxies`` as named columns."""

import difflib
from typing import Any

import numpy as np
import pandas as pd

from fairautoml.data._frames import as_series, column_of, read_table
from fairautoml.data._per_row import check_length
from fairautoml.data._sensitive import read_sensitive
from fairautoml.exceptions import InputError


def read_guesses(proxies: Any, X: Any) -> "tuple[dict[str, pd.Series[Any]], tuple[str, ...]]":
    """Return the columns of guesses by name, and which of them are columns of ``X``."""
    table = read_table(X)
    in_X = dict(zip(table.names, table.columns or (), strict=False)) if table.named else {}
    names = _names(proxies, table.n_rows)
    lacking = [name for name in names if name not in in_X]
    if lacking:
        near = difflib.get_close_matches(lacking[0], in_X, n=3)
        end = f"; did you mean {', '.join(map(repr, near))}?" if near else "."
        msg = (
            f"proxies={proxies!r} must name columns of X{end} Give such names, or one guess per "
            "row for each proxy"
        )
        raise InputError(msg)
    columns = {name: in_X[name] for name in names} if names else _columns(proxies)
    for name, column in columns.items():
        check_length(table.n_rows, column, f"proxies[{name!r}]")
    plain = {name: column.reset_index(drop=True) for name, column in columns.items()}
    return plain, tuple(name for name in columns if name in in_X)


def read_truth(sensitive: Any, X: Any) -> Any:
    """Return the true groups of rows whose groups ``fit`` could only guess."""
    if isinstance(sensitive, str):
        return column_of(X, sensitive, "sensitive").array
    found = read_sensitive(sensitive).columns
    if len(found) != 1:
        msg = (
            f"sensitive has {len(found)} columns, {', '.join(map(repr, found))}, and proxies= "
            "guessed one attribute; give the true groups of that one"
        )
        raise InputError(msg)
    return next(iter(found.values())).array


def _names(proxies: Any, n_rows: int) -> tuple[str, ...]:
    """Return the names of columns of X that are meant, none when these are values."""
    if isinstance(proxies, str):
        return (proxies,)
    listed = isinstance(proxies, list | tuple) and 0 < len(proxies) != n_rows
    return tuple(proxies) if listed and all(isinstance(name, str) for name in proxies) else ()


def _columns(proxies: Any) -> "dict[str, pd.Series[Any]]":
    listed = isinstance(proxies, list | tuple) and len(proxies) <= 3
    if listed and all(not np.isscalar(column) and column is not None for column in proxies):
        series = [as_series(column, "proxies") for column in proxies]
        names = [f"proxy_{at}" if s.name is None else str(s.name) for at, s in enumerate(series)]
        if len(set(names)) < len(names):
            raise InputError(f"proxies: two columns have one name, {names}; rename one of them")
        return dict(zip(names, series, strict=True))
    found = read_sensitive(proxies)
    if found.named:
        return found.columns
    return {f"proxy_{at}": column for at, column in enumerate(found.columns.values())}
