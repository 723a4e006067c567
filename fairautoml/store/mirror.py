"""A copy of the trials as an Optuna study in the same database, for dashboards only.

Nothing is ever read back from it but the number of its trials. Optuna makes its tables and the
study; the rows are written here, many in one transaction: Optuna commits several times per trial.
"""

import json
import logging
import math
import time
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import optuna
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)
from optuna.storages._rdb import models
from optuna.study import StudyDirection
from optuna.trial import TrialState
from sqlalchemy import Connection, func, insert, select
from sqlalchemy.exc import SQLAlchemyError

from fairautoml.exceptions import RunFolderError
from fairautoml.spaces import Integer, ParamSpace, Range, Real, SearchSpace
from fairautoml.store.database import Database
from fairautoml.store.record import Record
from fairautoml.trials import Candidate, ParamValue, Status

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
        self._earlier: list[Record] = []
        self._waiting: list[Record] = []
        self._study: int | None = None
        self._cut_off = False
        self._last = time.monotonic()

    def go_on(self, records: Sequence[Record]) -> None:
        """Take in the trials of an earlier process; those that it did not copy are copied."""
        self._earlier = [record for record in records if not record.cut_off]

    def add(self, record: Record) -> None:
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

    def _insert(self, connection: Connection, study: int, records: Sequence[Record]) -> None:
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

    def _param_rows(self, record: Record) -> Iterator[dict[str, Any]]:
        for name, value in _flat(record.result.trial.candidate).items():
            if _fits(self._ranges.get(name), value):
                yield {
                    "param_name": name,
                    "param_value": self._ranges[name].to_internal_repr(value),
                    "distribution_json": self._texts[name],
                }

    def _attribute_rows(self, record: Record) -> Iterator[dict[str, Any]]:
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
        values = _flat(result.trial.candidate)
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


def _trial_row(record: Record, study: int, number: int) -> dict[str, Any]:
    now = datetime.now()
    return {
        "study_id": study,
        "number": number,
        "state": _state(record),
        "datetime_start": now - timedelta(seconds=record.result.seconds),
        "datetime_complete": now,
    }


def _state(record: Record) -> TrialState:
    if _complete(record):
        return TrialState.COMPLETE
    return TrialState.PRUNED if record.result.status is Status.PRUNED else TrialState.FAIL


def _complete(record: Record) -> bool:
    return record.told.status is Status.SUCCESS and record.told.value is not None


def _value_rows(record: Record) -> Iterator[dict[str, Any]]:
    value = record.told.value
    if _complete(record) and value is not None and math.isfinite(value):
        kind = models.TrialValueModel.TrialValueType.FINITE
        yield {"objective": 0, "value": value, "value_type": kind}


def _constraint_rows(record: Record) -> Iterator[dict[str, Any]]:
    """Give every constraint of a complete trial: without any it would count as feasible."""
    if _complete(record):
        shown = [v if math.isfinite(v) else UNKNOWN for v in record.told.violations]
        yield {"key": "constraints", "value_json": json.dumps(shown)}


def _flat(candidate: Candidate) -> dict[str, ParamValue]:
    """Return the candidate as one value per name, as the strategies name them."""
    parts = (
        (candidate.learner, candidate.params),
        (candidate.mitigation, candidate.mitigation_params),
    )
    return {
        "learner": candidate.learner,
        "encoding": candidate.encoding,
        "mitigation": candidate.mitigation,
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
