"""What a search has seen so far."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from fairautoml.leaderboard import best_of
from fairautoml.search.controller import Overhead
from fairautoml.store.record import Record
from fairautoml.trials import Entry, TrialResult


@dataclass(frozen=True, slots=True, kw_only=True)
class Improvement:
    """A moment at which the best entry changed."""

    seconds: float  # since the budget began
    trial: int  # number of the trial that brought it
    score: float  # objective of the new best entry, cross-fitted
    gap: float  # its largest gap, ``inf`` when undefined
    feasible: bool  # whether it meets the constraints


@dataclass(slots=True)
class History:
    """All that a search has seen so far."""

    results: list[TrialResult] = field(default_factory=list)
    entries: list[Entry] = field(default_factory=list)
    best: Entry | None = None
    improvements: list[Improvement] = field(default_factory=list)
    n_feasible: int = 0
    n_workers: int = 1
    settle_seconds: list[float] = field(default_factory=list)
    overhead: Overhead = field(default_factory=Overhead)

    def add(self, result: TrialResult, entries: Sequence[Entry], seconds: float) -> None:
        """Take in a result with its entries, known after ``seconds`` of the budget."""
        self.results.append(result)
        self.entries.extend(entries)
        best = best_of(entries)
        if best is None:
            return
        self.n_feasible += best.feasible
        winner = best if self.best is None else best_of([self.best, best])
        if winner is best:
            self.best = best
            self.improvements.append(
                Improvement(
                    seconds=seconds,
                    trial=result.trial.number,
                    score=best.score,
                    gap=best.gap,
                    feasible=best.feasible,
                )
            )

    def settled(self, entries: Sequence[Entry], seconds: float) -> None:
        """Take in how long the entries of a result took here; without any it says little."""
        if entries:
            self.settle_seconds.append(seconds)

    def go_on(self, past: Iterable[Record]) -> None:
        """Take in what an earlier part of the run has seen."""
        for record in past:
            self.add(record.result, record.entries, record.seconds)
