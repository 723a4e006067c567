from dataclasses import replace

from allocator_cases import Asking, scored, terms

from fairautoml.execution import ResourceLimits
from fairautoml.execution.serial import SerialExecutor
from fairautoml.records import Fidelity, Origin, TrialState
from fairautoml.search.allocators._expected_gain import Rules
from fairautoml.search.allocators.cost_aware import CostAware
from fairautoml.search.loop import Proposals, SearchLoop, StopCondition

GREEDY = Rules(test="greedy", early=False, cap=False)


class Proposing:
    """A strategy that always has one more candidate, whatever the results."""

    def __init__(self):
        self.ask = Asking()

    def tell(self, scored):
        del scored


def run(allocator, ask, n, *, seconds=lambda trial: 1.0, left=None, **result):
    trials = []
    for number in range(n):
        trial = allocator.next_trial(ask, number=number, seconds_left=left)
        if trial is None:
            break
        trials.append(trial)
        allocator.record(scored(trial, seconds=seconds(trial), **result))
    return trials


def test_a_mitigation_is_a_full_trial_of_the_same_configuration():
    full = Fidelity(folds=5, rows=0.5)
    allocator = CostAware(terms(2.0, fidelity=full), GREEDY)
    first, second = run(allocator, Asking(), 2)
    assert second.origin is Origin.MITIGATION
    assert second.config.mitigation == "costly0"
    assert second.config.params == first.config.params
    assert second.fidelity == full


def test_with_several_workers_no_model_is_mitigated_twice():
    allocator = CostAware(terms(0.1, 0.1), GREEDY)
    ask = Asking()
    first = allocator.next_trial(ask, number=0, seconds_left=None)
    allocator.record(scored(first))
    opened = [allocator.next_trial(ask, number=n, seconds_left=None) for n in range(1, 5)]
    assert [trial.config.mitigation for trial in opened] == [
        "costly0", "costly1", "none", "none",
    ]  # fmt: skip


def test_the_strategy_is_not_asked_when_a_mitigation_is_due():
    allocator, ask = CostAware(terms(2.0), GREEDY), Asking()
    run(allocator, ask, 2)
    assert ask.requested == 1


def test_when_the_strategy_has_nothing_left_the_rest_of_the_time_goes_to_mitigations():
    trials = run(CostAware(terms(1000.0)), Asking(limit=3), 10, gap=0.01)
    kinds = [trial.origin for trial in trials]
    assert kinds == [Origin.SEARCH] * 3 + [Origin.MITIGATION] * 3


def test_when_the_strategy_waits_for_a_result_so_does_the_allocator():
    allocator, ask = CostAware(terms(1000.0)), Asking(limit=2)
    first, _ = (allocator.next_trial(ask, number=n, seconds_left=None) for n in range(2))
    allocator.record(scored(first))
    assert allocator.next_trial(ask, number=2, seconds_left=None) is None


def test_after_the_last_trial_the_best_are_promoted_and_nothing_more_is_mitigated():
    ratios = [1.0] * 10
    given = terms(*ratios, n_train_rows=10_000, fidelity=Fidelity(folds=5))
    allocator, executed = CostAware(replace(given, n_trials=12), GREEDY), []

    def score(result):
        executed.append(result.trial)
        return replace(scored(result.trial), log_loss=0.5)

    SearchLoop(
        objective=lambda trial: scored(trial),
        score=score,
        proposals=Proposals(Proposing()),
        allocator=allocator,
        executor=SerialExecutor(ResourceLimits()),
        stop=StopCondition(n_trials=12),
    ).run()
    kinds = [trial.origin for trial in executed]
    assert Origin.MITIGATION in kinds[:12]
    assert kinds[12:]
    assert set(kinds[12:]) == {Origin.PROMOTION}


def test_failures_end_nothing():
    trials = run(CostAware(terms(2.0)), Asking(), 20, status=TrialState.FAILED)
    assert len(trials) == 20
    assert {trial.origin for trial in trials} == {Origin.SEARCH}
