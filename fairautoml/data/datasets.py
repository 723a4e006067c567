"""Datasets loaded by name, from the package, a local folder or a public source.

A source is pinned by the hash of its *content*, because archives are repacked from time to time
with other bytes but the same rows. A table whose content differs from the hash is rejected.

1. ``lending``: embedded and synthetic, needs neither files nor network;
2. the folder that the environment variable ``FAIRAUTOML_DATA_HOME`` names, with an ``index.json``
   that gives file, SHA-256 and meaning of every dataset;
3. the public source in ``SOURCES``, pinned by content, kept in a cache folder.
"""

import hashlib
import http.client
import io
import json
import os
import urllib.error
import urllib.request
import zipfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pandas as pd

from fairautoml.data.files import read_table, write_whole
from fairautoml.data.lending import lending_table
from fairautoml.data.named import DatasetMetadata, NamedTable
from fairautoml.exceptions import DatasetUnavailableError, InputError, UnknownNameError
from fairautoml.registry import unknown_name

SCHEMES = frozenset({"https"})
"""Schemes that are fetched, also after redirects."""
TIMEOUT_SECONDS = 30.0
"""Timeout of the server in seconds."""
CHUNK_BYTES = 2**20


def cache_folder() -> Path:
    """Return the folder of downloaded files: ``FAIRAUTOML_CACHE``, or the user's cache folder."""
    named = os.environ.get("FAIRAUTOML_CACHE", "")
    if named:
        return Path(named)
    base = os.environ.get("XDG_CACHE_HOME", "")
    return (Path(base) if base else Path.home() / ".cache") / "fairautoml"


def fetch(url: str, *, max_bytes: int) -> bytes:
    """Return the bytes at an address."""
    _check_scheme(url)
    try:
        with urllib.request.urlopen(url, timeout=TIMEOUT_SECONDS) as answer:
            _check_scheme(answer.url)
            return _read(answer, url, max_bytes)
    except (urllib.error.URLError, http.client.HTTPException, OSError) as error:
        reason = getattr(error, "reason", error)
        raise DatasetUnavailableError(f"{url} cannot be fetched: {reason}") from None


