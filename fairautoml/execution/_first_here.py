"""The first trials in this process, so that there is a model before any worker has started."""

import copy
from collections import deque
from collections.abc import Callable, Set
from concurrent.futures import Future

from fairautoml.execution.serial import SerialExecutor
from fairautoml.trials import Executor, Trial, TrialResult

Run = Callable[[Trial], TrialResult]


class FirstHere:
    """Runs the baseline, which needs no training, and what is small at once and here.

    On a machine under load the start of the first worker may outlast a short budget. A trial here
    runs when somebody waits, one at a time: by then the workers have theirs, and what ended before
    is settled.
    """

    def __init__(self, executor: Executor, here: Callable[[Trial], SerialExecutor | None]) -> None:
        self._executor = executor
        self._here = here
        self.n_workers = executor.n_workers
        self.queued = executor.queued
        self._waiting: deque[tuple[Future[TrialResult], SerialExecutor, Trial]] = deque()
        self._objective: Run | None = None

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

    def submit(self, objective: Run, trial: Trial) -> "Future[TrialResult]":
        """Keep one of the first trials for later, or hand over any other."""
        mine = self._here(trial)
        if mine is None:
            return self._executor.submit(objective, trial)
        if self._objective is None:
            # What it keeps of the rows goes with it when nothing is left to run here.
            self._objective = copy.copy(objective)
        future: Future[TrialResult] = Future()
        self._waiting.append((future, mine, trial))
        return future

    def wait(
        self, running: "Set[Future[TrialResult]]", seconds: float
    ) -> "set[Future[TrialResult]]":
        """Run the next trial here, or return what has ended elsewhere."""
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
