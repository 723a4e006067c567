"""What is too slow for the time, or too large for the memory, is trained on fewer rows."""

from collections import Counter
from dataclasses import replace

import pytest

from fairautoml.execution import ResourceLimits
from fairautoml.execution.virtual import VirtualExecutor
from fairautoml.records import (
    Budget,
    Config,
    MitigationOption,
    Origin,
    Terms,
    Trial,
    TrialResult,
    TrialState,
)
from fairautoml.search.allocators import ALLOCATORS
from fairautoml.search.allocators._base import CUT, FEWEST_ROWS, LEAST_SECONDS, FewerRows, Success
from fairautoml.search.allocators.flat import Flat
from fairautoml.search.loop import Proposals, SearchLoop, StopCondition

BASELINE = Config(learner="prior")
FULL = Budget(folds=5)
ROWS = 100_000
TERMS = Terms(
    budget=FULL,
    n_train_rows=ROWS,
    mitigations=(MitigationOption(name="costly", params={}, ratio=3.0),),
)
BUDGET = 60.0
LARGEST = 5_000


class Turns:
    """A strategy that proposes the learners in turn, after the baseline."""

    def __init__(self, learners):
        self.learners = learners
        self.requested = 0
        self.scored = []

    def ask(self):
        turn, self.requested = self.requested, self.requested + 1
        if turn == 0:
            return BASELINE
        learner = self.learners[(turn - 1) % len(self.learners)]
        return Config(learner=learner, params={"turn": turn})

    def tell(self, scored):
        self.scored.append(scored)


def scored_trial(result):
    done, prior = result.status is TrialState.SUCCESS, result.trial.config == BASELINE
    turn = result.trial.config.params.get("turn", 0)
    violation = float("inf") if prior or not done else 0.02 - 0.01 * (turn % 4)
    return TrialResult(
        trial=result.trial,
        status=result.status,
        value=0.5 + (turn * 37 % 101) / 300 if done else None,
        violations=(violation,),
        seconds=result.seconds,
    )


def play(name, seconds, *, wrapped=True, n_workers=1, queued=0, memory=None, **stop):
    """Return results and strategy of a search in which a learner takes ``seconds`` in full.

    A trial with more rows than ``memory`` of its learner runs out of memory.
    """
    results, strategy = [], Turns(tuple(seconds))

    def objective(trial):
        learner, rows = trial.config.learner, trial.budget.sample_fraction * ROWS
        if learner == "prior":
            return TrialResult(trial=trial, status=TrialState.SUCCESS, seconds=0.1)
        took = 0.2 + seconds[learner] * trial.budget.sample_fraction
        fits = memory is None or rows <= memory.get(learner, ROWS)
        return TrialResult(
            trial=trial,
            status=TrialState.SUCCESS if fits else TrialState.OUT_OF_MEMORY,
            seconds=took,
        )

    def score(result):
        results.append(result)
        return scored_trial(result)

    own = ALLOCATORS.get(name)(TERMS)
    executor = VirtualExecutor(ResourceLimits(n_workers=n_workers, deadline=stop.get("deadline")))
    executor.queued = queued
    search = SearchLoop(
        objective=objective,
        score=score,
        proposals=Proposals(strategy),
        allocator=FewerRows(own, TERMS, n_workers) if wrapped else own,
        executor=executor,
        stop=StopCondition(**stop),
    )
    assert search.run()
    return results, strategy


def trained(results, learner):
    """The sizes at which a learner succeeded."""
    return [
        r.trial.budget.sample_fraction
        for r in results
        if r.status is TrialState.SUCCESS and r.trial.config.learner == learner
    ]


def plain(results):
    return [(r.trial.config, r.trial.budget, r.trial.origin, r.status) for r in results]


@pytest.mark.parametrize(("n_workers", "queued"), [(1, 0), (1, 1), (2, 1)])
@pytest.mark.parametrize("times", [1.5, 6.0])
@pytest.mark.parametrize("name", ALLOCATORS.names())
def test_a_learner_that_is_too_slow_in_full_is_trained_on_a_part(name, times, n_workers, queued):
    results, _ = play(
        name, {"slow": times * BUDGET}, n_workers=n_workers, queued=queued, deadline=BUDGET
    )
    assert trained(results, "slow")


