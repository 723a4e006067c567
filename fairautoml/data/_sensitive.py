"""The accepted forms of ``sensitive`` as named columns, and the names of groups."""

import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from fairautoml.data._frames import as_array, as_series, frame_columns, is_foreign, is_frame
from fairautoml.data._keys import Key
from fairautoml.exceptions import InputError

DEFAULT_NAME = "sensitive"
MISSING: Key = ("missing", None)
MISSING_LABEL = "(missing)"


@dataclass(frozen=True, slots=True)
class SensitiveColumns:
    """Sensitive columns by name; ``named`` is False when the user gave no names.

    ``overlaps`` holds, for each table of indicators of groups that overlap, the names of its
    columns among ``columns``.
    """

    columns: "dict[str, pd.Series[Any]]"
    named: bool
    overlaps: dict[str, tuple[str, ...]] = field(default_factory=dict)

    @property
    def n_rows(self) -> int:
        """Number of rows of the first column."""
        return len(next(iter(self.columns.values())))


def read_sensitive(sensitive: Any) -> SensitiveColumns:
    """Read the sensitive columns."""
    if isinstance(sensitive, Mapping):
        found = _read_mapping(sensitive)
    elif is_frame(sensitive):
        found = SensitiveColumns(frame_columns(sensitive, "sensitive"), named=True)
    elif _is_column(sensitive):
        column = as_series(sensitive, "sensitive")
        name = DEFAULT_NAME if column.name is None else str(column.name)
        found = SensitiveColumns({name: column}, named=column.name is not None)
    else:
        found = _read_array(sensitive)
    _check_columns(found)
    return found


def _read_mapping(sensitive: Mapping[Any, Any]) -> SensitiveColumns:
    columns: dict[str, pd.Series[Any]] = {}
    overlaps: dict[str, tuple[str, ...]] = {}
    for key, value in sensitive.items():
        name = str(key)
        read = _read_indicators(name, value) if is_frame(value) else {name: as_series(value, name)}
        twice = sorted(set(columns) & set(read))
        if twice:
            msg = f"sensitive has several columns called {twice[0]!r}; rename one of them."
            raise InputError(msg)
        columns.update(read)
        if is_frame(value):
            overlaps[name] = tuple(read)
    return SensitiveColumns(columns, named=True, overlaps=overlaps)


def _read_indicators(table: str, frame: Any) -> "dict[str, pd.Series[Any]]":
    """Return the columns as True, False and missing, under the name of table and column."""
    found = {}
    for name, column in frame_columns(frame, f"sensitive[{table!r}]").items():
        absent = column.isna().to_numpy()
        values = column.to_numpy(dtype=object)
        strange = [v for v in values[~absent].tolist() if v not in (0, 1)]
        if strange:
            msg = (
                f"sensitive[{table!r}] is a table, so its columns must say who belongs to a group "
                f"by True and False or 1 and 0; {name!r} holds {strange[0]!r}. Give one column "
                "per group, for example with pandas.get_dummies, or a column in place of the "
                f"table: sensitive={{{name!r}: ...}}."
            )
            raise InputError(msg)
        read = np.full(len(values), None, dtype=object)
        read[~absent] = values[~absent].astype(bool)
        found[f"{table}.{name}"] = pd.Series(read, dtype=object)
    if not found:
        msg = f"sensitive[{table!r}] has no column; give one column per group."
        raise InputError(msg)
    return found


def _is_column(sensitive: Any) -> bool:
    kinds = (pd.Series, pd.Index, pd.api.extensions.ExtensionArray)
    return isinstance(sensitive, kinds) or is_foreign(sensitive)


def _read_array(sensitive: Any) -> SensitiveColumns:
    array = as_array(sensitive, "sensitive")
    if array.ndim == 1:
        return SensitiveColumns({DEFAULT_NAME: as_series(sensitive, "sensitive")}, named=False)
    if array.ndim != 2:
        msg = (
            f"sensitive must have one or two dimensions, found shape {array.shape}; give one "
            "column per sensitive attribute."
        )
        raise InputError(msg)
    columns = {
        f"{DEFAULT_NAME}_{at}": as_series(array[:, at], "sensitive")
        for at in range(array.shape[1])
    }
    return SensitiveColumns(columns, named=False)


def _check_columns(found: SensitiveColumns) -> None:
    if not found.columns:
        msg = "sensitive has no column; give at least one, or sensitive=None."
        raise InputError(msg)
    lengths = {name: len(column) for name, column in found.columns.items()}
    if len(set(lengths.values())) > 1:
        msg = f"the columns of sensitive differ in length: {lengths}; give one value per row."
        raise InputError(msg)


def level_labels(keys: tuple[Key, ...]) -> tuple[str, ...]:
    """Return a display name per group of one column, all different.

    Values whose text is the same (1 and "1") are written as Python literals, 1 and '1'.
    """
    plain = tuple(_text(key) for key in keys)
    if len(set(plain)) == len(plain):
        return plain
    return tuple(_literal(key) for key in keys)


def _text(key: Key) -> str:
    if key == MISSING:
        return MISSING_LABEL
    # A line end or a terminal's code in a label could forge a line of a certificate.
    return "".join(
        sign.encode("unicode_escape").decode() if unicodedata.category(sign) == "Cc" else sign
        for sign in str(key[1])
    )


def _literal(key: Key) -> str:
    kind, value = key
    if key == MISSING:
        return MISSING_LABEL
    return repr(value) if kind in {"str", "int", "bool"} else f"{kind}({value!r})"


def join_labels(parts: tuple[str, ...]) -> str:
    r"""Return ``"Female & Black"``; ``&`` and ``\`` inside a part get a backslash.

    So two different combinations never share a label.
    """
    if len(parts) == 1:
        return parts[0]
    return " & ".join(part.replace("\\", "\\\\").replace("&", "\\&") for part in parts)


def row_ids(codes: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return one number per distinct row, 0, 1, ... in lexical order of the rows.

    Column by column, renumbered after each, in int64: products of many codes never overflow.
    """
    ids = np.zeros(len(codes), dtype=np.int64)
    for column in codes.T:
        low = int(column.min(initial=0))
        width = int(column.max(initial=0)) - low + 1
        _, inverse = np.unique(ids * width + (column - low), return_inverse=True)
        ids = inverse.reshape(-1).astype(np.int64)
    return ids
