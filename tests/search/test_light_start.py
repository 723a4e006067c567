from dataclasses import replace

import pytest
from allocator_cases import Asking, scored
from allocator_cases import terms as terms_of

from fairautoml.records import Budget, Config, Trial
from fairautoml.search.allocators._base import (
    FEWEST_FIRST_ROWS,
    Light,
    LightStart,
    begun_with,
    light_fraction,
    on_all_rows,
)
from fairautoml.search.allocators.flat import Flat

SMALL = Config(learner="small")
LARGER = Config(learner="larger")


FIVE = Budget(folds=5)


def terms(n_train_rows, budget=FIVE):
    return terms_of(n_train_rows=n_train_rows, budget=budget)


class Listening(Flat):
    def __init__(self, terms):
        super().__init__(terms)
        self.heard = []

    def record(self, scored):
        self.heard.append(scored.trial.number)


def trials(allowed, fraction, configs=(SMALL,), n=4, left=2.0, seconds=0.1):
    """The first trials of a search, the allocator behind them, and how often it was asked."""
    inner, ask = Listening(allowed), Asking()
    light = LightStart(inner, Light(configs=configs, budget=allowed.budget.on(fraction)))
    found = []
    for number in range(n):
        found.append(light.next_trial(ask, number=number, seconds_left=left))
        light.record(scored(found[-1], seconds=seconds))
    return found, inner, ask.requested


@pytest.mark.parametrize(("n_train_rows", "seconds"), [(1_000, 1.0), (6_000, 20.0), (2_000, 1.0)])
def test_nothing_is_light_where_a_small_model_of_all_rows_is_affordable(n_train_rows, seconds):
    assert light_fraction(terms(n_train_rows=n_train_rows), seconds) is None


@pytest.mark.parametrize(
    ("seconds", "rows"), [(0.1, FEWEST_FIRST_ROWS), (1.5, 5_000), (3.0, 10_000), (900.0, 10_000)]
)
def test_a_run_begins_with_as_many_rows_as_a_moment_allows(seconds, rows):
    found = light_fraction(terms(n_train_rows=500_000), seconds)
    assert found == pytest.approx(rows / 500_000)


@pytest.mark.parametrize("n_train_rows", [9_000, 30_000])
def test_a_long_budget_begins_lightly_too_where_the_table_is_not_small(n_train_rows):
    assert light_fraction(terms(n_train_rows=n_train_rows), 600.0) == 0.25


@pytest.mark.parametrize(("seconds", "fraction"), [(600.0, None), (1.0, 0.25)])
def test_a_model_has_all_rows_where_a_fold_has_few_and_there_is_time(seconds, fraction):
    assert light_fraction(terms(n_train_rows=7_000), seconds) == fraction
    many = terms(n_train_rows=7_000, budget=Budget(folds=20))
    assert light_fraction(many, 600.0) is None


def test_rows_that_cost_more_are_fewer():
    wide = replace(terms(n_train_rows=3_000), row_cost=20.0)
    assert light_fraction(terms(n_train_rows=3_000), 4.0) is None
    assert light_fraction(wide, 4.0) == 0.25
    rows = light_fraction(replace(terms(n_train_rows=500_000), row_cost=2.0), 30.0) * 500_000
    assert rows == pytest.approx(5_000)


def test_the_small_candidate_is_not_tried_on_all_rows_once_it_was_tried_on_few():
    first, few = (SMALL, LARGER), Budget(folds=5).on(0.1)
    light = Light(configs=(SMALL, LARGER), budget=few)
    assert on_all_rows(first, SMALL, light) == (LARGER,)
    assert on_all_rows(first, SMALL, None) == first
    assert on_all_rows(first, SMALL, Light(configs=(), budget=few)) == first
    assert on_all_rows(first, None, light) == first


@pytest.mark.parametrize(("n_train_rows", "seconds"), [(30_000, 600.0), (4_000, 60.0)])
def test_a_learner_that_may_be_slow_begins_with_all_rows_where_they_are_affordable(
    n_train_rows, seconds
):
    assert light_fraction(terms(n_train_rows=n_train_rows), seconds, quick=False) is None


@pytest.mark.parametrize(("seconds", "rows"), [(5.0, 500), (60.0, 2_000)])
def test_a_learner_that_may_be_slow_begins_with_fewer(seconds, rows):
    found = light_fraction(terms(n_train_rows=500_000), seconds, quick=False)
    assert found == pytest.approx(rows / 500_000)


def test_a_light_trial_is_far_smaller_than_a_full_one_of_a_capped_table():
    capped = Budget(folds=5, sample_fraction=0.02)
    assert light_fraction(terms(n_train_rows=500_000, budget=capped), 3.0) is None
    found = light_fraction(terms(n_train_rows=500_000, budget=capped), 0.6)
    assert found == pytest.approx(FEWEST_FIRST_ROWS / 500_000)


