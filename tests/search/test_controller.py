import random
import time
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import replace

import pytest

from fairautoml.exceptions import DegradedWarning
from fairautoml.records import (
    Config,
    Fidelity,
    Origin,
    Terms,
    TrialResult,
    TrialState,
)
from fairautoml.search import loop
from fairautoml.search.allocators.flat import Flat
from fairautoml.search.loop import MAX_PENDING, Proposals, SearchLoop, StopCondition

TERMS = Terms(fidelity=Fidelity(folds=2), n_train_rows=100)


class Shuffled:
    """Runs trials in threads that take a random time, so they end in any order."""

    def __init__(self, n_workers, queued=1):
        self.n_workers = n_workers
        self.queued = queued
        self.shutdowns = 0
        self._threads = ThreadPoolExecutor(n_workers)
        self._random = random.Random(n_workers)

    def now(self):
        return time.monotonic()

    def wait(self, running, seconds):
        return wait(running, timeout=seconds, return_when=FIRST_COMPLETED).done

    def submit(self, objective, trial):
        return self._threads.submit(self._run, objective, trial, self._random.random() / 500)

    def _run(self, objective, trial, seconds):
        time.sleep(seconds)
        return objective(trial)

    def shutdown(self):
        self.shutdowns += 1
        self._threads.shutdown(wait=True)


class Immediate:
    n_workers = 1
    queued = 0
    clock = staticmethod(time.monotonic)

    def now(self):
        return self.clock()

    def wait(self, running, seconds):
        return wait(running, timeout=seconds, return_when=FIRST_COMPLETED).done

    def __init__(self):
        self.shutdowns = 0
        self.submitted = []

    def submit(self, objective, trial):
        self.submitted.append(trial.number)
        future = Future()
        future.set_result(objective(trial))
        return future

    def shutdown(self):
        self.shutdowns += 1


class Stubborn(Immediate):
    """Never ends a trial before it is shut down."""

    def submit(self, objective, trial):
        self.pending = Future()
        self.trial = trial
        return self.pending

    def shutdown(self):
        if self.shutdowns == 0:
            self.pending.set_result(TrialResult(trial=self.trial, status=TrialState.STOPPED))
        self.shutdowns += 1


class Recorder:
    """Proposes what depends on all it was told so far, and writes down every call."""

    def __init__(self, limit=None):
        self.calls = []
        self._limit = limit
        self._n_started = 0
        self._total = 0

    def ask(self):
        if self._n_started == self._limit:
            return None
        config = Config(learner="fake", params={"turn": self._n_started, "seen": self._total})
        self._n_started += 1
        self.calls.append(("ask", config.key))
        return config

    def tell(self, scored):
        self._total += scored.trial.config.params["turn"] ** 2
        self.calls.append(("tell", scored.trial.config.key))


def succeed(trial):
    return TrialResult(trial=trial, status=TrialState.SUCCESS)


def scored_trial(result):
    return TrialResult(
        trial=result.trial, status=result.status, value=0.5, violations=(), seconds=0.0
    )


def make_search(strategy, executor, *, objective=succeed, score=scored_trial, **stop):
    return SearchLoop(
        objective=objective,
        score=score,
        proposals=Proposals(strategy),
        allocator=Flat(TERMS),
        executor=executor,
        stop=StopCondition(**stop),
    )


def test_workers_without_work_are_reported():
    with pytest.warns(DegradedWarning, match="Only 8 of 12 workers are used"):
        make_search(Recorder(), Shuffled(12), n_trials=3).run()


@pytest.mark.filterwarnings("ignore:Only 8 of 12 workers")
@pytest.mark.parametrize("n_workers", [1, 2, 5, MAX_PENDING, 12])
def test_ask_and_tell_come_in_one_order_whatever_the_number_of_workers(n_workers):
    expected = Recorder()
    assert make_search(expected, Immediate(), n_trials=30).run()
    found = Recorder()
    assert make_search(found, Shuffled(n_workers), n_trials=30).run()
    assert found.calls == expected.calls


def test_candidate_i_is_requested_when_the_results_up_to_i_minus_lag_are_reported():
    strategy = Recorder()
    make_search(strategy, Shuffled(3), n_trials=20).run()
    kinds = [kind for kind, _ in strategy.calls]
    assert kinds[:MAX_PENDING] == ["ask"] * MAX_PENDING
    assert kinds[MAX_PENDING:] == ["tell", "ask"] * (20 - MAX_PENDING) + ["tell"] * MAX_PENDING


