"""The record of a run's trials: every result is on the disk before anybody hears of it.

The controller alone writes; anybody may read ``study.db`` at any time. A trial is one row, written
in one transaction after its scores and models are durable. The column ``content`` holds pickled
records, so a study is loaded only from a run folder or a database that is trusted like a program.
"""

import json
import logging
import math
import pickle
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, fields, is_dataclass
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import Connection, delete, func, insert, inspect, select, update
from sqlalchemy.engine import URL

from fairautoml.exceptions import RunFolderError, StorageFullError
from fairautoml.store import fingerprint as prints
from fairautoml.store.database import Database, corrupt
from fairautoml.store.record import Record
from fairautoml.store.tables import RUNNING, SCHEMA, digest, metadata, runs, trials
from fairautoml.trials import Candidate, Status, Trial

logger = logging.getLogger(__name__)

ORPHANED = "the controller died while this trial ran"


@dataclass(frozen=True, slots=True, kw_only=True)
class Past:
    """A recorded run, read and checked, nothing of it unpacked."""

    about: Mapping[str, Any]  # its row in the table of runs
    # its trials in the order of their results, those without one last
    rows: tuple[Mapping[str, Any], ...]

    @property
    def seed(self) -> int:
        """Root seed."""
        return int(self.about["seed"])

    @property
    def seconds(self) -> float:
        """Budget that was used."""
        return float(self.about["seconds"])

    @property
    def fingerprint(self) -> dict[str, str]:
        """What the run was about."""
        found: dict[str, str] = json.loads(self.about["fingerprint"])
        return found

    @property
    def numbers(self) -> frozenset[int]:
        """Numbers of the trials that have a result."""
        return frozenset(row["number"] for row in self.rows if row["content"] is not None)

    def records(self) -> tuple[Record, ...]:
        """Unpack the trials that have a result, in the order in which they were told."""
        return tuple(
            _unpacked(row["content"], row["ended"])
            for row in self.rows
            if row["content"] is not None
        )


def read_past(url: URL, run: str, name: str) -> Past:
    """Read a recorded run."""
    database = Database(url)
    database.name = name
    try:
        database.check()
        with database.transaction() as connection:
            about = _about(connection, run, name)
            query = select(trials).where(trials.c.run == run).order_by(trials.c.turn)
            rows = tuple(dict(row) for row in connection.execute(query).mappings())
    finally:
        database.close()
    _check_rows(about, rows, name)
    return Past(about=about, rows=tuple(sorted(rows, key=_turn)))


def _about(connection: Connection, run: str, name: str) -> dict[str, Any]:
    """Return the row of the run, after the version of the tables is looked at."""
    if not inspect(connection).has_table(runs.name):
        raise corrupt(name, "it is empty, and a run was recorded in it")
    version = connection.execute(select(runs.c.schema_version).where(runs.c.run == run)).scalar()
    if version is None:
        raise corrupt(name, f"it does not hold the run {run}")
    if version != SCHEMA:
        msg = (
            f"{name!r} has tables of version {version} and this version of fairautoml reads "
            f"{SCHEMA}; use the version that wrote it, or a new run_dir"
        )
        raise RunFolderError(msg)
    return dict(connection.execute(select(runs).where(runs.c.run == run)).mappings().one())


def _turn(row: Mapping[str, Any]) -> tuple[bool, int]:
    turn = row["turn"]
    return turn is None, int(row["number"] if turn is None else turn)


