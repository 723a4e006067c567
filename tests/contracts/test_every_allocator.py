import pytest

from fairautoml.allocation import ALLOCATORS
from fairautoml.trials import Budget, Candidate, Status, Terms, Told

FULL = Budget(seconds=60.0, folds=5)
TERMS = Terms(budget=FULL, n_train_rows=1000)


@pytest.mark.parametrize("name", ALLOCATORS.names())
def test_every_allocator_spends_no_more_than_a_full_trial_and_keeps_the_number(name):
    allocator = ALLOCATORS.get(name)(TERMS)
    for number in range(20):
        candidate = Candidate(learner="fake", params={"turn": number})
        trial = allocator.next_trial(
            lambda candidate=candidate: candidate, number=number, seconds_left=None
        )
        assert trial.number == number
        assert trial.budget.seconds <= FULL.seconds
        assert 0 < trial.budget.sample_fraction <= FULL.sample_fraction
        assert 2 <= trial.budget.folds <= FULL.folds
        allocator.record(
            Told(trial=trial, status=Status.FAILED, value=None, violations=(), seconds=1.0)
        )


@pytest.mark.parametrize("name", ALLOCATORS.names())
def test_every_allocator_gives_nothing_when_the_strategy_has_nothing(name):
    allocator = ALLOCATORS.get(name)(TERMS)
    assert allocator.next_trial(lambda: None, number=0, seconds_left=10.0) is None


@pytest.mark.parametrize("name", ALLOCATORS.names())
def test_no_allocator_asks_when_the_time_is_up(name):
    def ask():
        raise AssertionError("asked after the deadline")

    assert ALLOCATORS.get(name)(TERMS).next_trial(ask, number=0, seconds_left=0.0) is None
