import math

import pytest
from allocator_cases import Asking, scored, terms

from fairautoml.records import Origin, TrialState
from fairautoml.search.allocators.successive_halving import SuccessiveHalving


def run(allocator, n, result=lambda trial: {}, ask=None, left=None):
    ask = Asking() if ask is None else ask
    trials = []
    for number in range(n):
        trials.append(allocator.next_trial(ask, number=number, seconds_left=left))
        allocator.record(scored(trials[-1], **result(trials[-1])))
    return trials


def by_turn(trial):
    return {"loss": 0.3 + trial.config.params["turn"] / 1000, "gap": -0.01}


@pytest.mark.parametrize("n_train_rows", [500, 4_000, 15_999])
def test_below_four_times_the_floor_every_trial_is_full(n_train_rows):
    trials = run(SuccessiveHalving(terms(n_train_rows=n_train_rows)), 12, by_turn)
    assert {trial.budget.sample_fraction for trial in trials} == {1.0}
    assert {trial.origin for trial in trials} == {Origin.SEARCH}


def test_sizes_are_four_times_apart_and_never_below_the_floor():
    trials = run(SuccessiveHalving(terms(n_train_rows=100_000)), 60, by_turn)
    assert sorted({t.budget.sample_fraction for t in trials}) == [1 / 16, 1 / 4, 1.0]


def test_the_best_third_is_promoted_as_soon_as_it_is_known():
    trials = run(SuccessiveHalving(terms(n_train_rows=16_000)), 8, by_turn)
    promoted = [
        (n, t.config.params["turn"]) for n, t in enumerate(trials) if t.origin is Origin.ROWS
    ]
    assert promoted == [(3, 0), (7, 1)]


def test_a_fair_model_is_promoted_before_a_better_unfair_one():
    def result(trial):
        turn = trial.config.params["turn"]
        return {"loss": 0.1 * (turn + 1), "gap": -0.01 if turn == 2 else 0.1}

    trials = run(SuccessiveHalving(terms(n_train_rows=16_000)), 4, result)
    assert trials[3].config.params["turn"] == 2


def test_no_trial_is_promoted_twice_to_the_same_size_and_the_strategy_sees_none():
    trials = run(SuccessiveHalving(terms(n_train_rows=100_000)), 80, by_turn)
    keys = [(t.config.key, t.budget.sample_fraction) for t in trials]
    assert len(set(keys)) == len(keys)
    assert all((t.origin is Origin.ROWS) == (t.budget.sample_fraction > 1 / 16) for t in trials)


def test_a_failure_is_not_promoted():
    trials = run(
        SuccessiveHalving(terms(n_train_rows=16_000)),
        12,
        lambda trial: {"status": TrialState.FAILED},
    )
    assert {trial.origin for trial in trials} == {Origin.SEARCH}


def test_a_promotion_that_does_not_fit_is_not_started():
    allocator, ask = SuccessiveHalving(terms(n_train_rows=16_000)), Asking()
    run(allocator, 3, by_turn, ask)
    late = allocator.next_trial(ask, number=3, seconds_left=3.9)
    assert late.origin is Origin.SEARCH
    allocator.record(scored(late, status=TrialState.FAILED))
    assert allocator.next_trial(ask, number=4, seconds_left=4.1).origin is Origin.ROWS


def test_with_little_time_left_the_best_is_trained_in_full():
    allocator, ask = SuccessiveHalving(terms(n_train_rows=100_000)), Asking()
    run(allocator, 2, by_turn, ask)
    trial = allocator.next_trial(ask, number=2, seconds_left=17.0)
    assert (trial.config.params["turn"], trial.budget.sample_fraction) == (0, 1.0)


def test_scoring_all_rows_is_not_counted_again_for_a_promotion():
    allocator, ask = SuccessiveHalving(terms(n_train_rows=16_000)), Asking()

    def result(trial):
        # Scoring takes 0.9 s, training 0.1 s on a quarter of the rows.
        return {"seconds": 1.0} if trial.number else {"seconds": 0.9, "gap": math.inf}

    run(allocator, 3, result, ask)
    late = allocator.next_trial(ask, number=3, seconds_left=1.2)
    assert late.origin is Origin.SEARCH
    allocator.record(scored(late, status=TrialState.FAILED))
    assert allocator.next_trial(ask, number=4, seconds_left=1.4).origin is Origin.ROWS


def test_the_last_chance_is_taken_before_a_long_trial_would_jump_over_it():
    allocator, ask = SuccessiveHalving(terms(n_train_rows=100_000)), Asking()

    def result(trial):
        return {**by_turn(trial), "seconds": 9.0 if trial.config.params["turn"] else 1.0}

    run(allocator, 2, result, ask)
    # In full it takes 16 s: after a trial of 9 s it would no longer fit into 24.5 s.
    trial = allocator.next_trial(ask, number=2, seconds_left=24.5)
    assert (trial.config.params["turn"], trial.budget.sample_fraction) == (0, 1.0)
