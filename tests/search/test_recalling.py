import random

import pytest
from strategy_cases import PORTFOLIO, SPACE, failed, scored

from fairautoml.records import Config, TrialState
from fairautoml.search.loop import Recalling, RecallingStrategy, WithoutRepeats
from fairautoml.search.strategies import STRATEGIES, _parzen

RECALLERS = ("optuna_motpe", "optuna_tpe")
"""Strategies whose proposals are too dear to be made twice."""

OPEN = 5
"""Proposals without a result at any time."""


def result_of(config):
    """A third are no success; the rest is good or fair, as its key wants it."""
    chance = int(config.key, 16) % 1000 / 1000
    if chance < 0.15:
        return failed(config)
    if chance < 0.3:
        return failed(config, TrialState.PRUNED)
    far = float("inf") if chance > 0.9 else -0.1
    return scored(config, value=chance, violations=(0.5 - chance, far))


def search(name, n_asks, known=(), seed=3):
    """Proposals and what was recorded of them; results come late and out of order."""
    order = random.Random(seed)
    recalling = Recalling(STRATEGIES.get(name)(SPACE, seed, PORTFOLIO), dict(known))
    strategy = WithoutRepeats(recalling)
    sampled, waiting = [], []
    while len(sampled) < n_asks:
        if not waiting or (len(waiting) < OPEN and order.random() < 0.5):
            sampled.append(strategy.ask())
            waiting.append(sampled[-1])
        else:
            strategy.tell(result_of(waiting.pop(order.randrange(len(waiting)))))
    return [config.key for config in sampled], list(recalling.take().items())


@pytest.fixture(scope="module", params=RECALLERS)
def whole(request):
    """A search that never stopped and forgot some results on its way."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(_parzen, "MOST_REMEMBERED", 30)
        patch.setattr(_parzen, "KEPT_OF_EACH", 10)
        sampled, record = search(request.param, 90)
        yield request.param, sampled, record


@pytest.fixture
def no_draws(monkeypatch):
    """Count the draws of Optuna."""
    drawn = []
    sample = _parzen.AllocatorState.sample
    monkeypatch.setattr(
        _parzen.AllocatorState,
        "sample",
        lambda self, seed: drawn.append(seed) or sample(self, seed),
    )
    return drawn


@pytest.mark.parametrize("cut", [1, 2, 30, 75])
def test_after_a_cut_the_search_proposes_what_it_would_have_proposed(whole, cut):
    name, sampled, record = whole
    again, new = search(name, len(sampled), record[:cut])
    assert again == sampled
    assert new == record[cut:]


def test_gaps_in_the_record_are_filled_by_the_same_proposals(whole):
    name, sampled, record = whole
    gaps = [record[at] for at in range(len(record)) if at % 7 != 5]
    again, new = search(name, len(sampled), gaps)
    assert again == sampled
    assert dict(new) == dict(record[5::7])


def test_a_recorded_search_is_repeated_without_a_draw(whole, no_draws):
    name, sampled, record = whole
    assert search(name, len(sampled), record) == (sampled, [])
    assert no_draws == []


def test_a_search_that_sees_other_results_is_asked_from_then_on(no_draws):
    _, record = search("optuna_tpe", 20)
    del no_draws[:]
    recalling = Recalling(STRATEGIES.get("optuna_tpe")(SPACE, 3, PORTFOLIO), dict(record))
    recalling.tell(scored(recalling.ask(), value=0.123))
    for _ in PORTFOLIO:
        recalling.ask()
    assert len(no_draws) > 0
    assert len(recalling.take()) == len(PORTFOLIO)


def test_seconds_do_not_count_as_another_history():
    record = {}
    for seconds in (1.0, 2.0):
        recalling = Recalling(STRATEGIES.get("optuna_tpe")(SPACE, 3, PORTFOLIO), {})
        recalling.tell(scored(recalling.ask(), seconds=seconds))
        recalling.ask()
        record[seconds] = recalling.take()
    assert record[1.0] == record[2.0]


def test_a_proposal_is_recorded_once():
    recalling = Recalling(STRATEGIES.get("optuna_tpe")(SPACE, 3, PORTFOLIO), {})
    recalling.ask()
    assert list(recalling.take().values()) == [PORTFOLIO[0]]
    assert recalling.take() == {}


def test_a_strategy_that_is_cheap_to_ask_is_asked_and_nothing_is_recorded():
    recalling = Recalling(STRATEGIES.get("random")(SPACE, 3, ()), {})
    plain = STRATEGIES.get("random")(SPACE, 3, ())
    for _ in range(5):
        config = recalling.ask()
        recalling.tell(scored(config))
        assert config == plain.ask()
    assert recalling.take() == {}


def test_a_strategy_with_nothing_to_propose_is_passed_on():
    class Silent:
        def ask(self):
            return None

        def tell(self, scored):
            pass

        def recall(self, config):
            pass

    recalling = Recalling(Silent(), {})
    assert recalling.ask() is None
    assert recalling.take() == {}


def test_the_strategies_over_the_parzen_estimator_are_the_ones_that_recall():
    made = {name: STRATEGIES.get(name)(SPACE, 0, ()) for name in STRATEGIES.names()}
    assert sorted(name for name in made if isinstance(made[name], RecallingStrategy)) == list(
        RECALLERS
    )


def test_what_a_first_candidate_leaves_open_is_drawn():
    part = Config(learner="linear")
    one, other = (STRATEGIES.get("optuna_tpe")(SPACE, seed, (part,)).ask() for seed in (1, 2))
    assert one.learner == other.learner == "linear"
    assert 1e-4 <= one.params["c"] <= 1e4
    assert one.params != other.params
