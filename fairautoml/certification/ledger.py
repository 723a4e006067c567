"""Record in a hash chain which rows have been opened for which models.

The ledger belongs to the user, not to a run, so that every fit on the same rows finds it. It
prevents accidents, not fraud: deleting the file resets it.
"""

import base64
import fcntl
import functools
import hashlib
import io
import json
import math
import os
import pickle
import secrets
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import IO, Any

import numpy as np
import pandas as pd
from joblib.hashing import NumpyHasher
from numpy.typing import NDArray
from sklearn.tree import BaseDecisionTree

from fairautoml.certification.verdicts import Verdict
from fairautoml.exceptions import DegradedWarning, InputError, StorageCorruptError, warn
from fairautoml.storage.artifacts import sync_folder


def canonical(content: object) -> bytes:
    """Return plain content as canonical JSON: sorted keys, no blanks, ASCII."""
    text = json.dumps(content, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return text.encode("ascii")


def chain_hash(content: object) -> str:
    """Return the SHA-256 of the canonical bytes, 64 hexadecimal digits."""
    return hashlib.sha256(canonical(content)).hexdigest()


def sealed(content: Mapping[str, Any]) -> bytes:
    """Return the canonical bytes of content with its hash in the field ``sha256``."""
    return canonical({**content, "sha256": chain_hash(content)})


NO_ENTRY = "0" * 64
"""Hash that the first entry names as its predecessor."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One line of the ledger."""

    content: Mapping[str, Any]  # without the hash
    seal: str  # SHA-256 of the content


@dataclass(frozen=True, slots=True)
class HashChain:
    """An append-only file of entries, each with the hash of the one before."""

    path: Path  # created when it is first locked; its folder must exist
    clock: Callable[[], datetime]  # returns the time of an entry
    first: Callable[[], Mapping[str, Any]]  # returns the content of the first entry of a new file

    @contextmanager
    def locked(self) -> Iterator[tuple[IO[bytes], list[Entry]]]:
        """Lock and check the file; write the first entry if it is new."""
        descriptor = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o600)
        with os.fdopen(descriptor, "r+b") as stream:
            fcntl.flock(stream, fcntl.LOCK_EX)
            self._drop_torn(stream)
            stream.seek(0)
            entries = self._checked(stream.read())
            if not entries:
                self.append(stream, NO_ENTRY, self.first())
                sync_folder(self.path.parent)
                stream.seek(0)
                entries = self._checked(stream.read())
            yield stream, entries

    def _drop_torn(self, stream: IO[bytes]) -> None:
        """Move a truncated last line to a side file: the opening that it announces never began."""
        stream.seek(0)
        data = stream.read()
        whole = data.rfind(b"\n") + 1
        rest = data[whole:]
        if _read(rest) is not None:
            stream.write(b"\n")
        elif rest and _read(rest[:-1]) is None:
            # A complete entry with a wrong last byte was altered, not truncated.
            with self.path.with_name(f"{self.path.name}.torn").open("ab") as torn:
                torn.write(rest + b"\n")
            stream.truncate(whole)

    def _checked(self, data: bytes) -> list[Entry]:
        entries: list[Entry] = []
        for number, line in enumerate(data.splitlines(), start=1):
            content = _read(line)
            before = entries[-1].seal if entries else NO_ENTRY
            if content is None or content["previous"] != before:
                msg = (
                    f"Line {number} of the ledger {str(self.path)!r} is not what was written "
                    "there, or an earlier line is missing. Nothing was changed. Restore the file "
                    "from a copy, or certify on rows that were never opened."
                )
                raise StorageCorruptError(msg)
            entries.append(Entry(content, chain_hash(content)))
        return entries

    def append(self, stream: IO[bytes], previous: str, content: Mapping[str, Any]) -> str:
        """Write an entry durably and return its hash."""
        time = self.clock().isoformat(timespec="seconds")
        whole = {**content, "previous": previous, "time": time}
        stream.seek(0, os.SEEK_END)
        stream.write(sealed(whole) + b"\n")
        stream.flush()
        os.fsync(stream.fileno())
        return chain_hash(whole)


