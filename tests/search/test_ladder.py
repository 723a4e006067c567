"""Screening on one fold, promotions to all folds, and the promises under a time budget."""

import math
from collections import Counter
from dataclasses import replace

import pytest
from allocator_cases import Asking

from fairautoml.execution import ResourceLimits
from fairautoml.execution.virtual import VirtualExecutor
from fairautoml.records import (
    Config,
    Fidelity,
    Origin,
    Terms,
    Trial,
    TrialResult,
    TrialState,
)
from fairautoml.search.allocators import ALLOCATORS
from fairautoml.search.allocators._base import CUT, CostModel
from fairautoml.search.allocators.ladder import (
    BARRIER,
    FEWEST,
    FEWEST_FIRST_ROWS,
    FEWEST_ROWS,
    FULL_SHARE,
    MEMBERS,
    OF_LEARNER,
    SAMPLE,
    USUAL_FIRST_ROWS,
    Ladder,
    first_fidelity,
)
from fairautoml.search.loop import Proposals, SearchLoop, StopCondition

BASELINE = Config(learner="prior")
QUICK = Config(learner="quick")
FULL = Fidelity(folds=5)


def terms(n_train_rows=10_000, **more):
    return Terms(**{"fidelity": FULL, "n_train_rows": n_train_rows, **more})


class Turns:
    """Proposes the baseline, then the learners in turn."""

    def __init__(self, learners):
        self.learners = learners
        self.requested = 0
        self.told = []

    def ask(self):
        turn, self.requested = self.requested, self.requested + 1
        if turn == 0:
            return BASELINE
        return Config(learner=self.learners[(turn - 1) % len(self.learners)], params={"t": turn})

    def tell(self, scored):
        self.told.append(scored.trial)


def loss_of(config):
    return 0.3 + 0.001 * (config.params.get("t", 50) * 37 % 101)


def play(seconds, *, given=None, name="ladder", n_workers=1, deadline=None, n_trials=None):
    """Return the results of a search on a simulated clock, and the strategy.

    A fold on all rows takes ``seconds`` of its learner, a tenth of them without any row.
    """
    given = terms() if given is None else given
    given = replace(given, n_trials=n_trials, n_workers=n_workers)
    results, strategy = [], Turns(tuple(seconds))

    def objective(trial):
        n_folds = trial.fidelity.folds - trial.n_taken
        of_fold = seconds.get(trial.config.learner, 0.02)
        took = n_folds * of_fold * (0.1 + 0.9 * trial.fidelity.rows / given.fidelity.rows)
        idle = trial.config == BASELINE
        return TrialResult(trial=trial, status=TrialState.SUCCESS, seconds=0.01 if idle else took)

    def score(result):
        done = result.status is TrialState.SUCCESS
        loss = loss_of(result.trial.config)
        gap = math.inf if result.trial.config == BASELINE else -0.01
        scored = replace(
            result, log_loss=loss if done else None, value=1 - loss if done else None,
            violations=(gap if done else math.inf,),
        )  # fmt: skip
        results.append(scored)
        return scored

    executor = VirtualExecutor(ResourceLimits(n_workers=n_workers, deadline=deadline))
    search = SearchLoop(
        objective=objective,
        score=score,
        proposals=Proposals(strategy),
        allocator=ALLOCATORS.get(name)(given),
        executor=executor,
        stop=StopCondition(deadline=deadline, n_trials=n_trials),
    )
    assert search.run()
    return results, strategy, executor.now()


def full(results):
    return [r for r in results if r.trial.fidelity == FULL and r.trial.origin is Origin.PROMOTION]


def proposals(results):
    return [r for r in results if r.trial.origin is Origin.SEARCH]


def test_the_first_model_is_a_fast_one_on_few_rows_and_all_folds():
    given = terms(500_000, first=(QUICK,), quick=True)
    results, _, _ = play({"slow": 5.0}, given=given, deadline=60.0)
    first = results[1].trial
    assert first.config == QUICK
    assert first.fidelity == Fidelity(rows=10_000 / 500_000, folds=5)
    assert [r.trial.fidelity.folds for r in results[2:4]] == [1, 1]


@pytest.mark.parametrize(("n_train_rows", "seconds"), [(1_000, 1.0), (6_000, 20.0), (9_000, 3.0)])
def test_the_first_model_has_all_rows_where_they_take_a_moment(n_train_rows, seconds):
    assert first_fidelity(terms(n_train_rows, quick=True), seconds) == FULL


