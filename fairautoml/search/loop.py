"""The loop of the search: ask for a trial, run it, tell its result.

Everything it knows is in its arguments. It sees candidates and results, never a model or a row.
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
    ScoredTrial,
    SearchStrategy,
    Trial,
    TrialResult,
    TrialState,
)
from fairautoml.search.space import Choice, ParamSpace, Range, SearchSpace


class BaselineFirst:
    """Proposes the baseline once, then whatever the strategy proposes."""

    def __init__(self, baseline: Config, strategy: SearchStrategy) -> None:
        self._baseline: Config | None = baseline
        self._key: str | None = baseline.key
        self._strategy = strategy

    def ask(self) -> Config | None:
        """Return the next candidate."""
        if self._baseline is not None:
            first, self._baseline = self._baseline, None
            return first
        return self._strategy.ask()

    def tell(self, scored: ScoredTrial) -> None:
        """Pass on everything but the first result of the baseline."""
        if self._key is not None and scored.trial.config.key == self._key:
            self._key = None
        else:
            self._strategy.tell(scored)


logger = logging.getLogger(__name__)

MAX_PENDING = 8
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
class StopCondition:
    """When the search ends."""

    n_trials: int | None = None  # trials to run at the most
    deadline: float | None = None  # time on the executor's clock at which nothing may run any more

    def seconds_left(self, now: float) -> float | None:
        """Return the seconds until the deadline, None without one."""
        return None if self.deadline is None else self.deadline - now

    def reached(self, n_trials: int, now: float) -> bool:
        """Whether no further trial may be asked for; the first one always may."""
        left = self.seconds_left(now) if n_trials else None
        return (self.n_trials is not None and n_trials >= self.n_trials) or (
            left is not None and left <= 0
        )


@dataclass(slots=True)
class Pruner:
    """The trials that others must come near: for each sample size the lowest log loss.

    A plain search trial whose first folds are far behind it cannot become the answer. What an
    allocator made is never compared: a mitigation changes the log loss.
    """

    _best: dict[_Size, tuple[float, str]] = field(default_factory=dict)

    def learn(self, scored: ScoredTrial) -> None:
        """Take in a result."""
        if scored.status is TrialState.SUCCESS and scored.log_loss is not None:
            size = _size(scored.trial)
            best = self._best.get(size)
            if best is None or scored.log_loss <= best[0]:
                found = (scored.log_loss, scored.trial.key)
                self._best[size] = found if best is None else min(found, best)

    def against(self, trial: Trial) -> Trial:
        """Return the trial, with a rival when it may be compared with one."""
        plain = trial.origin is Origin.SEARCH and trial.config.mitigation == "none"
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

    def learn(self, scored: ScoredTrial) -> None:
        """Take in a result; the first trial needs no training, so it says nothing."""
        if scored.status is TrialState.SUCCESS and scored.trial.number > 0:
            insort(self._known[_kind(scored.trial)], scored.seconds)

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


def window_of(stop: StopCondition, executor: Executor) -> int:
    """Return how many trials may be asked for and not yet told."""
    return MAX_PENDING if stop.deadline is None else _depth_of(executor)


def _depth_of(executor: Executor) -> int:
    return executor.n_workers + executor.queued


def _size(trial: Trial) -> _Size:
    """Return what trials have in common whose losses and seconds can be compared."""
    return trial.budget.sample_fraction, trial.budget.folds


def _kind(trial: Trial) -> tuple[_Size, str]:
    return _size(trial), trial.config.mitigation


@dataclass(slots=True)
class Overhead:
    """Seconds that the loop itself took, on the machine's clock."""

    ask: float = 0.0
    tell: float = 0.0


@dataclass(slots=True, kw_only=True)
class SearchLoop:
    """One run of the loop."""

    objective: Callable[[Trial], TrialResult]  # runs a trial; handed to the executor
    score: Callable[[TrialResult], ScoredTrial]  # turns a result into what the strategy is told
    strategy: SearchStrategy  # what to try; told of what it proposed, and of nothing else
    allocator: Allocator  # who may spend what; told of everything
    executor: Executor  # where trials run, and the clock
    stop: StopCondition  # when it ends
    overhead: Overhead = field(default_factory=Overhead)
    _n_started: int = 0
    _n_reported: int = 0
    _queue: deque[Trial] = field(default_factory=deque)
    _running: "set[Future[TrialResult]]" = field(default_factory=set)
    _scored: dict[int, ScoredTrial] = field(default_factory=dict)
    _sampled: dict[int, Config] = field(default_factory=dict)
    _pruner: Pruner = field(default_factory=Pruner)
    _caps: Caps = field(default_factory=Caps)
    _scoring: float = 0.0  # seconds that the last success took, on the executor's clock

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
            logger.info("interrupted after %d results", self._n_reported)
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
        while self._n_started - self._n_reported < self.window and self._ask():
            pass
        self.overhead.ask += time.perf_counter() - start

    def _ask(self) -> bool:
        """Queue one more trial; False when there is none now."""
        # What a trial gives is worth nothing when there is no time left to settle it.
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
        """Hand over waiting trials; False when nothing runs and nothing waits."""
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
                # Workers enforce the deadline themselves; this is for one that does not.
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
        """Tell in the order asked under ``n_trials``, as they come under a time budget."""
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

    def _tell_strategy(self, scored: ScoredTrial) -> None:
        """Tell the strategy of its own proposals, under the candidate that it proposed.

        An allocator may have put a mitigation on it, by which the strategy would not know it.
        """
        config = self._sampled.pop(scored.trial.number, None)
        if config is not None:
            self.strategy.tell(replace(scored, trial=replace(scored.trial, config=config)))