def _read(line: bytes) -> dict[str, Any] | None:
    """Return the content of a line, or None if the line was altered."""
    try:
        content = json.loads(line)
    except ValueError:
        return None
    if not isinstance(content, dict) or "previous" not in content:
        return None
    content.pop("sha256", None)
    return content if sealed(content) == line else None


DISTINCT = 10
"""Fewest distinct values of a fingerprinted column: with fewer, equal counts occur by chance."""


def column_prints(frame: pd.DataFrame, y: "pd.Series[Any]") -> NDArray[np.uint64]:
    """Return one hash per distinctive column, from the number of rows with each value.

    The hash of a column does not depend on its name, the order of the rows or the other columns.
    Another sample of rows, or another target, changes all hashes. Columns with few values, or
    with the same values in any table of this length (row numbers, balanced designs), have none.
    """
    classes = np.sort(y.value_counts().to_numpy())
    found = [_print_of(frame.iloc[:, at], classes) for at in range(frame.shape[1])]
    return np.unique(np.array([one for one in found if one is not None], dtype=np.uint64))


def print_keys(prints: NDArray[np.uint64], salt: str) -> NDArray[np.uint64]:
    """Return the fingerprints as a ledger with this salt stores them."""
    key = salt.encode()
    digests = b"".join(
        hashlib.blake2b(value.tobytes(), digest_size=8, key=key, person=b"column").digest()
        for value in prints.astype("<u8")
    )
    return np.unique(np.frombuffer(digests, dtype="<u8").astype(np.uint64))


def _print_of(column: "pd.Series[Any]", classes: NDArray[np.integer]) -> np.uint64 | None:
    number = pd.api.types.is_numeric_dtype(column) and not pd.api.types.is_bool_dtype(column)
    # Single and double precision of one number must have the same hash.
    plain = column.astype("float32" if number else "str")
    counts = plain.value_counts(sort=False)
    if len(counts) < DISTINCT or _by_design(counts, number=number):
        return None
    hashed = pd.util.hash_pandas_object(plain, index=False).to_numpy(dtype=np.uint64)
    total = np.array([hashed.sum(dtype=np.uint64), *classes], dtype="<u8")
    digest = hashlib.blake2b(total.tobytes(), digest_size=8).digest()
    return np.uint64(int.from_bytes(digest, "little"))


def _by_design(counts: "pd.Series[int]", *, number: bool) -> bool:
    """Return whether all values are equally frequent and numbers are evenly spaced."""
    if counts.min() != counts.max():
        return False
    if not number:
        return True
    steps = np.diff(np.sort(counts.index.to_numpy(dtype=np.float64)))
    return bool(np.allclose(steps, steps[0], rtol=0.01))


@dataclass(frozen=True, slots=True)
class History:
    """Openings of rows that overlap with the given rows, directly or through other openings."""

    openings: tuple[Entry, ...]  # in the order of the ledger
    spent: bool  # numbers of one of them were published


def packed_rows(keys: NDArray[np.uint64]) -> str:
    """Return row keys as an entry stores them."""
    return base64.b64encode(keys.astype("<u8").tobytes()).decode()


def openings_in(entries: list[Entry]) -> list[Entry]:
    """Return the entries of a ledger that are openings."""
    return [entry for entry in entries if entry.content["kind"] == "opening"]


def history_of(entries: list[Entry], keys: NDArray[np.uint64]) -> History:
    """Return the openings that share rows with ``keys``, directly or through other openings."""
    left = openings_in(entries)
    found: list[Entry] = []
    reached = keys
    grown = True
    while grown:
        touching = [e for e in left if len(np.intersect1d(_keys(e), reached)) > 0]
        left = [e for e in left if e not in touching]
        found += touching
        reached = np.unique(np.concatenate([reached, *(_keys(e) for e in touching)]))
        grown = len(touching) > 0
    seals = {entry.seal for entry in found}
    spent = any(e.content.get("spent") and e.content.get("opening") in seals for e in entries)
    found.sort(key=entries.index)
    return History(tuple(found), spent)


