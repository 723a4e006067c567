"""Objectives for Dask workers; apart from the tests, as every worker imports this."""

import os
import time
from dataclasses import dataclass
from pathlib import Path

import joblib
import numpy as np

from fairautoml.records import Config, Fidelity, Trial, TrialResult, TrialState
from fairautoml.storage.artifacts import Artifacts


def trial_of(action, *, number=0, seconds=None, rival="", **params):
    return Trial(
        number=number,
        config=Config(learner=action, params=params),
        fidelity=Fidelity(folds=2),
        max_seconds=seconds,
        rival=rival,
    )


def act(trial):
    """Runs in the child: does what the candidate's name says."""
    file = trial.config.params.get("file")
    if file is not None:
        with Path(file).open("a") as stream:
            stream.write(f"{os.getpid()}\n")
    if trial.config.learner == "hang":
        time.sleep(600)
    if trial.config.learner == "rest":
        time.sleep(0.5)
    if trial.config.learner == "abort":
        os.abort()
    return TrialResult(trial=trial, status=TrialState.SUCCESS, error=str(os.getppid()))


@dataclass(frozen=True)
class AddRows:
    """Scores are the rows, plus those of the rival: reads and writes as the real one does."""

    data: object
    artifacts: Artifacts

    def __call__(self, trial):
        scores = np.array(joblib.load(self.data, mmap_mode="r"))
        if trial.rival:
            scores += self.artifacts.scores(trial.rival)
        if "file" in trial.config.params:
            act(trial)
        self.artifacts.write_models(trial.key, ("a model", trial.number))
        self.artifacts.write_scores(trial.key, scores)
        return TrialResult(
            trial=trial, status=TrialState.SUCCESS, error=str(self.artifacts.folder)
        )
