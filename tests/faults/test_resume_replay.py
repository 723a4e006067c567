"""The executor that answers from a record."""

from concurrent.futures import Future

import pytest

from fairautoml.records import Budget, Config, Origin, Trial, TrialResult, TrialState
from fairautoml.storage.study import Known, Replay


class Clocked:
    """An executor whose trials end when the test says so."""

    n_workers = 2
    queued = 1

    def __init__(self):
        self.clock = 100.0
        self.started = []
        self.closed = False

    def now(self):
        return self.clock

    def submit(self, objective, trial):
        self.started.append(trial)
        future = Future()
        future.set_result(objective(trial))
        return future

    def wait(self, running, seconds):
        return set(running)

    def shutdown(self):
        self.closed = True


def trial(number, learner="prior", **changes):
    return Trial(
        number=number,
        config=Config(learner=learner, params={"x": number}),
        budget=Budget(folds=2),
        **changes,
    )


def done(tried):
    return TrialResult(trial=tried, status=TrialState.SUCCESS)


def replay(executor, numbers, started=None, window=None):
    past = [
        Known(result=done(trial(number)), seconds=10.0 * turn + 1, window=window)
        for turn, number in enumerate(numbers)
    ]
    notes = [] if started is None else started
    return Replay(
        executor, past, start=40.0, on_start=lambda t, seconds: notes.append((t.number, seconds))
    )


@pytest.fixture
def executor():
    return Clocked()


def test_recorded_results_come_one_by_one_in_their_recorded_order_and_time(executor):
    again = replay(executor, [1, 0, 2])
    running = {again.submit(done, trial(number)) for number in range(3)}
    seen = []
    while running:
        (first,) = again.wait(running, 0.5)
        running -= {first}
        seen.append((first.result().trial.number, again.now()))
    assert seen == [(1, 41.0), (0, 51.0), (2, 61.0)]
    assert executor.started == []


def test_after_the_record_trials_run_and_the_clock_is_the_real_one(executor):
    started = []
    again = replay(executor, [0], started)
    first = again.submit(done, trial(0))
    assert again.wait({first}, 0.5) == {first}
    assert again.now() == 41.0
    second = again.submit(done, trial(1))
    assert again.wait({second}, 0.5) == {second}
    assert again.now() == 100.0
    assert [t.number for t in executor.started] == [1]
    assert started == [(1, 1.0)]


def test_without_a_record_it_is_the_executor(executor):
    again = replay(executor, [])
    assert again.now() == 100.0
    assert (again.n_workers, again.queued) == (2, 1)
    again.submit(done, trial(0))
    again.shutdown()
    assert (executor.started, executor.closed) == ([trial(0)], True)


def test_a_trial_without_a_result_runs_while_the_others_are_reported(executor):
    again = replay(executor, [0, 2])
    futures = {again.submit(done, trial(number)) for number in range(3)}
    assert [t.number for t in executor.started] == [1]
    order = []
    while futures:
        ended = again.wait(futures, 0.5)
        futures -= ended
        order += [future.result().trial.number for future in ended]
    assert order == [0, 2, 1]


@pytest.mark.parametrize(
    "other",
    [
        trial(1, "tree"),
        trial(1, origin=Origin.ROWS),
        Trial(number=1, config=trial(1).config, budget=Budget(folds=3)),
        Trial(number=1, config=trial(1).config, budget=Budget(folds=2, sample_fraction=0.5)),
    ],
)
def test_another_trial_under_a_recorded_number_gets_a_new_number(executor, other):
    again = replay(executor, [0, 1, 2])
    again.submit(done, other)
    (mine,) = executor.started
    assert mine.number == 3
    assert mine.config == other.config
    assert again.with_trial(mine) == other
    again.submit(done, trial(3))
    assert [t.number for t in executor.started] == [3, 4]


def test_the_seconds_that_are_left_do_not_make_another_trial(executor):
    again = replay(executor, [0])
    same = Trial(number=0, config=trial(0).config, budget=Budget(folds=2, seconds=3.0))
    again.submit(done, same)
    assert executor.started == []


def test_a_rival_is_named_by_the_number_under_which_it_ran(executor):
    again = replay(executor, [0, 1])
    other = trial(1, "tree")
    again.submit(done, other)
    again.submit(done, trial(2, rival=other.key))
    first, second = executor.started
    assert (first.number, second.number) == (2, 3)
    assert second.rival == first.key


def test_what_ran_under_another_number_is_found_there(executor):
    again = replay(executor, [0, 1, 2])
    same = Trial(number=1, config=trial(2).config, budget=Budget(folds=2))
    future = again.submit(done, same)
    assert executor.started == []
    again.wait({future}, 0.5)
    assert future.result().trial == trial(2)
    assert again.with_trial(future.result().trial) == same
    # It is told once: the search comes to its own number with something else.
    again.submit(done, trial(2))
    assert [t.number for t in executor.started] == [3]


def test_as_many_are_handed_out_as_then_until_the_record_is_reported(executor):
    again = replay(executor, [0, 1], window=7)
    assert again.n_workers + again.queued == 7
    futures = {again.submit(done, trial(number)) for number in range(2)}
    for left in (7, 3):
        ended = again.wait(futures, 0.5)
        futures -= ended
        assert again.n_workers + again.queued == left


def test_a_record_without_a_window_is_reported_with_the_workers_there_are(executor):
    assert replay(executor, [0, 1]).n_workers == 2


def test_what_the_search_does_not_come_to_is_handed_over_once_it_went_another_way(executor):
    again = replay(executor, [0, 1, 2, 3], window=7)
    again.submit(done, trial(0))
    assert again.unmatched() == ()
    again.submit(done, trial(1, "tree"))
    assert again.n_workers == 2
    assert [result.trial.number for result in again.unmatched()] == [1, 2, 3]
    assert again.unmatched() == ()


def test_a_trial_that_has_to_be_run_again_is_no_other_way(executor):
    again = replay(executor, [0, 2], window=7)
    again.submit(done, trial(0))
    again.submit(done, trial(1))
    assert [t.number for t in executor.started] == [1]
    assert again.unmatched() == ()
    assert again.n_workers + again.queued == 7
