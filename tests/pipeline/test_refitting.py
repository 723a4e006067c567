"""Training the winner once more must not outlast the time budget without a word."""

import time
import warnings
from dataclasses import replace
from types import SimpleNamespace

import pytest

from fairautoml.evaluation.evaluate import TrialEvaluator
from fairautoml.exceptions import DegradedWarning, NoFeasibleModelWarning
from fairautoml.records import Config, Fidelity, Trial, TrialResult, TrialState
from fairautoml.selection import final
from fairautoml.selection.final import expected_seconds
from quick_fits import few_individuals, quick


def fit(**parameters):
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", DegradedWarning)
        warnings.simplefilter("ignore", NoFeasibleModelWarning)
        model = quick(**{"refit": True, "executor": "serial", **parameters}).fit(
            *few_individuals()
        )
    said = [str(w.message) for w in caught if "refit" in str(w.message)]
    return len(model.pool_.bags[model.best_entry_.trial_key].models), said


@pytest.fixture
def expensive(monkeypatch):
    """Trials that claim to have taken 100 s."""
    real = TrialEvaluator.__call__
    monkeypatch.setattr(
        TrialEvaluator, "__call__", lambda self, trial: replace(real(self, trial), seconds=100.0)
    )


def test_what_would_outlast_the_budget_is_left_out_and_said(expensive, monkeypatch):
    monkeypatch.setattr(final, "refit", None)
    n_models, said = fit(time_budget=60.0, n_trials=2)
    assert n_models == 2
    (msg,) = said
    assert "Refit was skipped" in msg
    assert "on all 240 rows would take about 100 s, but " in msg
    assert "The mean of its fold models is used. Give a time_budget of 667 s or more" in msg


def test_without_a_time_budget_nothing_is_left_out(expensive):
    assert fit(n_trials=2) == (1, [])


def test_what_ends_in_time_is_done_without_a_word():
    assert fit(time_budget=3600.0, n_trials=2) == (1, [])


def test_an_overrun_that_was_not_to_be_expected_is_said(monkeypatch):
    real, clock = final.refit, SimpleNamespace(late=0.0)

    def slow(*arguments):
        clock.late = 200.0
        return real(*arguments)

    def now():
        return time.monotonic() + clock.late

    monkeypatch.setattr(final, "refit", slow)
    monkeypatch.setattr(final, "time", SimpleNamespace(monotonic=now))
    monkeypatch.setattr(final, "expected_seconds", lambda *_: 0.2)
    n_models, said = fit(time_budget=60.0, n_trials=2)
    assert n_models == 1
    (msg,) = said
    assert "Refit exceeded time_budget by " in msg
    assert ", but about 0 s were expected. Give a time_budget of " in msg


@pytest.mark.parametrize(
    ("fidelity", "seconds"),
    [
        (Fidelity(folds=5), 12.5),
        (Fidelity(folds=5, rows=0.5), 25.0),
        (Fidelity(folds=5, rows=0.1), 125.0),
        (Fidelity(folds=2), 20.0),
    ],
)
def test_the_time_follows_from_the_rows_that_a_model_of_the_trial_had(fidelity, seconds):
    trial = Trial(number=1, config=Config(learner="prior"), fidelity=fidelity)
    result = TrialResult(trial=trial, status=TrialState.SUCCESS, seconds=10.0 * fidelity.folds)
    n_folds = 2 if fidelity.folds == 2 else 5
    assert expected_seconds(result, (n_folds - 1) / n_folds) == pytest.approx(seconds)