@pytest.mark.parametrize("name", ALLOCATORS.names())
@pytest.mark.parametrize(
    ("learners", "least"), [(("slow", "fast"), 2), (("slow", "slower", "fast"), 1)]
)
def test_a_slow_learner_leaves_time_for_the_others(name, learners, least):
    full = {"slow": 6 * BUDGET, "slower": 20 * BUDGET, "fast": 0.05 * BUDGET}
    results, _ = play(name, {one: full[one] for one in learners}, deadline=BUDGET)
    assert len(trained(results, "fast")) >= least


@pytest.mark.parametrize("stop", [{"n_trials": 40}, {"deadline": BUDGET}])
@pytest.mark.parametrize("name", ALLOCATORS.names())
def test_what_is_fast_enough_is_left_as_it_is(name, stop):
    results, _ = play(name, {"fast": 2.0, "other": 3.0}, **stop)
    bare, _ = play(name, {"fast": 2.0, "other": 3.0}, wrapped=False, **stop)
    sizes = [(config, b.sample_fraction, o, s) for config, b, o, s in plain(results)]
    assert sizes == [(config, b.sample_fraction, o, s) for config, b, o, s in plain(bare)]


@pytest.mark.parametrize("name", ALLOCATORS.names())
def test_without_a_deadline_no_number_of_seconds_matters(name):
    slow, _ = play(name, {"one": 2000.0}, n_trials=40)
    fast, _ = play(name, {"one": 2.0}, n_trials=40)
    bare, _ = play(name, {"one": 2.0}, wrapped=False, n_trials=40)
    if name.startswith(("cost_aware", "successive")):
        # They compare seconds with seconds, so only the wrapper is held to it here.
        bare_slow, _ = play(name, {"one": 2000.0}, wrapped=False, n_trials=40)
        assert plain(slow) == plain(bare_slow)
    else:
        assert plain(slow) == plain(fast)
    assert plain(fast) == plain(bare)


@pytest.mark.parametrize("stop", [{"n_trials": 40}, {"deadline": BUDGET}])
@pytest.mark.parametrize("name", ALLOCATORS.names())
def test_what_runs_out_of_memory_gets_fewer_rows(name, stop):
    results, _ = play(name, {"big": 5.0}, memory={"big": LARGEST}, **stop)
    assert trained(results, "big")
    assert max(trained(results, "big")) <= LARGEST / ROWS


@pytest.mark.parametrize("name", ALLOCATORS.names())
@pytest.mark.parametrize("times", [1.5, 6.0])
def test_nothing_is_trained_twice_on_as_many_rows(name, times):
    results, _ = play(name, {"slow": times * BUDGET, "fast": 1.0}, deadline=BUDGET)
    done = Counter((r.trial.config.key, r.trial.budget.sample_fraction) for r in results)
    assert max(done.values()) == 1


@pytest.mark.parametrize("name", ALLOCATORS.names())
def test_the_strategy_receives_each_result_once(name):
    results, strategy = play(name, {"slow": 6 * BUDGET}, deadline=BUDGET)
    of_search = [r for r in results if r.trial.origin is Origin.SEARCH]
    assert len(strategy.scored) == len(of_search)


class Listening(Flat):
    def __init__(self, terms):
        super().__init__(terms)
        self.heard = []

    def record(self, scored):
        self.heard.append(scored)


