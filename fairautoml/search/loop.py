"""Run trials until the budget ends.

The loop asks the strategy for configurations, runs them as trials and reports their results to it.
"""

import hashlib
import logging
import time
from bisect import insort
from collections import Counter, defaultdict, deque
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import Future
from dataclasses import dataclass, field, replace
from typing import Protocol, runtime_checkable

from fairautoml.exceptions import DegradedWarning, warn
from fairautoml.records import (
    Allocator,
    Config,
    Executor,
    Origin,
    ParamValue,
    SearchStrategy,
    Trial,
    TrialResult,
    TrialState,
)
from fairautoml.search.space import Choice, ParamSpace, Range, SearchSpace


class BaselineFirst:
    """Proposes the baseline once, then the proposals of the strategy."""

    def __init__(self, baseline: Config, strategy: SearchStrategy) -> None:
        self._baseline: Config | None = baseline
        self._key: str | None = baseline.key
        self._strategy = strategy

    def ask(self) -> Config | None:
        """Return the next configuration."""
        if self._baseline is not None:
            first, self._baseline = self._baseline, None
            return first
        return self._strategy.ask()

    def tell(self, scored: TrialResult) -> None:
        """Tell the strategy every result except the first one of the baseline."""
        if self._key is not None and scored.trial.config.key == self._key:
            self._key = None
        else:
            self._strategy.tell(scored)


logger = logging.getLogger(__name__)

MAX_PENDING = 8
"""Pending trials under ``n_trials``: trial i is created after exactly the results up to
``i - MAX_PENDING``.

An adaptive strategy thus sees the same history with any number of workers; more than
``MAX_PENDING`` workers stay idle. A time budget has no such limit.
"""

SHARE_OF_REST, TIMES_THE_USUAL = 1 / 3, 10.0
"""Under a time budget a search trial may take this share of the time left, or this multiple of the
median time of successful trials of its kind, whichever is larger."""

_Size = tuple[float, int]
"""Sample fraction and number of models of a trial."""

POLL_SECONDS = 0.5
"""Seconds between two looks at the clock while trials run."""

