import math
from dataclasses import replace

import pytest
from allocator_cases import FULL, Asking, plain, scored, terms

from fairautoml.records import Budget, Config, Origin, TrialState
from fairautoml.search.allocators._base import FEWEST_PAIRS, Clock, RowCosts
from fairautoml.search.allocators._expected_gain import AllocatorState, Rules
from fairautoml.search.allocators.cost_aware import CostAware
from fairautoml.search.allocators.successive_halving import SuccessiveHalving

GREEDY = Rules(test="greedy", early=False, cap=False)


def run(allocator, ask, n, *, seconds=lambda trial: 1.0, left=None, **result):
    trials = []
    for number in range(n):
        trial = allocator.next_trial(ask, number=number, seconds_left=left)
        if trial is None:
            break
        trials.append(trial)
        allocator.record(scored(trial, seconds=seconds(trial), **result))
    return trials


def test_a_mitigation_is_a_full_trial_of_the_same_configuration():
    full = Budget(folds=5, sample_fraction=0.5)
    allocator = CostAware(terms(2.0, budget=full), GREEDY)
    first, second = run(allocator, Asking(), 2)
    assert second.origin is Origin.MITIGATION
    assert second.config.mitigation == "costly0"
    assert second.config.params == first.config.params
    assert second.budget == full


def test_what_more_models_cost_is_counted_like_more_rows():
    costs, few = RowCosts(), Budget(folds=5).on(0.1)
    other = scored(replace(plain(9), budget=few), seconds=3.0)
    assert few.folds == 3
    assert costs.seconds(other, Budget(folds=5)) == pytest.approx(50.0)


@pytest.mark.parametrize("allocator", [CostAware, SuccessiveHalving])
def test_a_sample_has_few_models_on_folds_of_their_own_and_all_rows_have_them_all(allocator):
    wanted = terms(n_train_rows=160_000, budget=Budget(folds=5))
    budgets = [trial.budget for trial in run(allocator(wanted), Asking(), 60)]
    assert {b.folds for b in budgets if b.sample_fraction <= 1 / 4} == {3}
    assert {b.folds for b in budgets if b.sample_fraction == 1.0} == {5}


def test_with_several_workers_no_model_is_mitigated_twice():
    allocator = CostAware(terms(0.1, 0.1), GREEDY)
    ask = Asking()
    first = allocator.next_trial(ask, number=0, seconds_left=None)
    allocator.record(scored(first))
    opened = [allocator.next_trial(ask, number=n, seconds_left=None) for n in range(1, 5)]
    assert [trial.config.mitigation for trial in opened] == [
        "costly0", "costly1", "none", "none",
    ]  # fmt: skip


def test_the_strategy_is_not_asked_when_a_mitigation_is_due():
    allocator, ask = CostAware(terms(2.0), GREEDY), Asking()
    run(allocator, ask, 2)
    assert ask.requested == 1


def test_when_the_strategy_has_nothing_left_the_rest_of_the_time_goes_to_mitigations():
    trials = run(CostAware(terms(1000.0)), Asking(limit=3), 10, gap=0.01)
    kinds = [trial.origin for trial in trials]
    assert kinds == [Origin.SEARCH] * 3 + [Origin.MITIGATION] * 3


def test_when_the_strategy_waits_for_a_result_so_does_the_allocator():
    allocator, ask = CostAware(terms(1000.0)), Asking(limit=2)
    first, _ = (allocator.next_trial(ask, number=n, seconds_left=None) for n in range(2))
    allocator.record(scored(first))
    assert allocator.next_trial(ask, number=2, seconds_left=None) is None


def test_without_mitigations_every_trial_of_small_data_is_a_full_search_trial():
    trials = run(CostAware(terms(n_train_rows=40_000)), Asking(), 30)
    assert {trial.origin for trial in trials} == {Origin.SEARCH}
    assert {trial.budget.sample_fraction for trial in trials} == {1.0}


def test_on_many_rows_the_search_begins_with_ten_thousand():
    first = CostAware(terms(n_train_rows=100_000)).next_trial(
        Asking(), number=0, seconds_left=None
    )
    assert first.budget.sample_fraction == pytest.approx(0.1)


def test_the_best_grows_once_the_search_has_spent_as_much_and_the_next_after_twice_that():
    def seconds(trial):
        return 10 * trial.budget.sample_fraction

    trials = run(CostAware(terms(n_train_rows=100_000)), Asking(), 17, seconds=seconds)
    grown = [n for n, trial in enumerate(trials) if trial.origin is Origin.ROWS]
    # 4 trials of 1 s pay for one of 4 s, and then 8; these and one of 4 s for one of 10 s.
    assert grown == [5, 14, 15]
    assert [trials[n].budget.sample_fraction for n in grown] == pytest.approx([0.4, 0.4, 1.0])
    assert [trials[n].config.params["turn"] for n in grown] == [0, 1, 0]


