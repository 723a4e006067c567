"""``load(name)``: a dataset by name, from the first place that has it.

1. ``lending``: embedded, invented, needs neither files nor network;
2. the folder that the environment variable ``FAIRAUTOML_DATA_HOME`` names, with an ``index.json``
   that gives file, SHA-256 and meaning of every dataset;
3. the public source (``fairautoml.data.sources``), pinned by content, kept in a cache folder.
"""

import hashlib
import json
import os
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from fairautoml.data.download import cache_folder, fetch, keep
from fairautoml.data.files import read_table
from fairautoml.data.lending import lending_table
from fairautoml.data.named import NamedTable, TableFacts
from fairautoml.data.sources import MAX_BYTES, SOURCES, PublicSource, content_hash
from fairautoml.exceptions import DatasetUnavailableError, InputError, UnknownNameError
from fairautoml.registry import unknown_name

HOME = "FAIRAUTOML_DATA_HOME"
EMBEDDED = "lending"
WAYS_OUT = (
    f"Set {HOME} to a folder that holds it and an index.json, or be online; "
    f"load({EMBEDDED!r}) needs neither."
)


def load(name: str) -> NamedTable:
    """Load a dataset by name.

    Examples
    --------
    >>> table = load("lending")
    >>> table.frame.shape, table.target, table.sensitive
    ((20000, 16), 'repaid', ('sex', 'region', 'age_band'))
    """
    if name == EMBEDDED:
        return lending_table()
    folder = _home()
    index = {} if folder is None else _index(folder)
    if folder is not None and name in index:
        return _from_folder(name, folder, index[name])
    if name in SOURCES:
        return _from_public(name, SOURCES[name])
    raise _unknown(name, index)


def available() -> tuple[str, ...]:
    """Return the names that ``load`` knows here, sorted; public ones need a network once."""
    folder = _home()
    index = {} if folder is None else _index(folder)
    return tuple(sorted({EMBEDDED, *index, *SOURCES}))


def _home() -> Path | None:
    named = os.environ.get(HOME, "")
    return Path(named) if named else None


def _index(folder: Path) -> Mapping[str, Mapping[str, Any]]:
    path = folder / "index.json"
    try:
        index = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        msg = f"{HOME} is {str(folder)!r}, which has no index.json; correct it or unset it"
        raise DatasetUnavailableError(msg) from None
    except (OSError, ValueError) as error:
        raise DatasetUnavailableError(f"{path} cannot be read: {error}") from None
    entries = index.values() if isinstance(index, dict) else [None]
    if not all(isinstance(entry, dict) for entry in entries):
        raise DatasetUnavailableError(f"{path} must be an object: dataset name to entry")
    return dict(index)


def _from_folder(name: str, folder: Path, entry: Mapping[str, Any]) -> NamedTable:
    missing = [key for key in ("file", "sha256", "target") if key not in entry]
    if missing:
        msg = f"the entry {name!r} in {folder / 'index.json'} lacks {', '.join(missing)}"
        raise DatasetUnavailableError(msg)
    path = folder / str(entry["file"])
    try:
        found = hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError as error:
        msg = f"dataset {name!r} cannot be read from {path}: {error.strerror}. {WAYS_OUT}"
        raise DatasetUnavailableError(msg) from None
    if found != entry["sha256"]:
        msg = (
            f"{path} is not the file of its index.json: its SHA-256 is {found}, expected "
            f"{entry['sha256']}; fetch the file again, or correct the index if you changed it"
        )
        raise DatasetUnavailableError(msg)
    facts = _facts(entry)
    frame = read_table(path, text_columns=(facts.target, *facts.sensitive))
    return facts.table(name, frame)


def _facts(entry: Mapping[str, Any]) -> TableFacts:
    return TableFacts(
        target=entry["target"],
        positive_label=entry.get("positive_label"),
        sensitive=tuple(entry.get("sensitive", ())),
        drop=tuple(entry.get("drop_columns", ())),
        categorical=tuple(entry.get("categorical_columns", ())),
        features=tuple(entry.get("recommended_features", ())),
        weight=entry.get("weight_column"),
        task=entry.get("task", "binary"),
        notes=entry.get("notes", ""),
        licence=entry.get("licence", ""),
        citation=entry.get("citation", ""),
    )


def _from_public(name: str, source: PublicSource) -> NamedTable:
    path = cache_folder() / f"{name}.raw"
    if path.is_file():
        try:
            return _parsed(name, source, path.read_bytes())
        except (DatasetUnavailableError, OSError):
            # A damaged cache is no reason to stop: the source is asked again.
            path.unlink(missing_ok=True)
    try:
        raw = fetch(source.url, max_bytes=MAX_BYTES)
    except DatasetUnavailableError as error:
        msg = f"dataset {name!r} is not on this machine, and {error}. {WAYS_OUT}"
        raise DatasetUnavailableError(msg) from None
    table = _parsed(name, source, raw)
    keep(raw, path)
    return table


def _parsed(name: str, source: PublicSource, raw: bytes) -> NamedTable:
    try:
        frame = source.parse(raw)
    except (ValueError, KeyError, zipfile.BadZipFile, InputError) as error:
        msg = f"{source.url} is not the file of dataset {name!r}: {error!r}. {WAYS_OUT}"
        raise DatasetUnavailableError(msg) from None
    found = content_hash(frame)
    if found != source.content:
        msg = (
            f"{source.url} has changed: the content hash of dataset {name!r} is {found}, "
            f"expected {source.content}. {WAYS_OUT}"
        )
        raise DatasetUnavailableError(msg)
    return source.facts.table(name, frame)


def checksum(name: str) -> str:
    """Return what pins the rows of a dataset: how, and 64 hexadecimal digits."""
    if name == EMBEDDED:
        return f"content:{content_hash(lending_table().frame)}"
    folder = _home()
    index = {} if folder is None else _index(folder)
    if name in index:
        return f"sha256:{index[name].get('sha256')}"
    if name in SOURCES:
        return f"content:{SOURCES[name].content}"
    if Path(name).is_file():
        return f"sha256:{hashlib.sha256(Path(name).read_bytes()).hexdigest()}"
    raise _unknown(name, index)


def _unknown(name: str, index: Mapping[str, Any]) -> UnknownNameError:
    known = sorted({EMBEDDED, *index, *SOURCES})
    hint = "" if _home() is not None else f"; {HOME} is not set, so no folder was searched"
    return UnknownNameError(f"{unknown_name('dataset', name, known)}{hint}")
