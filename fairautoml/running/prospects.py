"""Which trials may still be served, alone or in an ensemble; the models of all others can go.

Who falls behind never comes back: later trials can only take places away. So what is known during
a search is enough to let go of models for good.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

from fairautoml.leaderboard import best_of, order, pareto_front
from fairautoml.store.record import Record
from fairautoml.trials import Artifacts, Entry, Status, TrialResult

LIBRARY = 30
"""Columns of lowest log loss that an ensemble is selected from ..."""

SINGLES = 3
"""... next to those of the best entries, which are candidates by themselves too."""

EVERY = 20
"""Results after which models are let go of: forests take up to hundreds of MB each."""


@dataclass(frozen=True, slots=True)
class Prospects:
    """The trials of a search that tell people apart, in the order asked."""

    results: tuple[TrialResult, ...]  # asked, not told: the same with any number of workers
    places: dict[str, int]  # place of each trial by its best entry, 0 = best

    @classmethod
    def of(cls, results: Sequence[TrialResult], entries: Sequence[Entry]) -> "Prospects":
        """Return those of a search."""
        ranked = order(e for e in entries if not (e.constant and e.measures))
        places = {key: at for at, key in enumerate(dict.fromkeys(e.trial_key for e in ranked))}
        known = (result for result in results if result.trial.key in places)
        return cls(tuple(sorted(known, key=lambda result: result.trial.number)), places)

    def singles(self) -> list[TrialResult]:
        """Return the trials with the best entries."""
        return sorted(self.results, key=lambda r: self.places[r.trial.key])[:SINGLES]

    def library(self) -> list[TrialResult]:
        """Return the trials that an ensemble is selected from."""
        sound = [r for r in self.results if r.log_loss is not None]
        lowest = sorted(sound, key=lambda r: (r.log_loss, r.trial.number))[:LIBRARY]
        keys = {r.trial.key for r in (*lowest, *self.singles())}
        return [r for r in sound if r.trial.key in keys]


def servable(results: Sequence[TrialResult], entries: Sequence[Entry]) -> frozenset[str]:
    """Return the trials whose models may be served, by this search or by a longer one.

    Entries that only an ensemble beats stay: a run may go on without it.
    """
    found = Prospects.of(results, entries)
    best = best_of(entries)
    return frozenset(
        {
            *(r.trial.key for r in (*found.library(), *found.singles())),
            *(entry.trial_key for entry in pareto_front(entries)),
            *(() if best is None else (best.trial_key,)),
            # The constant baseline is served where no model is worth more.
            *(r.trial.key for r in results if r.trial.number == 0),
        }
    )


@dataclass(slots=True)
class Tidier:
    """Lets go of models that cannot be served any more, every so many results."""

    artifacts: Artifacts  # where the models lie
    results: list[TrialResult]  # of the search; they grow as it goes on
    entries: list[Entry]
    _seen: int = 0
    _gone: set[str] = field(default_factory=set)

    def __call__(self, record: Record) -> None:
        """Let go of some when it is time, and at once when the disk is full."""
        full = record.result.status is Status.NO_SPACE
        if full or len(self.results) >= self._seen + EVERY:
            self._seen = len(self.results)
            self.tidy()

    def tidy(self) -> None:
        """Let go of all that cannot be served."""
        kept = servable(self.results, self.entries)
        for key in {result.trial.key for result in self.results} - kept - self._gone:
            self.artifacts.drop_models(key)
            self._gone.add(key)
