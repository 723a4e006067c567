"""Executor that runs trials in this process, one after the other.

Time limits are checked between folds only; a running fold is not interrupted.
"""

import copy
import time
from collections import deque
from collections.abc import Callable, Set
from concurrent.futures import FIRST_COMPLETED, Future, wait
from dataclasses import replace

from fairautoml.execution import ResourceLimits
from fairautoml.records import Executor, RunTrial, Trial, TrialResult, TrialState


class RealTime:
    """The clock of this machine, by which an executor waits for its trials."""

    def now(self) -> float:
        return time.monotonic()

    def wait(
        self, running: "Set[Future[TrialResult]]", seconds: float
    ) -> "set[Future[TrialResult]]":
        """Return the futures that have ended; wait at most ``seconds``."""
        return wait(running, timeout=seconds, return_when=FIRST_COMPLETED).done


class SerialExecutor(RealTime):
    """Runs a trial when it is submitted."""

    n_workers = 1
    queued = 0
    spare = 0.0

    def __init__(self, limits: ResourceLimits) -> None:
        self._deadline = limits.deadline

    def submit(self, objective: RunTrial, trial: Trial) -> "Future[TrialResult]":
        """Run the trial and return the finished future."""
        future: Future[TrialResult] = Future()
        allowed = seconds_until(trial.max_seconds, self._deadline, self.spare)
        result = objective(replace(trial, max_seconds=allowed))
        future.set_result(with_trial(result, trial, allowed))
        return future

    def shutdown(self) -> None:
        """Do nothing: no trial is running."""


class FirstHere:
    """Runs the baseline and fast trials in this process, all others on another executor.

    On a machine under load the start of the first worker may outlast a short budget. A trial in
    this process runs inside ``wait``, when the workers have their trials and earlier results are
    scored.
    """

    def __init__(self, executor: Executor, here: Callable[[Trial], SerialExecutor | None]) -> None:
        self._executor = executor
        self._here = here
        self.n_workers = executor.n_workers
        self.queued = executor.queued
        self._waiting: deque[tuple[Future[TrialResult], SerialExecutor, Trial]] = deque()
        self._objective: RunTrial | None = None

    @property
    def spare(self) -> float:
        """Seconds before the deadline by which the trials of the other executor end."""
        return self._executor.spare

    @spare.setter
    def spare(self, seconds: float) -> None:
        self._executor.spare = seconds

    def now(self) -> float:
        """Return the time on the clock of the other executor."""
        return self._executor.now()

    def submit(self, objective: RunTrial, trial: Trial) -> "Future[TrialResult]":
        """Queue a trial for this process, or submit it to the other executor."""
        mine = self._here(trial)
        if mine is None:
            return self._executor.submit(objective, trial)
        if self._objective is None:
            # The rows that the copy caches are released with it.
            self._objective = copy.copy(objective)
        future: Future[TrialResult] = Future()
        self._waiting.append((future, mine, trial))
        return future

    def wait(
        self, running: "Set[Future[TrialResult]]", seconds: float
    ) -> "set[Future[TrialResult]]":
        """Run the next trial of this process, or wait for the other executor."""
        if not self._waiting or self._objective is None:
            self._objective = None
            return self._executor.wait(running, seconds)
        future, mine, trial = self._waiting.popleft()
        mine.spare = self._executor.spare
        future.set_result(mine.submit(self._objective, trial).result())
        return {future}

    def shutdown(self) -> None:
        """Stop the other executor."""
        self._executor.shutdown()


def seconds_until(
    max_seconds: float | None, deadline: float | None, spare: float, now: float | None = None
) -> float | None:
    """Return the time limit of a trial, at most what is left before the deadline."""
    if deadline is None:
        return max_seconds
    left = max(0.0, deadline - spare - (time.monotonic() if now is None else now))
    return left if max_seconds is None else min(left, max_seconds)


def search_ended(trial: Trial) -> TrialResult:
    """Return the result of a trial that does not begin any more."""
    return TrialResult(trial=trial, status=TrialState.STOPPED, error="the search ended")


def with_trial(result: TrialResult, trial: Trial, allowed: float | None) -> TrialResult:
    """Return the result under the submitted trial.

    A trial that the end of the run stopped before its own time limit is recorded without a limit,
    so that a resumed run with more time runs it again.
    """
    own = trial.max_seconds
    cut_off = own is not None and allowed is not None and allowed < own
    if result.status is TrialState.TIMEOUT and cut_off:
        trial = replace(trial, max_seconds=None)
    return replace(result, trial=trial)


EXECUTOR = SerialExecutor