def last_open(entries: list[Entry], keys: NDArray[np.uint64], hashes: Mapping[str, str]) -> Entry:
    """Return the last opening of the rows; raise if there is none or the rows are spent."""
    history = history_of(entries, keys)
    if not history.openings or history.spent:
        state = "already spent" if history.spent else "never opened"
        msg = f"keys: these rows are {state}; only rows with an open ledger can be closed."
        raise InputError(msg)
    last = history.openings[-1]
    if last.content["hashes"] != dict(hashes):
        msg = (
            "hashes: the last opening of these rows was for other candidates or claims. Pass "
            "those; the rows can no longer be used for others."
        )
        raise InputError(msg)
    return last


def check_methods(entries: list[Entry], opening: str, methods: str) -> None:
    """Raise if an opening was evaluated before with other tests or bounds."""
    answered = [e.content for e in entries if e.content.get("opening") == opening]
    before = {one["methods"] for one in answered if one.get("methods")}
    if before and methods not in before:
        msg = (
            "read: these rows were already tested for these claims with another test or bound, "
            "and the better result must not be selected. Return the first evidence, or use new "
            "rows."
        )
        raise InputError(msg)


def answers_of(history: History, entries: list[Entry], keys: NDArray[np.uint64]) -> list[Entry]:
    """Return the openings of exactly these rows that have a verdict."""
    answered = {e.content["opening"] for e in entries if e.content["kind"] == "verdict"}
    return [e for e in history.openings if e.seal in answered and np.array_equal(_keys(e), keys)]


def check_terms(history: History, delta: float, mode: str) -> None:
    """Raise if the terms differ between openings, whose levels would then exceed ``delta``."""
    for entry in history.openings:
        before = (entry.content["delta"], entry.content["mode"])
        if before != (delta, mode):
            msg = (
                f"delta={delta}, openings={mode!r}: these rows were opened with "
                f"delta={before[0]}, openings={before[1]!r}. Use these values, or certify on rows "
                "that were never opened."
            )
            raise InputError(msg)


def _keys(opening: Entry) -> NDArray[np.uint64]:
    packed = base64.b64decode(opening.content["rows"])
    return np.frombuffer(packed, dtype="<u8").astype(np.uint64)


class Openings(StrEnum):
    """How often the same rows may be opened; fixed before the first opening."""

    SINGLE = "single"
    LEDGER = "ledger"


class ReuseStatus(StrEnum):
    """Result that rows can still give: a new one, a repetition of an earlier one, or none."""

    NEW = "new"
    SAME = "same"
    NONE = "none"


@dataclass(frozen=True, slots=True, kw_only=True)
class Opening:
    """Permission to read certification rows once."""

    index: int  # 1 for the first opening of these rows, or of rows that overlap with them
    level: float  # error probability that this opening may spend
    delta: float  # error probability over all openings together
    mode: Openings  # how the openings share ``delta``
    previous: str  # hash of the ledger entry before that of this opening
    entry: str  # hash of the ledger entry of this opening
    spent: bool = False  # the rows were spent before; nothing was written
    answered: bool = False  # the same candidates and claims were tested on the same rows before


def level_of(index: int, delta: float, mode: Openings) -> float:
    """Return the level of an opening: ``delta`` or 0, or ``6 delta / (pi^2 j^2)``."""
    if mode is Openings.SINGLE:
        return delta if index == 1 else 0.0
    return 6 * delta / (math.pi * index) ** 2


def _first() -> dict[str, str | int]:
    """Return the first entry of a new ledger."""
    return {"kind": "ledger", "format": 1, "salt": secrets.token_hex(16)}


def _utc() -> datetime:
    return datetime.now(UTC)


