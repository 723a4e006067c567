import logging

import numpy as np
import pytest
from strategy_cases import (
    LINEAR,
    PORTFOLIO,
    SPACE,
    TOY,
    TREES,
    all_first_then_space,
    failed,
    lies_in,
    mean_regret,
    scored,
    toy_scored,
)

from fairautoml.records import Config
from fairautoml.search.space import Choice, Integer, ParamSpace, Real, SearchSpace, coordinates
from fairautoml.search.strategies._flaml import coded, decoded
from fairautoml.search.strategies.cfo import STRATEGY


def test_the_portfolio_comes_first_and_the_rest_lies_in_the_space():
    later = all_first_then_space("cfo")
    assert later
    assert all(lies_in(SPACE, config) for config in later)
    assert later == all_first_then_space("cfo")


def test_it_comes_nearer_to_a_constrained_optimum_than_random_search():
    assert mean_regret("cfo") < 0.5 * mean_regret("random")


def test_a_learner_without_a_first_candidate_starts_at_its_defaults():
    strategy = STRATEGY(TOY, 0, (Config(learner="linear", params={"c": 3.0}),))
    strategy.ask()
    assert strategy.ask() == Config(learner="trees", params=TREES.defaults())


def test_the_local_search_waits_for_all_starts_and_begins_at_the_best():
    starts = [Config(learner="linear", params={"c": c}) for c in (1e-3, 10.0, 1e3)]
    only = SearchSpace(learners={"linear": LINEAR})
    strategy = STRATEGY(only, 0, starts)
    requested = [strategy.ask() for _ in starts]
    assert strategy.ask() is None
    for config, value in zip(requested, (0.2, 0.9, 0.3), strict=True):
        assert strategy.ask() is None
        strategy.tell(scored(config, value=value))
    near = [strategy.ask().params["c"] for _ in range(2)]
    assert all(0.5 < c < 200 for c in near)


def test_seconds_do_not_change_what_is_proposed():
    def proposals(seconds):
        strategy, found = STRATEGY(TOY, 4, ()), []
        for turn in range(40):
            config = strategy.ask()
            found.append(config)
            toy = toy_scored(config)
            strategy.tell(
                scored(config, toy.value, toy.violations, seconds=seconds * (1 + turn % 3))
            )
        return found

    assert proposals(0.1) == proposals(7.0)


def test_the_search_continues_when_every_trial_fails():
    strategy = STRATEGY(SPACE, 0, PORTFOLIO)
    requested = []
    for _ in range(30):
        requested.append(strategy.ask())
        strategy.tell(failed(requested[-1]))
    assert all(lies_in(SPACE, config) for config in requested)
    assert len({config.key for config in requested}) > len(PORTFOLIO) + 2


def test_a_converged_search_begins_anew_and_reaches_other_learners():
    ranges = {"c": Real(low=0.0, high=1.0, default=0.5)}
    names = "abcd"
    space = SearchSpace(learners={n: ParamSpace(name=n, ranges=ranges) for n in names})
    strategy, found = STRATEGY(space, 0, ()), []
    for _ in range(150):
        config = strategy.ask()
        found.append(config.learner)
        value = 0.5 - 0.1 * names.index(config.learner) - abs(config.params["c"] - 0.3)
        strategy.tell(scored(config, value=value))
    assert set(found[len(names) :]) > {"a"}


def test_a_first_candidate_outside_the_space_is_proposed_and_does_no_harm():
    strange = Config(learner="elsewhere", params={"depth": 3})
    strategy = STRATEGY(TOY, 0, (strange,))
    assert strategy.ask() == strange
    strategy.tell(scored(strange, value=0.99))
    for _ in range(10):
        config = strategy.ask()
        assert lies_in(TOY, config)
        strategy.tell(toy_scored(config))


def test_a_result_that_was_not_requested_changes_nothing():
    one, other = STRATEGY(TOY, 0, ()), STRATEGY(TOY, 0, ())
    other.tell(scored(PORTFOLIO[1]))
    for _ in range(10):
        config = one.ask()
        assert other.ask() == config
        one.tell(toy_scored(config))
        other.tell(toy_scored(config))


def test_a_space_without_parameters_is_asked_again_and_again():
    only = SearchSpace(learners={"fixed": SPACE.learners["fixed"]})
    strategy = STRATEGY(only, 0, ())
    for _ in range(4):
        config = strategy.ask()
        assert config.learner == "fixed"
        strategy.tell(scored(config))


def test_the_largest_seed_is_taken():
    assert lies_in(TOY, STRATEGY(TOY, 2**32 - 1, ()).ask())


def test_nothing_is_printed_and_no_global_state_is_touched(capsys):
    before, handlers = np.random.get_state()[1].copy(), logging.root.handlers[:]  # noqa: NPY002
    strategy = STRATEGY(TOY, 0, ())
    for _ in range(20):
        strategy.tell(toy_scored(strategy.ask()))
    assert (np.random.get_state()[1] == before).all()  # noqa: NPY002
    assert logging.root.handlers == handlers
    assert capsys.readouterr() == ("", "")


def test_a_candidate_is_read_back_from_its_coordinates():
    strategy = STRATEGY(SPACE, 0, ())
    for config in PORTFOLIO:
        point = strategy._point(config.flat())
        assert set(point) == set(coordinates(SPACE))
        assert strategy._read(point) == config


@pytest.mark.parametrize(
    ("allowed", "number", "value"),
    [
        (Real(low=0.1, high=0.3, default=0.2), np.float64(0.3000000001), 0.3),
        (Real(low=0.1, high=0.3, default=0.2, log=True), 0.0999999, 0.1),
        (Integer(low=2, high=9, default=3), np.int64(10), 9),
        (Integer(low=2, high=9, default=3, log=True), 4.0, 4),
        (Choice(values=(1, 1.0, True), default=True), np.int64(2), True),
    ],
)
def test_a_number_becomes_a_plain_value_of_the_range(allowed, number, value):
    found = decoded(allowed, number)
    assert type(found) is type(value)
    assert found == value
    assert allowed.contains(found)


def test_values_that_are_equal_but_of_other_type_have_codes_of_their_own():
    mixed = Choice(values=(1, 1.0, True), default=1)
    assert [coded(mixed, value) for value in mixed.values] == [0, 1, 2]
