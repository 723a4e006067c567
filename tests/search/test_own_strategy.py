import warnings

import numpy as np
import optuna
import pytest
from sklearn.base import clone
from strategy_cases import PORTFOLIO, SPACE, lies_in, mean_regret, mean_regret_of, scored

from fairautoml.exceptions import MissingExtraError, ParameterError
from fairautoml.search.strategies import _own
from fairautoml.search.strategies._own import own_strategy
from quick_fits import few_individuals, quick

with warnings.catch_warnings():
    warnings.filterwarnings("ignore", message="flaml.automl is not available")
    from flaml.tune.searcher.blendsearch import CFO


@pytest.mark.parametrize(
    "given",
    [
        optuna.samplers.TPESampler(seed=3),
        optuna.samplers.NSGAIISampler(population_size=8, seed=3),
        optuna.samplers.RandomSampler(seed=3),
        CFO(seed=3),
    ],
    ids=lambda given: type(given).__name__,
)
def test_it_proposes_the_portfolio_and_then_points_of_the_space(given):
    def proposals():
        strategy = own_strategy(given)(SPACE, 0, PORTFOLIO)
        found = []
        while len(found) < 20:
            config = strategy.ask()
            found.append(config)
            strategy.tell(scored(config, len(found)))
        return found

    found = proposals()
    assert tuple(found[: len(PORTFOLIO)]) == PORTFOLIO
    assert all(lies_in(SPACE, config) for config in found[len(PORTFOLIO) :])
    assert found == proposals()


def test_an_own_sampler_learns_from_the_results():
    def make(space, seed, first):
        sampler = optuna.samplers.TPESampler(seed=seed, multivariate=True)
        return own_strategy(sampler)(space, seed, first)

    assert mean_regret_of(make) < 0.7 * mean_regret("random")


def test_a_fit_with_an_own_sampler_is_named_after_it_and_repeatable():
    model = quick(strategy=optuna.samplers.TPESampler(seed=0), n_trials=4)
    X, y, group = few_individuals()
    first, second = model.fit(X, y, group), clone(model).fit(X, y, group)
    assert first.summary_["strategy"] == "TPESampler"
    assert np.array_equal(first.predict(X, group), second.predict(X, group))


@pytest.mark.parametrize("given", [3, None, optuna.samplers.TPESampler, object()])
def test_anything_else_is_refused_with_the_ways_out(given):
    X, y, group = few_individuals()
    with pytest.raises(ParameterError, match=r"strategy=.*one of admm.*sampler.*searcher"):
        quick(strategy=given).fit(X, y, group)


def test_a_sampler_whose_package_is_missing_is_refused_before_the_search(monkeypatch):
    monkeypatch.setattr(_own, "find_spec", lambda name: None)
    X, y, group = few_individuals()
    with pytest.raises(MissingExtraError, match="GPSampler needs torch; pip install torch"):
        quick(strategy=optuna.samplers.GPSampler(seed=0)).fit(X, y, group)
