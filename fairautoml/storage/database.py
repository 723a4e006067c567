"""Database of a run: its tables, and a copy of its trials for Optuna's dashboard."""

import hashlib
import json
import logging
import math
import sqlite3
import time
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import optuna
import sqlalchemy
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)
from optuna.storages._rdb import models
from optuna.study import StudyDirection
from optuna.trial import TrialState as OptunaTrialState
from sqlalchemy import (
    BigInteger,
    Column,
    Connection,
    Float,
    ForeignKey,
    LargeBinary,
    MetaData,
    String,
    Table,
    Text,
    func,
    insert,
    select,
)
from sqlalchemy import Integer as SqlInteger
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import SQLAlchemyError

from fairautoml.exceptions import (
    MissingExtraError,
    ParameterError,
    RunFolderError,
    StorageCorruptError,
    StorageFullError,
    StorageUnavailableError,
)
from fairautoml.records import (
    Config,
    Entry,
    Origin,
    ParamValue,
    TrialResult,
    TrialState,
)
from fairautoml.search.space import Integer, ParamSpace, Range, Real, SearchSpace

Address = URL
"""Address of a database, from ``sqlite_url`` or ``server_url``."""

BUSY_SECONDS = 30.0
"""Timeout of a writer that waits for a reader of the file."""

DRIVER = "postgresql+psycopg"
SECRETS = frozenset({"password", "sslpassword", "oauth_client_secret"})
"""Connection parameters that must not appear in files or messages."""

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
        # The text may contain a password and must not appear in the message.
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
    """Return the address without secrets; for a file, its path."""
    if url.drivername == "sqlite":
        return str(url.database)
    bare = URL.create(url.drivername, url.username, None, url.host, url.port, url.database)
    open_to_all = {name: url.query[name] for name in url.query if name not in SECRETS}
    return bare.set(query=open_to_all).render_as_string()


class Database:
    """A database with one connection, used by one process only."""

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
        """Yield a connection inside a transaction."""
        try:
            if self._open is None:
                self._open = self._engine.connect()
            with self._open.begin():
                yield self._open
        except sqlalchemy.exc.DBAPIError as exc:
            raise _in_our_words(exc.orig, self.name) from exc

    def reach(self) -> None:
        """Connect, to detect a wrong address early."""
        with self.transaction():
            pass

    def check(self) -> None:
        """Check the pages of a SQLite file for damage."""
        if self.url.drivername != "sqlite":
            return
        with self.transaction() as connection:
            found = connection.exec_driver_sql("PRAGMA quick_check(1)").scalar()
        if found != "ok":
            raise corrupt(self.name, str(found))

    def close(self) -> None:
        """Close the connection; a SQLite file is then complete without its ``-wal``."""
        if self._open is not None:
            self._open.close()
        self._engine.dispose()


