"""Record of a run: an Optuna study whose trials carry our fields as JSON.

The study is written through Optuna's public storage methods, one transaction per trial, so that
optuna-dashboard shows it. Reading a study executes no code.
"""

import hashlib
import json
import math
import warnings
from collections.abc import Collection, Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass, fields, is_dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any, Protocol

import joblib
import optuna
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)
from optuna.storages import BaseStorage
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, create_trial
from optuna.trial import TrialState as OptunaTrialState

from fairautoml.exceptions import ResumeMismatchError, RunFolderError, StorageFullError
from fairautoml.records import (
    Config,
    Fidelity,
    Origin,
    ParamValue,
    Trial,
    TrialRecord,
    TrialResult,
    TrialState,
)
from fairautoml.storage.artifacts import Artifacts
from fairautoml.storage.journal import corrupt

SCHEMA = 5
"""Version of the attributes, stored with every study."""

RUN, USED, RECORD, ATTEMPT = "fairautoml", "seconds_used", "fairautoml", "attempt "
"""Names of the attributes of a study and of a trial."""

UNKNOWN = 1e9
"""Displayed value of an unknown gap: JSON has no infinity."""

_KEPT = ("result", "seconds", "proposals", "window")
"""Fields of a record that are kept as JSON."""


class Database(Protocol):
    """Place of a study."""

    @property
    def name(self) -> str:
        """Path or address that messages show, without secrets."""

    def check(self) -> None:
        """Raise an error if the database cannot be used."""

    def opened(self, *, create: bool = False) -> AbstractContextManager[BaseStorage]:
        """Return Optuna's storage of the database as a context."""

    def errors(self) -> AbstractContextManager[None]:
        """Raise errors of the database as errors of this package."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Display:
    """What optuna-dashboard shows of a study."""

    objective: str  # name of the performance metric
    greater_is_better: bool
    ranges: Mapping[str, BaseDistribution]  # of the parameters in the search space
    # possible learners, encodings and mitigations, also those outside the search space
    names: Mapping[str, Collection[str]]
    constraints: tuple[str, ...]  # as text; with any, the gap is a second objective

    @property
    def distributions(self) -> dict[str, BaseDistribution]:
        """Return the ranges of all parameters."""
        choices = {n: CategoricalDistribution(sorted(values)) for n, values in self.names.items()}
        return {**self.ranges, **choices}

    @property
    def directions(self) -> list[StudyDirection]:
        """Return the direction of the score and, with constraints, of the gap."""
        up = StudyDirection.MAXIMIZE if self.greater_is_better else StudyDirection.MINIMIZE
        return [up, StudyDirection.MINIMIZE] if self.constraints else [up]


@dataclass(frozen=True, slots=True, kw_only=True)
class PreviousTrials:
    """A recorded run, read and checked."""

    study: str  # name of the Optuna study
    seed: int  # root seed
    time_budget: float | None  # of the first fit, seconds
    fingerprint: Mapping[str, str]  # of the data and parameters of the run
    seconds: float  # seconds of the budget that were used
    records: tuple[TrialRecord, ...]  # in order of completion, without their entries
    proposals: tuple[Config, ...]  # of the strategy, also those of replaced records
    n_recorded: int  # results so far, with those of trials that were run again
    # SHA-256 of the files of each trial by folder, by trial number
    files: Mapping[int, Mapping[str, str]]

    @property
    def numbers(self) -> frozenset[int]:
        """Numbers of the recorded trials."""
        return frozenset(record.result.trial.number for record in self.records)


class Study:
    """Record of one run, open for writing; only one process writes it."""

    def __init__(
        self,
        database: Database,
        study: str,
        artifacts: Artifacts,
        display: Display,
        *,
        seed: int,
        time_budget: float | None,
        fingerprint: Mapping[str, str],
    ) -> None:
        self._open(database, artifacts, display, create=True)
        about = {
            "schema": SCHEMA,
            "seed": seed,
            "time_budget": time_budget,
            "started": datetime.now(UTC).isoformat(timespec="seconds"),
            "fingerprint": dict(fingerprint),
        }
        with ExitStack() as undo, database.errors(), quiet():
            undo.callback(self.close)
            self._id = self._storage.create_new_study(display.directions, study)
            self._write(RUN, _sealed(about))
            for number, constraint in enumerate(display.constraints):
                # In the order of the constraint values that the dashboard shows of a trial.
                self._write(f"constraint {number}", constraint)
            made = optuna.load_study(study_name=study, storage=self._storage)
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
                made.set_metric_names([display.objective, "gap"][: len(display.directions)])
            undo.pop_all()

    @classmethod
    def resume(
        cls, database: Database, past: PreviousTrials, artifacts: Artifacts, display: Display
    ) -> "Study":
        """Open the record of a resumed run and read the entries of its trials.

        Files that are not those that were written are deleted, so that the trial is run again.
        """
        study = cls.__new__(cls)
        study._open(database, artifacts, display, create=False)
        with database.errors():
            study._id = study._storage.get_study_id_from_name(past.study)
        for number, key in ((r.result.trial.number, r.result.trial.key) for r in past.records):
            artifacts.drop_altered(key, past.files[number])
        study.past = tuple(
            r
            if r.result.status is not TrialState.SUCCESS
            else replace(r, entries=artifacts.entries(r.result.trial.key))
            for r in past.records
        )
        study.proposals = past.proposals
        study._turn = past.n_recorded
        study._ended = {
            r.result.trial.number: r.result.status for r in past.records if not r.cut_off
        }
        return study

    def _open(
        self, database: Database, artifacts: Artifacts, display: Display, *, create: bool
    ) -> None:
        self.past: tuple[TrialRecord, ...] = ()
        self.proposals: tuple[Config, ...] = ()
        self._database = database
        self._artifacts = artifacts
        self._display = display
        self._distributions = display.distributions
        self._ended: dict[int, TrialState] = {}
        self._turn = 0
        self._opened = ExitStack()
        with database.errors(), quiet():
            self._storage = self._opened.enter_context(database.opened(create=create))

    def keep(self, record: TrialRecord) -> None:
        """Store a result in one transaction, after its scores, models and entries."""
        number, status = record.result.trial.number, record.result.status
        if status is TrialState.DISK_FULL:
            # An infrastructure failure is not stored, so a resumed run runs the trial again.
            raise StorageFullError(record.result.error)
        key = record.result.trial.key
        self._artifacts.write_entries(key, record.entries)
        files = self._artifacts.hashes(key)
        content = _sealed({"turn": self._turn, **_plain(record), "files": files})
        # One that may have its turn again, or that made its lost files again, is shown once.
        if record.cut_off or self._ended.get(number) is status:
            self._write(f"{ATTEMPT}{self._turn}", content)
        else:
            made = self._shown(record, content)
            with self._database.errors():
                self._storage.create_new_trial(self._id, made)
            self._ended[number] = status
        self._turn += 1

    def _shown(self, record: TrialRecord, content: object) -> FrozenTrial:
        """Return the trial as optuna-dashboard shows it."""
        result, state = record.result, OptunaTrialState.FAIL
        if result.value is None:  # It was not post-processed.
            result = replace(result, value=result.plain_value, violations=result.plain_violations)
        if result.status is TrialState.PRUNED:
            state = OptunaTrialState.PRUNED
        objectives = self._objectives(result)
        if objectives is not None:
            state = OptunaTrialState.COMPLETE
        values = result.trial.config.flat()
        ranges = {n: d for n, d in self._distributions.items() if _fits(d, values.get(n))}
        # On a server each attribute takes about a millisecond, so there are few.
        made = create_trial(
            state=state,
            values=objectives,
            params={name: values[name] for name in ranges},
            distributions=ranges,
            user_attrs={
                "trial": result.trial.number,
                "status": str(result.status),
                **({"error": result.error} if result.error else {}),
                RECORD: content,
            },
            # optuna-dashboard reads the constraints under this name only.
            system_attrs={"constraints": [_finite(violation) for violation in result.violations]},
        )
        made.datetime_complete = datetime.now()
        made.datetime_start = made.datetime_complete - timedelta(seconds=result.seconds)
        return made

    def _objectives(self, result: TrialResult) -> list[float] | None:
        """Return the score and, with constraints, the largest gap; None without a score."""
        if result.status is not TrialState.SUCCESS or result.value is None:
            return None
        score = result.value if self._display.greater_is_better else -result.value
        if not self._display.constraints:
            return [score]
        return [score, UNKNOWN if result.gap is None else _finite(result.gap)]

    def close(self, seconds: float | None = None) -> None:
        """Store the used seconds, if given, and close the database."""
        try:
            if seconds is not None:
                self._write(USED, _sealed(seconds))
        finally:
            self._opened.close()

    def _write(self, name: str, value: object) -> None:
        with self._database.errors():
            self._storage.set_study_user_attr(self._id, name, value)


def read_past(database: Database, study: str) -> PreviousTrials:
    """Read and check a recorded run."""
    name = database.name
    with database.errors():
        database.check()
        try:
            with database.opened() as storage:
                study_id = storage.get_study_id_from_name(study)
                attributes = storage.get_study_user_attrs(study_id)
                trials = storage.get_all_trials(study_id, deepcopy=False)
        except KeyError:
            raise corrupt(name, f"it does not hold the study {study!r}") from None
        except (ValueError, TypeError, AttributeError, AssertionError) as exc:
            raise corrupt(name, f"a row is not what was written: {exc}") from exc
    about = _checked_about(attributes, name)
    if [trial.number for trial in trials] != list(range(len(trials))):
        raise corrupt(name, "a trial is missing")
    sealed = [trial.user_attrs.get(RECORD) for trial in trials]
    sealed += [value for key, value in attributes.items() if key.startswith(ATTEMPT)]
    contents = [_unsealed(each, name) for each in sealed]
    try:
        contents = sorted(contents, key=lambda each: each["turn"])
        read = [(_record(content), dict(content["files"])) for content in contents]
        proposals = tuple(_config(each) for content in contents for each in content["proposals"])
    except (KeyError, TypeError, ValueError, AttributeError) as exc:
        raise corrupt(name, f"a record is not what was written: {exc!r}") from None
    records: dict[int, TrialRecord] = {}
    files: dict[int, Mapping[str, str]] = {}
    for record, hashes in read:
        # A trial that was run again replaces its earlier result.
        records.pop(record.result.trial.number, None)
        records[record.result.trial.number] = record
        files[record.result.trial.number] = hashes
    used = _unsealed(attributes[USED], name) if USED in attributes else 0.0
    return PreviousTrials(
        study=study,
        seed=about["seed"],
        time_budget=about["time_budget"],
        fingerprint=about["fingerprint"],
        seconds=max([used, *(record.seconds for record in records.values())]),
        records=tuple(records.values()),
        proposals=proposals,
        files=files,
        n_recorded=1 + max((content["turn"] for content in contents), default=-1),
    )


def _checked_about(attributes: Mapping[str, Any], name: str) -> dict[str, Any]:
    about: dict[str, Any] = _unsealed(attributes.get(RUN), name)
    if about.get("schema") != SCHEMA:
        raise RunFolderError(
            f"{name!r} has attributes of version {about.get('schema')} and this version of "
            f"fairautoml reads {SCHEMA}; use the version that wrote it, or a new run_dir"
        )
    return about


@contextmanager
def quiet() -> Iterator[None]:
    """Suppress Optuna's info messages, then restore its log level."""
    level = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    try:
        yield
    finally:
        optuna.logging.set_verbosity(level)


