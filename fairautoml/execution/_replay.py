"""An executor that answers from the record of an earlier run, then from a real one.

Strategy and allocator are built anew and hear the recorded results in their recorded order, at
their recorded times, after as many proposals as then. So they end in the state they had when the
run was cut off, without a training, and whatever the number of workers is now.
"""

from collections.abc import Callable, Sequence, Set
from concurrent.futures import Future
from dataclasses import dataclass, replace

from fairautoml.trials import Executor, Trial, TrialResult

OnStart = Callable[[Trial, float], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Known:
    """What is recorded of a trial that has ended."""

    result: TrialResult  # how it ended
    seconds: float  # when it was told, since the budget began
    window: int | None = None  # trials that might be asked for and not told until then


class Replay:
    """A real executor behind the record of the trials that have ended."""

    def __init__(
        self,
        executor: Executor,
        past: Sequence[Known],
        *,
        start: float,
        on_start: OnStart | None,
    ) -> None:
        self.queued = executor.queued
        self._executor = executor
        self._start = start
        self._on_start = on_start
        self._known = {known.result.trial.number: turn for turn, known in enumerate(past)}
        self._past = past
        self._open = set(range(len(past)))
        self._strayed = False
        self._handed_over: set[int] = set()
        self._taken = set(self._known)
        self._waiting: dict[Future[TrialResult], int] = {}
        self._names: dict[str, str] = {}
        self._asked: dict[str, Trial] = {}
        self._clock = 0.0
        self._live = not past
        self.n_workers = self._workers_then()

    @property
    def spare(self) -> float:
        """Seconds before the deadline by which the trials of the real executor end."""
        return self._executor.spare

    @spare.setter
    def spare(self, seconds: float) -> None:
        self._executor.spare = seconds

    def now(self) -> float:
        """Return the recorded time while the record is told, then the executor's."""
        return self._executor.now() if self._live else self._start + self._clock

    def submit(
        self, objective: Callable[[Trial], TrialResult], trial: Trial
    ) -> "Future[TrialResult]":
        """Promise the recorded result of a trial, or run it.

        A trial that is recorded under no number gets one of its own: what was recorded is kept.
        """
        turn = self._turn_of(trial)
        if turn is not None:
            promised: Future[TrialResult] = Future()
            self._waiting[promised] = turn
            self._open.discard(turn)
            self._call(trial, self._past[turn].result.trial)
            return promised
        if trial.number in self._known or trial.number > max(self._known, default=-1):
            # Another one than then, and not one of those that have to be run again.
            self._strayed = True
            self.n_workers = self._workers_then()
        mine = self._renamed(trial)
        if self._on_start is not None:
            self._on_start(mine, self.now() - self._start)
        return self._executor.submit(objective, mine)

    def wait(
        self, running: "Set[Future[TrialResult]]", seconds: float
    ) -> "set[Future[TrialResult]]":
        """Return the recorded result that came first, and only then what the executor has."""
        promised = [future for future in running if future in self._waiting]
        if not promised:
            self._live = True
            return self._executor.wait(running, seconds)
        first = min(promised, key=self._waiting.__getitem__)
        known = self._past[self._waiting.pop(first)]
        self._clock = known.seconds
        self.n_workers = self._workers_then()
        first.set_result(known.result)
        return {first}

    def unasked(self) -> tuple[TrialResult, ...]:
        """Return the recorded results that the search no longer comes to, each of them once.

        There are some only after it took another way than it took then.
        """
        turns = sorted(self._open - self._handed_over) if self._strayed else []
        self._handed_over.update(turns)
        return tuple(self._past[turn].result for turn in turns)

    def shutdown(self) -> None:
        """Stop the real executor."""
        self._executor.shutdown()

    def as_asked(self, trial: Trial) -> Trial:
        """Return the trial as the search asked for it, under the number it has there."""
        return self._asked.get(trial.key, trial) if self._asked else trial

    def _workers_then(self) -> int:
        """Return the workers that make as many proposals as were made before the next result."""
        ahead = self._open.union(self._waiting.values())
        window = None if self._strayed or not ahead else self._past[min(ahead)].window
        return self._executor.n_workers if window is None else window - self.queued

    def _turn_of(self, trial: Trial) -> int | None:
        """Return the turn of the recorded trial: under its number, else under any other."""
        turn = self._known.get(trial.number)
        if turn in self._open and _same(self._past[turn].result.trial, trial):
            return turn
        # The search took another way than it took then, and may come by the same places.
        others = sorted(self._open)
        return next((t for t in others if _same(self._past[t].result.trial, trial)), None)

    def _call(self, trial: Trial, mine: Trial) -> None:
        """Remember which trial of the search runs, or ran, under another number."""
        if mine.number != trial.number:
            self._names[trial.key] = mine.key
            self._asked[mine.key] = trial

    def _renamed(self, trial: Trial) -> Trial:
        number = trial.number if trial.number not in self._taken else max(self._taken) + 1
        self._taken.add(number)
        mine = replace(trial, number=number, rival=self._names.get(trial.rival, trial.rival))
        self._call(trial, mine)
        return mine


def _same(recorded: Trial, trial: Trial) -> bool:
    """Whether two trials are the same training; seconds left do not count."""
    return (
        recorded.candidate == trial.candidate
        and recorded.origin is trial.origin
        and recorded.budget.sample_fraction == trial.budget.sample_fraction
        and recorded.budget.folds == trial.budget.folds
    )
