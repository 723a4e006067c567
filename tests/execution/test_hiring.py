import threading
import time

import pytest

from fairautoml.execution import ResourceLimits, local
from fairautoml.execution.local import LocalExecutor, PendingWorker
from fairautoml.records import Config, Fidelity, Trial, TrialState


class Slow:
    """A worker that starts when it is told to, and knows whether it was killed."""

    go = threading.Event()
    killed = threading.Event()

    def __init__(self, packed):
        self.go.wait(30)

    def kill(self):
        self.killed.set()


def broken(error):
    def start(packed):
        raise error

    return start


@pytest.fixture
def slow(monkeypatch):
    monkeypatch.setattr(Slow, "go", threading.Event())
    monkeypatch.setattr(Slow, "killed", threading.Event())
    monkeypatch.setattr(local, "Worker", Slow)
    yield Slow
    Slow.go.set()


def act(trial):
    raise AssertionError(trial)


def trial_of(seconds):
    return Trial(
        number=0,
        config=Config(learner="x"),
        fidelity=Fidelity(folds=2),
        max_seconds=seconds,
    )


def test_a_worker_that_is_ready_in_time_is_handed_over(slow):
    hiring = PendingWorker(b"")
    slow.go.set()
    assert isinstance(hiring.result(20.0, threading.Event()), Slow)
    assert not slow.killed.is_set()


def test_a_worker_that_comes_too_late_is_killed_when_it_comes(slow):
    assert PendingWorker(b"").result(0.05, threading.Event()) is None
    assert not slow.killed.is_set()
    slow.go.set()
    assert slow.killed.wait(10)


def test_nothing_waits_for_a_worker_when_everything_ends(slow):
    closing = threading.Event()
    closing.set()
    assert PendingWorker(b"").result(None, closing) is None


def test_a_trial_whose_worker_is_not_ready_in_its_time_is_a_timeout(slow):
    executor = LocalExecutor(ResourceLimits(n_workers=1))
    result = executor.submit(act, trial_of(0.3)).result(timeout=30)
    executor.shutdown()
    assert result.status is TrialState.TIMEOUT
    assert "no worker process was ready within" in result.error


def test_shutdown_does_not_wait_for_a_worker_that_starts(slow):
    executor = LocalExecutor(ResourceLimits(n_workers=1))
    future = executor.submit(act, trial_of(None))
    start = time.monotonic()
    executor.shutdown()
    assert time.monotonic() - start < 20
    assert future.result(timeout=0).status is TrialState.STOPPED


def test_a_fork_server_that_cannot_start_workers_costs_the_trial_and_not_the_run(monkeypatch):
    monkeypatch.setattr(local, "Worker", broken(EOFError("it is gone")))
    executor = LocalExecutor(ResourceLimits(n_workers=1))
    result = executor.submit(act, trial_of(None)).result(timeout=30)
    executor.shutdown()
    assert result.status is TrialState.WORKER_LOST
    assert "no worker process could be started: EOFError" in result.error


def test_a_process_that_may_not_start_others_is_informed(monkeypatch):
    monkeypatch.setattr(local, "Worker", broken(AssertionError("daemonic processes")))
    with pytest.raises(AssertionError, match="daemonic processes"):
        PendingWorker(b"").result(10.0, threading.Event())
