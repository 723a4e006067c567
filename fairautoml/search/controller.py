"""The loop: ask, run, settle, tell, until the budget is spent.

Everything it knows is in its arguments. It sees candidates and results, never a model or a row.
"""

import logging
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import FIRST_COMPLETED, Future, wait
from dataclasses import dataclass, field

from fairautoml.trials import Allocator, Executor, SearchStrategy, Told, Trial, TrialResult

logger = logging.getLogger(__name__)

LAG = 8
"""Under ``n_trials``, candidate i is asked for when exactly the results up to i - LAG are told.

So an adaptive strategy sees the same history whatever the number of workers; more than LAG workers
find nothing to do. A time budget has no such limit.
"""

POLL_SECONDS = 0.5
"""How often the clock is looked at while trials run."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Stop:
    """When the search ends; the clock is monotonic.

    Parameters
    ----------
    n_trials : int or None
        Trials to run at the most.
    deadline : float or None
        ``time.monotonic()`` at which nothing may run any more.
    """

    n_trials: int | None = None
    deadline: float | None = None

    def seconds_left(self) -> float | None:
        """Return the seconds until the deadline, None without one."""
        return None if self.deadline is None else self.deadline - time.monotonic()

    def reached(self, n_asked: int) -> bool:
        """Whether no further trial may be asked for."""
        left = self.seconds_left()
        return (self.n_trials is not None and n_asked >= self.n_trials) or (
            left is not None and left <= 0
        )


@dataclass(slots=True, kw_only=True)
class Search:
    """One run of the loop.

    Parameters
    ----------
    objective : callable
        Runs a trial; handed to the executor.
    settle : callable
        Turns a result into what the strategy is told; keeps everything worth keeping.
    strategy : SearchStrategy
        What to try.
    allocator : Allocator
        Who may spend what.
    executor : Executor
        Where trials run.
    stop : Stop
        When it ends.
    """

    objective: Callable[[Trial], TrialResult]
    settle: Callable[[TrialResult], Told]
    strategy: SearchStrategy
    allocator: Allocator
    executor: Executor
    stop: Stop
    _asked: int = 0
    _told: int = 0
    _queue: deque[Trial] = field(default_factory=deque)
    _running: "set[Future[TrialResult]]" = field(default_factory=set)
    _settled: dict[int, Told] = field(default_factory=dict)

    def run(self) -> bool:
        """Search until the budget is spent; returns False when the user interrupted it.

        Nothing that was settled before an interrupt is lost.
        """
        try:
            self._refill()
            while self._submit():
                self._collect()
                self._tell()
        except KeyboardInterrupt:
            logger.info("interrupted after %d results", self._told)
            return False
        finally:
            self.executor.shutdown()
        return True

    @property
    def _depth(self) -> int:
        """Trials handed to the executor at once; one waits so that no worker does."""
        return self.executor.n_workers + self.executor.queued

    @property
    def _window(self) -> int:
        """Trials asked for and not yet told."""
        return LAG if self.stop.deadline is None else self._depth

    def _refill(self) -> None:
        while self._asked - self._told < self._window and not self.stop.reached(self._asked):
            trial = self.allocator.next_trial(
                self.strategy.ask, number=self._asked, seconds_left=self.stop.seconds_left()
            )
            if trial is None:
                return
            self._asked += 1
            self._queue.append(trial)

    def _submit(self) -> bool:
        """Hand over waiting trials; False when nothing runs and nothing waits."""
        while self._queue and len(self._running) < self._depth:
            left = self.stop.seconds_left()
            if left is not None and left <= 0:
                self._queue.clear()
                break
            self._running.add(self.executor.submit(self.objective, self._queue.popleft()))
        return bool(self._running)

    def _collect(self) -> None:
        done: set[Future[TrialResult]] = set()
        while not done:
            left = self.stop.seconds_left()
            done, self._running = wait(
                self._running, timeout=POLL_SECONDS, return_when=FIRST_COMPLETED
            )
            if not done and left is not None and left <= 0:
                # Workers enforce the deadline themselves; this is for one that does not.
                self.executor.shutdown()
        for future in sorted(done, key=lambda f: f.result().trial.number):
            told = self.settle(future.result())
            self._settled[told.trial.number] = told

    def _tell(self) -> None:
        """Tell in the order asked under ``n_trials``, as they come under a time budget."""
        in_order = self.stop.deadline is None
        while self._settled:
            number = self._told if in_order else min(self._settled)
            if number not in self._settled:
                return
            told = self._settled.pop(number)
            self.allocator.record(told)
            self.strategy.tell(told)
            self._told += 1
            self._refill()