Suggest = Callable[[str, Range], ParamValue]


def propose(space: SearchSpace, suggest: Suggest) -> Config:
    """Build a candidate by asking for one value after the other.

    Names are ``learner``, ``lightgbm.num_leaves``, ``encoding``, ``mitigation``,
    ``reweighing.strength``; a choice with a single value is not asked for.
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
    """Return the candidate as the answers that ``propose`` would ask for."""
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
    """A strategy whose proposals depend on its seed, and what it proposed and was told, alone.

    Of ``scored`` only candidate, status, value and violations may count, as a trial that is run
    again takes other seconds.
    """

    def recall(self, config: Config) -> None:
        """Take the candidate as the answer to the next ``ask``, which it was in an earlier run."""
        ...

    def hear(self, scored: ScoredTrial) -> None:
        """Learn what came of a candidate that this strategy did not propose."""
        ...


def nothing() -> tuple[ScoredTrial, ...]:
    """Return no results."""
    return ()


class Recalling:
    """Answers from the record what a strategy would answer, as long as its history is the same.

    A proposal is recorded under the digest of all that the strategy had proposed and heard before
    it. Where the record has gaps, or the history takes another way, the strategy is asked, after
    it has heard of the results that this way does not come to. One that is no
    ``RecallingStrategy`` always is, and nothing is recorded for it.
    """

    def __init__(
        self,
        strategy: SearchStrategy,
        known: Mapping[str, Config],
        unmatched: Callable[[], Iterable[ScoredTrial]] = nothing,
    ) -> None:
        self._strategy = strategy
        self._recaller = strategy if isinstance(strategy, RecallingStrategy) else None
        self._known = known
        self._unmatched = unmatched
        self._history = hashlib.blake2b(digest_size=16)
        self._new: dict[str, Config] = {}

    def ask(self) -> Config | None:
        """Return the next candidate, recorded or new."""
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

    def tell(self, scored: ScoredTrial) -> None:
        """Pass the result on."""
        if self._recaller is not None:
            self._note(*_content(scored))
        self._strategy.tell(scored)

    def take(self) -> dict[str, Config]:
        """Return the proposals that are new since the last call, to be recorded."""
        new, self._new = self._new, {}
        return new

    def _note(self, *event: object) -> None:
        self._history.update(f"{event!r}\n".encode())


def _content(scored: ScoredTrial) -> tuple[object, ...]:
    """Return what of a result may count."""
    value = None if scored.value is None else float(scored.value)
    violations = [float(violation) for violation in scored.violations]
    return scored.trial.config.key, scored.status.value, value, violations


def as_sampled(results: Iterable[ScoredTrial], space: SearchSpace) -> tuple[ScoredTrial, ...]:
    """Return the results of what a strategy had proposed, under the candidates it had proposed."""
    found = []
    for scored in results:
        config = scored.trial.config
        if config.mitigation not in space.mitigations:
            config = replace(config, mitigation="none", mitigation_params={})
        if scored.trial.origin is Origin.SEARCH and config.learner in space.learners:
            found.append(replace(scored, trial=replace(scored.trial, config=config)))
    return tuple(found)


TRIES = 32
"""Proposals that are listened to before the strategy counts as out of ideas for now."""


class WithoutRepeats:
    """Passes on proposals that are new, and answers the others itself.

    The seed of a trial comes from its candidate, so a second run would only give the same result
    again. It depends on the order of ``ask`` and ``tell`` only, never on the number of workers.
    """

    def __init__(self, strategy: SearchStrategy) -> None:
        self._strategy = strategy
        self._known: dict[str, ScoredTrial] = {}
        self._waiting: Counter[str] = Counter()
        self._open: set[str] = set()

    def ask(self) -> Config | None:
        """Return the next new candidate; None when the strategy only repeats itself."""
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

    def tell(self, scored: ScoredTrial) -> None:
        """Pass the result on, also to the repeated proposals that wait for it."""
        key = scored.trial.config.key
        for _ in range(1 + self._waiting.pop(key, 0)):
            self._strategy.tell(scored)
        self._open.discard(key)
        # A worker that was killed from outside says nothing about the candidate.
        if scored.status is not TrialState.WORKER_LOST:
            self._known[key] = scored
