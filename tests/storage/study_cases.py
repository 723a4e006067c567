"""Records of trials that nobody trained, and places to keep them."""

import pickle
import zlib
from contextlib import contextmanager

import numpy as np
import optuna

from fairautoml.records import Budget, Config, Trial, TrialResult, TrialState
from fairautoml.storage.database import Database, TrialRecord, sqlite_url
from fairautoml.storage.study import Study

RUN = "0123456789abcdef0123456789abcdef"
PRINT = {"constraint": "demographic_parity_difference <= 0.1", "X": "#abc"}


def trial(number, **params):
    config = Config(learner="prior", params={"x": number / 7, **params})
    return Trial(number=number, config=config, budget=Budget(folds=2))


def record(number, *, status=TrialState.SUCCESS, seconds=None, violation=-0.01):
    tried = trial(number)
    good = status is TrialState.SUCCESS
    result = TrialResult(
        trial=tried, status=status, log_loss=0.5 if good else None, error="" if good else "why"
    )
    scored = TrialResult(
        trial=tried,
        status=status,
        value=0.7 + number / 100 if good else None,
        violations=(violation, np.inf),
        seconds=0.25,
    )
    return TrialRecord(
        result=result,
        scored=scored,
        entries=(),
        seconds=float(number + 1) if seconds is None else seconds,
    )


def packed_without_proposals(kept):
    """A record as versions wrote it that did not keep what the strategy proposed."""
    return zlib.compress(pickle.dumps((kept.result, kept.scored, kept.entries)))


def packed_without_window(kept):
    """The same of versions that did not keep how many trials might be open."""
    return zlib.compress(
        pickle.dumps((kept.result, kept.scored, kept.entries, dict(kept.sampled)))
    )


@contextmanager
def optuna_storage(url):
    """What a dashboard reads."""
    storage = optuna.storages.RDBStorage(str(url))
    try:
        yield storage
    finally:
        storage.remove_session()
        storage.engine.dispose()


def begun(url):
    return Study.create(Database(url), RUN, name="run", seed=3, fingerprint=PRINT)


def kept(path, count):
    """A closed file with the first trials."""
    study = begun(sqlite_url(path))
    for number in range(count):
        study.keep(record(number))
    study.close()
    return sqlite_url(path)