@dataclass(frozen=True, slots=True)
class Ledger:
    """Append-only file of JSON lines, each with the hash of the line before."""

    path: Path  # created with the first entry; its folder must exist
    clock: Callable[[], datetime] = field(default=_utc)  # returns the time of an entry

    @property
    def _chain(self) -> HashChain:
        return HashChain(self.path, self.clock, _first)

    @property
    def salt(self) -> str:
        """Secret of the row keys, drawn when the ledger is created."""
        with self._chain.locked() as (_, entries):
            return str(entries[0].content["salt"])

    def open(
        self,
        keys: NDArray[np.uint64],
        *,
        delta: float,
        mode: Openings,
        hashes: Mapping[str, str],
        seed: int = 0,
    ) -> Opening:
        """Record durably that rows are about to be read, and return their opening.

        Testing the same candidates and claims on the same rows again is not a further opening.
        """
        if not 0 < delta < 1 or len(keys) == 0:
            msg = (
                f"delta={delta}, keys={len(keys)} rows: delta must be between 0 and 1 and at "
                "least one row must be opened. Pass for example delta=0.05."
            )
            raise InputError(msg)
        with self._chain.locked() as (stream, entries):
            history = history_of(entries, keys)
            check_terms(history, delta, mode.value)
            answered = answers_of(history, entries, keys)
            before = next((e for e in answered if e.content["hashes"] == dict(hashes)), None)
            if before is not None:
                return _opening_of(before, answered=True)
            index = len(history.openings) + 1
            spent = history.spent or (mode is Openings.SINGLE and index > 1)
            opening = Opening(
                index=index,
                level=0.0 if spent else level_of(index, delta, mode),
                delta=delta,
                mode=mode,
                previous=entries[-1].seal,
                entry=NO_ENTRY,
                spent=spent,
            )
            if spent:
                return opening
            content = {
                "kind": "opening",
                "index": index,
                "level": opening.level,
                "delta": delta,
                "mode": mode.value,
                "seed": seed,
                "hashes": dict(hashes),
                "rows": packed_rows(keys),
            }
            return replace(opening, entry=self._chain.append(stream, opening.previous, content))

    def check(self, keys: NDArray[np.uint64], *, delta: float, mode: Openings) -> None:
        """Raise if the terms differ from those of the first opening; nothing is opened."""
        with self._chain.locked() as (_, entries):
            check_terms(history_of(entries, keys), delta, mode.value)

    def record(self, opening: Opening, verdict: Verdict, *, methods: str = "") -> bool:
        """Record the verdict of an opening; return whether its numbers may be published.

        The numbers of a single opening may be published. With several openings, only those of a
        certificate may, which spends the rows. Any other result is the single bit
        "not certified", so that later candidates cannot depend on more.
        """
        released = opening.mode is Openings.SINGLE or verdict is Verdict.CERTIFIED
        with self._chain.locked() as (stream, entries):
            if opening.answered:
                check_methods(entries, opening.entry, methods)
                return released
            self._chain.append(
                stream,
                entries[-1].seal,
                {
                    "kind": "verdict",
                    "opening": opening.entry,
                    "released": "numbers" if released else "not certified",
                    "spent": released,
                    "methods": methods,
                },
            )
        return released

    def check_last(self, keys: NDArray[np.uint64], *, hashes: Mapping[str, str]) -> None:
        """Raise if the last opening of the rows had other hashes; nothing is written."""
        with self._chain.locked() as (_, entries):
            last_open(entries, keys, hashes)

    def close(
        self, keys: NDArray[np.uint64], *, hashes: Mapping[str, str], methods: str = ""
    ) -> Opening:
        """Spend the rows and return their last opening, whose numbers may now be published."""
        with self._chain.locked() as (stream, entries):
            last = last_open(entries, keys, hashes)
            check_methods(entries, last.seal, methods)
            content = {
                "kind": "verdict",
                "opening": last.seal,
                "released": "numbers",
                "spent": True,
                "methods": methods,
            }
            self._chain.append(stream, entries[-1].seal, content)
            return _opening_of(last)

    def spent(self, keys: NDArray[np.uint64]) -> bool:
        """Return whether numbers of these or overlapping rows were published."""
        with self._chain.locked() as (_, entries):
            return history_of(entries, keys).spent

    def prospect(self, keys: NDArray[np.uint64], mode: Openings, seed: int = 0) -> ReuseStatus:
        """Return the result that an opening of the rows could give; nothing is opened."""
        with self._chain.locked() as (_, entries):
            history = history_of(entries, keys)
            single = mode is Openings.SINGLE and len(history.openings) > 0
            if not history.spent and not single:
                return ReuseStatus.NEW
            same = any(e.content.get("seed") == seed for e in answers_of(history, entries, keys))
            return ReuseStatus.SAME if same else ReuseStatus.NONE

    def opening(self, entry: str) -> Mapping[str, Any] | None:
        """Return the recorded opening with this hash, or None if there is none."""
        with self._chain.locked() as (_, entries):
            return next((e.content for e in openings_in(entries) if e.seal == entry), None)


