import pytest

from fairautoml.search.strategies import STRATEGIES
from fairautoml.testing import check_strategy


@pytest.mark.parametrize("name", STRATEGIES.names())
def test_every_strategy_keeps_the_contract(name):
    check_strategy(STRATEGIES.get(name))


def test_random_and_optuna_are_listed():
    assert set(STRATEGIES.names()) >= {"optuna_tpe", "random"}
