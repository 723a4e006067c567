"""Read tables from files, and write text files atomically."""

import codecs
import csv
import gzip
import importlib.util
import io
import math
import os
import re
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any, TextIO

import pandas as pd

from fairautoml.data.groups import GroupSchema
from fairautoml.data.schema import TableSchema
from fairautoml.exceptions import DegradedWarning, InputError, MissingExtraError, warn
from fairautoml.registry import nearest
from fairautoml.runtime._written import PLAIN, read_number

MISSING = (
    "", "?", "#N/A", "#N/A N/A", "#NA", "-1.#IND", "-1.#QNAN", "-NaN", "-nan", "1.#IND",
    "1.#QNAN", "<NA>", "N/A", "NA", "NULL", "NaN", "None", "n/a", "nan", "null",
)  # fmt: skip
"""Texts that mean a missing value: those of pandas, and "?"."""
DELIMITERS = (",", ";", "\t", "|")
SAMPLE_LINES = 50
"""Lines that the delimiter is guessed from."""
SAID = re.compile(r'"?sep=(.)"?\r?\n', re.IGNORECASE)
"""First line that declares the delimiter to spreadsheet programs."""
SUFFIXES = (".csv", ".csv.gz", ".tsv", ".tsv.gz", ".parquet", ".feather")
FORMULA = re.compile(r"^[=+\-@\t\r\x00]")
"""First characters that make a spreadsheet program evaluate a text as a formula (CWE-1236)."""


def read_table(
    path: str | os.PathLike[str],
    *,
    text_columns: Sequence[str] = (),
    strings: Sequence[str] = (),
    allow_empty: bool = False,
) -> pd.DataFrame:
    """Read a table from a file.

    CSV is read whatever its delimiter (comma, semicolon, tab, bar, or what a first line such as
    ``sep=;`` says), line ends, byte order mark and compression; as UTF-8, else as Latin-1. Usual
    markers of missing values and "?" become missing. Named indexes of Parquet files are columns.
    """
    file = Path(path)
    suffix = next((s for s in SUFFIXES if file.name.lower().endswith(s)), None)
    if suffix is None:
        msg = f"path is {str(file)!r}; files of these kinds can be read: {', '.join(SUFFIXES)}"
        raise InputError(msg)
    if not file.is_file():
        raise InputError(_not_found(file))
    if suffix in (".parquet", ".feather"):
        frame = _read_arrow(file, suffix)
    else:
        frame = _parse(_text(file, suffix), file, frozenset(text_columns), frozenset(strings))
    if len(frame) == 0 and not allow_empty:
        raise InputError(f"{file} holds column names and no rows")
    return frame


def write_csv(
    frame: pd.DataFrame, target: str | os.PathLike[str] | TextIO, *, raw: bool = False
) -> int:
    """Write CSV that is safe in spreadsheets: formula-like texts get a leading ``'``."""
    n_formulas = 0
    if not raw:
        frame, n_formulas = _without_formulas(frame)
    text = frame.to_csv(index=False, lineterminator="\n")
    if isinstance(target, str | os.PathLike):
        write_whole(text, Path(target))
    else:
        target.write(text)
    return n_formulas


def write_whole(content: str | bytes, path: Path) -> None:
    """Write a file atomically, readable only by its owner regardless of the umask."""
    data = content.encode() if isinstance(content, str) else content
    if path.exists() and not path.is_file():
        # A device such as /dev/stdout is written to, not replaced.
        path.write_bytes(data)
        return
    partial = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        partial.touch(mode=0o600)
        partial.chmod(0o600)
        partial.write_bytes(data)
        partial.replace(path)
    except OSError as error:
        # Name the requested file instead of the temporary one.
        raise OSError(error.errno, error.strerror, str(path)) from error
    finally:
        partial.unlink(missing_ok=True)


