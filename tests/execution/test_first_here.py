from concurrent.futures import Future

from fairautoml.execution import ResourceLimits
from fairautoml.execution.serial import FirstHere, SerialExecutor
from fairautoml.records import Config, Fidelity, Trial, TrialResult, TrialState


class NeverReady:
    """An executor whose workers do not come."""

    n_workers = 2
    queued = 1
    spare = 0.0

    def now(self):
        return 0.0

    def submit(self, objective, trial):
        return Future()

    def wait(self, running, seconds):
        return {future for future in running if future.done()}

    def shutdown(self):
        pass


def trial(number):
    return Trial(number=number, config=Config(learner="fake"), fidelity=Fidelity(folds=2))


def here(executors):
    return lambda trial: executors.get(trial.number)


def succeed(trial):
    return TrialResult(trial=trial, status=TrialState.SUCCESS)


def test_the_first_trial_ends_though_no_worker_ever_comes():
    executor = FirstHere(NeverReady(), here({0: SerialExecutor(ResourceLimits())}))
    first = executor.submit(succeed, trial(0))
    second = executor.submit(succeed, trial(1))
    assert executor.wait({first, second}, 1.0) == {first}
    assert first.result() == succeed(trial(0))
    assert executor.wait({second}, 1.0) == set()
    assert (executor.n_workers, executor.queued) == (2, 1)


def test_what_is_spared_for_the_end_is_spared_by_the_other_executor():
    other = NeverReady()
    executor = FirstHere(other, here({}))
    executor.spare = 2.5
    assert (other.spare, executor.spare) == (2.5, 2.5)


def test_a_small_trial_ends_here_too_and_keeps_its_time():
    late = SerialExecutor(ResourceLimits(deadline=0.0))
    executor = FirstHere(NeverReady(), here({0: SerialExecutor(ResourceLimits()), 1: late}))
    seen = []

    def look(trial):
        seen.append(trial.max_seconds)
        return succeed(trial)

    futures = [executor.submit(look, trial(number)) for number in range(3)]
    for future in futures[:2]:
        assert executor.wait(set(futures), 1.0) == {future}
        assert future.done()
    assert executor.wait(set(futures[2:]), 1.0) == set()
    assert seen == [None, 0.0]


def test_a_trial_runs_here_only_after_the_one_before_is_collected_and_the_workers_have_theirs():
    both = dict.fromkeys(range(2), SerialExecutor(ResourceLimits()))
    executor, seen = FirstHere(NeverReady(), here(both)), []

    def look(trial):
        seen.append(trial.number)
        return succeed(trial)

    running = {executor.submit(look, trial(number)) for number in range(3)}
    assert seen == []
    executor.wait(running, 1.0)
    assert seen == [0]
    executor.wait(running, 1.0)
    assert seen == [0, 1]


class Keeping:
    """An objective that remembers what it ran, unlike its copies."""

    def __init__(self):
        self.kept = []

    def __getstate__(self):
        return {"kept": []}

    def __call__(self, trial):
        self.kept.append(trial.number)
        return succeed(trial)


def test_what_is_kept_of_the_rows_for_trials_here_does_not_outlive_them():
    objective = Keeping()
    executor = FirstHere(NeverReady(), here({0: SerialExecutor(ResourceLimits())}))
    future = executor.submit(objective, trial(0))
    assert executor.wait({future}, 1.0) == {future}
    assert objective.kept == []
