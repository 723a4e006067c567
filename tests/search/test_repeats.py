from dataclasses import replace

from fairautoml.records import Config, Fidelity, Trial, TrialResult, TrialState
from fairautoml.search.loop import TRIES, Proposals

A, B, C = (Config(learner=name) for name in "abc")


class Script:
    """Proposes the given candidates, then the last one for ever."""

    def __init__(self, *configs):
        self._left = list(configs)
        self.requested = 0
        self.scored = []

    def ask(self):
        self.requested += 1
        return self._left.pop(0) if len(self._left) > 1 else self._left[0]

    def tell(self, scored):
        self.scored.append(scored)


def result(config, status=TrialState.SUCCESS):
    trial = Trial(number=0, config=config, fidelity=Fidelity(folds=2))
    value = 0.5 if status is TrialState.SUCCESS else None
    return TrialResult(trial=trial, status=status, value=value, violations=(), seconds=0.0)


def test_a_known_candidate_is_answered_and_the_next_one_proposed():
    inner = Script(A, A, B)
    strategy = Proposals(inner)
    assert strategy.ask() == A
    strategy.tell(result(A))
    assert strategy.ask() == B
    assert inner.scored == [result(A), result(A)]


def test_a_repeat_of_a_running_candidate_is_answered_when_that_one_ends():
    inner = Script(A, A, A, B)
    strategy = Proposals(inner)
    assert strategy.ask() == A
    assert strategy.ask() == B
    assert inner.scored == []
    strategy.tell(result(A))
    assert inner.scored == [result(A)] * 3


def test_a_space_that_is_exhausted_gives_nothing_after_a_limited_number_of_proposals():
    inner = Script(A)
    strategy = Proposals(inner)
    strategy.ask()
    strategy.tell(result(A))
    assert strategy.ask() is None
    assert inner.requested == 1 + TRIES


def test_a_candidate_that_failed_is_not_run_again():
    strategy = Proposals(Script(A, A, B))
    strategy.ask()
    strategy.tell(result(A, TrialState.FAILED))
    assert strategy.ask() == B


def test_a_candidate_whose_worker_was_killed_from_outside_may_run_again():
    strategy = Proposals(Script(A, A, B))
    strategy.ask()
    strategy.tell(result(A, TrialState.WORKER_LOST))
    assert strategy.ask() == A


def test_a_strategy_that_waits_is_not_pressed():
    class Waiting(Script):
        def ask(self):
            super().ask()

    inner = Waiting(A)
    assert Proposals(inner).ask() is None
    assert inner.requested == 1


def test_the_baseline_comes_first_and_the_strategy_never_sees_it():
    inner = Script(B, C)
    strategy = Proposals(inner, A)
    assert [strategy.ask(), strategy.ask(), strategy.ask()] == [A, B, C]
    strategy.tell(result(A))
    strategy.tell(result(B))
    assert inner.scored == [result(B)]


def test_a_strategy_that_proposes_the_baseline_too_receives_its_result():
    inner = Script(A, B)
    strategy = Proposals(inner, A)
    assert strategy.ask() == A
    assert strategy.ask() == B
    strategy.tell(result(A))
    assert inner.scored == [result(A)]


def test_by_loss_the_strategy_maximizes_minus_the_log_loss_without_constraints():
    inner = Script(A, A, B)
    strategy = Proposals(inner, by_loss=True)
    strategy.ask()
    found = replace(result(A), log_loss=0.4, violations=(0.1,), plain_violations=(0.3,))
    strategy.tell(found)
    strategy.ask()
    assert [(s.value, s.violations) for s in inner.scored] == [(-0.4, ())] * 2
    assert inner.scored[0].plain_violations == (0.3,)


def test_by_loss_a_failed_trial_has_no_value():
    inner = Script(A, B)
    strategy = Proposals(inner, by_loss=True)
    strategy.ask()
    strategy.tell(result(A, TrialState.FAILED))
    assert inner.scored[0].value is None
