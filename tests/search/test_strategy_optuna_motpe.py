import math

import optuna
import pytest
from strategy_cases import (
    SPACE,
    TOY,
    all_first_then_space,
    failed,
    lies_in,
    mean_regret,
    scored,
    study_of,
)

from fairautoml.records import TrialState
from fairautoml.search.space import SearchSpace
from fairautoml.search.strategies._optuna import PENALTY, bounded, penalised_loss
from fairautoml.search.strategies.optuna_motpe import STRATEGY


def test_the_portfolio_comes_first_and_the_rest_lies_in_the_space():
    later = all_first_then_space("optuna_motpe")
    assert later
    assert all(lies_in(SPACE, config) for config in later)
    assert later == all_first_then_space("optuna_motpe")


def test_it_comes_nearer_to_a_constrained_optimum_than_random_search():
    assert mean_regret("optuna_motpe") < 0.8 * mean_regret("random")


def test_value_and_worst_violation_are_the_objectives_and_every_constraint_is_reported():
    strategy = STRATEGY(SPACE, 0, ())
    strategy.tell(scored(strategy.ask(), value=0.75, violations=(-0.5, 1.0)))
    (trial,) = study_of(strategy).get_trials(states=(optuna.trial.TrialState.COMPLETE,))
    assert trial.values == [0.75, 0.5]
    assert trial.constraints == {"constraint_0": -0.5, "constraint_1": 1.0}
    assert study_of(strategy).directions == [
        optuna.study.StudyDirection.MAXIMIZE,
        optuna.study.StudyDirection.MINIMIZE,
    ]


def test_a_failed_trial_and_an_unknown_gap_are_infeasible():
    strategy = STRATEGY(TOY, 0, ())
    for status in (TrialState.FAILED, TrialState.PRUNED):
        strategy.tell(failed(strategy.ask(), status))
    strategy.tell(scored(strategy.ask(), value=0.9, violations=(math.inf,)))
    strategy.tell(scored(strategy.ask(), value=0.7, violations=(-0.01,)))
    complete = study_of(strategy).get_trials(states=(optuna.trial.TrialState.COMPLETE,))
    assert len(complete) == 4
    assert [trial.constraints["constraint_0"] for trial in complete] == [math.inf] * 3 + [-0.01]
    assert [trial.values[0] for trial in study_of(strategy).best_trials] == [0.7]


def test_without_constraints_a_failed_trial_is_infeasible_all_the_same():
    strategy = STRATEGY(TOY, 0, ())
    lost = scored(strategy.ask(), value=None, violations=(), status=TrialState.FAILED)
    strategy.tell(lost)
    strategy.tell(scored(strategy.ask(), value=-3.0, violations=()))
    assert [trial.values[0] for trial in study_of(strategy).best_trials] == [-3.0]


def test_a_search_without_constraints_has_a_constant_second_objective():
    strategy = STRATEGY(TOY, 0, ())
    for value in (0.5, 0.6):
        strategy.tell(scored(strategy.ask(), value=value, violations=()))
    complete = study_of(strategy).get_trials(states=(optuna.trial.TrialState.COMPLETE,))
    assert [trial.values for trial in complete] == [[0.5, -1.0], [0.6, -1.0]]


@pytest.mark.parametrize(
    ("violation", "expected"), [(0.0, 0.0), (1.0, 0.5), (-1.0, -0.5), (math.inf, 1.0)]
)
def test_a_violation_is_squeezed_into_one_unit(violation, expected):
    assert bounded(violation) == expected


def test_a_larger_violation_is_a_larger_loss_and_infinity_is_the_largest():
    config = STRATEGY(TOY, 0, ()).ask()
    losses = [
        penalised_loss(scored(config, value=0.8, violations=(violation,)))
        for violation in (-0.1, 0.0, 0.01, 0.1, 10.0, math.inf)
    ]
    assert losses[0] == losses[1] == pytest.approx(0.2)
    assert losses[1:] == sorted(losses[1:])
    assert losses[-1] == pytest.approx(0.2 + PENALTY)


def test_among_candidates_that_miss_the_limit_equally_the_better_value_has_the_smaller_loss():
    config = STRATEGY(TOY, 0, ()).ask()
    low, high = (scored(config, value=v, violations=(math.inf,)) for v in (0.6, 0.7))
    assert penalised_loss(high) < penalised_loss(low)


@pytest.mark.parametrize("unit", [1.0, 1e5, 1e9])
def test_a_missed_limit_outweighs_a_slightly_smaller_error_in_any_unit_of_the_target(unit):
    config = STRATEGY(TOY, 0, ()).ask()
    missed, met = (
        scored(config, value=-error * unit, violations=(violation * unit,))
        for error, violation in ((0.5, 0.09), (0.501, -0.0005))
    )
    assert penalised_loss(missed) > penalised_loss(met)


@pytest.mark.parametrize("value", [None, math.nan, -math.inf])
def test_a_trial_without_a_finite_value_has_no_loss(value):
    config = STRATEGY(TOY, 0, ()).ask()
    assert penalised_loss(scored(config, value=value)) is None


def test_a_trial_that_did_not_succeed_has_no_loss():
    config = STRATEGY(TOY, 0, ()).ask()
    assert penalised_loss(scored(config, value=0.8, status=TrialState.TIMEOUT)) is None


def test_a_space_with_one_candidate_is_asked_again_and_again():
    only = SearchSpace(learners={"fixed": SPACE.learners["fixed"]})
    strategy = STRATEGY(only, 0, ())
    assert {strategy.ask().learner for _ in range(4)} == {"fixed"}