class Steps:
    """The wrapper around a flat allocator, one trial after the other."""

    def __init__(self, terms=TERMS, *, stoppable=True):
        self.inner = Listening(terms)
        self.wrapped = FewerRows(self.inner, terms, 1, stoppable=stoppable)
        self.number = 0
        self.take(status=TrialState.SUCCESS, learner="prior", left=None)

    def next(self, left, learner="slow", turn=None):
        turn = self.number if turn is None else turn
        config = Config(learner=learner, params={"turn": turn})
        return self.wrapped.next_trial(lambda: config, number=self.number, seconds_left=left)

    def take(self, *, status, left, seconds=1.0, **more):
        trial = self.next(left, **more)
        self.number += 1
        value = 0.8 if status is TrialState.SUCCESS else None
        self.wrapped.record(
            TrialResult(
                trial=trial, status=status, value=value, violations=(0.0,), seconds=seconds
            )
        )
        return trial.budget


def test_the_first_model_leaves_half_of_the_time_for_a_smaller_one():
    steps = Steps()
    assert steps.take(status=TrialState.TIMEOUT, left=40.0) == replace(FULL, seconds=20.0)
    # A 16th of the rows fits into one fold.
    assert steps.take(status=TrialState.TIMEOUT, left=20.0) == Budget(
        folds=3, seconds=15.0, sample_fraction=1 / CUT
    )


def test_a_worker_has_time_to_start_however_little_is_left():
    steps = Steps()
    assert steps.take(status=TrialState.TIMEOUT, left=4.0).seconds == LEAST_SECONDS


def test_a_trial_on_the_fewest_rows_may_take_all_that_is_left():
    steps = Steps(replace(TERMS, n_train_rows=2 * FEWEST_ROWS))
    steps.take(status=TrialState.TIMEOUT, left=40.0)
    for left in (20.0, 10.0):
        budget = steps.take(status=TrialState.TIMEOUT, left=left)
        assert budget == replace(FULL, sample_fraction=0.5)


def test_before_the_first_model_nothing_is_requested_in_advance():
    steps = Steps()
    assert steps.next(40.0) is not None
    steps.number += 1
    assert steps.next(40.0) is None
    # Whatever its seconds, without a deadline nothing depends on how a trial ends.
    assert steps.next(None) is not None


def test_until_anything_is_trained_the_next_learner_begins_with_fewer_rows_too():
    steps = Steps()
    steps.take(status=TrialState.TIMEOUT, left=40.0)
    assert steps.take(status=TrialState.SUCCESS, left=20.0, learner="b").sample_fraction == 1 / CUT
    assert steps.take(status=TrialState.SUCCESS, left=19.0, learner="c").sample_fraction == 1
    assert steps.take(status=TrialState.SUCCESS, left=18.0).sample_fraction == 1 / CUT


def test_where_one_learner_is_limited_the_next_begins_near_the_rows_that_it_has():
    steps = Steps()
    for left in (80.0, 40.0):
        steps.take(status=TrialState.TIMEOUT, left=left)
    few = steps.take(status=TrialState.SUCCESS, left=20.0, seconds=9.0).sample_fraction
    found = steps.take(status=TrialState.SUCCESS, left=11.0, learner="b")
    assert found.sample_fraction == CUT * few


def test_a_success_on_few_rows_says_how_many_are_affordable():
    steps = Steps()
    steps.take(status=TrialState.TIMEOUT, left=70.0, seconds=10.0)
    # A 16th took 2 seconds, one of them fixed: an 8th takes 3, and a quarter 5.
    steps.take(status=TrialState.SUCCESS, left=60.0, seconds=2.0)
    assert steps.take(status=TrialState.FAILED, left=9.0).sample_fraction == 1 / 8
    assert steps.take(status=TrialState.FAILED, left=5.0).sample_fraction == 1 / 16
    # Half of what was cut off is as much as is tried again.
    assert steps.take(status=TrialState.FAILED, left=90.0).sample_fraction == 1 / 2


def test_the_candidate_of_a_light_trial_gets_the_rows_that_it_can_afford():
    steps = Steps()
    trial = Trial(
        number=1,
        config=Config(learner="slow", params={"turn": 1}),
        budget=FULL.on(0.01),
    )
    scored = TrialResult(
        trial=trial, status=TrialState.SUCCESS, value=0.7, violations=(0.0,), seconds=3.0
    )
    steps.wrapped.record(scored)
    steps.number = 2
    # Its first second is taken to be fixed: 0.08 would take 17 s, and 0.16 33 s.
    found = steps.take(status=TrialState.SUCCESS, left=40.0, turn=1, seconds=16.0)
    assert found == FULL.on(0.08)
    assert steps.take(status=TrialState.SUCCESS, left=20.0) == FULL.on(0.08)


