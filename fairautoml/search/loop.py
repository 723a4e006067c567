"""Run trials until the budget ends.

The loop asks the strategy for configurations, runs them as trials and reports their results to it.
"""

import logging
import time
from collections import Counter, deque
from collections.abc import Callable, Iterable
from concurrent.futures import Future
from dataclasses import dataclass, field, replace
from typing import Protocol, runtime_checkable

from fairautoml.exceptions import DegradedWarning, StopSearch, warn
from fairautoml.records import (
    Allocator,
    Config,
    Executor,
    Fidelity,
    ParamValue,
    RunTrial,
    SearchStrategy,
    Trial,
    TrialRecord,
    TrialResult,
    TrialState,
)
from fairautoml.search.space import Choice, ParamSpace, Range, SearchSpace

logger = logging.getLogger(__name__)

MAX_PENDING = 8
"""Pending trials under ``n_trials``: trial i is created after exactly the results up to
``i - MAX_PENDING``.

An adaptive strategy thus sees the same history with any number of workers; more than
``MAX_PENDING`` workers stay idle. A time budget has no such limit.
"""

POLL_SECONDS = 0.5
"""Seconds between two looks at the clock while trials run."""

LONG = 0.5
"""Scoring time in seconds from which trials must end that much before the deadline."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StopCondition:
    """Limits at which the search ends."""

    n_trials: int | None = None  # maximum number of trials that are not promotions
    deadline: float | None = None  # time on the executor's clock at which all trials must end

    def seconds_left(self, now: float) -> float | None:
        """Return the seconds until the deadline, None without one."""
        return None if self.deadline is None else self.deadline - now

    def used_up(self, n_trials: int) -> bool:
        """Whether no further trial may start unless it promotes another one."""
        return self.n_trials is not None and n_trials >= self.n_trials


def window_of(stop: StopCondition, executor: Executor) -> int:
    """Return the maximum number of pending trials, under a time budget one more than workers."""
    return MAX_PENDING if stop.deadline is None else _depth_of(executor)


def _depth_of(executor: Executor) -> int:
    """Return the number of trials in the executor, one of them queued so no worker is idle."""
    return executor.n_workers + executor.queued


@dataclass(slots=True)
class Overhead:
    """Wall-clock seconds spent in the loop itself."""

    ask: float = 0.0
    tell: float = 0.0


TRIES = 32
"""Repeated proposals in a row after which the loop waits for the next result."""


@runtime_checkable
class RecallingStrategy(SearchStrategy, Protocol):
    """A strategy whose proposals depend only on its seed, its proposals and their results.

    Of a result it may use only configuration, status, value and violations, because the seconds
    differ when a trial is run again.
    """

    def recall(self, config: Config) -> None:
        """Take a recorded proposal instead of the next ``ask``."""

    def hear(self, scored: TrialResult) -> None:
        """Receive the result of a configuration that this strategy did not propose."""


@runtime_checkable
class RevisingStrategy(SearchStrategy, Protocol):
    """A strategy that also receives the results of promotions to all folds."""

    def revise(self, scored: TrialResult) -> None:
        """Receive the result of a promotion to all folds."""


class Proposals:
    """New configurations: the baseline, then those of the strategy that are not known yet.

    The seed of a trial comes from its configuration, so a second run would give the same result:
    a repeated proposal is answered with it. This depends only on the order of ``ask`` and
    ``tell``, not on the number of workers.
    """

    def __init__(
        self,
        strategy: SearchStrategy,
        baseline: Config | None = None,
        recorded: Iterable[Config] = (),
        *,
        by_loss: bool = False,
    ) -> None:
        self._strategy = strategy
        self._by_loss = by_loss
        self._recaller = strategy if isinstance(strategy, RecallingStrategy) else None
        self._baseline = baseline
        self._unreported = None if baseline is None else baseline.key
        self._recorded = deque(recorded)
        self._new: list[Config] = []
        self._known: dict[str, TrialResult] = {}
        self._waiting: Counter[str] = Counter()
        self._open: set[str] = set()
        self._claimed: set[str] = set()

    def ask(self) -> Config | None:
        """Return the next new configuration, or None if the strategy only repeats itself."""
        if self._baseline is not None:
            first, self._baseline = self._baseline, None
            self._open.add(first.key)
            return first
        for _ in range(TRIES):
            config = self._propose()
            if config is None:
                return None
            key = config.key
            if key in self._known:
                self._strategy.tell(self._seen(self._known[key]))
            elif key in self._open:
                self._waiting[key] += 1
            else:
                self._open.add(key)
                return config
        return None

    def tell(self, scored: TrialResult) -> None:
        """Tell the result once for each proposal of its configuration."""
        key = scored.trial.config.key
        if key in self._claimed:
            self._claimed.discard(key)
            self.hear(scored)
        elif key == self._unreported:
            self._unreported = None
        else:
            self._strategy.tell(self._seen(scored))
        self._learn(scored)

    def revise(self, scored: TrialResult) -> None:
        """Report a promotion to all folds, if the strategy uses it."""
        if isinstance(self._strategy, RevisingStrategy):
            self._strategy.revise(self._seen(scored))

    def claim(self, config: Config) -> None:
        """Take a configuration that runs although the strategy did not propose it."""
        self._open.add(config.key)
        self._claimed.add(config.key)

    def hear(self, scored: TrialResult) -> None:
        """Receive the result of a trial of a previous run that was not requested."""
        if scored.trial.config.key == self._unreported:
            self._baseline = self._unreported = None
        elif self._recaller is not None:
            self._recaller.hear(self._seen(scored))
        self._learn(scored)

    def take(self) -> tuple[Config, ...]:
        """Return the proposals since the last call, for the record."""
        new, self._new = tuple(self._new), []
        return new

    def forget_record(self) -> None:
        """Ask the strategy from now on, also where a proposal is recorded."""
        self._recorded.clear()

    def _propose(self) -> Config | None:
        if self._recaller is None:
            return self._strategy.ask()
        if self._recorded:
            self._recaller.recall(self._recorded[0])
            return self._recorded.popleft()
        config = self._recaller.ask()
        if config is not None:
            self._new.append(config)
        return config

    def _seen(self, scored: TrialResult) -> TrialResult:
        """Return the result as the strategy receives it."""
        if not self._by_loss:
            return scored
        loss = scored.log_loss
        return replace(scored, value=None if loss is None else -loss, violations=())

    def _learn(self, scored: TrialResult) -> None:
        key = scored.trial.config.key
        for _ in range(self._waiting.pop(key, 0)):
            self._strategy.tell(self._seen(scored))
        self._open.discard(key)
        # A worker that was killed from outside says nothing about the configuration.
        if scored.status is not TrialState.WORKER_LOST:
            self._known[key] = scored


_Identity = tuple[str, Fidelity]


def _identity(trial: Trial) -> _Identity:
    """Return what trials have in common that train the same models, whatever their time limit."""
    return trial.config.key, trial.fidelity


@dataclass(slots=True)
class Past:
    """Trials of a previous run; none in a new run."""

    results: dict[int, TrialResult] = field(default_factory=dict)  # by number, not yet replayed
    repeat: dict[int, Trial] = field(default_factory=dict)  # to be run again under their number
    known: dict[_Identity, TrialResult] = field(default_factory=dict)
    last: int = -1  # largest number
    followed: bool = True  # whether the search requests the same trials again
    clock: float | None = None  # time of the run while its results are replayed
    window: int | None = None  # maximum number of pending trials then

    def trial(self, number: int) -> Trial | None:
        result = self.results.get(number)
        return self.repeat.get(number) if result is None else result.trial


@dataclass(slots=True, kw_only=True)
class SearchLoop:
    """One run of the search loop."""

    objective: RunTrial  # runs a trial; passed to the executor
    score: Callable[[TrialResult], TrialResult]  # adds value and violations to a result
    proposals: Proposals  # of the strategy, which receives the results of its proposals only
    allocator: Allocator  # creates trials and their budgets; receives all results
    executor: Executor  # runs the trials and keeps the clock
    stop: StopCondition  # limits of the search
    overhead: Overhead = field(default_factory=Overhead)
    stopped: str | None = None  # why a callback ended the search
    _next: int = 0  # number of the next trial
    _counted: set[int] = field(default_factory=set)  # trials that are not promotions
    _n_reported: int = 0
    _queue: deque[Trial] = field(default_factory=deque)
    _running: "set[Future[TrialResult]]" = field(default_factory=set)
    _pending: dict[int, Config | None] = field(default_factory=dict)  # proposals, by trial number
    _scored: dict[int, TrialResult] = field(default_factory=dict)
    _past: Past = field(default_factory=Past)
    _made: dict[_Identity, TrialResult] = field(default_factory=dict)  # of the allocator's trials
    _swapped: dict[int, int] = field(default_factory=dict)  # numbers for the allocator
    # seconds to score the last success of each number of folds, on the executor's clock
    _scoring: dict[int, float] = field(default_factory=dict)

    def run(self) -> bool:
        """Search until the budget is spent; return False after an interrupt; results are kept."""
        window = window_of(self.stop, self.executor)
        if window < self.executor.n_workers:
            msg = (
                f"Only {window} of {self.executor.n_workers} workers are used: with n_trials "
                "alone no more trials run at once, so that the result does not depend on the "
                "number of workers. Pass time_budget as well to use all of them."
            )
            warn(msg, DegradedWarning)
        try:
            self._refill()
            self._tell()
            while self._submit():
                self._collect()
                self._tell()
        except KeyboardInterrupt:
            logger.info("Interrupted after %d results.", self._n_reported)
            return False
        except StopSearch as stop:
            self.stopped = str(stop)
            logger.info("Stopped after %d results: %s.", self._n_reported, stop)
        finally:
            self.executor.shutdown()
        return True

    def replay(
        self, past: Iterable[TrialRecord], repeat: Iterable[Trial] = (), *, start: float
    ) -> None:
        """Ask for and tell the trials of a previous run in their order; nothing is executed.

        While the search requests the recorded trials, it continues as if it had not ended; the
        trials to ``repeat`` run when they are requested. From the first other trial on, the
        remaining results are recorded unrequested, and new trials get new numbers.
        """
        records = list(past)
        results = [record.result for record in records]
        windows = [*(record.window for record in records), None]
        self._past = Past(
            results={result.trial.number: result for result in results},
            repeat={trial.number: trial for trial in repeat},
            known={_identity(result.trial): result for result in results},
            clock=start,
            window=windows[0],
        )
        self._past.last = max((*self._past.results, *self._past.repeat), default=-1)
        self._refill()
        for record, self._past.window in zip(records, windows[1:], strict=True):
            result, number = record.result, record.result.trial.number
            while self._past.followed and number not in self._pending and self._ask():
                pass
            self._past.clock = start + record.seconds
            if number not in self._pending:
                self._leave_record()
            self._past.results.pop(number)
            if number in self._pending:
                self._scored[number] = result
                self._tell()
            else:
                self._learn(result)
                self.proposals.hear(result)
        self._past.clock = None

    def _refill(self) -> None:
        start = time.perf_counter()
        usual, then = window_of(self.stop, self.executor), self._past.window
        while len(self._pending) < (usual if then is None else then) and self._ask():
            pass
        self.overhead.ask += time.perf_counter() - start

    def _ask(self) -> bool:
        """Create one more trial; return False if there is none now."""
        if self._past.clock is not None and not self._past.followed:
            return False  # All recorded results are replayed first.
        # A trial has no effect if no time is left to score it.
        now = self.executor.now() if self._past.clock is None else self._past.clock
        now += self._scoring_seconds
        left = self.stop.seconds_left(now) if self._next else None
        if left is not None and left <= 0:
            return False
        used_up, proposed = self.stop.used_up(len(self._counted)), list[Config]()

        def ask() -> Config | None:
            config = None if used_up else self.proposals.ask()
            if config is not None:
                proposed.append(config)
            return config

        trial = self.allocator.next_trial(ask, number=self._next, seconds_left=left)
        if trial is None or (used_up and not trial.parent):
            return False
        self._enter(trial, proposed[-1] if proposed else None)
        return True

    def _enter(self, trial: Trial, proposed: Config | None) -> None:
        """Queue a trial, unless a previous run holds its result."""
        recorded = self._past.trial(trial.number) if self._past.followed else None
        differs = recorded is not None and (
            recorded.origin is not trial.origin or _identity(recorded) != _identity(trial)
        )
        if differs:
            self._leave_record()
            if self.stop.used_up(len(self._counted)) and not trial.parent:
                return
            # The allocator knows the trial under the number of the recorded one.
            self._swapped = {trial.number: self._next, self._next: trial.number}
            trial = replace(trial, number=self._next)
        self._next = trial.number + 1
        self._pending[trial.number] = proposed
        if not trial.parent:
            self._counted.add(trial.number)
        if trial.number in self._past.results:
            return
        self._past.repeat.pop(trial.number, None)
        known = (self._made if self._past.followed else self._past.known).get(_identity(trial))
        if known is None:
            self._queue.append(trial)
        else:
            self._scored[trial.number] = replace(known, trial=trial)
            self._counted.discard(trial.number)

    def _leave_record(self) -> None:
        """Give new numbers to new trials, and queue those that are to be run again."""
        if not self._past.followed:
            return
        self._past.followed = False
        self.proposals.forget_record()
        recorded = (*(r.trial for r in self._past.results.values()), *self._past.repeat.values())
        self._counted |= {trial.number for trial in recorded if not trial.parent}
        self._next = max(self._past.last + 1, self._next)
        for trial in self._past.repeat.values():
            self.proposals.claim(trial.config)
            self._pending[trial.number] = trial.config
            self._queue.append(trial)
        self._past.repeat.clear()

    def _submit(self) -> bool:
        """Submit queued trials; return False if no trial is running."""
        while self._queue and len(self._running) < _depth_of(self.executor):
            left = self.stop.seconds_left(self.executor.now() + self._scoring_seconds)
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
                # Executors enforce the deadline; this is for one that does not.
                self.executor.shutdown()
        self._running -= done
        stopped: StopSearch | None = None
        for future in sorted(done, key=lambda f: f.result().trial.number):
            start = self.executor.now()
            try:
                scored = self.score(future.result())
            except StopSearch as stop:
                stopped = stop  # the result itself is recorded, and so are the others
                continue
            if scored.status is TrialState.SUCCESS and scored.trial.number > 0:
                self._scoring[scored.trial.fidelity.folds] = self.executor.now() - start
                longest = self._scoring_seconds
                self.executor.spare = longest if longest >= LONG else 0.0
            self._scored[scored.trial.number] = scored
        if stopped is not None:
            raise stopped

    @property
    def _scoring_seconds(self) -> float:
        """Seconds to score any trial, 0 before the first; screening trials take the least."""
        return max(self._scoring.values(), default=0.0)

    def _tell(self) -> None:
        """Report results in order of creation, or of completion under a time budget."""
        in_order = self.stop.deadline is None
        while self._scored:
            number = next(iter(self._pending)) if in_order else min(self._scored)
            if number not in self._scored:
                return
            start = time.perf_counter()
            scored, proposed = self._scored.pop(number), self._pending.pop(number)
            self._learn(scored)
            if proposed is not None:
                # The allocator may have added a mitigation, which the strategy does not know.
                self.proposals.tell(replace(scored, trial=replace(scored.trial, config=proposed)))
            elif scored.trial.parent and scored.trial.fidelity.folds > 1:
                self.proposals.revise(scored)
            elif not scored.trial.parent:
                self._made[_identity(scored.trial)] = scored
            self._n_reported += 1
            self.overhead.tell += time.perf_counter() - start
            self._refill()

    def _learn(self, scored: TrialResult) -> None:
        number = scored.trial.number
        trial = replace(scored.trial, number=self._swapped.get(number, number))
        self.allocator.record(replace(scored, trial=trial))


Suggest = Callable[[str, Range], ParamValue]


def propose(space: SearchSpace, suggest: Suggest) -> Config:
    """Build a configuration from one suggested value per name.

    Names are ``learner``, ``lightgbm.num_leaves``, ``encoding``, ``mitigation``,
    ``reweighing.strength``; a choice with a single value is not suggested.
    """
    learner = _pick("learner", tuple(space.learners), suggest)
    params = _walk(space.learners[learner], suggest)
    encoding = space.encoding_of(learner, _pick("encoding", space.encodings, suggest))
    mitigation = space.mitigation_of(
        learner, _pick("mitigation", tuple(space.mitigations), suggest)
    )
    return Config(
        learner=learner,
        params=params,
        encoding=encoding,
        mitigation=mitigation,
        mitigation_params=_walk(space.mitigations[mitigation], suggest),
    )


def _pick(name: str, values: tuple[str, ...], suggest: Suggest) -> str:
    if len(values) == 1:
        return values[0]
    return str(suggest(name, Choice(values=values, default=values[0])))


def _walk(part: ParamSpace, suggest: Suggest) -> dict[str, ParamValue]:
    return part.walk(lambda param, allowed: suggest(f"{part.name}.{param}", allowed))
