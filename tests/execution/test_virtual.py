import pytest

from fairautoml.execution import ResourceLimits
from fairautoml.execution.virtual import VirtualExecutor
from fairautoml.records import Config, Fidelity, Trial, TrialResult, TrialState


def lasting(seconds, number=0, limit=None):
    config = Config(learner="fake", params={"seconds": seconds})
    return Trial(number=number, config=config, fidelity=Fidelity(folds=2), max_seconds=limit)


def objective(trial):
    seconds = trial.config.params["seconds"]
    return TrialResult(trial=trial, status=TrialState.SUCCESS, log_loss=0.5, seconds=seconds)


def test_a_trial_ends_when_its_seconds_are_over():
    executor = VirtualExecutor(ResourceLimits())
    assert executor.now() == 0.0
    future = executor.submit(objective, lasting(90.0))
    assert executor.now() == 0.0
    assert executor.wait({future}, 0.5) == {future}
    assert executor.now() == 90.0


def test_workers_work_side_by_side_and_one_ends_at_a_time():
    executor = VirtualExecutor(ResourceLimits(n_workers=2))
    long = executor.submit(objective, lasting(10.0, 0))
    short = executor.submit(objective, lasting(3.0, 1))
    assert executor.wait({long, short}, 0.5) == {short}
    next_one = executor.submit(objective, lasting(4.0, 2))
    assert executor.wait({long, next_one}, 0.5) == {next_one}
    assert executor.now() == 7.0
    assert executor.wait({long}, 0.5) == {long}
    assert executor.now() == 10.0


def test_a_trial_without_a_free_worker_waits_for_one():
    executor = VirtualExecutor(ResourceLimits(n_workers=1))
    first = executor.submit(objective, lasting(5.0, 0))
    second = executor.submit(objective, lasting(5.0, 1))
    executor.wait({first, second}, 0.5)
    executor.wait({second}, 0.5)
    assert executor.now() == 10.0


@pytest.mark.parametrize(
    ("limit", "deadline", "end"), [(4.0, None, 4.0), (None, 7.0, 6.0), (4.0, 7.0, 4.0)]
)
def test_a_trial_that_would_end_too_late_is_cut_off_and_its_result_is_lost(limit, deadline, end):
    executor = VirtualExecutor(ResourceLimits(deadline=deadline))
    executor.spare = 1.0
    trial = lasting(9.0, limit=limit)
    future = executor.submit(objective, trial)
    executor.wait({future}, 0.5)
    result = future.result()
    assert (result.status, result.log_loss, result.seconds) == (TrialState.TIMEOUT, None, end)
    assert result.trial == trial
    assert executor.now() == end


def test_of_two_that_end_together_the_first_requested_comes_first():
    executor = VirtualExecutor(ResourceLimits(n_workers=2))
    futures = [executor.submit(objective, lasting(5.0, number)) for number in (1, 0)]
    assert executor.wait(set(futures), 0.5) == {futures[1]}


def test_the_objective_learns_how_much_time_there_is():
    seen = []

    def watch(trial):
        seen.append(trial.max_seconds)
        return objective(trial)

    executor = VirtualExecutor(ResourceLimits(deadline=8.0))
    executor.wait({executor.submit(watch, lasting(3.0, 0))}, 0.5)
    executor.submit(watch, lasting(1.0, 1))
    assert seen == [8.0, 5.0]
