"""One connection to the database of a study, and its errors in this library's words."""

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import sqlalchemy
from sqlalchemy.engine import URL, make_url

from fairautoml.exceptions import (
    MissingExtraError,
    ParameterError,
    StorageCorruptError,
    StorageFullError,
    StorageUnavailableError,
)

Address = URL
"""Where a database is; made by ``sqlite_url`` and ``server_url``."""

BUSY_SECONDS = 30.0
"""How long a writer waits for a reader that copies the file."""

DRIVER = "postgresql+psycopg"
SECRETS = frozenset({"password", "sslpassword", "oauth_client_secret"})
"""Parameters of a connection that no file and no message may show."""

_DISK_FULL = "53100"
_DAMAGED = frozenset({sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB})
_PRIMARY = 0xFF


def sqlite_url(path: Path) -> URL:
    """Return the address of a SQLite file."""
    return URL.create("sqlite", database=str(path))


def server_url(storage: str) -> URL:
    """Return the address of a PostgreSQL database."""
    try:
        url = make_url(storage)
    except sqlalchemy.exc.ArgumentError:
        # The text may hold a password and is not repeated.
        url = None
    if url is None or url.drivername not in {"postgresql", "postgres", DRIVER}:
        found = "no address" if url is None else f"{url.drivername!r}"
        msg = (
            f"storage is {found}; give 'postgresql+psycopg://user@host/database', or None for a "
            "SQLite file in run_dir"
        )
        raise ParameterError(msg)
    return url.set(drivername=DRIVER)


def shown(url: URL) -> str:
    """Return the address without the password; of a file its path."""
    if url.drivername == "sqlite":
        return str(url.database)
    bare = URL.create(url.drivername, url.username, None, url.host, url.port, url.database)
    open_to_all = {name: url.query[name] for name in url.query if name not in SECRETS}
    return bare.set(query=open_to_all).render_as_string()


class Database:
    """A database, opened once, used by the controller only."""

    def __init__(self, url: URL) -> None:
        self.url = url
        self.name = shown(url)
        try:
            self._engine = sqlalchemy.create_engine(url, connect_args=_arguments(url))
        except ModuleNotFoundError as exc:
            msg = f"storage={self.name!r} needs {exc.name}: pip install 'fairautoml[postgres]'"
            raise MissingExtraError(msg) from exc
        if url.drivername == "sqlite":
            sqlalchemy.event.listen(self._engine, "connect", _durable)
        self._open: sqlalchemy.Connection | None = None

    @contextmanager
    def transaction(self) -> Iterator[sqlalchemy.Connection]:
        """Give a connection whose work is committed at the end, or not at all."""
        try:
            if self._open is None:
                self._open = self._engine.connect()
            with self._open.begin():
                yield self._open
        except sqlalchemy.exc.DBAPIError as exc:
            raise _in_our_words(exc.orig, self.name) from exc

    def reach(self) -> None:
        """Connect, so that a wrong address is found before anything else is done."""
        with self.transaction():
            pass

    def check(self) -> None:
        """Look for damage in the pages of a SQLite file."""
        if self.url.drivername != "sqlite":
            return
        with self.transaction() as connection:
            found = connection.exec_driver_sql("PRAGMA quick_check(1)").scalar()
        if found != "ok":
            raise corrupt(self.name, str(found))

    def close(self) -> None:
        """Close the connection; a SQLite file is then whole without its ``-wal``."""
        if self._open is not None:
            self._open.close()
        self._engine.dispose()


def corrupt(name: str, found: str) -> StorageCorruptError:
    """Return the error for a damaged record of trials."""
    msg = (
        f"{name!r} is damaged ({found}); nothing was changed. Put a copy of the whole run folder "
        "back, or start again with overwrite=True"
    )
    return StorageCorruptError(msg)


def _arguments(url: URL) -> dict[str, Any]:
    if url.drivername == "sqlite":
        return {"timeout": BUSY_SECONDS}
    return {"connect_timeout": 10}


def _durable(connection: sqlite3.Connection, record: object) -> None:
    """Make a commit survive a power cut: 0.2 ms more per trial on a local disk."""
    del record
    try:
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("PRAGMA synchronous=FULL")
    except sqlite3.Error:
        # Not every version of SQLAlchemy closes a connection that could not be set up.
        connection.close()
        raise


def _in_our_words(error: BaseException | None, name: str) -> Exception:
    code = None
    if isinstance(error, sqlite3.Error):
        code = getattr(error, "sqlite_errorcode", None)
    if code == sqlite3.SQLITE_FULL or getattr(error, "sqlstate", None) == _DISK_FULL:
        return StorageFullError(
            f"no space left for {name!r}; free some and go on with resume=True"
        )
    if code is not None and code & _PRIMARY in _DAMAGED:
        return corrupt(name, str(error))
    reason = " ".join(str(error).split())
    msg = (
        f"{name!r} cannot be used: {reason}; what was recorded is kept: go on with resume=True "
        "when it is back"
    )
    return StorageUnavailableError(msg)