LONG = 0.5
"""Scoring time in seconds from which trials must end that much before the deadline."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StopCondition:
    """Limits at which the search ends."""

    n_trials: int | None = None  # maximum number of trials
    deadline: float | None = None  # time on the executor's clock at which all trials must end

    def seconds_left(self, now: float) -> float | None:
        """Return the seconds until the deadline, None without one."""
        return None if self.deadline is None else self.deadline - now

    def reached(self, n_trials: int, now: float) -> bool:
        """Whether no further trial may start; the first one always may."""
        left = self.seconds_left(now) if n_trials else None
        return (self.n_trials is not None and n_trials >= self.n_trials) or (
            left is not None and left <= 0
        )


@dataclass(slots=True)
class Pruner:
    """Names the incumbent that a trial is compared with: the lowest log loss per sample size.

    A plain search trial whose first folds are far behind the incumbent cannot become the best.
    Trials that the allocator created are not compared: a mitigation changes the log loss.
    """

    _best: dict[_Size, tuple[float, str]] = field(default_factory=dict)

    def learn(self, scored: TrialResult) -> None:
        """Update the incumbents with a result."""
        if scored.status is TrialState.SUCCESS and scored.log_loss is not None:
            size = _size(scored.trial)
            best = self._best.get(size)
            if best is None or scored.log_loss <= best[0]:
                found = (scored.log_loss, scored.trial.key)
                self._best[size] = found if best is None else min(found, best)

    def against(self, trial: Trial) -> Trial:
        """Return the trial, with the key of its incumbent if it may be pruned."""
        plain = trial.origin is Origin.SEARCH and trial.config.mitigation == "none"
        best = self._best.get(_size(trial))
        return replace(trial, rival=best[1]) if plain and best is not None else trial


@dataclass(slots=True)
class Caps:
    """Time limits of search trials, so that one that hangs does not use up the time budget.

    Until a trial of its sample size and mitigation has succeeded, a trial may take all of the time
    left: in a short run on a large table it is the only full trial. Without a time budget there
    are no limits, as results must then not depend on the speed of the machine.
    """

    _known: defaultdict[tuple[_Size, str], list[float]] = field(
        default_factory=lambda: defaultdict(list)
    )

    def learn(self, scored: TrialResult) -> None:
        """Record the seconds of a success; the first trial needs no training and is ignored."""
        if scored.status is TrialState.SUCCESS and scored.trial.number > 0:
            insort(self._known[_kind(scored.trial)], scored.seconds)

    def on(self, trial: Trial, seconds_left: float | None) -> Trial:
        """Return the trial, with a time limit if it may not take all of the time left."""
        known = self._known[_kind(trial)]
        if seconds_left is None or not known or trial.origin is not Origin.SEARCH:
            return trial
        usual = known[len(known) // 2]
        most = max(SHARE_OF_REST * seconds_left, TIMES_THE_USUAL * usual)
        own = trial.budget.seconds
        if most >= (seconds_left if own is None else own):
            return trial
        return replace(trial, budget=replace(trial.budget, seconds=most))


def window_of(stop: StopCondition, executor: Executor) -> int:
    """Return the maximum number of pending trials."""
    return MAX_PENDING if stop.deadline is None else _depth_of(executor)


def _depth_of(executor: Executor) -> int:
    return executor.n_workers + executor.queued


def _size(trial: Trial) -> _Size:
    """Return the size of a trial; losses and seconds of equal sizes are comparable."""
    return trial.budget.sample_fraction, trial.budget.folds


def _kind(trial: Trial) -> tuple[_Size, str]:
    return _size(trial), trial.config.mitigation


@dataclass(slots=True)
class Overhead:
    """Wall-clock seconds spent in the loop itself."""

    ask: float = 0.0
    tell: float = 0.0


@dataclass(slots=True, kw_only=True)
class SearchLoop:
    """One run of the search loop."""

    objective: Callable[[Trial], TrialResult]  # runs a trial; passed to the executor
    score: Callable[[TrialResult], TrialResult]  # computes value and violations of a result
    strategy: SearchStrategy  # proposes configurations; receives the results of its proposals only
    allocator: Allocator  # creates trials and their budgets; receives all results
    executor: Executor  # runs the trials and keeps the clock
    stop: StopCondition  # limits of the search
    overhead: Overhead = field(default_factory=Overhead)
    _n_started: int = 0
    _n_reported: int = 0
    _queue: deque[Trial] = field(default_factory=deque)
    _running: "set[Future[TrialResult]]" = field(default_factory=set)
    _scored: dict[int, TrialResult] = field(default_factory=dict)
    _sampled: dict[int, Config] = field(default_factory=dict)
    _pruner: Pruner = field(default_factory=Pruner)
    _caps: Caps = field(default_factory=Caps)
    _scoring: float = 0.0  # seconds that the last success took, on the executor's clock

    def run(self) -> bool:
        """Search until the budget is spent; return False if the user interrupted the search.

        Results that were scored before an interrupt are kept.
        """
        if self.window < self.executor.n_workers:
            msg = (
                f"Only {self.window} of {self.executor.n_workers} workers are used: with n_trials "
                "alone no more trials run at once, so that the result does not depend on the "
                "number of workers. Pass time_budget as well to use all of them."
            )
            warn(msg, DegradedWarning)
        try:
            self._refill()
            while self._submit():
                self._collect()
                self._tell()
        except KeyboardInterrupt:
            logger.info("Interrupted after %d results.", self._n_reported)
            return False
        finally:
            self.executor.shutdown()
        return True

    @property
    def _depth(self) -> int:
        """Number of trials in the executor, one of them queued so that no worker is idle."""
        return _depth_of(self.executor)

    @property
    def window(self) -> int:
        """Maximum number of pending trials."""
        return window_of(self.stop, self.executor)

    def _refill(self) -> None:
        start = time.perf_counter()
        while self._n_started - self._n_reported < self.window and self._ask():
            pass
        self.overhead.ask += time.perf_counter() - start

    def _ask(self) -> bool:
        """Queue one more trial; return False if there is none now."""
        # A trial has no effect if no time is left to score it.
        now = self.executor.now() + self._scoring
        if self.stop.reached(self._n_started, now):
            return False
        sampled: list[Config] = []

        def ask() -> Config | None:
            config = self.strategy.ask()
            if config is not None:
                sampled.append(config)
            return config

        left = self.stop.seconds_left(now) if self._n_started else None
        trial = self.allocator.next_trial(ask, number=self._n_started, seconds_left=left)
        if trial is None:
            return False
        if sampled:
            self._sampled[self._n_started] = sampled[-1]
        self._n_started += 1
        self._queue.append(self._caps.on(self._pruner.against(trial), left))
        return True

    def _submit(self) -> bool:
        """Submit queued trials; return False if no trial is running."""
        while self._queue and len(self._running) < self._depth:
            left = self.stop.seconds_left(self.executor.now() + self._scoring)
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
        for future in sorted(done, key=lambda f: f.result().trial.number):
            start = self.executor.now()
            scored = self.score(future.result())
            if scored.status is TrialState.SUCCESS and scored.trial.number > 0:
                self._scoring = self.executor.now() - start
                self.executor.spare = self._scoring if self._scoring >= LONG else 0.0
            self._scored[scored.trial.number] = scored

    def _tell(self) -> None:
        """Report results by trial number, or in order of completion under a time budget."""
        in_order = self.stop.deadline is None
        while self._scored:
            number = self._n_reported if in_order else min(self._scored)
            if number not in self._scored:
                return
            start = time.perf_counter()
            scored = self._scored.pop(number)
            self.allocator.record(scored)
            self._pruner.learn(scored)
            self._caps.learn(scored)
            self._tell_strategy(scored)
            self._n_reported += 1
            self.overhead.tell += time.perf_counter() - start
            self._refill()

    def _tell_strategy(self, scored: TrialResult) -> None:
        """Tell the strategy the result of its own proposal."""
        # The allocator may have added a mitigation, which the strategy would not recognise.
        config = self._sampled.pop(scored.trial.number, None)
        if config is not None:
            self.strategy.tell(replace(scored, trial=replace(scored.trial, config=config)))


Suggest = Callable[[str, Range], ParamValue]


def propose(space: SearchSpace, suggest: Suggest) -> Config:
    """Build a configuration from one suggested value per name.

    Names are ``learner``, ``lightgbm.num_leaves``, ``encoding``, ``mitigation``,
    ``reweighing.strength``; a choice with a single value is not suggested.
    """
    learner = _pick("learner", tuple(space.learners), suggest)
    params = _walk(space.learners[learner], suggest)
    encoding = _pick("encoding", space.encodings, suggest)
    mitigation = _pick("mitigation", tuple(space.mitigations), suggest)
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


def flat(config: Config) -> dict[str, ParamValue]:
    """Return the configuration as a flat mapping with the names of ``propose``."""
    return {
        "learner": config.learner,
        "encoding": config.encoding,
        "mitigation": config.mitigation,
        **_named(config.learner, config.params),
        **_named(config.mitigation, config.mitigation_params),
    }


def _named(owner: str, params: Mapping[str, ParamValue]) -> dict[str, ParamValue]:
    return {f"{owner}.{param}": value for param, value in params.items()}


@runtime_checkable
class RecallingStrategy(SearchStrategy, Protocol):
    """A strategy whose proposals depend only on its seed, its proposals and their results.

    Of ``scored`` it may use only configuration, status, value and violations, because the seconds
    differ when a trial is run again.
    """

    def recall(self, config: Config) -> None:
        """Replay a recorded proposal instead of the next ``ask``."""
        ...

    def hear(self, scored: TrialResult) -> None:
        """Receive the result of a configuration that this strategy did not propose."""
        ...


def nothing() -> tuple[TrialResult, ...]:
    """Return no results."""
    return ()


class Recalling:
    """Replays the recorded proposals of a strategy as long as its history is the same.

    A proposal is recorded under the digest of the proposals and results before it. If none is
    recorded for the current history, the strategy receives the recorded results that the search
    no longer reaches, and makes a new proposal. A strategy that is no ``RecallingStrategy`` makes
    all proposals itself, and none are recorded.
    """

    def __init__(
        self,
        strategy: SearchStrategy,
        known: Mapping[str, Config],
        unmatched: Callable[[], Iterable[TrialResult]] = nothing,
    ) -> None:
        self._strategy = strategy
        self._recaller = strategy if isinstance(strategy, RecallingStrategy) else None
        self._known = known
        self._unmatched = unmatched
        self._history = hashlib.blake2b(digest_size=16)
        self._new: dict[str, Config] = {}

    def ask(self) -> Config | None:
        """Return the next configuration, recorded or new."""
        if self._recaller is None:
            return self._strategy.ask()
        history = self._history.hexdigest()
        config = self._known.get(history)
        if config is None:
            for scored in self._unmatched():
                self._recaller.hear(scored)
                self._note("heard", *_content(scored))
            history = self._history.hexdigest()
            config = self._recaller.ask()
            if config is not None:
                self._new[history] = config
        else:
            self._recaller.recall(config)
        self._note("asked", None if config is None else config.key)
        return config

    def tell(self, scored: TrialResult) -> None:
        """Tell the strategy the result."""
        if self._recaller is not None:
            self._note(*_content(scored))
        self._strategy.tell(scored)

    def take(self) -> dict[str, Config]:
        """Return the proposals since the last call, for the record."""
        new, self._new = self._new, {}
        return new

    def _note(self, *event: object) -> None:
        self._history.update(f"{event!r}\n".encode())


def _content(scored: TrialResult) -> tuple[object, ...]:
    """Return the parts of a result that a recalling strategy may use."""
    value = None if scored.value is None else float(scored.value)
    violations = [float(violation) for violation in scored.violations]
    return scored.trial.config.key, scored.status.value, value, violations


def as_sampled(results: Iterable[TrialResult], space: SearchSpace) -> tuple[TrialResult, ...]:
    """Return the results of a strategy's proposals under the configurations it proposed."""
    found = []
    for scored in results:
        config = scored.trial.config
        if config.mitigation not in space.mitigations:
            config = replace(config, mitigation="none", mitigation_params={})
        if scored.trial.origin is Origin.SEARCH and config.learner in space.learners:
            found.append(replace(scored, trial=replace(scored.trial, config=config)))
    return tuple(found)