def test_the_rows_of_a_first_model_depend_on_its_pace_and_the_cost_of_a_row():
    def rows(n=500_000, seconds=60.0, **more):
        return n * first_fidelity(terms(n, **more), seconds).rows

    assert rows(quick=True) == pytest.approx(USUAL_FIRST_ROWS)
    assert rows(quick=True, row_cost=20.0) == pytest.approx(5_000)
    assert rows(quick=True, row_cost=100.0) == pytest.approx(FEWEST_FIRST_ROWS)
    assert rows(quick=False) == pytest.approx(1_200)
    assert rows(quick=False, seconds=2.0) == pytest.approx(FEWEST_ROWS)


def test_screening_takes_less_than_half_of_the_time_and_the_rest_gives_full_models():
    results, strategy, now = play({"a": 1.0}, deadline=100.0)
    first, second, *_ = full(results)
    # The first is promoted at once, the others once screening has had its share.
    assert sum(r.seconds for r in results[: first.trial.number]) < 10
    assert sum(r.seconds for r in results[: second.trial.number]) == pytest.approx(45, abs=1.5)
    assert len(full(results)) >= FEWEST
    assert 90 < now <= 100.0
    # But for the first model, the strategy receives results of one fidelity only.
    assert {trial.fidelity for trial in strategy.told[2:]} == {Fidelity(folds=1)}


def test_time_is_reserved_for_three_models_on_all_folds():
    results, _, now = play({"a": 3.0}, deadline=60.0)
    assert len([r for r in results if r.trial.n_taken == 1]) >= 3
    assert now <= 60.0


def test_a_promotion_takes_the_folds_of_its_parent_over():
    results, _, _ = play({"a": 1.0}, deadline=60.0)
    by_key = {r.trial.key: r.trial for r in results}
    for result in full(results):
        parent = by_key[result.trial.parent]
        assert parent.config == result.trial.config
        assert result.trial.n_taken == parent.fidelity.folds == 1
        assert result.seconds == pytest.approx(4.0)


def test_the_configurations_close_to_the_best_are_promoted():
    results, _, _ = play({"a": 0.5}, deadline=100.0)
    lowest = min(r.log_loss for r in results)
    found = sorted(r.log_loss for r in full(results))
    assert found[0] == lowest
    assert len({r.trial.config.key for r in full(results)}) == len(found)


def test_at_most_some_of_a_learner_are_promoted_then_others_are_proposed():
    results, _, _ = play({"a": 0.1, "b": 0.1}, deadline=100.0)
    whole = full(results)
    close = [r for r in proposals(results) if r.log_loss < 0.3 * 1.02]
    assert len(close) > 4 * OF_LEARNER
    assert max(Counter(r.trial.config.learner for r in whole).values()) < len(close) / 2
    assert max(r.trial.number for r in proposals(results)) > whole[-1].trial.number


def test_the_best_of_another_learner_is_promoted_too():
    results, _, _ = play({"a": 0.5, "b": 0.5, "c": 0.5}, deadline=100.0)
    assert {r.trial.config.learner for r in full(results)} == {"a", "b", "c"}


def test_on_many_rows_screening_begins_on_a_quarter_and_a_third_goes_on():
    results, _, _ = play({"a": 0.5}, given=terms(60_000), deadline=100.0)
    sampled = [r for r in results if r.trial.fidelity == Fidelity(rows=SAMPLE, folds=1)]
    one = [r for r in results if r.trial.fidelity == Fidelity(folds=1)]
    assert all(r.trial.origin is Origin.PROMOTION and r.trial.n_taken == 0 for r in one)
    assert len(one) <= len(sampled) / 3
    assert len(full(results)) >= 3


def test_one_promoted_from_the_sample_gets_all_folds_though_it_takes_less_than_expected():
    # All rows are expected to take 820 s after the sample, 545 s after half of them; 595 s may be.
    results, _, _ = play({"a": 100.0}, given=terms(100_000), deadline=1700.0)
    one, whole = (
        [r for r in results if r.trial.fidelity == Fidelity(rows=0.5, folds=n) and r.trial.parent]
        for n in (1, 5)
    )
    assert one
    assert whole
    assert all(r.trial.n_taken == 1 for r in whole)


@pytest.mark.parametrize("n_workers", [1, 2, 3])
def test_with_a_number_of_trials_the_same_are_promoted_for_any_number_of_workers(n_workers):
    alone, _, _ = play({"a": 1.0, "b": 2.0}, n_trials=40)
    found, _, _ = play({"a": 1.0, "b": 2.0}, n_trials=40, n_workers=n_workers)
    assert sorted(r.trial.key for r in found) == sorted(r.trial.key for r in alone)
    assert len(proposals(found)) == 40
    assert len(full(found)) >= 40 // BARRIER


def test_few_trials_run_on_all_folds_at_once():
    results, _, _ = play({"a": 1.0}, n_trials=1 + MEMBERS)
    assert {r.trial.fidelity for r in results} == {FULL}
    assert len(results) == 1 + MEMBERS