def corrupt(name: str, found: str) -> StorageCorruptError:
    """Return the error for a damaged record of trials."""
    msg = (
        f"{name!r} is damaged ({found}); nothing was changed. Restore a copy of the whole run "
        "folder, or start again with overwrite=True"
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
        # Some versions of SQLAlchemy do not close a connection that could not be set up.
        connection.close()
        raise


def _in_our_words(error: BaseException | None, name: str) -> Exception:
    code = None
    if isinstance(error, sqlite3.Error):
        code = getattr(error, "sqlite_errorcode", None)
    if code == sqlite3.SQLITE_FULL or getattr(error, "sqlstate", None) == _DISK_FULL:
        return StorageFullError(
            f"no space left for {name!r}; free some space and continue with resume=True"
        )
    if code is not None and code & _PRIMARY in _DAMAGED:
        return corrupt(name, str(error))
    reason = " ".join(str(error).split())
    msg = (
        f"{name!r} cannot be used: {reason}; recorded trials are kept: continue with resume=True "
        "when it is available again"
    )
    return StorageUnavailableError(msg)


LITTLE = 1 / 6
"""Share of the time left; time limits of search trials are never below it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TrialRecord:
    """Complete record of a trial that has ended."""

    result: TrialResult  # result of the trial
    scored: TrialResult  # value and violations for strategy and allocator
    entries: tuple[Entry, ...]  # its entries on the leaderboard
    seconds: float  # on the clock of the run, since the budget began
    # proposals of the strategy since the previous record, by the digest of its history before
    # them; empty for a strategy that cannot replay proposals, and in records of older versions
    sampled: Mapping[str, Config] = field(default_factory=dict)
    # maximum number of pending trials between the previous result and this one; None in records
    # of older versions
    window: int | None = None

    @property
    def cut_off(self) -> bool:
        """Whether the end of the run stopped the trial, which may succeed with more time."""
        status, limit = self.result.status, self.result.trial.budget.seconds
        return status is TrialState.STOPPED or (status is TrialState.TIMEOUT and limit is None)

    def has_more_time(self, budget: float | None) -> bool:
        """Return whether a time limit stopped the trial and much more time is available now."""
        trial, limit = self.result.trial, self.result.trial.budget.seconds
        if self.result.status is not TrialState.TIMEOUT or limit is None:
            return self.cut_off
        # The limits of allocators are kept; those of the search are a share of the time left.
        left = math.inf if budget is None else budget - self.seconds
        return trial.origin is Origin.SEARCH and limit < LITTLE * left


logger = logging.getLogger(__name__)

UNKNOWN = 1e9
"""Displayed value of an unknown violation: JSON has no infinity."""

PAUSE_SECONDS = 1.0
"""Minimum time between two copies."""

BATCH = 500
"""Number of trials per transaction: Optuna itself would commit several times per trial."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StudyAbout:
    """Name and parameter ranges of the Optuna study."""

    name: str  # name of the study
    space: SearchSpace  # ranges of the parameters
    learners: Collection[str]  # all possible names, including those outside the space
    mitigations: Collection[str]


class Mirror:
    """Copies finished trials to an Optuna study, at most once per second."""

    def __init__(self, database: Database, about: StudyAbout) -> None:
        self._database = database
        self._name = about.name
        self._ranges = _distributions(about)
        self._texts = {
            name: optuna.distributions.distribution_to_json(allowed)
            for name, allowed in self._ranges.items()
        }
        self._previous: list[TrialRecord] = []
        self._waiting: list[TrialRecord] = []
        self._study: int | None = None
        self._cut_off = False
        self._last = time.monotonic()

    def go_on(self, records: Sequence[TrialRecord]) -> None:
        """Add the trials of the previous run; those that are not copied yet will be."""
        self._previous = [record for record in records if not record.cut_off]

    def add(self, record: TrialRecord) -> None:
        """Add a trial and copy all waiting ones if a second has passed."""
        if record.cut_off:
            return
        self._waiting.append(record)
        if time.monotonic() - self._last >= PAUSE_SECONDS:
            self.copy()

    def copy(self) -> None:
        """Copy the waiting trials, the oldest first."""
        # An interrupt during the creation of the tables must not be followed by another attempt.
        self._cut_off = self._study is None
        with self._forgiven():
            study = self._opened()
            while self._waiting:
                with self._database.transaction() as connection:
                    self._insert(connection, study, self._waiting[:BATCH])
                del self._waiting[:BATCH]
        self._cut_off = False
        self._last = time.monotonic()

    def close(self) -> None:
        """Copy the rest; after an interrupt, the resumed run copies it."""
        if not self._cut_off and (self._waiting or self._previous):
            self.copy()

    @contextmanager
    def _forgiven(self) -> Iterator[None]:
        """Log errors of the copy, which the run does not need, instead of raising them."""
        level = optuna.logging.get_verbosity()
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        try:
            yield
        except (SQLAlchemyError, RunFolderError, optuna.exceptions.StorageInternalError) as exc:
            logger.warning("The Optuna study %r lacks the last trials: %s", self._name, exc)
        finally:
            optuna.logging.set_verbosity(level)

    def _opened(self) -> int:
        """Return the id of the study in the database; create the study if there is none."""
        if self._study is None:
            url = self._database.url.render_as_string(hide_password=False)
            storage = optuna.storages.RDBStorage(url)
            try:
                self._study = storage.get_study_id_from_name(self._name)
            except KeyError:
                self._study = storage.create_new_study([StudyDirection.MAXIMIZE], self._name)
            finally:
                storage.remove_session()
                storage.engine.dispose()
            with self._database.transaction() as connection:
                copied = _copied(connection, self._study)
            self._waiting[:0] = [r for r in self._previous if r.result.trial.number not in copied]
            self._previous.clear()
        return self._study

    def _insert(self, connection: Connection, study: int, records: Sequence[TrialRecord]) -> None:
        first = _count(connection, study)
        rows = [_trial_row(r, study, first + at) for at, r in enumerate(records)]
        table = models.TrialModel.__table__
        connection.execute(insert(table), rows)
        numbered = select(table.c.trial_id).where(
            table.c.study_id == study, table.c.number >= first
        )
        keys = connection.execute(numbered.order_by(table.c.number)).scalars().all()
        pairs = list(zip(keys, records, strict=True))
        for model, make in (
            (models.TrialValueModel, _value_rows),
            (models.TrialParamModel, self._param_rows),
            (models.TrialUserAttributeModel, self._attribute_rows),
            (models.TrialSystemAttributeModel, _constraint_rows),
        ):
            made = [{"trial_id": key, **row} for key, record in pairs for row in make(record)]
            if made:
                connection.execute(insert(model.__table__), made)

    def _param_rows(self, record: TrialRecord) -> Iterator[dict[str, Any]]:
        for name, value in _flat(record.result.trial.config).items():
            if _fits(self._ranges.get(name), value):
                yield {
                    "param_name": name,
                    "param_value": self._ranges[name].to_internal_repr(value),
                    "distribution_json": self._texts[name],
                }

    def _attribute_rows(self, record: TrialRecord) -> Iterator[dict[str, Any]]:
        result = record.result
        attributes: dict[str, Any] = {
            "trial": result.trial.number,
            "status": str(result.status),
            "origin": str(result.trial.origin),
            "sample_fraction": result.trial.budget.sample_fraction,
            "seconds": result.seconds,
        }
        if result.error:
            attributes["error"] = result.error
        values = _flat(result.trial.config)
        attributes |= {n: v for n, v in values.items() if not _fits(self._ranges.get(n), v)}
        for name, value in attributes.items():
            yield {"key": name, "value_json": json.dumps(value)}


def _copied(connection: Connection, study: int) -> set[int]:
    """Return the numbers of the trials that are already copied."""
    rows, attributes = models.TrialModel.__table__, models.TrialUserAttributeModel.__table__
    query = (
        select(attributes.c.value_json)
        .join(rows, rows.c.trial_id == attributes.c.trial_id)
        .where(rows.c.study_id == study, attributes.c.key == "trial")
    )
    return {int(json.loads(text)) for text in connection.execute(query).scalars()}


def _count(connection: Connection, study: int) -> int:
    table = models.TrialModel.__table__
    query = select(func.count()).select_from(table).where(table.c.study_id == study)
    return int(connection.execute(query).scalar_one())


def _trial_row(record: TrialRecord, study: int, number: int) -> dict[str, Any]:
    now = datetime.now()
    return {
        "study_id": study,
        "number": number,
        "state": _state(record),
        "datetime_start": now - timedelta(seconds=record.result.seconds),
        "datetime_complete": now,
    }


def _state(record: TrialRecord) -> OptunaTrialState:
    if _complete(record):
        return OptunaTrialState.COMPLETE
    return (
        OptunaTrialState.PRUNED
        if record.result.status is TrialState.PRUNED
        else OptunaTrialState.FAIL
    )


def _complete(record: TrialRecord) -> bool:
    return record.scored.status is TrialState.SUCCESS and record.scored.value is not None


def _value_rows(record: TrialRecord) -> Iterator[dict[str, Any]]:
    value = record.scored.value
    if _complete(record) and value is not None and math.isfinite(value):
        kind = models.TrialValueModel.TrialValueType.FINITE
        yield {"objective": 0, "value": value, "value_type": kind}


def _constraint_rows(record: TrialRecord) -> Iterator[dict[str, Any]]:
    """Yield the constraints of a complete trial; Optuna treats a trial without as feasible."""
    if _complete(record):
        shown = [v if math.isfinite(v) else UNKNOWN for v in record.scored.violations]
        yield {"key": "constraints", "value_json": json.dumps(shown)}


def _flat(config: Config) -> dict[str, ParamValue]:
    """Return the configuration as a flat mapping with the names of the strategies."""
    parts = (
        (config.learner, config.params),
        (config.mitigation, config.mitigation_params),
    )
    return {
        "learner": config.learner,
        "encoding": config.encoding,
        "mitigation": config.mitigation,
        **{f"{owner}.{name}": value for owner, params in parts for name, value in params.items()},
    }


def _distributions(about: StudyAbout) -> dict[str, BaseDistribution]:
    space = about.space
    found: dict[str, BaseDistribution] = {
        "learner": CategoricalDistribution(sorted({*space.learners, *about.learners})),
        "encoding": CategoricalDistribution(sorted({*space.encodings, "codes"})),
        "mitigation": CategoricalDistribution(sorted({*space.mitigations, *about.mitigations})),
    }
    for parts in (space.learners, space.mitigations):
        found.update(_of_parts(parts))
    return found


def _of_parts(parts: Mapping[str, ParamSpace]) -> dict[str, BaseDistribution]:
    return {
        f"{part.name}.{name}": _distribution(allowed)
        for part in parts.values()
        for name, allowed in part.ranges.items()
    }


def _distribution(allowed: Range) -> BaseDistribution:
    if isinstance(allowed, Real):
        return FloatDistribution(allowed.low, allowed.high, log=allowed.log)
    if isinstance(allowed, Integer):
        return IntDistribution(allowed.low, allowed.high, log=allowed.log)
    return CategoricalDistribution(list(allowed.values))


def _fits(allowed: BaseDistribution | None, value: ParamValue) -> bool:
    if allowed is None:
        return False
    if isinstance(allowed, CategoricalDistribution):
        return value in allowed.choices
    number = isinstance(value, int | float) and not isinstance(value, bool)
    return number and allowed._contains(float(value))


SCHEMA = 2
"""Version of these tables, stored with every run."""

RUNNING = "running"
"""State of a trial without a result."""

metadata = MetaData()

# The prefix avoids a clash with Optuna's tables in the same database.
runs = Table(
    "fairautoml_runs",
    metadata,
    Column("run", String(32), primary_key=True),
    Column("name", Text, nullable=False),
    Column("schema_version", SqlInteger, nullable=False),
    Column("seed", BigInteger, nullable=False),
    Column("started", String(32), nullable=False),
    Column("seconds", Float, nullable=False),
    Column("results", SqlInteger, nullable=False),
    Column("fingerprint", Text, nullable=False),
    Column("digest", String(64), nullable=False),
)

trials = Table(
    "fairautoml_trials",
    metadata,
    Column("run", String(32), ForeignKey("fairautoml_runs.run"), primary_key=True),
    Column("number", SqlInteger, primary_key=True, autoincrement=False),
    Column("state", String(16), nullable=False),
    Column("asked", Float, nullable=False),
    Column("ended", Float),
    Column("turn", SqlInteger),
    Column("trial", Text, nullable=False),
    Column("result", Text),
    Column("told", Text),
    Column("content", LargeBinary),
    Column("digest", String(64), nullable=False),
)


def digest(table: Table, row: Mapping[str, Any]) -> str:
    """Return the SHA-256 of all other columns of a row, in hexadecimal."""
    names = [column.name for column in table.columns if column.name not in {"digest", "content"}]
    total = hashlib.sha256(repr([row.get(name) for name in names]).encode())
    content = row.get("content")
    total.update(b"" if content is None else bytes(content))
    return total.hexdigest()