def _without_formulas(frame: pd.DataFrame) -> tuple[pd.DataFrame, int]:
    """Return the table with safe texts, and how many of them were formulas."""
    safe, replaced = frame.copy(), [_safe(name) is not name for name in frame.columns]
    for at, dtype in enumerate(frame.dtypes):
        if not pd.api.types.is_numeric_dtype(dtype):
            cells = list(frame.iloc[:, at])
            safe.isetitem(at, [_safe(cell) for cell in cells])
            replaced += [_safe(cell) is not cell for cell in cells]
    safe.columns = pd.Index([_safe(name) for name in frame.columns])
    return safe, sum(replaced)


def _safe(cell: object) -> object:
    return f"'{cell}" if isinstance(cell, str) and FORMULA.match(cell) else cell


def _not_found(file: Path) -> str:
    if file.exists():
        kind = "folder" if file.is_dir() else "pipe or a device, which can be read only once"
        return f"path is {str(file)!r}, which is a {kind}; give a file"
    folder = file.parent
    names = [other.name for other in folder.iterdir()] if folder.is_dir() else []
    hint = nearest(file.name, names, "check the path")
    return f"path is {str(file)!r}; there is no such file; {hint}"


def _read_arrow(file: Path, suffix: str) -> pd.DataFrame:
    if importlib.util.find_spec("pyarrow") is None:
        msg = f"{file.name} needs pyarrow: pip install 'fairautoml-search[arrow]', or give a CSV"
        raise MissingExtraError(msg)
    try:
        frame = pd.read_parquet(file) if suffix == ".parquet" else pd.read_feather(file)
    except (ValueError, OSError) as error:
        raise InputError(f"{file} cannot be read as {suffix}: {error}") from None
    frame = _with_named_index(frame)
    frame.columns = [str(name) for name in frame.columns]
    _check_names(list(frame.columns), file)
    return frame


def _with_named_index(frame: pd.DataFrame) -> pd.DataFrame:
    """Return the named levels of the index as first columns, unless columns repeat them."""
    names = frame.index.names
    for at, name in enumerate(names):
        level = frame.index.get_level_values(at)
        if name in frame.columns and not level.equals(pd.Index(frame[name])):
            warn(
                f"the index and a column of the file are both called {name!r} and differ; the "
                "column is read. Rename one to read both",
                DegradedWarning,
            )
    levels = [at for at, n in enumerate(names) if n is not None and n not in frame.columns]
    for at in reversed(levels):
        frame.insert(0, names[at], frame.index.get_level_values(at), allow_duplicates=True)
    return frame.reset_index(drop=True)


def _text(file: Path, suffix: str) -> str:
    try:
        raw = gzip.decompress(file.read_bytes()) if suffix.endswith(".gz") else file.read_bytes()
    except (OSError, EOFError, zlib.error) as error:
        raise InputError(f"{file} cannot be read: {error}") from None
    old = False
    try:
        if raw.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
            return raw.decode("utf-16")
        found = raw.decode("utf-8-sig")
    except UnicodeDecodeError:
        found, old = raw.decode("latin-1"), True
    if "\0" in found:
        raise InputError(f"{file} is no text, or UTF-16 without its mark; save it as UTF-8")
    if old:
        warn(f"{file} is not UTF-8 and is read as Latin-1; save it as UTF-8", DegradedWarning)
    return found


def _parse(
    text: str, file: Path, text_columns: frozenset[str], strings: frozenset[str]
) -> pd.DataFrame:
    said = SAID.match(text)
    if said is not None:
        # The empty line that is left keeps the numbers of the others.
        text = text[said.end() - 1 :]
    if not text.strip():
        raise InputError(f"{file} is empty; it must have a line of column names and rows")
    delimiter = _delimiter(text) if said is None else said[1]
    header = _checked_header(text, delimiter, file)
    present = [name for name in text_columns if name in header]
    usual = list(MISSING)
    try:
        frame = pd.read_csv(
            io.StringIO(text),
            sep=delimiter,
            header=0,
            names=header,
            index_col=False,
            skipinitialspace=True,
            keep_default_na=False,
            na_values={name: [""] if name in present else usual for name in header},
            dtype={name: str for name in header if name in text_columns | strings},
            # Otherwise types are inferred by chunk, and a code can be a number in one chunk only.
            low_memory=False,
        )
    except pd.errors.ParserError as error:
        raise InputError(f"{file} cannot be read as CSV: {error}") from None
    guessed = [name for name in present if name not in strings]
    return frame.assign(**{name: _numbers_if_all(frame[name]) for name in guessed})