def test_a_small_table_is_not_screened():
    results, _, _ = play({"a": 0.1}, given=terms(800), deadline=20.0)
    assert {r.trial.fidelity for r in results} == {FULL}
    assert any(r.trial.rival for r in results)


@pytest.mark.parametrize("name", ["ladder", "flat"])
def test_a_slow_learner_is_tried_on_fewer_rows(name):
    given = terms(100_000, first=(QUICK,), quick=True)
    results, _, now = play({"slow": 200.0, "a": 0.5}, given=given, name=name, deadline=60.0)
    slow = [r for r in results if r.trial.config.learner == "slow"]
    assert slow[0].status is TrialState.TIMEOUT
    assert slow[1].trial.fidelity.rows <= slow[0].trial.fidelity.rows / CUT
    assert now <= 60.0


@pytest.mark.parametrize("name", ["ladder", "flat"])
@pytest.mark.parametrize("seconds", [2.0, 20.0, 400.0])
def test_no_trial_ends_after_the_deadline(name, seconds):
    learners = {"a": seconds / 100, "b": seconds / 10, "c": 3 * seconds}
    given = terms(100_000, first=(QUICK,), quick=True)
    results, _, now = play(learners, given=given, name=name, deadline=seconds)
    assert now <= seconds + 1e-9
    assert results[1].trial.config == QUICK
    assert results[1].seconds <= max(0.1 * seconds, 1.0)


def test_the_rows_of_a_learner_fit_its_share_of_the_time():
    given = terms(100_000, first=(QUICK,), quick=True)
    results, _, _ = play({"a": 12.0}, given=given, deadline=60.0)
    later = [r for r in results[6:] if r.trial.origin is Origin.SEARCH]
    assert {r.trial.fidelity.folds for r in later} == {1}
    assert max(r.trial.fidelity.rows for r in later) <= 0.125
    whole = [r for r in results[2:] if r.trial.fidelity.folds == 5]
    assert whole
    assert all(r.seconds <= 1.5 * FULL_SHARE * 60 for r in whole)


def test_an_untried_learner_begins_small_where_it_cannot_be_stopped():
    given = terms(100_000, first=(QUICK,), quick=True, stoppable=False)
    ladder, ask = Ladder(given), Asking()
    for number in range(2):
        trial = ladder.next_trial(ask, number=number, seconds_left=20.0)
        ladder.record(_success(trial, seconds=0.5 * number))
    assert ladder.next_trial(ask, number=2, seconds_left=19.0).fidelity.rows < SAMPLE
    free = Ladder(replace(given, stoppable=True))
    for number in range(2):
        trial = free.next_trial(ask, number=number, seconds_left=20.0)
        free.record(_success(trial, seconds=0.5 * number))
    assert free.next_trial(ask, number=2, seconds_left=19.0).fidelity.rows == SAMPLE


def test_nothing_is_queued_before_the_first_model_is_known():
    ladder, ask = Ladder(terms(first=(QUICK,), quick=True, n_workers=2)), Asking()
    first = [ladder.next_trial(ask, number=number, seconds_left=20.0) for number in range(3)]
    assert [trial is None for trial in first] == [False, False, True]
    ladder.record(_success(first[1], seconds=0.3))
    assert ladder.next_trial(ask, number=2, seconds_left=19.0) is not None


def test_a_failed_promotion_is_not_repeated():
    ladder, ask, tried = Ladder(terms()), Asking(), []
    for number in range(60):
        trial = ladder.next_trial(ask, number=number, seconds_left=100.0 - number)
        if trial is None:
            break
        promoted = trial.origin is Origin.PROMOTION
        tried += [trial.config.key] if promoted else []
        status = TrialState.FAILED if promoted else TrialState.SUCCESS
        ladder.record(_success(trial, seconds=1.0, status=status))
    assert len(tried) >= 3
    assert set(Counter(tried).values()) == {1}


def _success(trial, *, seconds, status=TrialState.SUCCESS):
    loss = loss_of(trial.config) if trial.number else 0.7
    gap = -0.01 if trial.number else math.inf
    return TrialResult(
        trial=trial,
        status=status,
        log_loss=loss if status is TrialState.SUCCESS else None,
        value=1 - loss if status is TrialState.SUCCESS else None,
        violations=(gap,),
        seconds=seconds,
    )


def _trial(number=1, *, learner="a", rows=1.0, folds=5, n_taken=0, **more):
    config = Config(learner=learner, params={"t": number})
    fidelity = Fidelity(rows=rows, folds=folds)
    return Trial(number=number, config=config, fidelity=fidelity, n_taken=n_taken, **more)


