"""The first trials in this process, so that there is a model before any worker has started."""

from collections.abc import Callable, Set
from concurrent.futures import Future

from fairautoml.execution.serial import SerialExecutor
from fairautoml.trials import Executor, Trial, TrialResult


class FirstHere:
    """Runs the baseline, which needs no training, and what is small at once and here.

    On a machine under load the start of the first worker may outlast a short budget.

    Parameters
    ----------
    executor : Executor
        Runs all other trials.
    here : callable
        Returns who runs a trial here, None for the other executor.
    """

    def __init__(self, executor: Executor, here: Callable[[Trial], SerialExecutor | None]) -> None:
        self._executor = executor
        self._here = here
        self.n_workers = executor.n_workers
        self.queued = executor.queued
        self._done: set[Future[TrialResult]] = set()

    def now(self) -> float:
        """Return the time on the clock of the other executor."""
        return self._executor.now()

    def submit(
        self, objective: Callable[[Trial], TrialResult], trial: Trial
    ) -> "Future[TrialResult]":
        """Run one of the first trials, or hand over any other."""
        mine = self._here(trial)
        if mine is None:
            return self._executor.submit(objective, trial)
        future = mine.submit(objective, trial)
        self._done.add(future)
        return future

    def wait(
        self, running: "Set[Future[TrialResult]]", seconds: float
    ) -> "set[Future[TrialResult]]":
        """Return what has ended here when it is among ``running``, else what has elsewhere."""
        mine = self._done & running
        if mine:
            self._done -= mine
            return mine
        return self._executor.wait(running, seconds)

    def shutdown(self) -> None:
        """Stop the other executor."""
        self._executor.shutdown()
