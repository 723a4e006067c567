"""What becomes of a result: its worth, a record that lasts, and who hears of it."""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial

from fairautoml.evaluation.contained import contained, error_text
from fairautoml.evaluation.problem import Problem
from fairautoml.exceptions import DegradedWarning, warn
from fairautoml.execution._replay import Replay
from fairautoml.running.history import History
from fairautoml.running.settling import judged
from fairautoml.search.controller import Stop, window_of
from fairautoml.search.recalling import Recalling
from fairautoml.store.record import Record
from fairautoml.trials import Artifacts, Entry, Told, TrialResult

Keep = Callable[[Record], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """What a progress callback is told after each result."""

    result: TrialResult  # the newest result
    best: Entry | None  # best entry so far
    n_trials: int  # results so far
    seconds_left: float | None  # until the deadline


OnProgress = Callable[[Progress], None]


@dataclass(slots=True, kw_only=True)
class Settler:
    """Judges a result and makes it durable before anybody hears of it."""

    problem: Problem  # what results are judged by
    # what an earlier part of the run left, by number of trial: worth what it was then
    past: Mapping[int, Record]
    artifacts: Artifacts  # where scores lie
    executor: Replay  # where trials run; knows under which number the search asked for one
    strategy: Recalling  # whose proposals are recorded with the results
    history: History  # remembers what was found
    listeners: tuple[Keep, ...]  # called with the ``Record`` of each new result, in this order
    on_progress: OnProgress | None  # called with a ``Progress`` after them
    start: float  # moment on the executor's clock at which the budget began
    stop: Stop  # when the search ends

    def __call__(self, result: TrialResult) -> Told:
        """Return what the search is told of a result, once everything worth keeping is kept."""
        recorded = self.past.get(result.trial.number)
        if recorded is None or recorded.result is not result:
            recorded = self._settled(result)
        return replace(recorded.told, trial=self.executor.as_asked(result.trial))

    def _settled(self, result: TrialResult) -> Record:
        """Return the record of a new result, which everybody has heard of."""
        begun = time.perf_counter()
        seconds = self.executor.now() - self.start
        record = replace(
            judged(result, self.artifacts, self.problem, seconds, self.stop.deadline),
            proposed=self.strategy.take(),
            window=window_of(self.stop, self.executor),
        )
        for hear in self.listeners:
            hear(record)
        self.history.add(result, record.entries, record.seconds)
        self.history.settled(record.entries, time.perf_counter() - begun)
        if self.on_progress is not None:
            self.on_progress(self._progress(result))
        return record

    def _progress(self, result: TrialResult) -> Progress:
        return Progress(
            result=result,
            best=self.history.best,
            n_trials=len(self.history.results),
            seconds_left=self.stop.seconds_left(self.executor.now()),
        )


def unbroken(on_progress: OnProgress | None) -> OnProgress | None:
    """Return a callback that is not called again once it has raised, which a warning says.

    An interrupt or an exit goes through.
    """
    if on_progress is None:
        return None
    left = [on_progress]

    def tell(progress: Progress) -> None:
        error = contained(partial(left[0], progress)) if left else None
        if isinstance(error, SystemExit):
            raise error
        if isinstance(error, Exception):
            left.clear()
            found = error_text(error)
            msg = f"on_progress raised {found} and is not called again; the search goes on"
            warn(msg, DegradedWarning)

    return tell
