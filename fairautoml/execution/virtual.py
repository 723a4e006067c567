"""Executor for simulations that runs trials on a simulated clock.

A trial ends after the seconds that its result states, not after its real time, so that hours of
budget are simulated in seconds.
"""

import time
from collections.abc import Set
from concurrent.futures import Future
from dataclasses import replace

from fairautoml.execution import ResourceLimits
from fairautoml.execution.serial import seconds_until, with_trial
from fairautoml.records import RunTrial, Trial, TrialResult, TrialState


class VirtualExecutor:
    """Runs trials on simulated workers; the clock jumps from one end of a trial to the next."""

    queued = 0
    spare = 0.0

    def __init__(self, limits: ResourceLimits, start: float = 0.0) -> None:
        self.n_workers = limits.workers(1)
        self._deadline = limits.deadline
        self._clock = start
        self._free = [start] * self.n_workers
        self._ends: dict[Future[TrialResult], float] = {}

    def submit(self, objective: RunTrial, trial: Trial) -> "Future[TrialResult]":
        """Run the trial and set its end on the worker that is free first."""
        worker = min(range(self.n_workers), key=self._free.__getitem__)
        start = max(self._clock, self._free[worker])
        seconds = seconds_until(trial.max_seconds, self._deadline, self.spare, start)
        result = objective(replace(trial, max_seconds=seconds))
        if seconds is not None and result.seconds > seconds:
            error = f"ended after {seconds:.1f} s; it would take {result.seconds:.1f} s"
            result = TrialResult(
                trial=trial, status=TrialState.TIMEOUT, seconds=seconds, error=error
            )
        result = with_trial(result, trial, seconds)
        future: Future[TrialResult] = Future()
        future.set_result(result)
        self._free[worker] = self._ends[future] = start + result.seconds
        return future

    def now(self) -> float:
        """Return the time on the simulated clock."""
        return self._clock

    def wait(
        self, running: "Set[Future[TrialResult]]", seconds: float
    ) -> "set[Future[TrialResult]]":
        """Move the clock to the first end among ``running``, and return that future alone."""
        first = min(running, key=lambda future: (self._ends[future], future.result().trial.number))
        self._clock = max(self._clock, self._ends.pop(first))
        return {first}

    def shutdown(self) -> None:
        """Do nothing: no trial is running."""


def beginning_now(limits: ResourceLimits) -> VirtualExecutor:
    """Return an executor whose clock begins at ``time.monotonic()``, the clock of deadlines."""
    return VirtualExecutor(limits, start=time.monotonic())


EXECUTOR = beginning_now