def _finite(value: float) -> float:
    return float(value) if math.isfinite(value) else UNKNOWN


def _fits(allowed: BaseDistribution, value: ParamValue | None) -> bool:
    if isinstance(allowed, FloatDistribution | IntDistribution):
        number = isinstance(value, int | float) and not isinstance(value, bool)
        return number and allowed.low <= value <= allowed.high  # type: ignore[operator]
    return isinstance(allowed, CategoricalDistribution) and value in allowed.choices


def _sealed(content: object) -> dict[str, object]:
    """Return the content with its SHA-256, as a database does not detect changed values."""
    plain = _plain(content)
    return {"content": plain, "sha256": _hash(plain)}


def _unsealed(sealed: Any, name: str) -> Any:
    if not isinstance(sealed, dict) or sealed.get("sha256") != _hash(sealed.get("content")):
        raise corrupt(name, "a record is not what was written")
    return sealed["content"]


def _hash(plain: object) -> str:
    text = json.dumps(plain, sort_keys=True, allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()


def _plain(value: Any) -> Any:
    """Return a value in JSON's types; an infinite number becomes a text."""
    if isinstance(value, TrialRecord):
        return {name: _plain(getattr(value, name)) for name in _KEPT}
    if is_dataclass(value):
        return {item.name: _plain(getattr(value, item.name)) for item in fields(value)}
    if isinstance(value, Mapping):
        return {str(name): _plain(item) for name, item in value.items()}
    if isinstance(value, tuple | list):
        return [_plain(item) for item in value]
    if isinstance(value, float):
        return float(value) if math.isfinite(value) else str(float(value))
    return value


def _record(content: Mapping[str, Any]) -> TrialRecord:
    return TrialRecord(
        result=_result(content["result"]),
        entries=(),
        seconds=float(content["seconds"]),
        proposals=tuple(map(_config, content["proposals"])),
        window=content["window"],
    )


def _config(plain: Mapping[str, Any]) -> Config:
    return Config(**plain)


def _result(plain: Mapping[str, Any]) -> TrialResult:
    trial = plain["trial"]
    made = {
        "config": _config(trial["config"]),
        "fidelity": Fidelity(**trial["fidelity"]),
        "origin": Origin(trial["origin"]),
    }
    known: dict[str, Any] = {name: _numbers(value) for name, value in plain.items()}
    known |= {"trial": Trial(**{**trial, **made}), "error": plain["error"]}
    return TrialResult(**{**known, "status": TrialState(plain["status"])})


def _numbers(value: Any) -> Any:
    """Return the numbers of a result, where ``_plain`` wrote infinite ones as texts."""
    if isinstance(value, list):
        return tuple(float(item) for item in value)
    return float(value) if value in ("inf", "-inf", "nan") else value


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
        raise ResumeMismatchError(
            f"if_exists='resume': the run in {folder!r} was made with {'; '.join(differing)}. "
            "Nothing was changed. Resume it with what it was started with, or name a new run_dir"
        )


def _difference(name: str, before: str, now: str | None) -> str:
    """Return a description of a difference, with the values unless they are hashes."""
    hashes = any(value is not None and value.startswith("#") for value in (before, now))
    return f"different {name}" if hashes else f"{name} {before!r}, now {now!r}"
