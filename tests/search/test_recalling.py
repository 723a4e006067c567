import random
from dataclasses import replace

import pytest
from strategy_cases import PORTFOLIO, SPACE, failed, scored

from fairautoml.records import Config, TrialState
from fairautoml.search.loop import Proposals, RecallingStrategy
from fairautoml.search.strategies import STRATEGIES, _optuna

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


def search(name, n_asks, known=(), seed=3, space=SPACE):
    """Proposals and what was recorded of them; results come late and out of order."""
    order = random.Random(seed)
    strategy = Proposals(STRATEGIES.get(name)(space, seed, PORTFOLIO), recorded=known)
    sampled, waiting = [], []
    while len(sampled) < n_asks:
        if not waiting or (len(waiting) < OPEN and order.random() < 0.5):
            sampled.append(strategy.ask())
            waiting.append(sampled[-1])
        else:
            strategy.tell(result_of(waiting.pop(order.randrange(len(waiting)))))
    return [config.key for config in sampled], list(strategy.take())


@pytest.fixture(scope="module", params=RECALLERS)
def whole(request):
    """A search that never stopped and forgot some results on its way."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(_optuna, "MOST_REMEMBERED", 30)
        patch.setattr(_optuna, "KEPT_OF_EACH", 10)
        sampled, record = search(request.param, 60)
        yield request.param, sampled, record


@pytest.fixture
def no_draws(monkeypatch):
    """Count the draws of Optuna."""
    drawn = []
    sample = _optuna.StudyTrials.sample
    monkeypatch.setattr(
        _optuna.StudyTrials,
        "sample",
        lambda self, seed: drawn.append(seed) or sample(self, seed),
    )
    return drawn


@pytest.mark.parametrize("cut", [1, 30, 50])
def test_after_a_cut_the_search_proposes_what_it_would_have_proposed(whole, cut):
    name, sampled, record = whole
    again, new = search(name, len(sampled), record[:cut])
    assert again == sampled
    assert new == record[cut:]


def test_a_choice_that_a_learner_cannot_have_is_continued_like_any_other():
    space = replace(
        SPACE,
        learners={name: SPACE.learners[name] for name in ("trees", "linear")},
        encodings=("codes", "target", "native"),
        native_learners=("trees",),
        excluded=(("trees", "reweighing"),),
    )
    sampled, record = search("optuna_tpe", 60, space=space)
    again, new = search("optuna_tpe", 60, record[:30], space=space)
    assert again == sampled
    assert new == record[30:]


def test_a_recorded_search_is_repeated_without_a_draw(whole, no_draws):
    name, sampled, record = whole
    assert search(name, len(sampled), record) == (sampled, [])
    assert no_draws == []


def test_a_search_that_leaves_the_record_is_asked_from_then_on(no_draws):
    _, record = search("optuna_tpe", 20)
    del no_draws[:]
    proposals = Proposals(STRATEGIES.get("optuna_tpe")(SPACE, 3, PORTFOLIO), recorded=record)
    proposals.tell(scored(proposals.ask(), value=0.123))
    assert no_draws == []
    proposals.forget_record()
    for _ in PORTFOLIO:
        proposals.ask()
    assert len(no_draws) > 0
    assert len(proposals.take()) == len(PORTFOLIO)


def test_a_strategy_may_not_use_the_seconds_of_a_result():
    sampled = []
    for seconds in (1.0, 2.0):
        proposals = Proposals(STRATEGIES.get("optuna_tpe")(SPACE, 3, PORTFOLIO))
        for _ in range(20):
            proposals.tell(scored(proposals.ask(), seconds=seconds))
        sampled.append(proposals.take())
    assert sampled[0] == sampled[1]


def test_a_proposal_is_recorded_once():
    proposals = Proposals(STRATEGIES.get("optuna_tpe")(SPACE, 3, PORTFOLIO))
    proposals.ask()
    assert proposals.take() == (PORTFOLIO[0],)
    assert proposals.take() == ()


def test_nothing_is_recorded_of_a_strategy_that_cannot_take_proposals_back():
    proposals = Proposals(STRATEGIES.get("random")(SPACE, 3, ()))
    plain = STRATEGIES.get("random")(SPACE, 3, ())
    for _ in range(5):
        config = proposals.ask()
        proposals.tell(scored(config))
        assert config == plain.ask()
    assert proposals.take() == ()


def test_what_was_not_asked_for_is_heard_and_never_proposed_again():
    heard = scored(PORTFOLIO[0])
    proposals = Proposals(STRATEGIES.get("optuna_tpe")(SPACE, 3, PORTFOLIO))
    proposals.hear(heard)
    assert proposals.ask() == PORTFOLIO[1]


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
