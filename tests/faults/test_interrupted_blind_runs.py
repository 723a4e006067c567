"""Ctrl-C while a blind run learns how likely the groups are, before any trial."""

import warnings

import pytest
from bystanders import soon, workers

from fairautoml import RunStorage
from fairautoml.cli.main import main
from fairautoml.evaluation.evaluate import TrialEvaluator
from fairautoml.evaluation.membership import MEMBERSHIP_KEY
from fairautoml.exceptions import FairAutoMLWarning
from fairautoml.records import TrialResult, TrialState
from fairautoml.selection import selectable as prospects
from quick_fits import few_individuals, quick


def blind(folder=None, individuals=None, **changes):
    model = quick(**{"sensitive_at_predict": False, "run_dir": folder, **changes})
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FairAutoMLWarning)
        return model.fit(*(few_individuals() if individuals is None else individuals))


@pytest.fixture
def interrupted(monkeypatch):
    """Press Ctrl-C as soon as the groups are learned."""

    def press(self, trial, start):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(TrialEvaluator, "_learn_membership", press)
        yield patch


def entries_of(model):
    return [(e.trial_key, e.mitigator, e.tolerance, e.score) for e in model.pool_.board.entries]


def test_the_baseline_is_left_when_the_groups_are_not_yet_learned(interrupted, tmp_path):
    seen = []
    model = blind(tmp_path / "run", n_trials=5, callbacks=seen.append)
    assert model.interrupted_
    assert model.best_entry_.config.learner == "prior"
    assert [progress.n_trials for progress in seen] == [1]
    X, _, _ = few_individuals()
    assert len(model.predict(X)) == len(X)
    X.to_csv(tmp_path / "new.csv", index=False)
    out = tmp_path / "decided.csv"
    assert (
        main(["predict", str(tmp_path / "run"), str(tmp_path / "new.csv"), "--out", str(out)]) == 0
    )


def test_the_run_continues_as_if_it_had_not_been_interrupted(interrupted, tmp_path):
    blind(tmp_path / "run", n_trials=4)
    interrupted.undo()
    again = blind(RunStorage(tmp_path / "run", "resume"), n_trials=4)
    whole = blind(tmp_path / "whole", n_trials=4)
    assert not again.interrupted_
    assert entries_of(again) == entries_of(whole)
    assert again.best_entry_.trial_key == whole.best_entry_.trial_key


@pytest.mark.parametrize(("library", "n_trials"), [(30, 4), (2, 14)])
def test_models_of_a_time_without_groups_have_rules_by_them_when_the_run_is_resumed(
    monkeypatch, tmp_path, library, n_trials
):
    monkeypatch.setattr(prospects, "LIBRARY", library)
    monkeypatch.setattr(prospects, "SINGLES", min(3, library))

    def too_slow(self, trial, start):
        return TrialResult(trial=trial, status=TrialState.TIMEOUT, error="too slow")

    with monkeypatch.context() as patch:
        patch.setattr(TrialEvaluator, "_learn_membership", too_slow)
        first = blind(tmp_path / "run", n_trials=n_trials)
    assert "bias_scoring" not in {entry.mitigator for entry in first.pool_.board.entries}
    kept = {path.stem for path in (tmp_path / "run" / "models").iterdir()}
    trained = {
        entry.trial_key
        for entry in first.pool_.board.entries
        if entry.config.learner not in {"prior", "ensemble"} and entry.trial_key in kept
    }
    assert len(trained) > 1
    again = blind(RunStorage(tmp_path / "run", "resume"), n_trials=n_trials + 2)
    by_groups = {
        entry.trial_key for entry in again.pool_.board.entries if entry.mitigator == "bias_scoring"
    }
    assert trained <= by_groups


def test_an_interrupt_while_old_trials_are_judged_again_leaves_what_was_known(
    monkeypatch, tmp_path
):
    def too_slow(self, trial, start):
        return TrialResult(trial=trial, status=TrialState.TIMEOUT, error="too slow")

    def press(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(TrialEvaluator, "_learn_membership", too_slow)
        first = blind(tmp_path / "run", n_trials=4)
    with monkeypatch.context() as patch:
        patch.setattr("fairautoml.running.judged", press)
        again = blind(RunStorage(tmp_path / "run", "resume"), n_trials=6)
    assert again.interrupted_
    # The ensemble of the same trials may now have rules on the group probabilities.
    assert set(again.best_entry_.sources) <= set(again.pool_.bags)
    assert again.best_entry_.trial_key in {first.best_entry_.trial_key, "ensemble"}
    assert len(again.trials_) == len(first.trials_)


def test_what_was_found_before_is_left_when_a_resumed_run_is_interrupted(
    interrupted, monkeypatch, tmp_path
):
    interrupted.undo()
    before = blind(tmp_path / "run", n_trials=4)
    # Its models are learned again when they are gone.
    (scores,) = (tmp_path / "run" / "scores").glob(f"{MEMBERSHIP_KEY}.npy")
    scores.unlink()

    def press(self, trial, start):
        raise KeyboardInterrupt

    monkeypatch.setattr(TrialEvaluator, "_learn_membership", press)
    again = blind(RunStorage(tmp_path / "run", "resume"), n_trials=6)
    assert again.interrupted_
    assert len(again.trials_) == len(before.trials_)
    assert again.best_entry_.trial_number > 0


def test_a_worker_that_learns_the_groups_is_stopped(monkeypatch, tmp_path):
    waits = []

    def press(executor, running, seconds):
        waits.append(seconds)
        raise KeyboardInterrupt

    monkeypatch.setattr("fairautoml.execution.local.LocalExecutor.wait", press)
    model = blind(executor="local", n_jobs=2, n_trials=5)
    assert len(waits) == 1
    assert soon(lambda: workers() == [])
    assert model.interrupted_
    assert model.best_entry_.config.learner == "prior"
