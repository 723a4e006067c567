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
    Candidate,
    Executor,
    Origin,
    ParamValue,
    SearchStrategy,
    Status,
    Told,
    Trial,
    TrialResult,
)
from fairautoml.search.space import Choice, ParamSpace, Range, SearchSpace


class BaselineFirst:
    """Proposes the baseline once, then whatever the strategy proposes."""

    def __init__(self, baseline: Candidate, strategy: SearchStrategy) -> None:
        self._baseline: Candidate | None = baseline
        self._key: str | None = baseline.key
        self._strategy = strategy

    def ask(self) -> Candidate | None:
        """Return the next candidate."""
        if self._baseline is not None:
            first, self._baseline = self._baseline, None
            return first
        return self._strategy.ask()

    def tell(self, told: Told) -> None:
        """Pass on everything but the first result of the baseline."""
        if self._key is not None and told.trial.candidate.key == self._key:
            self._key = None
        else:
            self._strategy.tell(told)


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


Suggest = Callable[[str, Range], ParamValue]


def propose(space: SearchSpace, suggest: Suggest) -> Candidate:
    """Build a candidate by asking for one value after the other.

    Names are ``learner``, ``lightgbm.num_leaves``, ``encoding``, ``mitigation``,
    ``reweighing.strength``; a choice with a single value is not asked for.
    """
    learner = _pick("learner", tuple(space.learners), suggest)
    params = _walk(space.learners[learner], suggest)
    encoding = _pick("encoding", space.encodings, suggest)
    mitigation = _pick("mitigation", tuple(space.mitigations), suggest)
    return Candidate(
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


def flat(candidate: Candidate) -> dict[str, ParamValue]:
    """Return the candidate as the answers that ``propose`` would ask for."""
    return {
        "learner": candidate.learner,
        "encoding": candidate.encoding,
        "mitigation": candidate.mitigation,
        **_named(candidate.learner, candidate.params),
        **_named(candidate.mitigation, candidate.mitigation_params),
    }


def _named(owner: str, params: Mapping[str, ParamValue]) -> dict[str, ParamValue]:
    return {f"{owner}.{param}": value for param, value in params.items()}


@runtime_checkable
class Recaller(SearchStrategy, Protocol):
    """A strategy whose proposals depend on its seed, and what it proposed and was told, alone.

    Of ``told`` only candidate, status, value and violations may count, as a trial that is run
    again takes other seconds.
    """

    def recall(self, candidate: Candidate) -> None:
        """Take the candidate as the answer to the next ``ask``, which it was in an earlier run."""
        ...

    def hear(self, told: Told) -> None:
        """Learn what came of a candidate that this strategy did not propose."""
        ...


def nothing() -> tuple[Told, ...]:
    """Return no results."""
    return ()


class Recalling:
    """Answers from the record what a strategy would answer, as long as its history is the same.

    A proposal is recorded under the digest of all that the strategy had proposed and heard before
    it. Where the record has gaps, or the history takes another way, the strategy is asked, after
    it has heard of the results that this way does not come to. One that is no ``Recaller`` always
    is, and nothing is recorded for it.
    """

    def __init__(
        self,
        strategy: SearchStrategy,
        known: Mapping[str, Candidate],
        unasked: Callable[[], Iterable[Told]] = nothing,
    ) -> None:
        self._strategy = strategy
        self._recaller = strategy if isinstance(strategy, Recaller) else None
        self._known = known
        self._unasked = unasked
        self._history = hashlib.blake2b(digest_size=16)
        self._new: dict[str, Candidate] = {}

    def ask(self) -> Candidate | None:
        """Return the next candidate, recorded or new."""
        if self._recaller is None:
            return self._strategy.ask()
        history = self._history.hexdigest()
        candidate = self._known.get(history)
        if candidate is None:
            for told in self._unasked():
                self._recaller.hear(told)
                self._note("heard", *_content(told))
            history = self._history.hexdigest()
            candidate = self._recaller.ask()
            if candidate is not None:
                self._new[history] = candidate
        else:
            self._recaller.recall(candidate)
        self._note("asked", None if candidate is None else candidate.key)
        return candidate

    def tell(self, told: Told) -> None:
        """Pass the result on."""
        if self._recaller is not None:
            self._note(*_content(told))
        self._strategy.tell(told)

    def take(self) -> dict[str, Candidate]:
        """Return the proposals that are new since the last call, to be recorded."""
        new, self._new = self._new, {}
        return new

    def _note(self, *event: object) -> None:
        self._history.update(f"{event!r}\n".encode())


def _content(told: Told) -> tuple[object, ...]:
    """Return what of a result may count."""
    value = None if told.value is None else float(told.value)
    violations = [float(violation) for violation in told.violations]
    return told.trial.candidate.key, told.status.value, value, violations


def as_proposed(results: Iterable[Told], space: SearchSpace) -> tuple[Told, ...]:
    """Return the results of what a strategy had proposed, under the candidates it had proposed."""
    found = []
    for told in results:
        candidate = told.trial.candidate
        if candidate.mitigation not in space.mitigations:
            candidate = replace(candidate, mitigation="none", mitigation_params={})
        if told.trial.origin is Origin.SEARCH and candidate.learner in space.learners:
            found.append(replace(told, trial=replace(told.trial, candidate=candidate)))
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
        self._known: dict[str, Told] = {}
        self._waiting: Counter[str] = Counter()
        self._open: set[str] = set()

    def ask(self) -> Candidate | None:
        """Return the next new candidate; None when the strategy only repeats itself."""
        for _ in range(TRIES):
            candidate = self._strategy.ask()
            if candidate is None:
                return None
            key = candidate.key
            if key in self._known:
                self._strategy.tell(self._known[key])
            elif key in self._open:
                self._waiting[key] += 1
            else:
                self._open.add(key)
                return candidate
        return None

    def tell(self, told: Told) -> None:
        """Pass the result on, also to the repeated proposals that wait for it."""
        key = told.trial.candidate.key
        for _ in range(1 + self._waiting.pop(key, 0)):
            self._strategy.tell(told)
        self._open.discard(key)
        # A worker that was killed from outside says nothing about the candidate.
        if told.status is not Status.LOST:
            self._known[key] = told
