from collections import Counter

import optuna
import pytest
from optuna.samplers._tpe.sampler import _split_trials
from strategy_cases import LINEAR, PORTFOLIO, SPACE, failed, mean_regret, scored, study_of

from fairautoml.records import Config, TrialState
from fairautoml.search.loop import propose
from fairautoml.search.space import ParamSpace, SearchSpace
from fairautoml.search.strategies import STRATEGIES, _optuna
from fairautoml.search.strategies.optuna_tpe import STRATEGY


def trials_of(strategy, state):
    """Trials of the study that chooses learner, encoding and mitigation."""
    return study_of(strategy).get_trials(states=(state,))


@pytest.mark.parametrize("name", ["optuna_tpe", "random"])
def test_the_portfolio_comes_first_and_verbatim(name):
    strategy = STRATEGIES.get(name)(SPACE, 0, PORTFOLIO)
    found = [strategy.ask() for _ in PORTFOLIO]
    assert [c.key for c in found] == [c.key for c in PORTFOLIO]


@pytest.mark.parametrize("name", ["optuna_tpe", "random"])
def test_other_seeds_give_other_proposals(name):
    one, other = (STRATEGIES.get(name)(SPACE, seed, ()) for seed in (1, 2))
    assert [one.ask().key for _ in range(5)] != [other.ask().key for _ in range(5)]


def test_every_completed_trial_carries_every_constraint():
    strategy = STRATEGY(SPACE, 0, PORTFOLIO)
    for number in range(20):
        config = strategy.ask()
        if number % 4 == 3:
            strategy.tell(failed(config))
        else:
            strategy.tell(scored(config, violations=(0.1 - number / 100, -0.2)))
    complete = trials_of(strategy, optuna.trial.TrialState.COMPLETE)
    assert len(complete) == 15
    assert all(set(trial.constraints) == {"constraint_0", "constraint_1"} for trial in complete)


def test_a_trial_that_was_cut_off_from_outside_is_forgotten():
    strategy = STRATEGY(SPACE, 0, ())
    for status in (TrialState.WORKER_LOST, TrialState.STOPPED, TrialState.DISK_FULL):
        strategy.tell(failed(strategy.ask(), status))
    strategy.tell(scored(strategy.ask(), value=0.5))
    trials = study_of(strategy).get_trials()
    drawn = [t for t in trials if t.state is not optuna.trial.TrialState.FAIL]
    assert [trial.values for trial in drawn] == [[0.5]]


def test_a_trial_without_a_value_is_known_to_be_worse_than_every_other():
    strategy = STRATEGY(SPACE, 0, ())
    statuses = (
        TrialState.FAILED,
        TrialState.TIMEOUT,
        TrialState.OUT_OF_MEMORY,
        TrialState.CRASHED,
        TrialState.PRUNED,
    )
    for status in statuses:
        strategy.tell(failed(strategy.ask(), status))
    strategy.tell(scored(strategy.ask(), value=None))
    strategy.tell(scored(strategy.ask(), value=float("nan")))
    strategy.tell(scored(strategy.ask(), value=-9.0, violations=(99.0,)))
    assert len(trials_of(strategy, optuna.trial.TrialState.PRUNED)) == len(statuses) + 2
    done = (optuna.trial.TrialState.PRUNED, optuna.trial.TrialState.COMPLETE)
    (best,), _ = _split_trials(study_of(strategy), study_of(strategy).get_trials(states=done), 1)
    assert best.values == [-9.0]


@pytest.mark.parametrize("name", ["optuna_tpe", "optuna_motpe"])
def test_a_learner_that_always_fails_is_drawn_less_often_than_the_others(name):
    space = SearchSpace(learners={part: ParamSpace(name=part) for part in "abcdef"})
    first = [Config(learner=part) for part in "abcdef"]
    strategy = STRATEGIES.get(name)(space, 0, first)
    found = Counter()
    for number in range(40):
        config = strategy.ask()
        found[config.learner] += number >= _optuna.STARTUP_TRIALS
        if config.learner == "f":
            strategy.tell(failed(config))
        else:
            value = 0.8 - ord(config.learner) / 1000
            strategy.tell(scored(config, value=value, violations=(-0.01,)))
    assert found["f"] < found.total() / len(first)