def test_costs_are_those_of_the_configuration_then_those_of_its_learner():
    costs = CostModel()
    assert costs.seconds(_trial()) is None
    costs.learn(_success(_trial(1, folds=1), seconds=1.0))
    costs.learn(_success(_trial(2, folds=1), seconds=3.0))
    assert costs.seconds(_trial(1)) == pytest.approx(5.0)
    assert costs.seconds(_trial(1, n_taken=1)) == pytest.approx(4.0)
    assert costs.seconds(_trial(9)) == pytest.approx(10.0)
    assert costs.seconds(_trial(9, learner="b")) is None
    assert costs.untried(_trial(9, learner="b")) == pytest.approx(45.0)


def test_a_part_of_the_cost_does_not_grow_with_the_rows():
    costs = CostModel()
    costs.learn(_success(_trial(1, rows=0.1, folds=1), seconds=4.0))
    assert costs.seconds(_trial(1, folds=1)) == pytest.approx(1.0 + 3.0 * 10)
    costs.learn(_success(_trial(2, rows=0.1, folds=1), seconds=4.0), growing=0.5)
    assert costs.seconds(_trial(2, folds=1)) == pytest.approx(3.5 + 0.5 * 10)


@pytest.mark.parametrize("status", [TrialState.TIMEOUT, TrialState.OUT_OF_MEMORY])
def test_a_trial_that_was_too_much_limits_the_rows_of_its_learner(status):
    costs = CostModel()
    costs.learn(_success(_trial(1), seconds=9.0, status=status))
    assert costs.most_rows(_trial(2)) == 1 / CUT
    assert costs.most_rows(_trial(2, learner="b")) == math.inf
    costs.learn(_success(_trial(3, rows=0.1), seconds=1.0))
    assert costs.most_rows(_trial(2)) == pytest.approx(CUT * 0.1)


@pytest.mark.parametrize(("left", "n_threads"), [(9.0, 4), (30.0, 1)])
def test_the_last_promotion_has_the_cores_that_would_be_idle(left, n_threads):
    ladder, ask = Ladder(terms(n_workers=4)), Asking()
    for number in range(3):
        trial = ladder.next_trial(ask, number=number, seconds_left=70.0)
        ladder.record(_success(trial, seconds=2.0))
    # On all folds another configuration takes 10 s, and the rest of this one 8 s.
    trial = ladder.next_trial(ask, number=3, seconds_left=left)
    assert (trial.origin, trial.n_threads) == (Origin.PROMOTION, n_threads)
    beside = ladder.next_trial(ask, number=4, seconds_left=left)
    assert (beside is None) == (n_threads == 4)


def test_threads_of_pending_trials_never_exceed_the_cores():
    given = terms(n_workers=8)
    ladder, ask, pending, left = Ladder(given), Asking(), [], 60.0
    for number in range(200):
        trial = ladder.next_trial(ask, number=number, seconds_left=left)
        if trial is not None:
            pending.append(trial)
        wide = any(one.n_threads > 1 for one in pending)
        assert not wide or sum(one.n_threads for one in pending) <= 8
        if trial is None or len(pending) == 8:
            if not pending:
                break
            done = pending.pop(0)
            left -= 0.4
            ladder.record(_success(done, seconds=4.0 * (done.fidelity.folds - done.n_taken)))
    assert number < 199


def test_with_a_number_of_trials_every_trial_has_one_thread():
    results, _, _ = play({"a": 1.0}, n_trials=30, n_workers=8)
    assert {r.trial.n_threads for r in results} == {1}


@pytest.mark.parametrize("seconds", [2.0, 4.0, 8.0])
def test_where_all_rows_take_too_long_the_best_of_a_sample_gets_all_folds(seconds):
    given = terms(60_000, first=(QUICK,), quick=True)
    results, _, now = play({"a": seconds}, given=given, deadline=16.0)
    later = [r for r in results[2:] if r.trial.fidelity.folds == 5]
    assert any(r.status is TrialState.SUCCESS and r.trial.n_taken == 1 for r in later)
    assert now <= 16.0


def test_a_fast_first_model_does_not_make_its_learner_look_fast():
    costs, quick = CostModel(), _trial(1, rows=0.1)
    costs.learn(_success(quick, seconds=5 * 0.5), growing=0.2, times=5.0)
    assert costs.seconds(quick) == pytest.approx(2.5)
    assert costs.seconds(_trial(2, rows=0.1)) == pytest.approx(5 * (0.3 + 5 * 0.2))


def test_a_slow_learner_is_screened_on_less_of_a_sample():
    given = terms(60_000, first=(QUICK,), quick=True)
    results, _, _ = play({"a": 0.5, "slow": 10.0}, given=given, deadline=100.0)
    screened = [r for r in proposals(results)[6:] if r.trial.config.learner == "slow"]
    assert max(r.trial.fidelity.rows for r in screened) < SAMPLE
    assert {r.trial.fidelity.rows for r in proposals(results)[6:]} > {SAMPLE}