def keep(raw: bytes, path: Path) -> None:
    """Write a file atomically."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        write_whole(raw, path)
    except OSError as error:
        msg = f"the cache folder {path.parent} cannot be written ({error}); set FAIRAUTOML_CACHE"
        raise DatasetUnavailableError(msg) from None


def _read(answer: http.client.HTTPResponse, url: str, max_bytes: int) -> bytes:
    parts: list[bytes] = []
    size = 0
    while part := answer.read(CHUNK_BYTES):
        size += len(part)
        if size > max_bytes:
            raise DatasetUnavailableError(f"{url} is larger than {max_bytes} bytes")
        parts.append(part)
    return b"".join(parts)


def _check_scheme(url: str) -> None:
    scheme = urlsplit(url).scheme
    if scheme not in SCHEMES:
        allowed = ", ".join(sorted(SCHEMES))
        raise DatasetUnavailableError(f"{url} uses {scheme!r}; data is only fetched by {allowed}")


MAX_BYTES = 256 * 2**20
"""Largest download and largest unpacked member that is accepted."""

ADULT_COLUMNS = (
    "age", "workclass", "fnlwgt", "education", "education-num", "marital-status", "occupation",
    "relationship", "race", "sex", "capital-gain", "capital-loss", "hours-per-week",
    "native-country", "income",
)  # fmt: skip
GERMAN_COLUMNS = (
    "checking_status", "duration", "credit_history", "purpose", "credit_amount", "savings",
    "employment", "installment_rate", "personal_status_sex", "other_debtors", "residence_since",
    "property", "age", "other_installment_plans", "housing", "existing_credits", "job",
    "num_dependents", "telephone", "foreign_worker", "credit_risk",
)  # fmt: skip
GERMAN_FEMALE = ("A92", "A95")
"""Codes of ``personal_status_sex`` that mean a woman, by the UCI description."""
UCI_LICENCE = "CC BY 4.0 (UCI Machine Learning Repository)"


@dataclass(frozen=True, slots=True, kw_only=True)
class PublicSource:
    """One dataset at a public address."""

    url: str  # address of the raw file, https
    content: str  # ``content_hash`` of the parsed table, 64 hexadecimal digits
    parse: Callable[[bytes], pd.DataFrame]  # raw bytes to table
    facts: DatasetMetadata  # what the columns mean


def content_hash(frame: pd.DataFrame) -> str:
    """Return a hash of a table that ignores column order, integer width and text dtype."""
    digest = hashlib.sha256(f"rows {len(frame)}\n".encode())
    for name in sorted(frame.columns):
        digest.update(f"column {name!r}\n".encode())
        values = zip(frame[name].tolist(), frame[name].isna().tolist(), strict=True)
        texts = ("missing" if missing else repr(value) for value, missing in values)
        digest.update("\n".join(texts).encode() + b"\n")
    return digest.hexdigest()


def parse_adult(raw: bytes) -> pd.DataFrame:
    """Read ``adult.data`` and, below it, ``adult.test`` from the UCI archive."""
    test = member(raw, "adult.test").decode("ascii")
    # The test file begins with "|1x3 Cross validator", and its labels end with a full stop.
    lines = [line.removesuffix(".") for line in test.splitlines() if not line.startswith("|")]
    text = member(raw, "adult.data").decode("ascii").rstrip() + "\n" + "\n".join(lines)
    return _table(text, sep=",", missing="?", names=ADULT_COLUMNS)


def parse_bank(raw: bytes) -> pd.DataFrame:
    """Read ``bank-full.csv`` from the UCI archive, which holds it in an archive of its own."""
    return _table(member(raw, "bank-full.csv").decode("ascii"), sep=";", missing="unknown")


def parse_german(raw: bytes) -> pd.DataFrame:
    """Read ``german.data`` from the UCI archive and decode the benchmark column ``sex``."""
    text = member(raw, "german.data").decode("ascii")
    frame = _table(text, sep=" ", missing="?", names=GERMAN_COLUMNS)
    female = frame["personal_status_sex"].isin(GERMAN_FEMALE)
    at = GERMAN_COLUMNS.index("personal_status_sex") + 1
    frame.insert(at, "sex", female.map({True: "female", False: "male"}))
    return frame


def member(raw: bytes, name: str) -> bytes:
    """Return the file of that name from a zip archive or from an archive inside it."""
    with zipfile.ZipFile(io.BytesIO(raw)) as archive:
        for found in archive.infolist():
            if found.filename.rsplit("/", 1)[-1] == name:
                return _unpack(archive, found)
        for found in archive.infolist():
            if found.filename.endswith(".zip"):
                try:
                    return member(_unpack(archive, found), name)
                except KeyError:
                    continue
    raise KeyError(name)


def _unpack(archive: zipfile.ZipFile, found: zipfile.ZipInfo) -> bytes:
    if found.file_size > MAX_BYTES:
        raise ValueError(f"{found.filename} unpacks to {found.file_size} bytes")
    return archive.read(found)


def _table(
    text: str, *, sep: str, missing: str, names: tuple[str, ...] | None = None
) -> pd.DataFrame:
    frame = pd.read_csv(
        io.StringIO(text),
        sep=sep,
        names=None if names is None else list(names),
        skipinitialspace=True,
        keep_default_na=False,
        na_values=[missing],
        index_col=False,
    )
    numbers = frame.select_dtypes("number").columns
    return frame.assign(**{c: pd.to_numeric(frame[c], downcast="integer") for c in numbers})


SOURCES: dict[str, PublicSource] = {
    "adult": PublicSource(
        url="https://archive.ics.uci.edu/static/public/2/adult.zip",
        content="d6fce9d7138d4197150af8a783e37f48c16c56a334b04d3ad0a99b0c7a7df5cd",
        parse=parse_adult,
        facts=DatasetMetadata(
            target="income",
            positive_label=">50K",
            sensitive=("sex", "race", "age"),
            weight="fnlwgt",
            notes=(
                "Rows 0-32560 are the original training file, the others the original test file. "
                "'?' became missing. fnlwgt is a sampling weight, not a feature."
            ),
            licence=UCI_LICENCE,
            citation=(
                "Becker, B. and Kohavi, R. (1996). Adult. UCI Machine Learning Repository. "
                "doi:10.24432/C5XW20"
            ),
        ),
    ),
    "bank_marketing_full": PublicSource(
        url="https://archive.ics.uci.edu/static/public/222/bank+marketing.zip",
        content="1f7b12b83b53dfef3b124d21221297db3a8fcaff666cd9a33e030e871be30da8",
        parse=parse_bank,
        facts=DatasetMetadata(
            target="y",
            positive_label="yes",
            sensitive=("age", "marital"),
            drop=("duration",),
            notes=(
                "'unknown' became missing. duration, the length of the last call, is only known "
                "after the outcome and leaks it. Age is usually split at 25, or 25-60 against "
                "the rest."
            ),
            licence=UCI_LICENCE,
            citation=(
                "Moro, S., Cortez, P. and Rita, P. (2014). A data-driven approach to predict the "
                "success of bank telemarketing. Decision Support Systems 62, 22-31. "
                "doi:10.24432/C5K306"
            ),
        ),
    ),
    "german_credit": PublicSource(
        url="https://archive.ics.uci.edu/static/public/144/statlog+german+credit+data.zip",
        content="4d8db41042d8263418cb05db823d9af04a1638164d79793920be1cd876f4da4b",
        parse=parse_german,
        facts=DatasetMetadata(
            target="credit_risk",
            positive_label=1,
            sensitive=("sex", "age", "foreign_worker"),
            notes=(
                "credit_risk: 1 good, 2 bad. sex is decoded from personal_status_sex (A92 and A95 "
                "female); Groemping (2019) shows the UCI code table to be partly wrong, so this "
                "sex is a benchmark convention, not a fact."
            ),
            licence=UCI_LICENCE,
            citation=(
                "Hofmann, H. (1994). Statlog (German Credit Data). UCI Machine Learning "
                "Repository. doi:10.24432/C5NC77"
            ),
        ),
    ),
}

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
        raise DatasetUnavailableError(
            f"{path} is not the file of its index.json: its SHA-256 is {found}, expected "
            f"{entry['sha256']}; fetch the file again, or correct the index if you changed it"
        )
    facts = _facts(entry)
    frame = read_table(path, text_columns=(facts.target, *facts.sensitive))
    return facts.table(name, frame)


def _facts(entry: Mapping[str, Any]) -> DatasetMetadata:
    return DatasetMetadata(
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
            # Download the source again if the cached file is damaged.
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
        raise DatasetUnavailableError(
            f"{source.url} has changed: the content hash of dataset {name!r} is {found}, "
            f"expected {source.content}. {WAYS_OUT}"
        )
    return source.facts.table(name, frame)


def checksum(name: str) -> str:
    """Return the kind of hash of a dataset, and its 64 hexadecimal digits."""
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