@pytest.mark.parametrize("stop", [{"n_trials": 25}, {"n_trials": 25, "deadline": 1e12}])
def test_every_trial_is_asked_run_scored_and_reported_once(stop):
    decided = []

    def score(result):
        decided.append(result.trial.number)
        return scored_trial(result)

    strategy = Recorder()
    make_search(strategy, Shuffled(4), score=score, **stop).run()
    requested = [key for kind, key in strategy.calls if kind == "ask"]
    scored = [key for kind, key in strategy.calls if kind == "tell"]
    assert sorted(decided) == list(range(25))
    assert len(set(requested)) == 25
    assert sorted(scored) == sorted(requested)


def test_a_failing_candidate_is_reported_and_the_search_continues():
    statuses = []

    def fail_some(trial):
        status = TrialState.FAILED if trial.number % 2 else TrialState.SUCCESS
        return TrialResult(trial=trial, status=status)

    def score(result):
        statuses.append(result.status)
        return scored_trial(result)

    strategy = Recorder()
    make_search(strategy, Immediate(), objective=fail_some, score=score, n_trials=6).run()
    assert statuses == [TrialState.SUCCESS, TrialState.FAILED] * 3
    assert [kind for kind, _ in strategy.calls].count("tell") == 6


@pytest.mark.parametrize("where", ["objective", "settle"])
def test_an_interrupt_keeps_what_was_scored_and_shuts_the_executor_down(where):
    decided = []

    def objective(trial):
        if where == "objective" and trial.number == 3:
            raise KeyboardInterrupt
        return succeed(trial)

    def score(result):
        if where == "settle" and result.trial.number == 3:
            raise KeyboardInterrupt
        decided.append(result.trial.number)
        return scored_trial(result)

    executor = Immediate()
    search = make_search(Recorder(), executor, objective=objective, score=score, n_trials=9)
    assert search.run() is False
    assert decided == [0, 1, 2]
    assert executor.shutdowns == 1


@pytest.mark.parametrize("method", ["ask", "tell"])
def test_an_error_of_the_strategy_reaches_the_caller_after_the_executor_is_shut_down(method):
    def broken(*_):
        raise ZeroDivisionError("the strategy is broken")

    strategy = Recorder()
    setattr(strategy, method, broken)
    executor = Immediate()
    with pytest.raises(ZeroDivisionError, match="the strategy is broken"):
        make_search(strategy, executor, n_trials=3).run()
    assert executor.shutdowns == 1


def test_an_error_inside_score_reaches_the_caller_after_the_executor_is_shut_down():
    def broken(_):
        raise OSError("no space left")

    executor = Immediate()
    with pytest.raises(OSError, match="no space left"):
        make_search(Recorder(), executor, score=broken, n_trials=3).run()
    assert executor.shutdowns == 1


def test_nothing_is_requested_or_started_after_the_deadline():
    strategy, executor = Recorder(), Immediate()
    clock = [100.0]
    executor.clock = lambda: clock[0]

    def take_two_seconds(trial):
        clock[0] += 2.0
        return succeed(trial)

    search = make_search(strategy, executor, objective=take_two_seconds, deadline=107.0)
    assert search.run()
    # Trials start at 100, 102, 104 and 106; the one that ends at 108 is the last.
    assert executor.submitted == [0, 1, 2, 3]
    assert [kind for kind, _ in strategy.calls] == ["ask", "tell"] * 4


def test_an_executor_that_overruns_the_deadline_is_shut_down(monkeypatch):
    monkeypatch.setattr(loop, "POLL_SECONDS", 0.01)
    strategy, executor = Recorder(), Stubborn()
    search = make_search(strategy, executor, deadline=time.monotonic() + 0.05)
    assert search.run()
    assert executor.shutdowns >= 1
    assert [kind for kind, _ in strategy.calls] == ["ask", "tell"]


def test_a_strategy_without_ideas_ends_the_search_when_all_results_are_reported():
    strategy = Recorder(limit=3)
    assert make_search(strategy, Shuffled(2), n_trials=50).run()
    assert [kind for kind, _ in strategy.calls].count("tell") == 3