class Study:
    """The record of one run, open for writing."""

    def __init__(
        self, database: Database, about: Mapping[str, Any], past: tuple[Record, ...] = ()
    ) -> None:
        self.past = past
        self._database = database
        self._about = about
        self._numbers = {record.result.trial.number for record in past}
        self._turn = 0
        self._asked: dict[int, tuple[Trial, float]] = {}

    @classmethod
    def create(
        cls, database: Database, run: str, *, name: str, seed: int, fingerprint: Mapping[str, str]
    ) -> "Study":
        """Begin the record of a run."""
        about = {
            "run": run,
            "name": name,
            "schema_version": SCHEMA,
            "seed": seed,
            "started": datetime.now(UTC).isoformat(timespec="seconds"),
            "seconds": 0.0,
            "results": 0,
            "fingerprint": prints.to_text(fingerprint),
        }
        with database.transaction() as connection:
            metadata.create_all(connection)
            connection.execute(insert(runs).values({**about, "digest": digest(runs, about)}))
        return cls(database, about)

    @classmethod
    def resume(cls, database: Database, past: Past) -> "Study":
        """Go on with a recorded run; trials that never ended are lost and may be asked again."""
        study = cls(database, past.about, past.records())
        study._turn = 1 + max(
            (row["turn"] for row in past.rows if row["turn"] is not None), default=-1
        )
        with database.transaction() as connection:
            for row in past.rows:
                if row["state"] == RUNNING:
                    error = json.dumps({"status": str(Status.LOST), "error": ORPHANED})
                    study._write(connection, {**row, "state": str(Status.LOST), "result": error})
        return study

    @property
    def proposed(self) -> dict[str, Candidate]:
        """What the strategy proposed, by the digest of its history until then."""
        return {at: made for record in self.past for at, made in record.proposed.items()}

    def asked(self, trial: Trial, seconds: float) -> None:
        """Note that a trial runs; written with the next result."""
        self._asked[trial.number] = (trial, seconds)

    def keep(self, record: Record) -> None:
        """Make a result durable, in one transaction."""
        trial = record.result.trial
        if record.result.status is Status.NO_SPACE:
            # Not the trial's fault: it is asked again when the run goes on.
            raise StorageFullError(record.result.error)
        _, asked = self._asked.pop(trial.number, (trial, record.seconds))
        with self._database.transaction() as connection:
            earlier = self._holds_result(connection, trial.number)
            for number, (other, since) in self._asked.items():
                # What was cut off and is asked again keeps its result until there is another.
                if number not in self._numbers:
                    self._write(connection, self._row(other, since, RUNNING))
            self._write(
                connection,
                {
                    **self._row(trial, asked, str(record.result.status)),
                    "ended": record.seconds,
                    "turn": self._turn,
                    "result": _text(record.result),
                    "told": _text(record.told),
                    "content": _packed(record),
                },
            )
            self._spend(connection, record.seconds, more=0 if earlier else 1)
        self._numbers.add(trial.number)
        self._asked.clear()
        self._turn += 1

    def close(self, seconds: float | None = None) -> None:
        """Let go of the database."""
        try:
            if seconds is not None:
                with self._database.transaction() as connection:
                    self._spend(connection, seconds, more=0)
        finally:
            self._database.close()

    def _row(self, trial: Trial, asked: float, state: str) -> dict[str, Any]:
        return {
            "run": self._about["run"],
            "number": trial.number,
            "state": state,
            "asked": asked,
            "trial": _text(trial),
        }

    def _write(self, connection: Connection, row: Mapping[str, Any]) -> None:
        key = (trials.c.run == row["run"]) & (trials.c.number == row["number"])
        connection.execute(delete(trials).where(key))
        connection.execute(insert(trials).values({**row, "digest": digest(trials, row)}))

    def _holds_result(self, connection: Connection, number: int) -> bool:
        key = (trials.c.run == self._about["run"]) & (trials.c.number == number)
        kept = select(func.count()).where(key & trials.c.content.is_not(None))
        return bool(connection.execute(kept).scalar_one())

    def _spend(self, connection: Connection, seconds: float, *, more: int) -> None:
        mine = runs.c.run == self._about["run"]
        # Added to what is there: an interrupt may come between a commit and what follows it.
        results = connection.execute(select(runs.c.results).where(mine)).scalar_one() + more
        about = {**self._about, "seconds": seconds, "results": results}
        connection.execute(
            update(runs)
            .where(mine)
            .values(seconds=seconds, results=results, digest=digest(runs, about))
        )


def _check_rows(about: Mapping[str, Any], rows: tuple[Mapping[str, Any], ...], name: str) -> None:
    """Compare everything with its hash: a flipped bit is valid SQLite."""
    if about["digest"] != digest(runs, about):
        raise corrupt(name, "the record of the run is not what was written")
    for row in rows:
        if row["digest"] != digest(trials, row):
            raise corrupt(name, f"the record of trial {row['number']} is not what was written")
    found = sum(row["content"] is not None for row in rows)
    if found != about["results"]:
        raise corrupt(name, f"it holds {found} results and {about['results']} were written")


def _packed(record: Record) -> bytes:
    content = (record.result, record.told, record.entries, dict(record.proposed), record.window)
    return zlib.compress(pickle.dumps(content, protocol=pickle.HIGHEST_PROTOCOL), level=1)


def _unpacked(content: bytes, seconds: float) -> Record:
    result, told, entries, *more = pickle.loads(zlib.decompress(content))
    return Record(
        result=result,
        told=told,
        entries=entries,
        seconds=seconds,
        proposed=more[0] if more else {},
        window=more[1] if len(more) > 1 else None,
    )


def _text(value: object) -> str:
    """Return a record as JSON for people and other programs; what is not finite is null."""
    return json.dumps(_plain(value), sort_keys=True, allow_nan=False)


def _plain(value: object) -> object:
    if is_dataclass(value):
        return {item.name: _plain(getattr(value, item.name)) for item in fields(value)}
    if isinstance(value, Mapping):
        return {str(name): _plain(item) for name, item in value.items()}
    if isinstance(value, tuple | list):
        return [_plain(item) for item in value]
    if isinstance(value, float):
        return float(value) if math.isfinite(value) else None
    return value