def test_five_models_on_twice_the_rows_take_ten_thirds_of_three():
    three = Success(key="", budget=FULL.on(0.25), seconds=7.0)
    assert three.seconds_on(FULL.on(0.5)) == pytest.approx(1.0 + 6.0 * 10 / 3)


@pytest.mark.parametrize(("left", "fraction"), [(5.0, 1.0), (0.6, 0.1)])
def test_a_quick_learner_stays_on_few_rows_where_all_would_not_end_in_time(left, fraction):
    steps = Steps()
    small = Config(learner="slow", params={"turn": 99})
    scored = TrialResult(
        trial=Trial(number=1, config=small, budget=FULL.on(0.1)),
        status=TrialState.SUCCESS,
        value=0.7,
        violations=(0.0,),
        seconds=0.24,
    )
    steps.wrapped.record(scored)
    steps.number = 2
    # Half of its seconds are taken to be fixed: all rows would take 2.1 s, or twice as long.
    assert steps.take(status=TrialState.SUCCESS, left=left).sample_fraction == fraction


@pytest.mark.parametrize(("left", "fraction"), [(0.8, 1.0), (0.7, 0.5)])
def test_the_same_candidate_may_take_three_quarters_of_the_time_left(left, fraction):
    # On a quarter of the rows it took 0.2 s, half of it fixed: all rows take 0.77 s.
    steps = Steps()
    trial = Trial(
        number=1, config=Config(learner="slow", params={"turn": 1}), budget=FULL.on(0.25)
    )
    steps.wrapped.record(
        TrialResult(
            trial=trial, status=TrialState.SUCCESS, value=0.7, violations=(0.0,), seconds=0.2
        )
    )
    steps.number = 2
    found = steps.take(status=TrialState.SUCCESS, left=left / 0.75, turn=1)
    assert found.sample_fraction == fraction


@pytest.mark.parametrize(
    ("stoppable", "left", "fraction"),
    [(True, 2.0, 1.0), (False, 2.0, 1 / 32), (False, 60.0, 1.0), (False, 0.1, 0.005)],
)
def test_an_untried_learner_has_fewer_rows_where_its_folds_cannot_be_stopped(
    stoppable, left, fraction
):
    # On a tenth of the rows others took 0.5 s, half of it fixed: 0.3 s on a 32nd, times 3.
    steps = Steps(stoppable=stoppable)
    trial = Trial(number=1, config=Config(learner="quick"), budget=FULL.on(0.1))
    steps.wrapped.record(
        TrialResult(
            trial=trial, status=TrialState.SUCCESS, value=0.7, violations=(0.0,), seconds=0.5
        )
    )
    steps.number = 2
    assert steps.take(status=TrialState.SUCCESS, left=left).sample_fraction == fraction


def test_the_allocator_sees_the_size_that_it_requested():
    steps = Steps()
    steps.take(status=TrialState.TIMEOUT, left=40.0)
    steps.take(status=TrialState.SUCCESS, left=20.0)
    assert {scored.trial.budget.sample_fraction for scored in steps.inner.heard} == {1.0}


def test_one_that_was_cut_off_after_others_in_full_makes_nothing_smaller():
    steps = Steps()
    steps.take(status=TrialState.SUCCESS, left=40.0)
    steps.take(status=TrialState.TIMEOUT, left=30.0)
    assert steps.take(status=TrialState.SUCCESS, left=20.0) == FULL


@pytest.mark.parametrize("status", [TrialState.FAILED, TrialState.PRUNED, TrialState.WORKER_LOST])
def test_other_ends_make_nothing_smaller(status):
    steps = Steps()
    steps.take(status=status, left=40.0)
    assert steps.take(status=status, left=39.0).sample_fraction == 1.0
