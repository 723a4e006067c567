from collections import Counter

import optuna
from strategy_cases import (
    PORTFOLIO,
    SPACE,
    TOY,
    all_first_then_space,
    lies_in,
    mean_regret,
    scored,
    toy_scored,
)

from fairautoml.records import Config
from fairautoml.search.space import coordinates
from fairautoml.search.strategies.optuna_nsga2 import POPULATION, OptunaNSGA2


def test_the_portfolio_comes_first_and_the_rest_lies_in_the_space():
    later = all_first_then_space("optuna_nsga2")
    assert later
    assert all(lies_in(SPACE, config) for config in later)
    assert later == all_first_then_space("optuna_nsga2")


def test_some_generations_come_nearer_to_a_constrained_optimum_than_random_search():
    nsga2, random = (mean_regret(name, 10, 150) for name in ("optuna_nsga2", "random"))
    assert nsga2 < 0.9 * random


def test_every_trial_has_every_gene_also_those_that_rest():
    strategy = OptunaNSGA2(SPACE, 0, PORTFOLIO)
    for _ in range(5):
        strategy.tell(scored(strategy.ask()))
    genes = set(coordinates(SPACE))
    assert all(set(trial.params) == genes for trial in strategy._study.trials)


def test_later_generations_inherit_values_of_conditional_parameters():
    strategy = OptunaNSGA2(TOY, 0, ())
    seen = Counter()
    for _ in range(4 * POPULATION):
        config = strategy.ask()
        if "rate" in config.params:
            seen[config.params["rate"]] += 1
        strategy.tell(toy_scored(config))
    assert max(seen.values()) > 1


def test_children_of_a_parent_at_the_upper_bounds_have_plain_values():
    highest = Config(
        learner="linear",
        params={"c": 1e4},
        mitigation="reweighing",
        mitigation_params={"strength": 1.0},
    )
    strategy = OptunaNSGA2(SPACE, 0, (highest,) * POPULATION)
    for _ in range(4 * POPULATION):
        config = strategy.ask()
        assert lies_in(SPACE, config)
        strategy.tell(scored(config))


def test_constraints_are_reported_to_optuna():
    strategy = OptunaNSGA2(SPACE, 0, ())
    strategy.tell(scored(strategy.ask(), value=0.9, violations=(0.2, -0.1)))
    strategy.tell(scored(strategy.ask(), value=0.7, violations=(-0.2, -0.1)))
    assert [trial.values[0] for trial in strategy._study.best_trials] == [0.7]
    assert all(trial.state is optuna.trial.TrialState.COMPLETE for trial in strategy._study.trials)
