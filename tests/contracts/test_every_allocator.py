import pytest

from fairautoml.records import (
    Config,
    Fidelity,
    MitigationOption,
    Origin,
    Terms,
    TrialResult,
    TrialState,
)
from fairautoml.search.allocators import ALLOCATORS

FULL = Fidelity(folds=5)
TERMS = Terms(fidelity=FULL, n_train_rows=1000)
COSTLY = tuple(MitigationOption(name=f"costly{ratio}", ratio=float(ratio)) for ratio in (2, 5))


def play(name, outcome, *, n=60, n_train_rows=1000, n_open=1):
    """Return the trials of a run with 100 s, and the candidates that were asked for.

    ``outcome(trial)`` gives what is told besides the trial; trials take 1 s, ``n_open`` at a time.
    """
    terms = Terms(fidelity=FULL, n_train_rows=n_train_rows, mitigations=COSTLY)
    allocator = ALLOCATORS.get(name)(terms)
    requested, trials, scored = [], [], 0

    def ask():
        requested.append(Config(learner="fake", params={"turn": len(requested)}))
        return requested[-1]

    for number in range(n):
        left = 100.0 - scored
        trial = allocator.next_trial(ask, number=number, seconds_left=left)
        if trial is not None:
            trials.append(trial)
        if scored < len(trials) and (trial is None or number >= n_open):
            allocator.record(
                TrialResult(trial=trials[scored], seconds=1.0, **outcome(trials[scored]))
            )
            scored += 1
    return trials, requested


def varied(trial):
    turn = trial.config.params["turn"]
    if turn % 7 == 3:
        return {"status": TrialState.FAILED, "value": None, "violations": ()}
    fair = trial.config.mitigation != "none" and turn % 3 != 0
    value = 0.7 + (turn * 37 % 101) / 1000
    return {"status": TrialState.SUCCESS, "value": value, "violations": (-0.01 if fair else 0.02,)}


@pytest.mark.parametrize("name", ALLOCATORS.names())
def test_every_allocator_spends_no_more_than_a_full_trial_and_keeps_the_number(name):
    allocator = ALLOCATORS.get(name)(TERMS)
    for number in range(20):
        config = Config(learner="fake", params={"turn": number})
        trial = allocator.next_trial(
            lambda config=config: config, number=number, seconds_left=None
        )
        assert trial.number == number
        assert 0 < trial.fidelity.rows <= FULL.rows
        assert 1 <= trial.fidelity.folds <= FULL.folds
        allocator.record(
            TrialResult(
                trial=trial, status=TrialState.FAILED, value=None, violations=(), seconds=1.0
            )
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


@pytest.mark.parametrize("n_open", [1, 4])
@pytest.mark.parametrize("n_train_rows", [1000, 200_000])
@pytest.mark.parametrize("name", ALLOCATORS.names())
def test_no_allocator_runs_the_same_twice_at_the_same_size(name, n_train_rows, n_open):
    trials, _ = play(name, varied, n_train_rows=n_train_rows, n_open=n_open)
    keys = [(trial.config.key, trial.fidelity) for trial in trials]
    assert len(set(keys)) == len(keys)


@pytest.mark.parametrize("n_train_rows", [1000, 200_000])
@pytest.mark.parametrize("name", ALLOCATORS.names())
def test_every_allocator_says_whose_idea_a_trial_is(name, n_train_rows):
    trials, requested = play(name, varied, n_train_rows=n_train_rows)
    of_search = [trial for trial in trials if trial.origin is Origin.SEARCH]
    known = [config.params["turn"] for config in requested]
    assert [trial.config.params["turn"] for trial in of_search] == known
    for trial in trials:
        assert 0 < trial.fidelity.rows <= FULL.rows
        if trial.origin is Origin.MITIGATION:
            assert trial.config.mitigation != "none"
            assert trial.fidelity == FULL
        if trial.origin is Origin.PROMOTION:
            assert trial.parent in {earlier.key for earlier in trials}
            assert trial.config.mitigation == "none"


@pytest.mark.parametrize("name", ALLOCATORS.names())
def test_an_allocator_that_does_not_mitigate_leaves_candidates_as_they_are(name):
    trials, requested = play(name, varied)
    mitigated = [t for t in trials if t.config.mitigation != "none"]
    assert not mitigated or ALLOCATORS.get(name).schedules_mitigation
    assert all(trial.config.learner == "fake" for trial in trials)
    assert trials[0].config == requested[0]


@pytest.mark.parametrize("name", ALLOCATORS.names())
@pytest.mark.parametrize(
    "status", [TrialState.FAILED, TrialState.TIMEOUT, TrialState.PRUNED, TrialState.WORKER_LOST]
)
def test_every_allocator_continues_when_everything_breaks(name, status):
    def broken(trial):
        return {"status": status, "value": None, "violations": (float("inf"),)}

    # Before there is a model no trial is queued, so every other call gives none.
    trials, requested = play(name, broken, n=40)
    assert len(trials) == len(requested) >= 20
