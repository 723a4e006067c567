"""Record of a run: write trials, read them and replay them when the run is resumed.

The column ``content`` contains pickles, so load a study only from a trusted source.
"""

# A resumed run builds strategy and allocator anew and passes them the recorded results in their
# recorded order and at their recorded times. They thus reach the same state without training and
# with any number of workers.

import hashlib
import json
import logging
import math
import pickle
import zlib
from collections.abc import Callable, Mapping, Sequence, Set
from concurrent.futures import Future
from dataclasses import dataclass, fields, is_dataclass, replace
from datetime import UTC, datetime
from typing import Any

import joblib
from sqlalchemy import Connection, delete, func, insert, inspect, select, update
from sqlalchemy.engine import URL

from fairautoml.exceptions import ResumeMismatchError, RunFolderError, StorageFullError
from fairautoml.records import Config, Executor, Trial, TrialResult, TrialState
from fairautoml.storage.database import (
    RUNNING,
    SCHEMA,
    Database,
    TrialRecord,
    corrupt,
    digest,
    metadata,
    runs,
    trials,
)

OnStart = Callable[[Trial, float], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Known:
    """Recorded result of a trial."""

    result: TrialResult  # result of the trial
    seconds: float  # time of the result, since the budget began
    window: int | None = None  # maximum number of pending trials until then


class Replay:
    """Replays recorded results and runs other trials on a real executor."""

    def __init__(
        self,
        executor: Executor,
        past: Sequence[Known],
        *,
        start: float,
        on_start: OnStart | None,
    ) -> None:
        self.queued = executor.queued
        self._executor = executor
        self._start = start
        self._on_start = on_start
        self._known = {known.result.trial.number: turn for turn, known in enumerate(past)}
        self._past = past
        self._open = set(range(len(past)))
        self._strayed = False
        self._handed_over: set[int] = set()
        self._taken = set(self._known)
        self._waiting: dict[Future[TrialResult], int] = {}
        self._names: dict[str, str] = {}
        self._pending: dict[str, Trial] = {}
        self._clock = 0.0
        self._live = not past
        self.n_workers = self._workers_then()

    @property
    def spare(self) -> float:
        """Seconds before the deadline by which the trials of the real executor end."""
        return self._executor.spare

    @spare.setter
    def spare(self, seconds: float) -> None:
        self._executor.spare = seconds

    def now(self) -> float:
        """Return the recorded time during the replay, then the time of the executor."""
        return self._executor.now() if self._live else self._start + self._clock

    def submit(
        self, objective: Callable[[Trial], TrialResult], trial: Trial
    ) -> "Future[TrialResult]":
        """Return a future of the recorded result of a trial, or run the trial.

        A trial without a record gets an unused number, so that recorded results are kept.
        """
        turn = self._turn_of(trial)
        if turn is not None:
            promised: Future[TrialResult] = Future()
            self._waiting[promised] = turn
            self._open.discard(turn)
            self._call(trial, self._past[turn].result.trial)
            return promised
        if trial.number in self._known or trial.number > max(self._known, default=-1):
            # The search differs from the record, and this is no trial to run again.
            self._strayed = True
            self.n_workers = self._workers_then()
        mine = self._renamed(trial)
        if self._on_start is not None:
            self._on_start(mine, self.now() - self._start)
        return self._executor.submit(objective, mine)

    def wait(
        self, running: "Set[Future[TrialResult]]", seconds: float
    ) -> "set[Future[TrialResult]]":
        """Return the next recorded result, or after the replay the results of the executor."""
        promised = [future for future in running if future in self._waiting]
        if not promised:
            self._live = True
            return self._executor.wait(running, seconds)
        first = min(promised, key=self._waiting.__getitem__)
        known = self._past[self._waiting.pop(first)]
        self._clock = known.seconds
        self.n_workers = self._workers_then()
        first.set_result(known.result)
        return {first}

    def unmatched(self) -> tuple[TrialResult, ...]:
        """Return the recorded results that the search no longer reaches, each of them once.

        There are none unless the search has diverged from the record.
        """
        turns = sorted(self._open - self._handed_over) if self._strayed else []
        self._handed_over.update(turns)
        return tuple(self._past[turn].result for turn in turns)

    def shutdown(self) -> None:
        """Stop the real executor."""
        self._executor.shutdown()

    def with_trial(self, trial: Trial) -> Trial:
        """Return the trial as the search created it, with its number in the search."""
        return self._pending.get(trial.key, trial) if self._pending else trial

    def _workers_then(self) -> int:
        """Return the number of workers that gives the recorded number of pending trials."""
        ahead = self._open.union(self._waiting.values())
        window = None if self._strayed or not ahead else self._past[min(ahead)].window
        return self._executor.n_workers if window is None else window - self.queued

    def _turn_of(self, trial: Trial) -> int | None:
        """Return the position of the recorded trial, under its number or any other."""
        turn = self._known.get(trial.number)
        if turn in self._open and _same(self._past[turn].result.trial, trial):
            return turn
        # A search that has diverged from the record may still reach the same trials.
        others = sorted(self._open)
        return next((t for t in others if _same(self._past[t].result.trial, trial)), None)

    def _call(self, trial: Trial, mine: Trial) -> None:
        """Record that a trial of the search runs, or ran, under another number."""
        if mine.number != trial.number:
            self._names[trial.key] = mine.key
            self._pending[mine.key] = trial

    def _renamed(self, trial: Trial) -> Trial:
        number = trial.number if trial.number not in self._taken else max(self._taken) + 1
        self._taken.add(number)
        mine = replace(trial, number=number, rival=self._names.get(trial.rival, trial.rival))
        self._call(trial, mine)
        return mine


def _same(recorded: Trial, trial: Trial) -> bool:
    """Return whether two trials train the same models; time limits are ignored."""
    return (
        recorded.config == trial.config
        and recorded.origin is trial.origin
        and recorded.budget.sample_fraction == trial.budget.sample_fraction
        and recorded.budget.folds == trial.budget.folds
    )


def content_hash(value: Any) -> str:
    """Return a hash of the content, type and shape of arrays, matrices or tables."""
    return str(joblib.hash(value))


def text_hash(value: object) -> str:
    """Return a hash of the ``repr`` of a value, for frozen dataclasses of plain values."""
    return hashlib.sha256(repr(value).encode()).hexdigest()[:32]


def check_same(before: Mapping[str, str], now: Mapping[str, str], folder: str) -> None:
    """Raise ``ResumeMismatchError`` if a run is resumed with other data or parameters."""
    differing = [
        _difference(name, before[name], now.get(name))
        for name in sorted(before)
        if before[name] != now.get(name)
    ]
    if differing:
        msg = (
            f"if_exists='resume': the run in {folder!r} was made with {'; '.join(differing)}. "
            "Nothing was changed. Resume it with what it was started with, or name a new run_dir"
        )
        raise ResumeMismatchError(msg)


def _difference(name: str, before: str, now: str | None) -> str:
    """Return a description of a difference, with the values unless they are hashes."""
    hashes = any(value is not None and value.startswith("#") for value in (before, now))
    return f"other {name}" if hashes else f"{name} {before!r}, now {now!r}"


def to_text(fingerprint: Mapping[str, str]) -> str:
    """Return the fingerprint as JSON."""
    return json.dumps(dict(fingerprint), sort_keys=True)


logger = logging.getLogger(__name__)

ORPHANED = "the controller died while this trial ran"


@dataclass(frozen=True, slots=True, kw_only=True)
class PreviousTrials:
    """A recorded run, read and checked, before its trials are unpickled."""

    about: Mapping[str, Any]  # row of the run in the table of runs
    # trials in order of completion, those without a result last
    rows: tuple[Mapping[str, Any], ...]

    @property
    def seed(self) -> int:
        """Root seed."""
        return int(self.about["seed"])

    @property
    def seconds(self) -> float:
        """Seconds of the budget that were used."""
        return float(self.about["seconds"])

    @property
    def fingerprint(self) -> dict[str, str]:
        """Fingerprint of the data and parameters of the run."""
        found: dict[str, str] = json.loads(self.about["fingerprint"])
        return found

    @property
    def numbers(self) -> frozenset[int]:
        """Numbers of the trials that have a result."""
        return frozenset(row["number"] for row in self.rows if row["content"] is not None)

    def records(self) -> tuple[TrialRecord, ...]:
        """Unpickle the trials that have a result, in order of completion."""
        return tuple(
            _unpacked(row["content"], row["ended"])
            for row in self.rows
            if row["content"] is not None
        )


def read_past(url: URL, run: str, name: str) -> PreviousTrials:
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
    return PreviousTrials(about=about, rows=tuple(sorted(rows, key=_turn)))


def _about(connection: Connection, run: str, name: str) -> dict[str, Any]:
    """Check the version of the tables and return the row of the run."""
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
    """Record of one run, open for writing; only one process writes it."""

    def __init__(
        self, database: Database, about: Mapping[str, Any], past: tuple[TrialRecord, ...] = ()
    ) -> None:
        self.past = past
        self._database = database
        self._about = about
        self._numbers = {record.result.trial.number for record in past}
        self._turn = 0
        self._pending: dict[int, tuple[Trial, float]] = {}

    @classmethod
    def create(
        cls, database: Database, run: str, *, name: str, seed: int, fingerprint: Mapping[str, str]
    ) -> "Study":
        """Create the record of a run."""
        about = {
            "run": run,
            "name": name,
            "schema_version": SCHEMA,
            "seed": seed,
            "started": datetime.now(UTC).isoformat(timespec="seconds"),
            "seconds": 0.0,
            "results": 0,
            "fingerprint": to_text(fingerprint),
        }
        with database.transaction() as connection:
            metadata.create_all(connection)
            connection.execute(insert(runs).values({**about, "digest": digest(runs, about)}))
        return cls(database, about)

    @classmethod
    def resume(cls, database: Database, past: PreviousTrials) -> "Study":
        """Open the record of a resumed run; pending trials are marked as lost."""
        study = cls(database, past.about, past.records())
        study._turn = 1 + max(
            (row["turn"] for row in past.rows if row["turn"] is not None), default=-1
        )
        with database.transaction() as connection:
            for row in past.rows:
                if row["state"] == RUNNING:
                    error = json.dumps({"status": str(TrialState.WORKER_LOST), "error": ORPHANED})
                    study._write(
                        connection, {**row, "state": str(TrialState.WORKER_LOST), "result": error}
                    )
        return study

    @property
    def sampled(self) -> dict[str, Config]:
        """Proposals of the strategy by the digest of its history before them."""
        return {at: made for record in self.past for at, made in record.sampled.items()}

    def record_start(self, trial: Trial, seconds: float) -> None:
        """Record that a trial is running; it is written with the next result."""
        self._pending[trial.number] = (trial, seconds)

    def keep(self, record: TrialRecord) -> None:
        """Store a result in one transaction, after its scores and models."""
        trial = record.result.trial
        if record.result.status is TrialState.DISK_FULL:
            # An infrastructure failure is not stored, so a resumed run runs the trial again.
            raise StorageFullError(record.result.error)
        _, started = self._pending.pop(trial.number, (trial, record.seconds))
        with self._database.transaction() as connection:
            known = self._holds_result(connection, trial.number)
            for number, (other, since) in self._pending.items():
                # A trial that is run again keeps its old result until it has a new one.
                if number not in self._numbers:
                    self._write(connection, self._row(other, since, RUNNING))
            self._write(
                connection,
                {
                    **self._row(trial, started, str(record.result.status)),
                    "ended": record.seconds,
                    "turn": self._turn,
                    "result": _text(record.result),
                    "told": _text(record.scored),
                    "content": _packed(record),
                },
            )
            self._spend(connection, record.seconds, more=0 if known else 1)
        self._numbers.add(trial.number)
        self._pending.clear()
        self._turn += 1

    def close(self, seconds: float | None = None) -> None:
        """Store the used seconds, if given, and close the database."""
        try:
            if seconds is not None:
                with self._database.transaction() as connection:
                    self._spend(connection, seconds, more=0)
        finally:
            self._database.close()

    def _row(self, trial: Trial, started: float, state: str) -> dict[str, Any]:
        return {
            "run": self._about["run"],
            "number": trial.number,
            "state": state,
            "asked": started,
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
        # Read the count from the database: an interrupt may follow directly after a commit.
        results = connection.execute(select(runs.c.results).where(mine)).scalar_one() + more
        about = {**self._about, "seconds": seconds, "results": results}
        connection.execute(
            update(runs)
            .where(mine)
            .values(seconds=seconds, results=results, digest=digest(runs, about))
        )


def _check_rows(about: Mapping[str, Any], rows: tuple[Mapping[str, Any], ...], name: str) -> None:
    """Compare all rows with their hashes, as SQLite does not detect changed values."""
    if about["digest"] != digest(runs, about):
        raise corrupt(name, "the record of the run is not what was written")
    for row in rows:
        if row["digest"] != digest(trials, row):
            raise corrupt(name, f"the record of trial {row['number']} is not what was written")
    found = sum(row["content"] is not None for row in rows)
    if found != about["results"]:
        raise corrupt(name, f"it holds {found} results and {about['results']} were written")


def _packed(record: TrialRecord) -> bytes:
    content = (record.result, record.scored, record.entries, dict(record.sampled), record.window)
    return zlib.compress(pickle.dumps(content, protocol=pickle.HIGHEST_PROTOCOL), level=1)


def _unpacked(content: bytes, seconds: float) -> TrialRecord:
    result, scored, entries, *more = pickle.loads(zlib.decompress(content))
    return TrialRecord(
        result=result,
        scored=scored,
        entries=entries,
        seconds=seconds,
        sampled=more[0] if more else {},
        window=more[1] if len(more) > 1 else None,
    )


def _text(value: object) -> str:
    """Return a record as readable JSON; numbers that are not finite become null."""
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