def _opening_of(entry: Entry, *, answered: bool = False) -> Opening:
    return Opening(
        index=entry.content["index"],
        level=entry.content["level"],
        delta=entry.content["delta"],
        mode=Openings(entry.content["mode"]),
        previous=entry.content["previous"],
        entry=entry.seal,
        answered=answered,
    )


def row_keys(frame: pd.DataFrame, salt: str) -> NDArray[np.uint64]:
    """Return salted hashes of rows, independent of the order of rows and columns.

    Equal rows have equal keys, so that in a table with few distinct rows any later sample counts
    as a further opening. A column with an identifier makes the rows distinct.
    """
    plain = frame[sorted(frame.columns, key=str)]
    numeric = {name for name in plain if pd.api.types.is_numeric_dtype(plain[name])}
    same = pd.DataFrame(
        {
            name: plain[name].astype("float64" if name in numeric else "str")
            for name in plain.columns
        }
    )
    hashed = pd.util.hash_pandas_object(same, index=False).to_numpy(dtype=np.uint64)
    key = salt.encode()
    digests = b"".join(
        hashlib.blake2b(value.tobytes(), digest_size=8, key=key).digest()
        for value in np.unique(hashed).astype("<u8")
    )
    return np.unique(np.frombuffer(digests, dtype="<u8").astype(np.uint64))


STATE_HOME = "FAIRAUTOML_STATE_HOME"
"""Environment variable with the folder of the user's ledgers."""


def ledger_of(path: Path | None, columns: Iterable[str], prints: NDArray[np.uint64]) -> Ledger:
    """Return the ledger of a table and create its folder."""
    if path is not None:
        path.parent.mkdir(parents=True, exist_ok=True)
        return Ledger(path)
    name = f"{chain_hash(sorted(columns))[:16]}.jsonl"
    folder = _state_home() / "ledgers"
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        writable = os.access(folder, os.W_OK)
    except OSError:
        writable = False
    if not writable:
        msg = (
            f"The ledger of certificates cannot be written in {str(folder)!r}, so only this "
            f"process remembers that these rows were opened. Pass `ledger` or set {STATE_HOME}."
        )
        warn(msg, DegradedWarning)
        folder = Path(_of_process().name)
    return Ledger(folder / _known(folder / "tables", prints, name))


def is_forgotten(ledger: Ledger) -> bool:
    """Return whether a ledger is deleted when this process ends."""
    made = _of_process.cache_info().currsize > 0
    return made and ledger.path.is_relative_to(_of_process().name)


