"""Trials whose models the final selection may use.

A trial that leaves this set never returns to it, because later trials only lower its rank. Its
fold models can therefore be deleted during the search.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

from fairautoml.records import (
    Entry,
    TrialRecord,
    TrialResult,
    TrialState,
    best_of,
    order,
    pareto_front,
)
from fairautoml.storage.artifacts import Artifacts

LIBRARY, OF_LEARNER = 30, 8
"""Trials of lowest log loss that an ensemble is selected from, and largest number of one learner:
a cheap one has many that are nearly equal."""

SINGLES = 3
"""Trials with the best entries, which are ensemble members and final models on their own."""

PROMOTABLE = 20
"""Trials of lowest log loss among those of some folds, whose models a promotion may take over."""

EVERY = 20
"""Results between two cleanups of models: forests take up to hundreds of MB each."""


@dataclass(frozen=True, slots=True)
class SelectableTrials:
    """Trials of a search whose models are not constant, in order of creation."""

    # in order of creation, not of completion: the same with any number of workers
    results: tuple[TrialResult, ...]
    places: dict[str, int]  # rank of each trial by its best entry, 0 = best

    @classmethod
    def of(cls, results: Sequence[TrialResult], entries: Sequence[Entry]) -> "SelectableTrials":
        """Return the selectable trials of a search."""
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
        lowest, of_learner = [], Counter[str]()
        for result in sorted(sound, key=lambda r: (r.log_loss, r.trial.number)):
            of_learner[result.trial.config.learner] += 1
            if of_learner[result.trial.config.learner] <= OF_LEARNER:
                lowest.append(result)
        keys = {r.trial.key for r in (*lowest[:LIBRARY], *self.singles())}
        return [r for r in sound if r.trial.key in keys]


def selectable(results: Sequence[TrialResult], entries: Sequence[Entry]) -> frozenset[str]:
    """Return the keys of the trials whose models this run or its continuation may select.

    Entries that only an ensemble beats are included: a resumed run may not build that ensemble.
    """
    found = SelectableTrials.of(results, entries)
    best = best_of(entries)
    return frozenset(
        {
            *(r.trial.key for r in (*found.library(), *found.singles())),
            *(entry.trial_key for entry in pareto_front(entries)),
            *(() if best is None else (best.trial_key,)),
            # The constant baseline is selected when no model is better.
            *(r.trial.key for r in results if r.trial.number == 0),
        }
    )


def promotable(results: Sequence[TrialResult]) -> frozenset[str]:
    """Return the keys of trials of some folds to keep for promotion; others train again."""
    n_folds = max((result.trial.fidelity.folds for result in results), default=0)
    some = [r for r in results if r.trial.fidelity.folds < n_folds and r.log_loss is not None]
    ranked = sorted(some, key=lambda result: (result.log_loss, result.trial.number))
    best: dict[str, TrialResult] = {}
    for result in ranked:
        best.setdefault(result.trial.config.learner, result)
    return frozenset(r.trial.key for r in (*ranked[:PROMOTABLE], *best.values()))


@dataclass(slots=True)
class CheckpointCleaner:
    """Deletes fold models that no selectable entry uses, every ``EVERY`` results."""

    artifacts: Artifacts  # storage of the models
    results: list[TrialResult]  # results of the search; the list grows during the search
    entries: list[Entry]
    _seen: int = 0
    _gone: set[str] = field(default_factory=set)

    def __call__(self, record: TrialRecord) -> None:
        """Delete unused models every ``EVERY`` results, and at once when the disk is full."""
        full = record.result.status is TrialState.DISK_FULL
        if full or len(self.results) >= self._seen + EVERY:
            self._seen = len(self.results)
            self.tidy(promotable(self.results))

    def tidy(self, promotable: frozenset[str] = frozenset()) -> None:
        """Delete the models of all trials that are neither selectable nor promotable."""
        kept = selectable(self.results, self.entries) | promotable
        for key in {result.trial.key for result in self.results} - kept - self._gone:
            self.artifacts.drop_models(key)
            self._gone.add(key)