def test_a_light_model_has_no_more_rows_than_a_fold():
    assert light_fraction(terms(n_train_rows=40_000), 4.5) == 0.25


@pytest.mark.parametrize(("folds", "models"), [(2, 2), (3, 2), (5, 3), (10, 3)])
def test_a_light_trial_trains_fewer_models_than_there_are_folds(folds, models):
    allowed = terms(n_train_rows=500_000, budget=Budget(folds=folds))
    light = LightStart(Flat(allowed), Light(configs=(SMALL,), budget=allowed.budget.on(0.01)))
    assert light.next_trial(Asking(), number=0, seconds_left=2.0).budget.folds == models


def test_baseline_and_small_candidate_come_first_on_few_rows():
    found, inner, next_config = trials(terms(n_train_rows=500_000), 0.01)
    assert [trial.budget.sample_fraction for trial in found] == [0.01, 0.01, 1.0, 1.0]
    assert found[1].config == SMALL
    # The strategy is asked for the baseline, and then goes on as if nothing had been.
    assert next_config == 3
    assert inner.heard == [0, 2, 3]


def test_a_second_candidate_follows_on_as_few_rows_where_the_first_one_was_fast():
    found, inner, next_config = trials(terms(n_train_rows=500_000), 0.01, (SMALL, LARGER))
    assert [trial.budget.sample_fraction for trial in found] == [0.01, 0.01, 0.01, 1.0]
    assert [trial.config for trial in found[1:3]] == [SMALL, LARGER]
    assert next_config == 2
    assert inner.heard == [0, 3]


def test_a_second_candidate_stays_away_where_the_first_one_took_its_time():
    found, inner, _ = trials(terms(n_train_rows=500_000), 0.01, (SMALL, LARGER), seconds=0.8)
    assert [trial.budget.sample_fraction for trial in found] == [0.01, 0.01, 1.0, 1.0]
    assert LARGER not in [trial.config for trial in found]
    assert inner.heard == [0, 2, 3]


def test_a_second_candidate_stays_away_where_it_is_unknown_how_fast_the_first_one_is():
    allowed, ask = terms(n_train_rows=500_000), Asking()
    few = allowed.budget.on(0.01)
    light = LightStart(Flat(allowed), Light(configs=(SMALL, LARGER), budget=few))
    for number in range(2):
        assert light.next_trial(ask, number=number, seconds_left=9.0).budget == few
    assert light.next_trial(ask, number=2, seconds_left=9.0).budget == allowed.budget


def test_without_a_small_candidate_only_the_baseline_is_light():
    found, inner, next_config = trials(terms(n_train_rows=500_000), 0.01, configs=())
    assert [trial.budget.sample_fraction < 1.0 for trial in found] == [True, False, False, False]
    assert next_config == 4
    assert inner.heard == [0, 1, 2, 3]


def test_a_strategy_that_is_done_ends_the_light_start():
    allowed = terms(n_train_rows=500_000)
    light = LightStart(Flat(allowed), Light(configs=(SMALL,), budget=allowed.budget.on(0.1)))
    assert light.next_trial(Asking(limit=0), number=0, seconds_left=2.0) is None


@pytest.mark.parametrize("began", [Budget(folds=5, sample_fraction=0.1), Budget(folds=5).on(0.1)])
def test_a_resumed_run_begins_with_as_many_models_and_rows_as_then(began):
    full = Budget(folds=5)
    planned = Light(configs=(SMALL, LARGER), budget=full.on(0.2))
    past = {0: Trial(number=0, config=Config(learner="prior"), budget=began)}
    assert begun_with(planned, full, past) == replace(planned, budget=began)
    past[0] = Trial(number=0, config=Config(learner="prior"), budget=full)
    assert begun_with(planned, full, past) is None
    assert begun_with(planned, full, {}) == planned


def test_a_resumed_run_begins_with_the_candidates_of_then():
    full, other = Budget(folds=5), Config(learner="other")
    few = full.on(0.1)
    planned = Light(configs=(SMALL, LARGER), budget=full.on(0.2))
    past = {
        number: Trial(number=number, config=config, budget=few)
        for number, config in enumerate((Config(learner="prior"), other))
    }
    assert begun_with(planned, full, past).configs == (other, LARGER)
    past[2] = Trial(number=2, config=LARGER, budget=full)
    assert begun_with(planned, full, past).configs == (other,)
    past[1] = past[2]
    assert begun_with(planned, full, past).configs == ()
    assert begun_with(None, full, {0: past[0]}).configs == ()


def test_an_allocator_that_tries_the_baseline_on_few_rows_began_with_no_light_start():
    few = Budget(folds=5).on(0.25)
    past = {0: Trial(number=0, config=Config(learner="prior"), budget=few)}
    assert begun_with(None, few, past) is None
    planned = Light(configs=(SMALL,), budget=few)
    assert begun_with(planned, few, past) == planned
