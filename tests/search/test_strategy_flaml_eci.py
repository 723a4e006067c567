from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st
from strategy_cases import (
    PORTFOLIO,
    SPACE,
    all_first_then_space,
    failed,
    lies_in,
    mean_regret,
    scored,
)

from fairautoml.records import Config
from fairautoml.search.space import ParamSpace, Real, SearchSpace
from fairautoml.search.strategies.flaml_eci import (
    LEAST,
    CostRecord,
    FlamlECI,
    booked,
    cost_of_first,
    cost_of_improvement,
    shares,
)

KNOWN = CostRecord(
    total=100.0,
    at_best=80.0,
    at_best_before=30.0,
    best=0.2,
    best_before=0.21,
    seconds_of_best=3.0,
    fraction=1 / 8,
)


def space_of(*names):
    ranges = {"c": Real(low=0.0, high=1.0, default=0.5)}
    return SearchSpace(learners={n: ParamSpace(name=n, ranges=ranges) for n in names})


@pytest.mark.parametrize(("gap", "expected"), [(0.0, 12.0), (0.02, 280.0)])
def test_the_known_answers_of_the_specification(gap, expected):
    assert cost_of_improvement(KNOWN, KNOWN.best - gap) == pytest.approx(expected)


def test_two_learners_are_drawn_in_inverse_proportion_to_their_cost():
    found = shares({"behind": 280.0, "ahead": 12.0})
    assert found["behind"] == pytest.approx(0.0411, abs=5e-5)
    assert found["ahead"] == pytest.approx(0.9589, abs=5e-5)


def test_on_all_rows_the_cost_is_the_longer_of_the_two_waits():
    account = CostRecord(total=100.0, at_best=80.0, at_best_before=30.0, best=0.2, best_before=0.3)
    assert cost_of_improvement(account, 0.2) == 50.0
    waiting = CostRecord(total=200.0, at_best=80.0, at_best_before=30.0, best=0.2, best_before=0.3)
    assert cost_of_improvement(waiting, 0.2) == 120.0


def test_more_rows_count_no_further_than_all_of_them():
    half = CostRecord(
        total=100.0, at_best=80.0, best=0.2, best_before=0.4, seconds_of_best=3.0, fraction=0.5
    )
    assert cost_of_improvement(half, 0.2) == 6.0


def test_the_first_result_counts_as_a_halving_of_the_loss():
    account = booked(CostRecord(), 0.3, 2.0, 1.0)
    assert (account.best, account.best_before, account.total) == (0.3, 0.6, 2.0)
    assert cost_of_improvement(account, 0.3) == 2.0
    assert cost_of_improvement(account, 0.0) == pytest.approx(2 * 0.3 / (0.3 / 2.0))


def test_the_account_moves_its_marks_only_when_the_best_gets_better():
    account = booked(booked(CostRecord(), 0.3, 2.0, 1.0), 0.35, 3.0, 1.0)
    assert (account.total, account.at_best, account.at_best_before) == (5.0, 2.0, 0.0)
    account = booked(account, 0.25, 1.0, 0.5)
    assert (account.total, account.at_best, account.at_best_before) == (6.0, 6.0, 2.0)
    assert (account.best, account.best_before) == (0.25, 0.3)
    assert (account.seconds_of_best, account.fraction) == (1.0, 0.5)


def test_a_failure_costs_its_seconds_and_is_not_a_try():
    account = booked(CostRecord(), None, 4.0, 1.0)
    assert (account.total, account.failures, account.tried) == (4.0, 1, False)
    later = booked(booked(account, 0.3, 1.0, 1.0), None, 1.0, 1.0)
    assert (later.total, later.failures, later.tried) == (6.0, 1, True)


def test_a_cost_of_nothing_is_not_divided_by():
    free = booked(CostRecord(), 0.3, 0.0, 1.0)
    assert cost_of_improvement(free, 0.3) == LEAST
    assert cost_of_improvement(booked(CostRecord(), 0.0, 0.0, 1.0), -1.0) == LEAST


@pytest.mark.parametrize(
    ("learner", "reference", "failures", "expected"),
    [
        ("lightgbm", "lightgbm", 0, 2.0),
        ("xgboost", "lightgbm", 0, 3.2),
        ("catboost", "random_forest", 0, 15.0),
        ("unheard_of", "lightgbm", 0, 2.0),
        ("xgboost", "lightgbm", 3, 25.6),
    ],
)
def test_an_untried_learner_costs_as_much_more_as_flaml_says(
    learner, reference, failures, expected
):
    assert cost_of_first(learner, reference, 2.0, failures) == pytest.approx(expected)


