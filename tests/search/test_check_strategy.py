import pytest

from fairautoml.records import Config, TrialState
from fairautoml.search.strategies.random import RandomSearch
from fairautoml.testing import check_strategy


class Outside(RandomSearch):
    def ask(self):
        config = super().ask()
        return Config(learner=config.learner, params={**config.params, "more": 1})


class Shy(RandomSearch):
    def __init__(self, space, seed, first):
        super().__init__(space, seed, ())


class Moody(RandomSearch):
    made = 0

    def __init__(self, space, seed, first):
        type(self).made += 1
        super().__init__(space, seed + self.made, first)


class Silent(RandomSearch):
    def ask(self):
        return None


class Fragile(RandomSearch):
    def tell(self, reported):
        if reported.status is not TrialState.SUCCESS:
            raise KeyError("no value")


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (Outside, "is not sampled first"),
        (Shy, "is not sampled first"),
        (Moody, "the same seed and results give different configurations"),
        (Silent, "ask returns None though no result is pending"),
    ],
)
def test_a_strategy_that_breaks_the_contract_is_found_out(make, reason):
    with pytest.raises(AssertionError, match=reason):
        check_strategy(make)


def test_a_proposal_outside_the_space_is_found_out():
    class Later(RandomSearch):
        def ask(self):
            if self._waiting:
                return super().ask()
            return Config(learner="unheard_of")

    with pytest.raises(AssertionError, match=r"unheard_of.*lies outside the space"):
        check_strategy(Later)


def test_a_strategy_that_breaks_on_a_failed_trial_is_found_out():
    with pytest.raises(KeyError, match="no value"):
        check_strategy(Fragile)
