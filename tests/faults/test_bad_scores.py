"""Learners whose scores are no probabilities: each costs its own trial, and never counts."""

import os

import numpy as np
import pytest

from fairautoml.data.read import build_dataset
from fairautoml.data.splits import stratified_folds
from fairautoml.evaluation.evaluate import TrialEvaluator
from fairautoml.execution import ResourceLimits
from fairautoml.execution.local import LocalExecutor
from fairautoml.records import Config, Fidelity, Trial, TrialState
from fairautoml.storage.artifacts import Artifacts

REPEATS = int(os.environ.get("FAIRAUTOML_FAULTS", "10"))

pytestmark = pytest.mark.slow

LEARNERS = """
import numpy as np
from sklearn.dummy import DummyClassifier
from fairautoml.learners import Learner


class Nan(DummyClassifier):
    def predict_proba(self, X):
        return super().predict_proba(X) * np.nan


class Infinite(DummyClassifier):
    def predict_proba(self, X):
        return super().predict_proba(X) + np.inf


class OneColumn(DummyClassifier):
    def predict_proba(self, X):
        return super().predict_proba(X)[:, :1]


class TooFew(DummyClassifier):
    def predict_proba(self, X):
        return super().predict_proba(X)[1:]


def learner(made):
    name = made.__name__.lower()
    return Learner(name=name, build=lambda params, feature_schema, seed: made())


NAN, INFINITE, ONECOLUMN, TOOFEW = (learner(c) for c in (Nan, Infinite, OneColumn, TooFew))
"""
BAD = ("nan", "infinite", "onecolumn", "toofew")


@pytest.fixture
def plugins(tmp_path, monkeypatch):
    """A third-party distribution, as ``pip install`` would leave it; children see it too."""
    folder = tmp_path / "site"
    about = folder / "bad_scores-1.0.dist-info"
    about.mkdir(parents=True)
    (folder / "bad_scores.py").write_text(LEARNERS)
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: bad_scores\nVersion: 1.0\n")
    points = [f"{name} = bad_scores:{name.upper()}" for name in BAD]
    (about / "entry_points.txt").write_text("\n".join(["[fairautoml.learners]", *points]) + "\n")
    monkeypatch.syspath_prepend(folder)


def test_scores_that_are_no_probabilities_fail_and_the_others_go_on(plugins, tmp_path):
    X = np.random.default_rng(0).normal(size=(60, 3))
    data = build_dataset(X, (X[:, 0] > 0).astype(int))
    artifacts = Artifacts(tmp_path / "artifacts")
    artifacts.prepare()
    folds = stratified_folds(data.y, data.cells, 2, 0)
    objective = TrialEvaluator(data=data, folds=folds, artifacts=artifacts, root_seed=0)
    names = ["prior" if n % 2 else BAD[n // 2 % len(BAD)] for n in range(2 * len(BAD) * REPEATS)]
    trials = [
        Trial(number=n, config=Config(learner=name), fidelity=Fidelity(folds=2))
        for n, name in enumerate(names)
    ]
    executor = LocalExecutor(ResourceLimits(n_workers=2))
    try:
        results = [f.result(timeout=60) for f in [executor.submit(objective, t) for t in trials]]
    finally:
        executor.shutdown()
    for name, result in zip(names, results, strict=True):
        good = name == "prior"
        assert result.status is (TrialState.SUCCESS if good else TrialState.FAILED), result.error
        assert (artifacts.folder / "scores" / f"{result.trial.key}.npy").exists() is good
    errors = {name: result.error for name, result in zip(names, results, strict=True)}
    assert "30 of 30 scores are not probabilities" in errors["nan"]
    assert "30 of 30 scores are not probabilities" in errors["infinite"]
    assert "predict_proba returned shape (30, 1)" in errors["onecolumn"]
    assert "predict_proba returned shape (29, 2)" in errors["toofew"]
