"""Who plays which part in the search: strategy, allocator, executor."""

from collections.abc import Callable
from concurrent.futures import Future
from typing import Protocol

from fairautoml.trials.records import Candidate, Told, Trial, TrialResult


class SearchStrategy(Protocol):
    """Decides what to try next; knows spaces and results, never a model."""

    def ask(self) -> Candidate | None:
        """Return the next candidate; None = nothing before the next result."""
        ...

    def tell(self, told: Told) -> None:
        """Learn what came of a candidate that was asked for, once."""
        ...


class Allocator(Protocol):
    """Decides who may spend what."""

    def next_trial(
        self, ask: Callable[[], Candidate | None], *, number: int, seconds_left: float | None
    ) -> Trial | None:
        """Return the next spend; None = nothing now."""
        ...

    def record(self, told: Told) -> None:
        """Learn what a trial cost and brought."""
        ...


class Executor(Protocol):
    """Runs trials somewhere; the shape of ``concurrent.futures`` plus a deadline per trial.

    ``n_workers`` trials run at the same time; ``queued`` more may be handed over in advance, so
    that no worker waits for the controller.
    """

    n_workers: int
    queued: int

    def submit(
        self, objective: Callable[[Trial], TrialResult], trial: Trial
    ) -> "Future[TrialResult]":
        """Start a trial; its ``budget.seconds`` is enforced."""
        ...

    def shutdown(self) -> None:
        """Stop everything that runs and leave no process behind."""
        ...