def test_a_strategy_that_waits_for_results_is_asked_again_after_each():
    class OneAtATime(Recorder):
        busy = False

        def ask(self):
            if self.busy:
                return None
            self.busy = True
            return super().ask()

        def tell(self, scored):
            self.busy = False
            super().tell(scored)

    strategy = OneAtATime()
    make_search(strategy, Shuffled(2), n_trials=5).run()
    assert [kind for kind, _ in strategy.calls] == ["ask", "tell"] * 5


class Mitigates(Flat):
    """Puts a mitigation on every proposal."""

    def next_trial(self, ask, *, number, seconds_left):
        trial = super().next_trial(ask, number=number, seconds_left=seconds_left)
        if trial is None:
            return None
        return replace(trial, config=replace(trial.config, mitigation="costly"))


def test_a_strategy_receives_results_under_the_candidate_that_it_proposed():
    strategy = Recorder()
    search = make_search(strategy, Immediate(), n_trials=4)
    search.allocator = Mitigates(TERMS)
    assert search.run()
    requested = [key for kind, key in strategy.calls if kind == "ask"]
    assert [key for kind, key in strategy.calls if kind == "tell"] == requested


class Grows(Flat):
    """Every second trial is the last proposal again, as the allocator's own."""

    last = None

    def next_trial(self, ask, *, number, seconds_left):
        if number % 2 and self.last is not None:
            return replace(self.last, number=number, origin=Origin.PROMOTION)
        self.last = super().next_trial(ask, number=number, seconds_left=seconds_left)
        return self.last


def test_a_strategy_does_not_see_what_the_allocator_added():
    strategy = Recorder()
    search = make_search(strategy, Immediate(), n_trials=6)
    search.allocator = Grows(TERMS)
    assert search.run()
    assert [kind for kind, _ in strategy.calls].count("tell") == 3


def limits_of(seconds, deadline, n=5):
    """The limits of trials that take so long each, on a clock that begins at 100."""
    found, clock, executor = [], [100.0], Immediate()
    executor.clock = lambda: clock[0]

    def objective(trial):
        found.append(trial.max_seconds)
        clock[0] += seconds
        return succeed(trial)

    def score(result):
        return replace(scored_trial(result), seconds=seconds)

    search = make_search(
        Recorder(n), executor, objective=objective, score=score, deadline=deadline
    )
    assert search.run()
    return found


def test_without_a_time_budget_no_trial_has_a_limit():
    assert limits_of(2.0, None) == [None] * 5


def test_no_trial_starts_when_not_even_the_shortest_fold_fits_into_what_is_left():
    # Folds take a second, and half a second is left after the trials at 100, 102 and 104.
    assert len(limits_of(2.0, 106.5)) == 3
    assert len(limits_of(2.0, 107.5)) == 4


def test_what_it_takes_to_score_a_result_is_left_before_the_deadline():
    spared, clock, executor = [], [100.0], Immediate()
    executor.clock = lambda: clock[0]
    executor.spare = 0.0

    def objective(trial):
        spared.append(executor.spare)
        clock[0] += 2.0
        return succeed(trial)

    def score(result):
        clock[0] += 3.0
        return replace(scored_trial(result), seconds=2.0)

    search = make_search(Recorder(), executor, objective=objective, score=score, deadline=120.0)
    assert search.run()
    # Trials start at 100, 105, 110 and 115; from the third on three seconds are left for settling.
    assert spared == [0.0, 0.0, 3.0, 3.0]
    assert clock[0] <= 120.0


class Screens(Flat):
    """Runs every second proposal on one fold."""

    def next_trial(self, ask, *, number, seconds_left):
        trial = super().next_trial(ask, number=number, seconds_left=seconds_left)
        one_fold = trial is not None and not trial.parent and number % 2
        return replace(trial, fidelity=Fidelity(folds=1)) if one_fold else trial


def test_what_it_takes_to_score_all_folds_is_left_also_after_a_trial_of_one_fold():
    spared, clock, executor = [], [100.0], Immediate()
    executor.clock = lambda: clock[0]
    executor.spare = 0.0

    def objective(trial):
        spared.append(executor.spare)
        clock[0] += 2.0
        return succeed(trial)

    def score(result):
        clock[0] += 3.0 if result.trial.fidelity.folds == 2 else 0.0
        return replace(scored_trial(result), seconds=2.0)

    search = make_search(Recorder(5), executor, objective=objective, score=score, deadline=1000.0)
    search.allocator = Screens(TERMS)
    assert search.run()
    # The trials after these are promotions.
    assert spared[:5] == [0.0, 0.0, 0.0, 3.0, 3.0]
