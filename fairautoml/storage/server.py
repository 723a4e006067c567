"""Optuna's tables of studies on a PostgreSQL server."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import optuna
import sqlalchemy
from optuna.storages import BaseStorage, RDBStorage
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.pool import NullPool

from fairautoml.exceptions import MissingExtraError, ParameterError
from fairautoml.storage.journal import full, unavailable

DRIVER = "postgresql+psycopg"
SECRETS = frozenset({"password", "sslpassword", "oauth_client_secret"})
"""Connection parameters that must not appear in files or messages."""

_OPTIONS = {"connect_timeout": 10}
_DISK_FULL = "53100"


@dataclass(frozen=True, slots=True)
class Server:
    """A PostgreSQL database, which holds the studies of many runs."""

    url: URL

    @property
    def name(self) -> str:
        """Address without secrets."""
        url = self.url
        bare = URL.create(url.drivername, url.username, None, url.host, url.port, url.database)
        open_to_all = {name: url.query[name] for name in url.query if name not in SECRETS}
        return bare.set(query=open_to_all).render_as_string()

    @contextmanager
    def opened(self, *, create: bool = False) -> Iterator[BaseStorage]:
        """Yield Optuna's storage of the database, and close its connections afterwards."""
        text = self.url.render_as_string(hide_password=False)
        storage = RDBStorage(
            # Optuna replaces names in braces.
            text.replace("{", "{{").replace("}", "}}"),
            engine_kwargs={"connect_args": _OPTIONS},
            skip_compatibility_check=not create,
            skip_table_creation=not create,
        )
        try:
            yield storage
        finally:
            storage.remove_session()
            storage.engine.dispose()

    def check(self) -> None:
        """Connect to the server, to detect a wrong address early."""
        with self.errors():
            engine = sqlalchemy.create_engine(self.url, connect_args=_OPTIONS, poolclass=NullPool)
            engine.connect().close()

    @contextmanager
    def errors(self) -> Iterator[None]:
        """Raise errors of the database as errors of this package."""
        try:
            yield
        except ImportError as exc:
            msg = f"url={self.name!r} needs psycopg: pip install 'fairautoml-search[postgres]'"
            raise MissingExtraError(msg) from exc
        except (optuna.exceptions.StorageInternalError, SQLAlchemyError) as exc:
            cause = exc.__cause__ if isinstance(exc, optuna.exceptions.OptunaError) else exc
            error = getattr(cause, "orig", cause)
            if getattr(error, "sqlstate", None) == _DISK_FULL:
                raise full(self.name) from exc
            raise unavailable(self.name, error) from exc


def server_at(address: str) -> Server:
    """Return the PostgreSQL database at an address that a user gave."""
    try:
        url = make_url(address)
    except sqlalchemy.exc.ArgumentError:
        # The text may contain a password and must not appear in the message.
        url = None
    if url is None or url.drivername not in {"postgresql", "postgres", DRIVER}:
        found = "no address" if url is None else f"{url.drivername!r}"
        raise ParameterError(
            f"RunStorage.url is {found}; give 'postgresql+psycopg://user@host/database', or None "
            "for a SQLite file in run_dir"
        )
    return Server(url.set(drivername=DRIVER))
