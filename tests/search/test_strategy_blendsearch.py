import optuna
from strategy_cases import (
    PORTFOLIO,
    SPACE,
    TOY,
    all_first_then_space,
    failed,
    lies_in,
    mean_regret,
    scored,
    toy_scored,
)

from fairautoml.search.space import ParamSpace, Real, SearchSpace
from fairautoml.search.strategies.blendsearch import STRATEGY


def test_the_portfolio_comes_first_and_the_rest_lies_in_the_space():
    later = all_first_then_space("blendsearch")
    assert later
    assert all(lies_in(SPACE, config) for config in later)
    assert later == all_first_then_space("blendsearch")


def test_it_comes_nearer_to_a_constrained_optimum_than_random_search():
    assert mean_regret("blendsearch") < 0.5 * mean_regret("random")


def test_the_global_search_is_asked_as_well_and_learns():
    line = ParamSpace(name="line", ranges={"x": Real(low=0.0, high=1.0, default=0.5)})
    strategy = STRATEGY(SearchSpace(learners={"line": line}), 0, ())
    for _ in range(60):
        config = strategy.ask()
        strategy.tell(scored(config, value=-abs(config.params["x"] - 0.52), seconds=5.0))
    study = strategy._searcher._gs._ot_study
    complete = study.get_trials(states=(optuna.trial.TrialState.COMPLETE,))
    assert complete
    assert all(0 <= trial.params["line.x"] <= 1 for trial in complete)


def test_the_search_continues_when_every_trial_fails():
    strategy = STRATEGY(SPACE, 0, PORTFOLIO)
    for _ in range(30):
        config = strategy.ask()
        assert lies_in(SPACE, config)
        strategy.tell(failed(config))


def test_nothing_is_printed_and_the_log_level_of_optuna_is_left_alone(capsys):
    level = optuna.logging.get_verbosity()
    strategy = STRATEGY(TOY, 0, ())
    for _ in range(20):
        strategy.tell(toy_scored(strategy.ask()))
    assert optuna.logging.get_verbosity() == level
    assert capsys.readouterr() == ("", "")