@pytest.mark.parametrize("name", ["optuna_tpe", "optuna_motpe"])
def test_a_long_search_keeps_its_best_and_its_newest_results(name, monkeypatch):
    monkeypatch.setattr(_optuna, "MOST_REMEMBERED", 20)
    monkeypatch.setattr(_optuna, "KEPT_OF_EACH", 5)
    strategy = STRATEGIES.get(name)(SPACE, 0, ())
    for number in range(60):
        value = 0.99 if number == 3 else 0.5 + number / 1000
        strategy.tell(scored(strategy.ask(), value=value, violations=(-0.01,)))
    values = [trial.values[0] for trial in trials_of(strategy, optuna.trial.TrialState.COMPLETE)]
    assert len(values) <= 20
    assert {0.99, 0.5 + 59 / 1000} <= set(values)


def test_the_study_of_a_learner_holds_its_own_trials_only():
    strategy = STRATEGY(SPACE, 0, ())
    counts = Counter()
    for _ in range(12):
        config = strategy.ask()
        counts[config.learner] += 1
        strategy.tell(scored(config))
    held = {
        learner: study_of(strategy, learner).get_trials(states=(optuna.trial.TrialState.COMPLETE,))
        for learner in counts.keys() & strategy._memories.keys()
    }
    assert held
    assert {learner: len(trials) for learner, trials in held.items()} == {
        learner: counts[learner] for learner in held
    }


def test_an_infinite_violation_is_taken_and_counts_as_infeasible():
    strategy = STRATEGY(SPACE, 0, ())
    strategy.tell(scored(strategy.ask(), value=0.9, violations=(float("inf"),)))
    strategy.tell(scored(strategy.ask(), value=0.7, violations=(-0.01,)))
    assert study_of(strategy).best_value == 0.7


def test_the_same_candidate_requested_twice_is_closed_by_two_results():
    only = SearchSpace(learners={"none": ParamSpace(name="none")})
    strategy = STRATEGY(only, 0, ())
    first, second = strategy.ask(), strategy.ask()
    assert first == second
    strategy.tell(scored(first))
    strategy.tell(scored(second))
    assert len(trials_of(strategy, optuna.trial.TrialState.COMPLETE)) == 2
    assert trials_of(strategy, optuna.trial.TrialState.RUNNING) == []


def test_a_result_that_was_not_requested_changes_nothing():
    strategy = STRATEGY(SPACE, 0, ())
    strategy.tell(scored(PORTFOLIO[0]))
    assert strategy._memories == {}


def test_making_a_strategy_leaves_the_log_level_of_optuna_alone(capsys):
    level = optuna.logging.get_verbosity()
    strategy = STRATEGY(SPACE, 0, PORTFOLIO)
    strategy.tell(scored(strategy.ask()))
    assert optuna.logging.get_verbosity() == level
    assert capsys.readouterr() == ("", "")


def test_optuna_comes_nearer_to_a_constrained_optimum_than_random_search():
    regret = {name: mean_regret(name) for name in ("optuna_tpe", "random")}
    assert 0 <= regret["optuna_tpe"] < 0.5 * regret["random"]


def test_a_candidate_written_flat_is_proposed_again_from_its_answers():
    for config in PORTFOLIO:
        answers = config.flat()
        assert propose(SPACE, lambda name, _, answers=answers: answers[name]) == config


def test_a_choice_with_one_value_is_not_requested():
    requested = []

    def suggest(name, allowed):
        requested.append(name)
        return allowed.default

    propose(SearchSpace(learners={"linear": LINEAR}), suggest)
    assert requested == ["linear.c"]
