import time
from dataclasses import replace

import pytest

from fairautoml.execution import ResourceLimits
from fairautoml.execution.serial import SerialExecutor, seconds_until
from fairautoml.records import Config, Fidelity, Trial, TrialResult, TrialState

TRIAL = Trial(number=4, config=Config(learner="fake"), fidelity=Fidelity(folds=2))


def test_a_trial_has_run_when_submit_returns():
    executor = SerialExecutor(ResourceLimits())
    ran = []

    def objective(trial):
        ran.append(trial)
        return TrialResult(trial=trial, status=TrialState.SUCCESS)

    future = executor.submit(objective, TRIAL)
    assert ran == [TRIAL]
    assert future.done()


def test_the_trial_gets_no_more_seconds_than_are_left_and_its_result_keeps_its_own_budget():
    executor = SerialExecutor(ResourceLimits(deadline=time.monotonic() + 60))
    seen = []

    def objective(trial):
        seen.append(trial.max_seconds)
        return TrialResult(trial=trial, status=TrialState.SUCCESS)

    result = executor.submit(objective, TRIAL).result()
    assert 0 < seen[0] <= 60
    assert result.trial == TRIAL


@pytest.mark.parametrize(
    ("left", "spare", "kept"), [(60.0, 0.0, None), (900.0, 0.0, 100.0), (900.0, 850.0, None)]
)
def test_what_the_end_of_the_run_stopped_is_recorded_without_a_limit_of_its_own(left, spare, kept):
    executor = SerialExecutor(ResourceLimits(deadline=time.monotonic() + left))
    executor.spare = spare
    trial = replace(TRIAL, max_seconds=100.0)

    def objective(trial):
        return TrialResult(trial=trial, status=TrialState.TIMEOUT)

    result = executor.submit(objective, trial).result()
    assert result.trial == replace(trial, max_seconds=kept)


def test_without_a_deadline_the_limit_is_untouched():
    assert seconds_until(None, None, 9.0) is None
    assert seconds_until(3.0, None, 9.0) == 3.0


def test_the_smaller_of_limit_and_time_left_counts_and_neither_is_negative():
    later = time.monotonic() + 100
    assert seconds_until(5.0, later, 0.0) == 5.0
    assert 5 < seconds_until(500.0, later, 0.0) <= 100
    assert 5 < seconds_until(None, later, 30.0) <= 70
    assert seconds_until(None, time.monotonic() - 1, 0.0) == 0.0
