import pytest
from allocator_cases import Asking, terms, told

from fairautoml.allocation.flat import Flat
from fairautoml.search.light_start import (
    FEWEST_ROWS,
    Light,
    LightStart,
    begun_with,
    light_fraction,
)
from fairautoml.trials import Budget, Candidate, Trial

SMALL = Candidate(learner="small")


class Listening(Flat):
    def __init__(self, terms):
        super().__init__(terms)
        self.heard = []

    def record(self, told):
        self.heard.append(told.trial.number)


def trials(allowed, fraction, small=SMALL, n=4):
    """The first trials of a search, the allocator behind them, and how often it was asked."""
    inner, ask = Listening(allowed), Asking()
    light = LightStart(inner, Light(candidate=small, budget=allowed.budget.on(fraction)))
    found = []
    for number in range(n):
        found.append(light.next_trial(ask, number=number, seconds_left=2.0))
        light.record(told(found[-1]))
    return found, inner, ask.asked


@pytest.mark.parametrize(("n_train_rows", "seconds"), [(1_000, 1.0), (30_000, 20.0), (4_000, 0.5)])
def test_nothing_is_light_where_a_full_trial_is_affordable(n_train_rows, seconds):
    assert light_fraction(terms(n_train_rows=n_train_rows), seconds) is None


@pytest.mark.parametrize(("seconds", "rows"), [(0.1, FEWEST_ROWS), (3.0, 10_000), (9.0, 30_000)])
def test_a_short_budget_begins_with_as_many_rows_as_it_allows(seconds, rows):
    found = light_fraction(terms(n_train_rows=500_000), seconds)
    assert found == pytest.approx(rows / 500_000)


@pytest.mark.parametrize(("seconds", "rows"), [(5.0, 500), (60.0, 2_000)])
def test_a_learner_that_may_be_slow_begins_with_fewer(seconds, rows):
    found = light_fraction(terms(n_train_rows=500_000), seconds, quick=False)
    assert found == pytest.approx(rows / 500_000)


def test_a_light_trial_is_far_smaller_than_a_full_one_of_a_capped_table():
    capped = Budget(folds=5, sample_fraction=0.02)
    assert light_fraction(terms(n_train_rows=500_000, budget=capped), 3.0) is None
    found = light_fraction(terms(n_train_rows=500_000, budget=capped), 0.6)
    assert found == pytest.approx(FEWEST_ROWS / 500_000)


def test_a_light_model_has_no_more_rows_than_a_fold():
    assert light_fraction(terms(n_train_rows=40_000), 4.5) == 0.25


@pytest.mark.parametrize(("folds", "models"), [(2, 2), (3, 2), (5, 3), (10, 3)])
def test_a_light_trial_trains_fewer_models_than_there_are_folds(folds, models):
    allowed = terms(n_train_rows=500_000, budget=Budget(folds=folds))
    light = LightStart(Flat(allowed), Light(candidate=SMALL, budget=allowed.budget.on(0.01)))
    assert light.next_trial(Asking(), number=0, seconds_left=2.0).budget.folds == models


def test_baseline_and_small_candidate_come_first_on_few_rows():
    found, inner, asked = trials(terms(n_train_rows=500_000), 0.01)
    assert [trial.budget.sample_fraction for trial in found] == [0.01, 0.01, 1.0, 1.0]
    assert found[1].candidate == SMALL
    # The strategy is asked for the baseline, and then goes on as if nothing had been.
    assert asked == 3
    assert inner.heard == [2, 3]


def test_without_a_small_candidate_only_the_baseline_is_light():
    found, inner, asked = trials(terms(n_train_rows=500_000), 0.01, small=None)
    assert [trial.budget.sample_fraction < 1.0 for trial in found] == [True, False, False, False]
    assert asked == 4
    assert inner.heard == [1, 2, 3]


def test_a_strategy_that_is_done_ends_the_light_start():
    allowed = terms(n_train_rows=500_000)
    light = LightStart(Flat(allowed), Light(candidate=SMALL, budget=allowed.budget.on(0.1)))
    assert light.next_trial(Asking(limit=0), number=0, seconds_left=2.0) is None


@pytest.mark.parametrize("began", [Budget(folds=5, sample_fraction=0.1), Budget(folds=5).on(0.1)])
def test_a_run_that_goes_on_begins_with_as_many_models_and_rows_as_then(began):
    full = Budget(folds=5)
    planned = Light(candidate=SMALL, budget=full.on(0.2), here=True)
    past = {0: Trial(number=0, candidate=Candidate(learner="prior"), budget=began)}
    assert begun_with(planned, full, past) == Light(candidate=SMALL, budget=began, here=True)
    past[0] = Trial(number=0, candidate=Candidate(learner="prior"), budget=full)
    assert begun_with(planned, full, past) is None
    assert begun_with(planned, full, {}) == planned
