import numpy as np
from strategy_cases import TOY

from fairautoml.records import Fidelity, Trial, TrialResult, TrialState
from fairautoml.search.strategies import STRATEGIES


def proposals(name, violation):
    strategy, found = STRATEGIES.get(name)(TOY, 0, ()), []
    for number in range(40):
        config = strategy.ask()
        found.append(config)
        digit = int(config.key[:4], 16)
        strategy.tell(
            TrialResult(
                trial=Trial(number=number, config=config, fidelity=Fidelity()),
                status=TrialState.SUCCESS,
                value=digit / 0xFFFF,
                violations=(violation(digit),),
                limits=(0.05,),
                seconds=1.0,
            )
        )
    return [config.key for config in found]


def test_the_unconstrained_form_is_deaf_to_gaps_and_the_other_is_not():
    tight, loose = (lambda digit: digit % 7 / 10), (lambda _: -0.05)
    assert proposals("admm_unconstrained", tight) == proposals("admm_unconstrained", loose)
    assert proposals("admm", tight) != proposals("admm", loose)


def test_without_a_gap_to_mind_both_forms_are_one():
    keys = proposals("admm", lambda _: -0.05)
    assert keys == proposals("admm_unconstrained", lambda _: -0.05)


def test_an_unknown_gap_is_no_failure_to_the_unconstrained_form():
    keys = proposals("admm_unconstrained", lambda _: np.inf)
    assert keys == proposals("admm_unconstrained", lambda _: -0.05)