def _known(folder: Path, prints: NDArray[np.uint64], name: str) -> str:
    """Return the ledger name of a table and register all its columns under that name."""
    folder.mkdir(exist_ok=True, mode=0o700)
    marks = [folder / f"{one:016x}" for one in prints.tolist()]
    found = next((mark.read_text(encoding="ascii") for mark in marks if mark.is_file()), name)
    for mark in marks:
        if not mark.is_file():
            partial = mark.with_name(f".{mark.name}.{os.getpid()}.tmp")
            partial.write_text(found, encoding="ascii")
            partial.replace(mark)
    return found


def _state_home() -> Path:
    named = os.environ.get(STATE_HOME, "")
    if named:
        return Path(named)
    shared = os.environ.get("XDG_STATE_HOME", "")
    return (Path(shared) if shared else Path.home() / ".local" / "state") / "fairautoml"


@functools.cache
def _of_process() -> "tempfile.TemporaryDirectory[str]":
    """Return a folder that is deleted when this process ends."""
    return tempfile.TemporaryDirectory(prefix="fairautoml-ledger-")


class _TreePickler(pickle.Pickler):
    """Pickle a tree by values, independent of shared arrays and memory layout."""

    def reducer_override(self, obj: Any) -> Any:
        """Reduce arrays to type, shape and values, and record arrays to their fields."""
        if not isinstance(obj, np.ndarray):
            return NotImplemented
        if obj.dtype.names is not None:
            return tuple, ([(name, np.ascontiguousarray(obj[name])) for name in obj.dtype.names],)
        return tuple, ([obj.dtype.str, obj.shape, obj.tobytes()],)


def _bytes_of(tree: BaseDecisionTree) -> bytes:
    written = io.BytesIO()
    pickler = _TreePickler(written, protocol=4)
    pickler.fast = True  # no memo: shared objects are written in full
    pickler.dump(tree)
    return written.getvalue()


class _Hasher(NumpyHasher):  # type: ignore[misc]
    """Hash values only, neither padding bytes nor shared references.

    Models from a worker share no parts with each other; models trained in this process may.
    """

    def memoize(self, obj: Any) -> None:
        """Do not memoize, so that every occurrence of an object is hashed in full."""
        del obj

    def save(self, obj: Any) -> None:
        """Hash one object; the base class calls this for each of its parts."""
        if isinstance(obj, BaseDecisionTree):
            # Ten times as fast for a forest of hundreds of trees with many small parts.
            obj = _bytes_of(obj)
        elif isinstance(obj, np.ndarray) and obj.dtype.names is not None:
            obj = {name: np.ascontiguousarray(obj[name]) for name in obj.dtype.names}
        super().save(obj)


def model_hash(classifier: Any) -> str:
    """Return the SHA-256 of a classifier, including its weights, thresholds and schema."""
    # Loading may change the memory layout of arrays, which their hash depends on.
    plain = pickle.loads(pickle.dumps(classifier))
    return str(_Hasher(hash_name="sha256").hash(plain))


def data_hash(frame: pd.DataFrame) -> str:
    """Return the SHA-256 of a table: column names, order of rows, and all values."""
    digest = hashlib.sha256()
    for name in sorted(frame.columns):
        digest.update(f"{name}\0{len(frame)}\0".encode())
        # The number 1 and the text '1' must have different hashes.
        digest.update(b"number" if pd.api.types.is_numeric_dtype(frame[name]) else b"text")
        digest.update(_hashed(frame[name]).astype("<u8").tobytes())
    return digest.hexdigest()


def row_hashes(frame: pd.DataFrame) -> NDArray[np.uint64]:
    """Return one number per row, the same for equal rows of this table, shape (n_rows,)."""
    columns = pd.DataFrame({name: _hashed(frame[name]) for name in frame.columns})
    return np.asarray(pd.util.hash_pandas_object(columns, index=False), dtype=np.uint64)


def _hashed(column: "pd.Series[Any]") -> NDArray[np.uint64]:
    values = column if pd.api.types.is_numeric_dtype(column) else column.astype("str")
    return np.asarray(pd.util.hash_pandas_object(values, index=False), dtype=np.uint64)
