"""Allocator that gives every configuration a full trial."""

from collections.abc import Callable

from fairautoml.records import Config, Terms, Trial, TrialResult, TrialState


class Flat:
    """Gives every configuration the same budget while one fold may fit into the time left."""

    schedules_mitigation = False

    def __init__(self, terms: Terms) -> None:
        self._budget = terms.budget
        self._shortest_fold = 0.0

    def next_trial(
        self, ask: Callable[[], Config | None], *, number: int, seconds_left: float | None
    ) -> Trial | None:
        """Return a full trial of the next configuration."""
        if seconds_left is not None and seconds_left <= self._shortest_fold:
            return None
        config = ask()
        if config is None:
            return None
        return Trial(number=number, config=config, budget=self._budget)

    def record(self, scored: TrialResult) -> None:
        """Record the shortest time of a fold; the first trial needs no training."""
        if scored.status is TrialState.SUCCESS and scored.trial.number > 0:
            fold = scored.seconds / scored.trial.budget.folds
            known = self._shortest_fold
            self._shortest_fold = min(known, fold) if known else fold


ALLOCATOR = Flat