TRIES = 32
"""Repeated proposals in a row after which the loop waits for the next result."""


class WithoutRepeats:
    """Filters out repeated proposals and answers them with the known result.

    The seed of a trial comes from its configuration, so a second run would give the same result.
    The filter depends only on the order of ``ask`` and ``tell``, not on the number of workers.
    """

    def __init__(self, strategy: SearchStrategy) -> None:
        self._strategy = strategy
        self._known: dict[str, TrialResult] = {}
        self._waiting: Counter[str] = Counter()
        self._open: set[str] = set()

    def ask(self) -> Config | None:
        """Return the next new configuration, or None if the strategy only repeats itself."""
        for _ in range(TRIES):
            config = self._strategy.ask()
            if config is None:
                return None
            key = config.key
            if key in self._known:
                self._strategy.tell(self._known[key])
            elif key in self._open:
                self._waiting[key] += 1
            else:
                self._open.add(key)
                return config
        return None

    def tell(self, scored: TrialResult) -> None:
        """Tell the result once for each proposal of its configuration."""
        key = scored.trial.config.key
        for _ in range(1 + self._waiting.pop(key, 0)):
            self._strategy.tell(scored)
        self._open.discard(key)
        # A worker that was killed from outside says nothing about the configuration.
        if scored.status is not TrialState.WORKER_LOST:
            self._known[key] = scored
