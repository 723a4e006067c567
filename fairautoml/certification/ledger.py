"""Record in a hash chain which rows have been opened for which models.

The ledger belongs to the user, not to a run, so that every model tested on the same rows finds it.
It prevents accidents, not fraud: deleting the file resets it.
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
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, Any

import numpy as np
import pandas as pd
from joblib.hashing import NumpyHasher
from numpy.typing import NDArray
from sklearn.tree import BaseDecisionTree

from fairautoml.exceptions import (
    DegradedWarning,
    InputError,
    ParameterError,
    StorageCorruptError,
    warn,
)
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

BEGINNING = b'{"format":1,"kind":"ledger",'
"""First bytes of a ledger."""


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
        try:
            descriptor = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o600)
        except OSError as error:
            raise _unusable(self.path, error) from error
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
            if whole == 0 and not BEGINNING.startswith(rest[: len(BEGINNING)]):
                raise StorageCorruptError(self._not_written(1))
            self._checked(data[:whole])  # a file that is no ledger is not changed
            with self.path.with_name(f"{self.path.name}.torn").open("ab") as torn:
                torn.write(rest + b"\n")
            stream.truncate(whole)

    def _checked(self, data: bytes) -> list[Entry]:
        entries: list[Entry] = []
        for number, line in enumerate(data.splitlines(), start=1):
            content = _read(line)
            before = entries[-1].seal if entries else NO_ENTRY
            if content is None or content["previous"] != before:
                raise StorageCorruptError(self._not_written(number))
            entries.append(Entry(content, chain_hash(content)))
        return entries

    def _not_written(self, number: int) -> str:
        return (
            f"Line {number} of the ledger {str(self.path)!r} is not what was written there, or an "
            "earlier line is missing. Nothing was changed. Restore the file from a copy, or "
            "certify on rows that were never opened."
        )

    def append(self, stream: IO[bytes], previous: str, content: Mapping[str, Any]) -> str:
        """Write an entry durably and return its hash."""
        time = self.clock().isoformat(timespec="seconds")
        whole = {**content, "previous": previous, "time": time}
        stream.seek(0, os.SEEK_END)
        stream.write(sealed(whole) + b"\n")
        stream.flush()
        os.fsync(stream.fileno())
        return chain_hash(whole)


def _unusable(path: Path, error: OSError) -> ParameterError:
    return ParameterError(
        f"ledger={str(path)!r} cannot be opened: {error.strerror}. "
        "Give a file in a writable folder."
    )


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


FIRST_SHARE = 0.8
"""Share of ``delta`` that the first opening of rows may spend; all later ones share the rest."""

FEW_TWINS = 0.02
"""Share of rows with an equal row up to which rows that were never opened are tested alone. With
more, dropping opened rows would also drop new rows that equal one, and change the population."""


def level_of(index: int, delta: float) -> float:
    """Return the level of the j-th opening of the same rows; the levels sum to ``delta``.

    The first gets ``0.8 delta``, the j-th ``0.2 delta 6 / (pi^2 (j - 1)^2)``.
    """
    if index == 1:
        return FIRST_SHARE * delta
    return (1 - FIRST_SHARE) * delta * 6 / (math.pi * (index - 1)) ** 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Opening:
    """Permission to read certification rows once, as recorded in the ledger.

    Parameters
    ----------
    index : int
        1 for the first opening of these rows, or of rows that overlap with them; 0 = no opening.
    level : float
        Error probability of this opening.
    delta : float
        Error probability of all openings of the same rows together.
    n_rows : int
        Number of rows that were read.
    n_dropped : int
        Number of given rows that were dropped because they had been opened before.
    previous : str
        Hash of the ledger entry before that of this opening.
    entry : str
        Hash of the ledger entry of this opening.
    """

    index: int
    level: float
    delta: float
    n_rows: int
    n_dropped: int
    previous: str
    entry: str


def no_opening(delta: float) -> Opening:
    """Return the record of a certificate for which no rows were opened."""
    return Opening(
        index=0, level=0.0, delta=delta, n_rows=0, n_dropped=0, previous=NO_ENTRY, entry=NO_ENTRY
    )


@dataclass(frozen=True, slots=True, eq=False)
class Opened:
    """An opening with what the ledger knows about it."""

    opening: Opening
    used: NDArray[np.bool_]  # shape (n_rows,): which of the given rows may be read
    answer: str | None = None  # recorded certificates of the same question and terms


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
        """Secret of the row keys and of the hold-out, drawn when the ledger is created."""
        with self._chain.locked() as (_, entries):
            return str(entries[0].content["salt"])

    def open(
        self,
        keys: NDArray[np.uint64],
        *,
        delta: float,
        question: str,
        terms: str = "",
        drops: bool = True,
    ) -> Opened:
        """Record durably that rows are about to be read, and return their opening.

        The same question (models, metrics and groupings) on the same rows is not a further
        opening. Otherwise, with ``drops``, rows that were opened before are dropped if some were
        not; rows that were all opened before get the level of a further opening.
        """
        if not 0 < delta < 1 or len(keys) == 0:
            msg = (
                f"delta={delta}, keys={len(keys)} rows: delta must be between 0 and 1 and at "
                "least one row must be opened. Pass for example delta=0.05."
            )
            raise InputError(msg)
        with self._chain.locked() as (stream, entries):
            before = _asked(entries, keys, question)
            if before is not None:
                _check_delta([before], delta)
                return _again(entries, before, keys, terms)
            known = np.isin(keys, _opened_keys(entries))
            used = ~known if drops and not known.all() else np.ones(len(keys), dtype=bool)
            earlier = overlapping(entries, keys[used])
            _check_delta(earlier, delta)
            opening = Opening(
                index=len(earlier) + 1,
                level=level_of(len(earlier) + 1, delta),
                delta=delta,
                n_rows=int(used.sum()),
                n_dropped=int((~used).sum()),
                previous=entries[-1].seal,
                entry=NO_ENTRY,
            )
            content = {
                "kind": "opening",
                **{name: getattr(opening, name) for name in RECORDED},
                "question": question,
                "given": _set_hash(keys),
                "rows": packed_rows(np.unique(keys[used])),
            }
            entry = self._chain.append(stream, opening.previous, content)
            return Opened(replace(opening, entry=entry), used)

    def record(self, opening: Opening, terms: str, answer: str) -> str:
        """Record the answer of an opening, and return the one that was recorded first."""
        with self._chain.locked() as (stream, entries):
            before = _answer(entries, opening.entry, terms)
            if before is not None:
                return before
            content = {
                "kind": "certificate",
                "opening": opening.entry,
                "terms": terms,
                "answer": answer,
            }
            self._chain.append(stream, entries[-1].seal, content)
        return answer

    def opening(self, entry: str) -> Mapping[str, Any] | None:
        """Return the recorded opening with this hash, or None if there is none."""
        with self._chain.locked() as (_, entries):
            return next((e.content for e in openings_in(entries) if e.seal == entry), None)

    def answers(self, entry: str) -> list[str]:
        """Return the certificates that were recorded for an opening."""
        with self._chain.locked() as (_, entries):
            found = [e.content for e in entries if e.content.get("opening") == entry]
        return [text for one in found for text in json.loads(one["answer"]) if text is not None]


RECORDED = ("index", "level", "delta", "n_rows", "n_dropped")
"""Fields of an opening that the ledger stores as they are."""


def packed_rows(keys: NDArray[np.uint64]) -> str:
    """Return row keys as an entry stores them."""
    return base64.b64encode(keys.astype("<u8").tobytes()).decode()


def keys_of(opening: Mapping[str, Any]) -> NDArray[np.uint64]:
    """Return the row keys of a recorded opening."""
    packed = base64.b64decode(opening["rows"])
    return np.frombuffer(packed, dtype="<u8").astype(np.uint64)


def openings_in(entries: Iterable[Entry]) -> list[Entry]:
    """Return the entries that are openings."""
    return [entry for entry in entries if entry.content["kind"] == "opening"]


def overlapping(entries: Sequence[Entry], keys: NDArray[np.uint64]) -> list[Entry]:
    """Return the openings that share rows with the given ones, directly or through others."""
    left, found, reached = openings_in(entries), list[Entry](), np.unique(keys)
    grown = True
    while grown:
        touching = [e for e in left if np.isin(keys_of(e.content), reached).any()]
        left = [e for e in left if e not in touching]
        found += touching
        reached = np.unique(np.concatenate([reached, *(keys_of(e.content) for e in touching)]))
        grown = bool(touching)
    return found


def _opened_keys(entries: Sequence[Entry]) -> NDArray[np.uint64]:
    found = [keys_of(entry.content) for entry in openings_in(entries)]
    return np.concatenate(found) if found else np.empty(0, dtype=np.uint64)


def _set_hash(keys: NDArray[np.uint64]) -> str:
    return hashlib.sha256(np.unique(keys).astype("<u8").tobytes()).hexdigest()


def _asked(entries: Sequence[Entry], keys: NDArray[np.uint64], question: str) -> Entry | None:
    """Return the opening in which the same rows were given for the same question."""
    given = _set_hash(keys)
    return next(
        (
            entry
            for entry in openings_in(entries)
            if (entry.content.get("question"), entry.content.get("given")) == (question, given)
        ),
        None,
    )


def _again(
    entries: Sequence[Entry], before: Entry, keys: NDArray[np.uint64], terms: str
) -> Opened:
    content = before.content
    opening = Opening(
        **{name: content[name] for name in RECORDED},
        previous=content["previous"],
        entry=before.seal,
    )
    used = np.isin(keys, keys_of(content))
    return Opened(opening, used, _answer(entries, before.seal, terms))


def _answer(entries: Sequence[Entry], opening: str, terms: str) -> str | None:
    found = (e.content for e in entries if e.content["kind"] == "certificate")
    return next(
        (str(c["answer"]) for c in found if (c["opening"], c["terms"]) == (opening, terms)), None
    )


def _check_delta(openings: Sequence[Entry], delta: float) -> None:
    """Raise if ``delta`` differs between openings, whose levels would then not sum to it."""
    for entry in openings:
        if entry.content["delta"] != delta:
            msg = (
                f"delta={delta}: these rows were opened with delta={entry.content['delta']}. Use "
                "this value, or certify on rows that were never opened."
            )
            raise InputError(msg)


def row_keys(frame: pd.DataFrame, salt: str) -> NDArray[np.uint64]:
    """Return one salted key per row, shape (n_rows,), independent of the order of the columns.

    The k-th of several equal rows has a key of its own, so that the keys are those of a multiset.
    """
    hashed, number = _numbered_rows(frame)
    return _digests(hashed, number, salt, b"")


def table_key(frame: pd.DataFrame, salt: str) -> NDArray[np.uint64]:
    """Return the salted key of a whole table, shape (1,), independent of the order of its rows."""
    hashed, number = _numbered_rows(frame)
    order = np.lexsort((number, hashed))
    digest = hashlib.blake2b(hashed[order].astype("<u8").tobytes(), digest_size=8).digest()
    whole = np.array([int.from_bytes(digest, "little")], dtype=np.uint64)
    return _digests(whole, np.zeros(1, dtype=np.int64), salt, b"table")


def twin_share(frame: pd.DataFrame) -> float:
    """Return the share of rows that equal another row."""
    hashed, _ = _numbered_rows(frame)
    return float(pd.Series(hashed).duplicated(keep=False).mean())


def held_out(
    frame: pd.DataFrame, share: float, salt: str, *, repeated: bool = False
) -> NDArray[np.bool_]:
    """Draw rows by a keyed hash of their content, shape (n_rows,).

    A row keeps its side when the table grows or changes its order. Equal rows are drawn
    independently, by their number among each other; with ``repeated`` they stay together.
    """
    hashed, number = _numbered_rows(frame)
    if repeated:
        number = np.zeros_like(number)
    drawn: NDArray[np.bool_] = _digests(hashed, number, salt, b"holdout") < np.uint64(
        share * 2.0**64
    )
    return drawn


def _numbered_rows(frame: pd.DataFrame) -> tuple[NDArray[np.uint64], NDArray[np.int64]]:
    """Return the hash of each row, and its number among the rows equal to it, from 0."""
    plain = frame[sorted(frame.columns, key=str)]
    numeric = {name for name in plain if pd.api.types.is_numeric_dtype(plain[name])}
    same = pd.DataFrame(
        {
            name: plain[name].astype("float64" if name in numeric else "str")
            for name in plain.columns
        }
    )
    hashed = pd.util.hash_pandas_object(same, index=False).to_numpy(dtype=np.uint64)
    number = pd.Series(hashed).groupby(hashed).cumcount()
    return np.asarray(hashed, dtype=np.uint64), np.asarray(number, dtype=np.int64)


def _digests(
    hashed: NDArray[np.uint64], number: NDArray[np.int64], salt: str, purpose: bytes
) -> NDArray[np.uint64]:
    """Return keyed hashes of the row hashes with their numbers.

    Number 0 adds nothing to a hash, so that keys match those of ledgers of earlier versions.
    """
    key = salt.encode()
    digests = b"".join(
        hashlib.blake2b(
            value.tobytes() + (b"" if k == 0 else k.to_bytes(8, "little")),
            digest_size=8,
            key=key,
            person=purpose,
        ).digest()
        for value, k in zip(hashed.astype("<u8"), number.tolist(), strict=True)
    )
    return np.frombuffer(digests, dtype="<u8").astype(np.uint64)


STATE_HOME = "FAIRAUTOML_STATE_HOME"
"""Environment variable with the folder of the user's ledgers."""


def ledger_of(path: Path | None, columns: Iterable[str]) -> Ledger:
    """Return the ledger at the path, or that of the user for tables with these columns."""
    if path is not None:
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise _unusable(path, error) from error
        return Ledger(path)
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
    return Ledger(folder / f"{chain_hash(sorted(columns))[:16]}.jsonl")


def is_forgotten(ledger: Ledger) -> bool:
    """Return whether a ledger is deleted when this process ends."""
    made = _of_process.cache_info().currsize > 0
    return made and ledger.path.is_relative_to(_of_process().name)


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


def _hashed(column: "pd.Series[Any]") -> NDArray[np.uint64]:
    values = column if pd.api.types.is_numeric_dtype(column) else column.astype("str")
    return np.asarray(pd.util.hash_pandas_object(values, index=False), dtype=np.uint64)