def by_size(allocator, n, *, first_loss):
    """Play trials of 10 s on all rows; after the first, each is worse than the one before."""
    ask, trials = Asking(), []
    for number in range(n):
        trial = allocator.next_trial(ask, number=number, seconds_left=None)
        turn = trial.config.params["turn"]
        loss = 0.3 + turn / 1000 if turn else first_loss
        trials.append(trial)
        allocator.record(
            scored(trial, loss=loss, gap=-0.01, seconds=10 * trial.budget.sample_fraction)
        )
    return trials


def test_when_nothing_beats_the_first_the_next_best_get_more_rows_up_to_all():
    trials = by_size(CostAware(terms(n_train_rows=100_000)), 501, first_loss=0.1)
    full = [t.config.params["turn"] for t in trials if t.budget.sample_fraction == 1.0]
    # 10 + 20 + 40 + 80 + 160 s of some 500 s on fewer rows.
    assert full == [0, 1, 2, 3, 4]


def test_a_new_best_grows_as_soon_as_the_first_did():
    allocator, ask, after = CostAware(terms(n_train_rows=1_000_000)), Asking(), []
    for number in range(120):
        trial = allocator.next_trial(ask, number=number, seconds_left=None)
        best = trial.config.params["turn"] == 60
        seconds = 100 * trial.budget.sample_fraction
        allocator.record(scored(trial, loss=0.1 if best else 0.2, gap=-0.01, seconds=seconds))
        if best and trial.origin is Origin.ROWS:
            after.append(ask.requested - 61)
    assert after[0] == 4


def test_the_next_best_is_trained_in_full_when_the_best_cannot_be():
    allocator, ask = CostAware(terms(n_train_rows=100_000)), Asking()
    for number, cost in enumerate((5.0, 1.0)):
        trial = allocator.next_trial(ask, number=number, seconds_left=100.0)
        allocator.record(scored(trial, loss=0.2 + number / 10, seconds=cost))
    trial = allocator.next_trial(ask, number=2, seconds_left=14.0)
    assert (trial.config.params["turn"], trial.budget.sample_fraction) == (1, 1.0)


def test_one_last_chance_at_a_time_and_another_when_it_fails():
    allocator, ask = CostAware(terms(n_train_rows=100_000)), Asking()
    run(allocator, ask, 2, left=100.0)
    last = allocator.next_trial(ask, number=2, seconds_left=14.0)
    beside = allocator.next_trial(ask, number=3, seconds_left=14.0)
    assert (last.origin, beside.origin) == (Origin.ROWS, Origin.SEARCH)
    allocator.record(scored(last, status=TrialState.OUT_OF_MEMORY, seconds=1.0))
    again = allocator.next_trial(ask, number=4, seconds_left=13.0)
    assert (again.origin, again.budget.sample_fraction) == (Origin.ROWS, 1.0)


def test_the_last_chance_is_taken_before_a_long_trial_would_jump_over_it():
    allocator, ask = CostAware(terms(n_train_rows=100_000)), Asking()
    for number, cost in enumerate((1.0, 8.0)):
        trial = allocator.next_trial(ask, number=number, seconds_left=100.0)
        allocator.record(scored(trial, loss=0.2 + number / 10, seconds=cost))
    # In full it takes 10 s: after a trial of 8 s it would no longer fit into 16 s.
    trial = allocator.next_trial(ask, number=2, seconds_left=16.0)
    assert (trial.config.params["turn"], trial.budget.sample_fraction) == (0, 1.0)


def clock_after_two(*, left):
    """Two trials asked for at 100 s took 4 s and 6 s; the third is open when the second ends."""
    clock = Clock()
    clock.note_ask(1, 100.0)
    clock.note_ask(2, 100.0)
    clock.note_result(scored(plain(1), seconds=4.0))
    assert clock.left_at_start(96.0) == pytest.approx(92.0)
    clock.note_ask(3, 96.0)
    clock.note_result(scored(plain(2), seconds=6.0))
    return clock.left_at_start(left)


def test_where_one_trial_waits_the_next_begins_when_the_running_one_ends():
    assert clock_after_two(left=90.0) == pytest.approx(84.0)


def test_where_a_worker_is_free_the_next_trial_begins_at_once():
    assert clock_after_two(left=94.0) == pytest.approx(94.0)


def test_behind_a_growth_the_next_trial_begins_when_that_ends():
    clock = Clock()
    clock.note_result(scored(plain(0), seconds=2.0))
    clock.note_ask(1, 100.0, 30.0)
    assert clock.left_at_start(99.0) == pytest.approx(69.0)
    clock.note_ask(2, 99.0)
    # Whichever ends first makes room.
    assert clock.left_at_start(99.0) == pytest.approx(97.0)


