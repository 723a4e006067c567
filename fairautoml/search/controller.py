"""The loop: ask, run, settle, tell, until the budget is spent.

Everything it knows is in its arguments. It sees candidates and results, never a model or a row.
"""

import logging
import time
from bisect import insort
from collections import defaultdict, deque
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass, field, replace

from fairautoml.exceptions import DegradedWarning, warn
from fairautoml.trials import (
    Allocator,
    Candidate,
    Executor,
    Origin,
    SearchStrategy,
    Status,
    Told,
    Trial,
    TrialResult,
)

logger = logging.getLogger(__name__)

LAG = 8
"""Under ``n_trials``, candidate i is asked for when exactly the results up to i - LAG are told.

So an adaptive strategy sees the same history whatever the number of workers; more than LAG workers
find nothing to do. A time budget has no such limit.
"""

SHARE_OF_REST, TIMES_THE_USUAL = 1 / 3, 10.0
"""Under a time budget a search trial may take that share of what is left, or that many times the
median of those like it that succeeded, whichever is more."""

_Size = tuple[float, int]
"""Rows and models of a trial."""

POLL_SECONDS = 0.5
"""How often the clock is looked at while trials run."""

LONG = 0.5
"""Seconds to settle a result from which on trials leave as much before the deadline."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Stop:
    """When the search ends."""

    n_trials: int | None = None  # trials to run at the most
    deadline: float | None = None  # time on the executor's clock at which nothing may run any more

    def seconds_left(self, now: float) -> float | None:
        """Return the seconds until the deadline, None without one."""
        return None if self.deadline is None else self.deadline - now

    def reached(self, n_asked: int, now: float) -> bool:
        """Whether no further trial may be asked for; the first one always may."""
        left = self.seconds_left(now) if n_asked else None
        return (self.n_trials is not None and n_asked >= self.n_trials) or (
            left is not None and left <= 0
        )


@dataclass(slots=True)
class Rivals:
    """The trials that others must come near: for each sample size the lowest log loss.

    A plain search trial whose first folds are far behind it cannot become the answer. What an
    allocator made is never compared: a mitigation changes the log loss.
    """

    _best: dict[_Size, tuple[float, str]] = field(default_factory=dict)

    def learn(self, told: Told) -> None:
        """Take in a result."""
        if told.status is Status.SUCCESS and told.log_loss is not None:
            size = _size(told.trial)
            best = self._best.get(size)
            if best is None or told.log_loss <= best[0]:
                found = (told.log_loss, told.trial.key)
                self._best[size] = found if best is None else min(found, best)

    def against(self, trial: Trial) -> Trial:
        """Return the trial, with a rival when it may be compared with one."""
        plain = trial.origin is Origin.SEARCH and trial.candidate.mitigation == "none"
        best = self._best.get(_size(trial))
        return replace(trial, rival=best[1]) if plain and best is not None else trial


@dataclass(slots=True)
class Caps:
    """What a search trial may take of a time budget, so that one that hangs does not take it all.

    As long as none of its sample size and mitigation has succeeded, a trial may take all that is
    left: in a run that is short for its table it is the only full one. Nothing is capped without a
    time budget: what a trial gives must not depend on the machine there.
    """

    _known: defaultdict[tuple[_Size, str], list[float]] = field(
        default_factory=lambda: defaultdict(list)
    )

    def learn(self, told: Told) -> None:
        """Take in a result; the first trial needs no training, so it says nothing."""
        if told.status is Status.SUCCESS and told.trial.number > 0:
            insort(self._known[_kind(told.trial)], told.seconds)

    def on(self, trial: Trial, seconds_left: float | None) -> Trial:
        """Return the trial, with a limit when it may not take all that is left."""
        known = self._known[_kind(trial)]
        if seconds_left is None or not known or trial.origin is not Origin.SEARCH:
            return trial
        usual = known[len(known) // 2]
        most = max(SHARE_OF_REST * seconds_left, TIMES_THE_USUAL * usual)
        own = trial.budget.seconds
        if most >= (seconds_left if own is None else own):
            return trial
        return replace(trial, budget=replace(trial.budget, seconds=most))


def window_of(stop: Stop, executor: Executor) -> int:
    """Return how many trials may be asked for and not yet told."""
    return LAG if stop.deadline is None else _depth_of(executor)


def _depth_of(executor: Executor) -> int:
    return executor.n_workers + executor.queued


def _size(trial: Trial) -> _Size:
    """Return what trials have in common whose losses and seconds can be compared."""
    return trial.budget.sample_fraction, trial.budget.folds


def _kind(trial: Trial) -> tuple[_Size, str]:
    return _size(trial), trial.candidate.mitigation


@dataclass(slots=True)
class Overhead:
    """Seconds that the loop itself took, on the machine's clock."""

    ask: float = 0.0
    tell: float = 0.0


