"""The database of a run: its tables, and trials mirrored for Optuna's dashboard.

Nothing is ever read back from it but the number of its trials. Optuna makes its tables and the
study; the rows are written here, many in one transaction: Optuna commits several times per trial.
"""

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
    ScoredTrial,
    TrialResult,
    TrialState,
)
from fairautoml.search.space import Integer, ParamSpace, Range, Real, SearchSpace

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


LITTLE = 1 / 6
"""Share of the time left below which no search trial of a run with so much of it is limited."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TrialRecord:
    """A trial that has ended, with everything that came of it."""

    result: TrialResult  # how it ended
    scored: ScoredTrial  # what strategy and allocator learned of it
    entries: tuple[Entry, ...]  # its rows on the leaderboard
    seconds: float  # on the clock of the run, since the budget began
    # what the strategy has newly proposed since the record before, each by the digest of its
    # history until then; empty for a strategy that is asked again, and in records of versions
    # that did not keep it
    sampled: Mapping[str, Config] = field(default_factory=dict)
    # trials that might be asked for and not told at that time, from the result before to this
    # one; None in records of versions that did not keep it
    window: int | None = None

    @property
    def cut_off(self) -> bool:
        """Whether only the end of the run stopped the trial; with more time it may succeed."""
        status, limit = self.result.status, self.result.trial.budget.seconds
        return status is TrialState.STOPPED or (status is TrialState.TIMEOUT and limit is None)

    def has_more_time(self, budget: float | None) -> bool:
        """Whether time alone stopped the trial, and there is much more of it now."""
        trial, limit = self.result.trial, self.result.trial.budget.seconds
        if self.result.status is not TrialState.TIMEOUT or limit is None:
            return self.cut_off
        # What an allocator grants is its own matter; the search grants a share of what is left.
        left = math.inf if budget is None else budget - self.seconds
        return trial.origin is Origin.SEARCH and limit < LITTLE * left


logger = logging.getLogger(__name__)

UNKNOWN = 1e9
"""Violation that is shown where it is not known: JSON has no infinity, and browsers refuse it."""

PAUSE_SECONDS = 1.0
"""Least time between two copies."""

BATCH = 500
"""Trials that are copied in one transaction."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StudyAbout:
    """What the study is about."""

    name: str  # name of the study
    space: SearchSpace  # ranges of the parameters
    learners: Collection[str]  # all names that trials may have, also those outside the space
    mitigations: Collection[str]


class Mirror:
    """Adds trials that have ended to an Optuna study, at most once a second."""

    def __init__(self, database: Database, about: StudyAbout) -> None:
        self._database = database
        self._name = about.name
        self._ranges = _distributions(about)
        self._texts = {
            name: optuna.distributions.distribution_to_json(allowed)
            for name, allowed in self._ranges.items()
        }
        self._earlier: list[TrialRecord] = []
        self._waiting: list[TrialRecord] = []
        self._study: int | None = None
        self._cut_off = False
        self._last = time.monotonic()

    def go_on(self, records: Sequence[TrialRecord]) -> None:
        """Take in the trials of an earlier process; those that it did not copy are copied."""
        self._earlier = [record for record in records if not record.cut_off]

    def add(self, record: TrialRecord) -> None:
        """Take in a trial; it is copied within about a second."""
        if record.cut_off:
            return
        self._waiting.append(record)
        if time.monotonic() - self._last >= PAUSE_SECONDS:
            self.copy()

    def copy(self) -> None:
        """Copy what waits, the oldest first."""
        # What an interrupt cuts off while the tables are described cannot be begun again here.
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
        """Copy the rest; a run that goes on copies what an interrupt left."""
        if not self._cut_off and (self._waiting or self._earlier):
            self.copy()

    @contextmanager
    def _forgiven(self) -> Iterator[None]:
        """Keep trouble with the copy away from the run, which does not need it."""
        level = optuna.logging.get_verbosity()
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        try:
            yield
        except (SQLAlchemyError, RunFolderError, optuna.exceptions.StorageInternalError) as exc:
            logger.warning("the Optuna study %r lacks the last trials: %s", self._name, exc)
        finally:
            optuna.logging.set_verbosity(level)

    def _opened(self) -> int:
        """Return the number of the study in the database; make it when there is none."""
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
            self._waiting[:0] = [r for r in self._earlier if r.result.trial.number not in copied]
            self._earlier.clear()
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
        said: dict[str, Any] = {
            "trial": result.trial.number,
            "status": str(result.status),
            "origin": str(result.trial.origin),
            "sample_fraction": result.trial.budget.sample_fraction,
            "seconds": result.seconds,
        }
        if result.error:
            said["error"] = result.error
        values = _flat(result.trial.config)
        said |= {n: value for n, value in values.items() if not _fits(self._ranges.get(n), value)}
        for name, value in said.items():
            yield {"key": name, "value_json": json.dumps(value)}


def _copied(connection: Connection, study: int) -> set[int]:
    """Return the numbers of the trials that are in the copy; one that ran again is there twice."""
    rows, said = models.TrialModel.__table__, models.TrialUserAttributeModel.__table__
    query = (
        select(said.c.value_json)
        .join(rows, rows.c.trial_id == said.c.trial_id)
        .where(rows.c.study_id == study, said.c.key == "trial")
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
    """Give every constraint of a complete trial: without any it would count as feasible."""
    if _complete(record):
        shown = [v if math.isfinite(v) else UNKNOWN for v in record.scored.violations]
        yield {"key": "constraints", "value_json": json.dumps(shown)}


def _flat(config: Config) -> dict[str, ParamValue]:
    """Return the candidate as one value per name, as the strategies name them."""
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
"""Version of these tables; kept with every run."""

RUNNING = "running"
"""State of a trial that was handed to a worker and has no result yet."""

metadata = MetaData()

# Optuna's own tables lie in the same database and own the plain names.
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