def affine(trial):
    """Score all rows in 0.9 s and train on all in 1 s; the baseline trains on none."""
    return 0.9 + (trial.budget.sample_fraction if trial.number else 0.0)


def with_baseline(allocator, ask, n, *, left=None):
    trials = []
    for number in range(n):
        trial = allocator.next_trial(ask, number=number, seconds_left=left)
        trials.append(trial)
        gap = 0.01 if number else math.inf
        allocator.record(scored(trial, gap=gap, seconds=affine(trial)))
    return trials


def test_the_scoring_that_every_trial_does_is_not_paid_for_once_more_with_more_rows():
    trials = with_baseline(CostAware(terms(n_train_rows=100_000)), Asking(), 7)
    grown = [n for n, trial in enumerate(trials) if trial.origin is Origin.ROWS]
    # On 40,000 rows 1.3 s, which two trials of 1 s pay for; in proportion it would be 4 s.
    assert grown == [4]


def test_the_last_chance_is_there_when_most_of_a_full_trial_is_scoring():
    allocator, ask = CostAware(terms(n_train_rows=100_000)), Asking()
    with_baseline(allocator, ask, 2, left=100.0)
    late = allocator.next_trial(ask, number=2, seconds_left=1.8)
    assert late.origin is Origin.SEARCH
    allocator.record(scored(late, status=TrialState.FAILED, seconds=0.1))
    trial = allocator.next_trial(ask, number=3, seconds_left=2.5)
    assert (trial.origin, trial.budget.sample_fraction) == (Origin.ROWS, 1.0)


def grew(costs, number, *, learner="fake", before=1.0, after=1.3):
    for fraction, seconds in ((0.1, before), (0.4, after)):
        trial = plain(number, fraction=fraction)
        config = replace(trial.config, learner=learner)
        costs.learn(scored(replace(trial, config=config), seconds=seconds))


def test_a_candidate_that_grew_says_what_more_rows_cost_another():
    costs, other = RowCosts(), scored(plain(9, fraction=0.1), seconds=2.0)
    assert costs.seconds(other, FULL) == pytest.approx(20.0)
    grew(costs, 1)
    # 0.9 s + 1 s per share of the rows, times two.
    assert costs.seconds(other, FULL) == pytest.approx(3.8)
    assert costs.seconds(other, replace(FULL, sample_fraction=0.1)) == 2.0


def test_a_learner_that_grew_often_enough_says_it_for_itself():
    costs, other = RowCosts(), scored(plain(99, fraction=0.1), seconds=1.0)
    for number in range(FEWEST_PAIRS):
        grew(costs, number, learner="steep", after=4.0)
        grew(costs, FEWEST_PAIRS + number, before=1.0, after=1.0)
    steep = replace(other.trial, config=Config(learner="steep", params={"turn": 99}))
    assert costs.seconds(other, FULL) == pytest.approx(1.0)
    assert costs.seconds(replace(other, trial=steep), FULL) == pytest.approx(10.0)


@pytest.mark.parametrize("status", [TrialState.FAILED, TrialState.PRUNED, TrialState.TIMEOUT])
def test_a_trial_that_was_cut_off_says_nothing_of_what_rows_cost(status):
    costs = RowCosts()
    costs.learn(scored(plain(1, fraction=0.1), seconds=1.0))
    costs.learn(scored(plain(1, fraction=0.4), seconds=0.1, status=status))
    assert costs.seconds(scored(plain(2, fraction=0.1), seconds=1.0), FULL) == pytest.approx(10.0)


def test_what_the_best_base_would_cost_in_full_is_learnt_from_what_grew():
    memory = AllocatorState((), FULL)
    memory.record(scored(plain(1, fraction=0.1), seconds=1.0))
    assert memory.search.full_seconds == pytest.approx(10.0)
    memory.record(scored(plain(1, fraction=0.4), seconds=1.3))
    assert memory.search.full_seconds == pytest.approx(1.9)


def test_a_model_on_a_part_of_the_rows_is_not_mitigated():
    trials = run(CostAware(terms(0.1, n_train_rows=1_000_000), GREEDY), Asking(), 4)
    assert {trial.origin for trial in trials} == {Origin.SEARCH}


def test_with_little_time_left_the_best_is_trained_on_all_rows_at_once():
    allocator = CostAware(terms(n_train_rows=100_000))
    ask = Asking()
    run(allocator, ask, 1, left=100.0)
    trial = allocator.next_trial(ask, number=1, seconds_left=14.0)
    assert (trial.origin, trial.budget.sample_fraction) == (Origin.ROWS, 1.0)


def test_failures_end_nothing():
    trials = run(CostAware(terms(2.0)), Asking(), 20, status=TrialState.FAILED)
    assert len(trials) == 20
    assert {trial.origin for trial in trials} == {Origin.SEARCH}