@dataclass(slots=True, kw_only=True)
class Search:
    """One run of the loop."""

    objective: Callable[[Trial], TrialResult]  # runs a trial; handed to the executor
    settle: Callable[[TrialResult], Told]  # turns a result into what the strategy is told
    strategy: SearchStrategy  # what to try; told of what it proposed, and of nothing else
    allocator: Allocator  # who may spend what; told of everything
    executor: Executor  # where trials run, and the clock
    stop: Stop  # when it ends
    overhead: Overhead = field(default_factory=Overhead)
    _asked: int = 0
    _told: int = 0
    _queue: deque[Trial] = field(default_factory=deque)
    _running: "set[Future[TrialResult]]" = field(default_factory=set)
    _settled: dict[int, Told] = field(default_factory=dict)
    _proposed: dict[int, Candidate] = field(default_factory=dict)
    _rivals: Rivals = field(default_factory=Rivals)
    _caps: Caps = field(default_factory=Caps)
    _settling: float = 0.0  # seconds that the last success took, on the executor's clock

    def run(self) -> bool:
        """Search until the budget is spent; returns False when the user interrupted it.

        Nothing that was settled before an interrupt is lost.
        """
        if self.window < self.executor.n_workers:
            msg = (
                f"{self.window} of {self.executor.n_workers} workers have something to do: under "
                "n_trials alone no more run at once, so that the search is the same with any "
                "number; give a time_budget as well for all of them"
            )
            warn(msg, DegradedWarning)
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
        return _depth_of(self.executor)

    @property
    def window(self) -> int:
        """Trials asked for and not yet told."""
        return window_of(self.stop, self.executor)

    def _refill(self) -> None:
        start = time.perf_counter()
        while self._asked - self._told < self.window and self._ask():
            pass
        self.overhead.ask += time.perf_counter() - start

    def _ask(self) -> bool:
        """Queue one more trial; False when there is none now."""
        # What a trial gives is worth nothing when there is no time left to settle it.
        now = self.executor.now() + self._settling
        if self.stop.reached(self._asked, now):
            return False
        proposed: list[Candidate] = []

        def ask() -> Candidate | None:
            candidate = self.strategy.ask()
            if candidate is not None:
                proposed.append(candidate)
            return candidate

        left = self.stop.seconds_left(now) if self._asked else None
        trial = self.allocator.next_trial(ask, number=self._asked, seconds_left=left)
        if trial is None:
            return False
        if proposed:
            self._proposed[self._asked] = proposed[-1]
        self._asked += 1
        self._queue.append(self._caps.on(self._rivals.against(trial), left))
        return True

    def _submit(self) -> bool:
        """Hand over waiting trials; False when nothing runs and nothing waits."""
        while self._queue and len(self._running) < self._depth:
            left = self.stop.seconds_left(self.executor.now() + self._settling)
            if left is not None and left <= 0 and self._queue[0].number > 0:
                self._queue.clear()
                break
            self._running.add(self.executor.submit(self.objective, self._queue.popleft()))
        return bool(self._running)

    def _collect(self) -> None:
        done: set[Future[TrialResult]] = set()
        while not done:
            left = self.stop.seconds_left(self.executor.now())
            done = self.executor.wait(self._running, POLL_SECONDS)
            if not done and left is not None and left <= 0:
                # Workers enforce the deadline themselves; this is for one that does not.
                self.executor.shutdown()
        self._running -= done
        for future in sorted(done, key=lambda f: f.result().trial.number):
            start = self.executor.now()
            told = self.settle(future.result())
            if told.status is Status.SUCCESS and told.trial.number > 0:
                self._settling = self.executor.now() - start
                self.executor.spare = self._settling if self._settling >= LONG else 0.0
            self._settled[told.trial.number] = told

    def _tell(self) -> None:
        """Tell in the order asked under ``n_trials``, as they come under a time budget."""
        in_order = self.stop.deadline is None
        while self._settled:
            number = self._told if in_order else min(self._settled)
            if number not in self._settled:
                return
            start = time.perf_counter()
            told = self._settled.pop(number)
            self.allocator.record(told)
            self._rivals.learn(told)
            self._caps.learn(told)
            self._tell_strategy(told)
            self._told += 1
            self.overhead.tell += time.perf_counter() - start
            self._refill()

    def _tell_strategy(self, told: Told) -> None:
        """Tell the strategy of its own proposals, under the candidate that it proposed.

        An allocator may have put a mitigation on it, by which the strategy would not know it.
        """
        candidate = self._proposed.pop(told.trial.number, None)
        if candidate is not None:
            self.strategy.tell(replace(told, trial=replace(told.trial, candidate=candidate)))
