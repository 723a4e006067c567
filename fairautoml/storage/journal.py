"""Optuna's journal of a study in a SQLite file, one row per operation.

Optuna's own journal is a text file, which a torn write makes unreadable; its own tables in SQLite
take ten times as long per trial.
"""

import json
import os
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, closing, contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from zlib import crc32

from optuna.storages import BaseStorage, JournalStorage
from optuna.storages.journal import BaseJournalBackend

from fairautoml.exceptions import StorageCorruptError, StorageFullError, StorageUnavailableError

BUSY_SECONDS = 30.0
"""Timeout of a writer that waits for a reader of the file."""

SYNCHRONOUS = "FULL"
"""A commit survives a power cut: 0.2 ms more per trial on a local disk."""

_TABLE = """CREATE TABLE journal (
    number INTEGER PRIMARY KEY, operation TEXT NOT NULL, checksum INTEGER NOT NULL
)"""
_DAMAGED = frozenset({sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB})
_PRIMARY = 0xFF


class JournalBackend(BaseJournalBackend):
    """Rows of a journal, behind Optuna's storage."""

    def __init__(self, connect: Callable[[], AbstractContextManager[sqlite3.Connection]]) -> None:
        self._connect = connect

    def read_logs(self, log_number_from: int) -> Iterator[dict[str, Any]]:
        """Yield the operations from a number on, and raise ``ValueError`` on a damaged row."""
        with self._connect() as connection:
            rows = connection.execute(
                "SELECT number, operation, checksum FROM journal WHERE number > ? ORDER BY number",
                (log_number_from,),
            ).fetchall()
        for expected, (number, operation, checksum) in enumerate(rows, log_number_from + 1):
            if number != expected:
                raise ValueError("a row is missing")
            if checksum != crc32(operation.encode()):
                raise ValueError(f"row {number} is not what was written")
            yield json.loads(operation)

    def append_logs(self, logs: list[dict[str, Any]]) -> None:
        """Store operations in one transaction."""
        lines = (json.dumps(log, separators=(",", ":")) for log in logs)
        with self._connect() as connection, connection:
            connection.executemany(
                "INSERT INTO journal (operation, checksum) VALUES (?, ?)",
                ((line, crc32(line.encode())) for line in lines),
            )


@dataclass(frozen=True, slots=True)
class JournalFile:
    """A SQLite file with the journal of one study."""

    path: Path
    name: str  # path that messages show

    @contextmanager
    def opened(self, *, create: bool = False) -> Iterator[BaseStorage]:
        """Yield Optuna's storage of the file, and close the file afterwards."""
        with closing(connect(self.path)) as connection:
            if create:
                connection.execute(_TABLE)
            yield JournalStorage(JournalBackend(lambda: nullcontext(connection)))

    def check(self) -> None:
        """Check the pages of the file for damage, and that it holds a journal."""
        with closing(connect(self.path)) as connection:
            (found,) = connection.execute("PRAGMA quick_check(1)").fetchone()
            tables = {row[0] for row in connection.execute("SELECT name FROM sqlite_master")}
        if found != "ok":
            raise corrupt(self.name, str(found))
        if "journal" not in tables:
            raise corrupt(self.name, "it is empty, and a run was recorded in it")

    @contextmanager
    def errors(self) -> Iterator[None]:
        """Raise errors of SQLite as errors of this package."""
        try:
            yield
        except sqlite3.Error as exc:
            code = getattr(exc, "sqlite_errorcode", None)
            if code == sqlite3.SQLITE_FULL:
                raise full(self.name) from exc
            if code is not None and code & _PRIMARY in _DAMAGED:
                raise corrupt(self.name, str(exc)) from exc
            raise unavailable(self.name, exc) from exc
        except UnicodeDecodeError as exc:
            # SQLite's message quotes the damaged bytes.
            raise corrupt(self.name, str(exc)) from exc


def connect(path: Path) -> sqlite3.Connection:
    """Open a SQLite file for reading and writing."""
    connection = sqlite3.connect(path, timeout=BUSY_SECONDS, check_same_thread=False)
    try:
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute(f"PRAGMA synchronous={SYNCHRONOUS}")
    except (sqlite3.Error, UnicodeDecodeError):
        connection.close()
        raise
    return connection


def read_only_storage(path: str | Path) -> BaseStorage:
    """Return Optuna's storage of ``study.db``, or of a run folder that has it.

    Another process may write the file. No connection outlives a request, as a web application is
    not notified of its end.
    """
    path = Path(path)
    if path.is_dir():
        path /= "study.db"
    # In a read-only folder SQLite cannot create its log, but no run writes there either.
    how = "mode=ro" if os.access(path.parent, os.W_OK) else "immutable=1"
    address = f"{path.resolve().as_uri()}?{how}"
    return JournalStorage(JournalBackend(lambda: closing(sqlite3.connect(address, uri=True))))


def corrupt(name: str, found: str) -> StorageCorruptError:
    """Return the error for a damaged record of trials."""
    msg = (
        f"{name!r} is damaged ({found}); nothing was changed. Restore a copy of the whole run "
        "folder, or start again with if_exists='overwrite'"
    )
    return StorageCorruptError(msg)


def full(name: str) -> StorageFullError:
    """Return the error for a disk without space."""
    return StorageFullError(
        f"no space left for {name!r}; free some space and continue with if_exists='resume'"
    )


def unavailable(name: str, error: BaseException | None) -> StorageUnavailableError:
    """Return the error for a database that cannot be used."""
    reason = " ".join(str(error).split())
    msg = (
        f"{name!r} cannot be used: {reason}; recorded trials are kept: continue with "
        "if_exists='resume' when it is available again"
    )
    return StorageUnavailableError(msg)
