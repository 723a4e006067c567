"""Who plays which part in the search: strategy, allocator, executor."""

from collections.abc import Callable, Mapping, Set
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Protocol

from fairautoml.trials.records import Budget, Candidate, ParamValue, Told, Trial, TrialResult


class SearchStrategy(Protocol):
    """Decides what to try next; knows spaces and results, never a model."""

    def ask(self) -> Candidate | None:
        """Return the next candidate; None = nothing before the next result."""
        ...

    def tell(self, told: Told) -> None:
        """Learn what came of a candidate that was asked for, once."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Costly:
    """A training-time mitigation that an allocator may spend on.

    Parameters
    ----------
    name : str
        Registered name of the mitigator.
    params : mapping
        Its parameters.
    ratio : float
        Cost of a mitigated training in units of the plain one, positive; a guess made before
        anything is measured.
    """

    name: str
    params: Mapping[str, ParamValue] = field(default_factory=dict)
    ratio: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """What an allocator may spend, and on what.

    Parameters
    ----------
    budget : Budget
        What a full trial may spend; its ``sample_fraction`` is the largest allowed.
    n_train_rows : int
        Rows that a fold trains on at ``sample_fraction`` 1.
    mitigations : tuple of Costly
        Costly training-time mitigations; only for an allocator that ``mitigates``.
    row_cost : float
        What a row costs to train on or to ask for, in those of two classes and few columns.
    """

    budget: Budget
    n_train_rows: int
    mitigations: tuple[Costly, ...] = ()
    row_cost: float = 1.0


class Allocator(Protocol):
    """Decides who may spend what.

    ``mitigates`` says that it decides itself when a costly training-time mitigation is tried; the
    strategy then searches without.
    """

    mitigates: bool

    def next_trial(
        self, ask: Callable[[], Candidate | None], *, number: int, seconds_left: float | None
    ) -> Trial | None:
        """Return the next spend; None = nothing now."""
        ...

    def record(self, told: Told) -> None:
        """Learn what a trial cost and brought."""
        ...


class Executor(Protocol):
    """Runs trials somewhere; the shape of ``concurrent.futures`` plus a clock and deadlines.

    ``n_workers`` trials run at the same time; ``queued`` more may be handed over in advance, so
    that no worker waits for the controller. Every trial ends ``spare`` seconds before the deadline
    of the run, or what comes of it could not be settled in time; the controller sets it.
    """

    n_workers: int
    queued: int
    spare: float

    def now(self) -> float:
        """Return the seconds on the clock of the run; it never goes back."""
        ...

    def submit(
        self, objective: Callable[[Trial], TrialResult], trial: Trial
    ) -> "Future[TrialResult]":
        """Start a trial; its ``budget.seconds`` is enforced."""
        ...

    def wait(
        self, running: "Set[Future[TrialResult]]", seconds: float
    ) -> "set[Future[TrialResult]]":
        """Return those of ``running`` that have ended, at the latest after ``seconds``."""
        ...

    def shutdown(self) -> None:
        """Stop everything that runs and leave no process behind."""
        ...