def test_a_learner_that_gains_next_to_nothing_keeps_a_chance():
    stuck = CostRecord(total=10.0, at_best=10.0, best=0.5, best_before=0.5 + 1e-16)
    tiny = CostRecord(total=1e300, at_best=1.0, best=5e-300, best_before=1e-299)
    costs = {"stuck": cost_of_improvement(stuck, 0.0), "tiny": cost_of_improvement(tiny, -1.0)}
    assert sum(shares(costs).values()) == pytest.approx(1.0)


@given(
    st.lists(
        st.tuples(st.none() | st.floats(0, 20), st.floats(1e-3, 1e4), st.floats(0.01, 1)),
        min_size=1,
    ),
    st.floats(0, 1),
)
def test_the_cost_of_any_history_is_positive_and_grows_with_the_gap(history, gap):
    account = CostRecord()
    for loss, seconds, fraction in history:
        account = booked(account, loss, seconds, fraction)
    if account.tried:
        level = cost_of_improvement(account, account.best)
        assert 0 < level <= cost_of_improvement(account, account.best - gap)


def test_the_portfolio_comes_first_and_the_rest_lies_in_the_space():
    later = all_first_then_space("flaml_eci")
    assert later
    assert all(lies_in(SPACE, config) for config in later)
    assert later == all_first_then_space("flaml_eci")


def test_it_comes_nearer_to_a_constrained_optimum_than_random_search():
    assert mean_regret("flaml_eci") < 0.5 * mean_regret("random")


def test_cheap_learners_enter_first():
    names = ("lightgbm", "logistic_regression", "catboost", "xgboost")
    strategy, entered = FlamlECI(space_of(*names), 0, ()), []
    for turn in range(200):
        config = strategy.ask()
        if config.learner not in entered:
            entered.append(config.learner)
        strategy.tell(scored(config, value=0.5 + 0.3 / (1 + turn % 50), seconds=1.0))
    assert entered == ["lightgbm", "xgboost", "catboost", "logistic_regression"]


def test_the_learner_that_improves_gets_more_trials_than_the_one_that_is_behind():
    strategy, seen = FlamlECI(space_of("lightgbm", "xgboost"), 0, ()), Counter()
    for _ in range(80):
        config = strategy.ask()
        seen[config.learner] += 1
        good = config.learner == "xgboost"
        value = (0.9 if good else 0.4) - abs(config.params["c"] - 0.2) / 10
        strategy.tell(scored(config, value=value, seconds=1.0))
    assert seen["xgboost"] > 3 * seen["lightgbm"]


def test_nothing_is_begun_in_parallel_before_the_first_cost_is_known():
    strategy = FlamlECI(space_of("lightgbm", "catboost"), 0, ())
    first = strategy.ask()
    assert strategy.ask() is None
    strategy.tell(failed(first))
    assert strategy.ask().learner == "catboost"


def test_a_learner_that_only_fails_does_not_hold_up_the_others():
    strategy, seen = FlamlECI(space_of("lightgbm", "xgboost"), 0, ()), Counter()
    for _ in range(40):
        config = strategy.ask()
        seen[config.learner] += 1
        broken = config.learner == "lightgbm"
        strategy.tell(failed(config) if broken else scored(config, value=0.7, seconds=0.1))
    assert seen["xgboost"] > seen["lightgbm"] > 1


def test_a_first_candidate_of_an_unknown_learner_is_proposed_and_does_no_harm():
    strange = Config(learner="elsewhere", params={"depth": 3})
    strategy = FlamlECI(SPACE, 0, (strange, *PORTFOLIO))
    assert strategy.ask() == strange
    strategy.tell(scored(strange))
    assert strategy.ask() == PORTFOLIO[0]


def test_a_result_that_was_not_requested_changes_nothing():
    strategy = FlamlECI(SPACE, 0, ())
    strategy.tell(scored(PORTFOLIO[0]))
    assert set(strategy._accounts.values()) == {CostRecord()}


def test_a_full_trial_on_a_part_of_a_large_table_is_one_on_all_rows():
    strategy = FlamlECI(space_of("one"), 0, [])
    for loss in (0.3, 0.35):
        config = strategy.ask()
        strategy.tell(scored(config, value=1 - loss, fraction=0.19))
    assert strategy._accounts["one"].fraction == 1.0


def test_a_trial_on_fewer_rows_than_another_one_could_have_more():
    strategy = FlamlECI(space_of("one"), 0, [])
    for value, fraction in ((0.7, 0.2), (0.8, 0.05)):
        strategy.tell(scored(strategy.ask(), value=value, fraction=fraction))
    assert strategy._accounts["one"].fraction == pytest.approx(0.25)
