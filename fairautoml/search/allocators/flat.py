"""Every candidate gets a full trial, in the order asked."""

from collections.abc import Callable

from fairautoml.records import Candidate, Status, Terms, Told, Trial


class Flat:
    """The same budget for every candidate, as long as a single fold may fit in what is left."""

    mitigates = False

    def __init__(self, terms: Terms) -> None:
        self._budget = terms.budget
        self._shortest_fold = 0.0

    def next_trial(
        self, ask: Callable[[], Candidate | None], *, number: int, seconds_left: float | None
    ) -> Trial | None:
        """Return a full trial of the next candidate."""
        if seconds_left is not None and seconds_left <= self._shortest_fold:
            return None
        candidate = ask()
        if candidate is None:
            return None
        return Trial(number=number, candidate=candidate, budget=self._budget)

    def record(self, told: Told) -> None:
        """Learn what a fold takes at the least; the first trial needs no training."""
        if told.status is Status.SUCCESS and told.trial.number > 0:
            fold = told.seconds / told.trial.budget.folds
            known = self._shortest_fold
            self._shortest_fold = min(known, fold) if known else fold


ALLOCATOR = Flat