def _numbers_if_all(column: pd.Series) -> pd.Series:
    """Convert a column to numbers if every label is one, so that ages can be binned."""
    texts = column.dropna().unique()
    if len(texts) == 0 or any(math.isnan(read_number(text, PLAIN, "")) for text in texts):
        return column
    return pd.to_numeric(column)


def _delimiter(text: str) -> str:
    """Return the delimiter that cuts the first lines into the most columns, evenly if any does.

    Of several the one that tears the fewest names.
    """
    lines = text.split("\n", SAMPLE_LINES)[:SAMPLE_LINES]

    def quality(delimiter: str) -> tuple[bool, int, int]:
        reader = csv.reader((line.rstrip("\r") for line in lines), delimiter=delimiter)
        try:
            rows = [row for row in reader if row] or [[]]
        except csv.Error:
            return False, 0, 0  # the check of the whole file reports the error
        widths, heads = [len(row) for row in rows], rows[0]
        torn = [cell for cell in heads if cell.startswith(" ") or '"' in cell]
        return widths[0] > 1 and len(set(widths)) == 1, widths[0], -len(torn)

    return max(DELIMITERS, key=quality)


def _checked_header(text: str, delimiter: str, file: Path) -> list[str]:
    """Return the column names; every row must have as many cells."""
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, skipinitialspace=True)
    try:
        header = next(row for row in reader if row)
        for row in reader:
            if row and len(row) != len(header):
                msg = f"{file}, line {reader.line_num}: {len(row)} values, not {len(header)}"
                raise InputError(f"{msg} as in the first line; correct or quote that line")
    except csv.Error as error:
        raise InputError(f"{file}, line {reader.line_num}: {error}") from None
    _check_names(header, file)
    return header


def _check_names(header: Sequence[str], file: Path) -> None:
    doubled = sorted({name for name in header if header.count(name) > 1})
    if doubled:
        raise InputError(f"{file} names a column twice: {', '.join(doubled)}; rename one")


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
        # Binned columns hold numbers in the file although their levels are text.
        levels |= {
            name: keys
            for name, keys in zip(groups.columns, groups.levels, strict=True)
            if name not in groups.numeric
        }
    strings = [name for name, keys in levels.items() if _kinds(keys) == {"str"}]
    # A category such as "None" is no missing value.
    named = [name for name in strings if any(value in MISSING for _, value in levels[name])]
    # A number such as "1.200" would be read as 1.2.
    strings += dict.fromkeys(column.name for column in schema.columns if column.form)
    of_groups = () if groups is None else [n for n in groups.columns if n not in groups.numeric]
    table = read_table(
        path, text_columns=[*of_groups, *named], strings=[*strings, *text], allow_empty=True
    )
    truths = [n for n in of_groups if n in table.columns and _kinds(levels[n]) == {"bool"}]
    table = table.assign(**{n: _as_truths(table[n]) for n in truths})
    typed = (one for one in schema.columns if one.kind == "datetime" and not one.form)
    dates = dict.fromkeys(column.name for column in typed)
    return table.assign(**{n: _as_dates(table[n]) for n in dates if n in table.columns})


_OFFSET = re.compile(r"[T ]\d{2}.*(?:Z|[+-]\d{2}(?::?\d{2})?)\s*$")
"""End of a time in ISO 8601 format with a difference to UTC."""


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
        dates = pd.to_datetime(column, format="ISO8601", utc=True)
    except ValueError as error:
        msg = f"column {column.name!r} held dates at fit; write dates as 2026-01-31: {error}"
        raise InputError(msg) from error
    zoned = column.dropna().str.contains(_OFFSET).any()
    return dates if zoned else dates.dt.tz_localize(None)
