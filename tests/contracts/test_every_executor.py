import pytest

from fairautoml.execution import EXECUTORS, ResourceLimits
from fairautoml.records import Config, Fidelity, Trial, TrialResult, TrialState


def objective(trial):
    turn = trial.config.params["turn"]
    if turn % 3 == 1:
        return TrialResult(trial=trial, status=TrialState.FAILED, error="it is a third one")
    return TrialResult(trial=trial, status=TrialState.SUCCESS, log_loss=turn / 7)


TRIALS = [
    Trial(
        number=n,
        config=Config(learner="fake", params={"turn": n}),
        fidelity=Fidelity(folds=2),
        max_seconds=None if n % 2 else 300.0,
    )
    for n in range(7)
]


@pytest.fixture(params=EXECUTORS.names())
def executor(request):
    if request.param == "dask":
        request.getfixturevalue("open_dask_client")
    made = EXECUTORS.get(request.param)(ResourceLimits(n_workers=2))
    yield made
    made.shutdown()


def test_every_executor_returns_what_the_objective_returned(executor):
    futures = [executor.submit(objective, trial) for trial in TRIALS]
    assert [f.result(timeout=300) for f in futures] == [objective(trial) for trial in TRIALS]


def test_every_executor_says_how_many_trials_it_can_hold(executor):
    assert executor.n_workers >= 1
    assert executor.queued >= 0


def test_every_executor_can_be_shut_down_twice(executor):
    executor.submit(objective, TRIALS[0]).result(timeout=300)
    executor.shutdown()
    executor.shutdown()
