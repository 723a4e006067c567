"""A file of later rows, read as the table of the fit was: CSV says nothing about types."""

import os
from collections.abc import Sequence
from typing import Any

import pandas as pd

from fairautoml.data.columns import TableSchema
from fairautoml.data.files import read_table
from fairautoml.data.groups import GroupSchema
from fairautoml.exceptions import InputError


def read_later(
    path: str | os.PathLike[str],
    *,
    schema: TableSchema,
    groups: GroupSchema | None,
    text: Sequence[str] = (),
) -> pd.DataFrame:
    """Read a table whose columns held text or dates at fit as text and dates.

    Codes such as "0", "1", "V1" are text at fit; in a later file without "V1" they would be read
    as numbers, which are other categories.
    """
    levels = {column.name: column.levels for column in schema.columns}
    if groups is not None:
        # Numbers that are read into bands are numbers in the file, whatever the bands are called.
        levels |= {
            name: keys
            for name, keys in zip(groups.columns, groups.levels, strict=True)
            if name not in groups.numeric
        }
    strings = [name for name, keys in levels.items() if _only_text(keys)]
    of_groups = () if groups is None else [n for n in groups.columns if n not in groups.numeric]
    table = read_table(path, text_columns=of_groups, strings=[*strings, *text], allow_empty=True)
    truths = [n for n in of_groups if n in table.columns and _kinds(levels[n]) == {"bool"}]
    table = table.assign(**{n: _as_truths(table[n]) for n in truths})
    dates = [column.name for column in schema.columns if column.kind == "datetime"]
    return table.assign(**{n: _as_dates(table[n]) for n in dates if n in table.columns})


def _only_text(levels: Sequence[tuple[str, Any]]) -> bool:
    return _kinds(levels) == {"str"}


def _kinds(levels: Sequence[tuple[str, Any]]) -> set[str]:
    return {kind for kind, value in levels if value is not None}


def _as_truths(column: "pd.Series[Any]") -> "pd.Series[Any]":
    """Return truth values as CSV writes them, True and False or 1 and 0; others as they are."""
    known = {"true": True, "1": True, "1.0": True, "false": False, "0": False, "0.0": False}
    texts = column.astype(str).str.lower()
    read = texts.isin(list(known)) | column.isna()
    return texts.map(known).where(column.notna(), None) if read.all() else column


def _as_dates(column: "pd.Series[Any]") -> "pd.Series[Any]":
    if not pd.api.types.is_string_dtype(column.dtype):
        return column
    try:
        # Where clocks change, dates of one zone have two differences to UTC.
        return pd.to_datetime(column, format="ISO8601", utc=True)
    except ValueError as error:
        msg = f"column {column.name!r} held dates at fit; write dates as 2026-01-31: {error}"
        raise InputError(msg) from error
