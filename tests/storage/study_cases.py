"""Records of trials that nobody trained, and places to keep them."""

from contextlib import contextmanager

import numpy as np
import optuna
from optuna.distributions import FloatDistribution

from fairautoml.records import Config, Fidelity, Trial, TrialRecord, TrialResult, TrialState
from fairautoml.storage.artifacts import Artifacts
from fairautoml.storage.journal import JournalFile, read_only_storage
from fairautoml.storage.study import Display, Study

NAME = "run"
PRINT = {"constraint": "demographic_parity_difference <= 0.1", "X": "#abc"}
DISPLAY = Display(
    objective="accuracy",
    greater_is_better=True,
    ranges={"tree.rate": FloatDistribution(0.01, 1.0, log=True)},
    names={"learner": {"prior", "tree"}, "encoding": {"codes"}, "mitigation": {"none"}},
    constraints=("gap of demographic_parity_difference[sex] <= 0.1", "gap of b <= 0.3"),
)


def trial(number, **params):
    config = Config(learner="prior", params={"x": number / 7, **params})
    return Trial(number=number, config=config, fidelity=Fidelity(folds=2))


def record(number, *, status=TrialState.SUCCESS, seconds=None, violation=-0.01, tried=None):
    good = status is TrialState.SUCCESS
    result = TrialResult(
        trial=trial(number) if tried is None else tried,
        status=status,
        log_loss=0.5 if good else None,
        error="" if good else "why",
        value=0.7 + number / 100 if good else None,
        violations=(violation, -0.2) if good else (np.inf, np.inf),
        limits=(0.1, 0.3),
        seconds=0.25,
    )
    seconds = float(number + 1) if seconds is None else seconds
    return TrialRecord(result=result, entries=(), seconds=seconds)


@contextmanager
def optuna_storage(url):
    """What a dashboard reads on a server."""
    storage = optuna.storages.RDBStorage(str(url))
    try:
        yield storage
    finally:
        storage.remove_session()
        storage.engine.dispose()


def shown_study(path):
    """Optuna's view of the study, as a dashboard reads it: its objectives, trials and front."""
    study = optuna.load_study(study_name=NAME, storage=read_only_storage(path))
    names = dict(zip(study.metric_names, study.directions, strict=True))
    return names, study.get_trials(), study.best_trials


def begun(path, display=DISPLAY):
    artifacts = Artifacts(path.parent, durable=False)
    place = JournalFile(path, str(path))
    return Study(place, NAME, artifacts, display, seed=3, time_budget=None, fingerprint=PRINT)


def kept(path, count):
    """A closed file with the first trials."""
    study = begun(path)
    for number in range(count):
        study.keep(record(number))
    study.close()
