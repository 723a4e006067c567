"""Allocator that searches first and mitigates the best plain model at the end of the budget."""

from collections.abc import Callable

from fairautoml.records import Config, Terms, Trial, TrialResult
from fairautoml.search.allocators._base import Clock
from fairautoml.search.allocators._expected_gain import AllocatorState, Pair

RESERVE = 1.2
"""Time reserved for the mitigation, in units of its expected cost."""


class MitigateAfter:
    """Searches, then mitigates the best plain model; a reference for comparisons of allocators.

    Without a deadline the mitigation starts when the strategy has no more proposals.
    """

    schedules_mitigation = True

    def __init__(self, terms: Terms, *, retry: bool = False) -> None:
        self._budget = terms.budget
        self._memory = AllocatorState(terms.mitigations, terms.budget)
        self._clock = Clock()
        self._retry = retry
        self._searching = True

    def next_trial(
        self, ask: Callable[[], Config | None], *, number: int, seconds_left: float | None
    ) -> Trial | None:
        """Return a full trial of the next configuration, or the mitigation at the end."""
        if seconds_left is not None and seconds_left <= 0:
            return None
        left = self._clock.left_at_start(seconds_left)
        trial, seconds = None, None
        if self._searching and not self._is_time(left):
            trial = self._search(ask, number)
            self._searching = trial is not None or not self._clock.idle
        if trial is None and not self._searching:
            pair = self._best_in_time(left)
            if pair is not None:
                trial, seconds = self._memory.start(pair, number, self._budget), pair.seconds
        if trial is not None:
            self._clock.note_ask(number, seconds_left, seconds)
        return trial

    def record(self, scored: TrialResult) -> None:
        """Record the cost and the result of a trial."""
        self._clock.note_result(scored)
        self._memory.record(scored)

    def _is_time(self, left: float | None) -> bool:
        """End the search, and return True, if one more trial would leave too little time."""
        pairs = self._memory.pairs(prune=False)
        if left is None or not pairs:
            return False
        over = left - self._clock.longest < RESERVE * _best(pairs).seconds
        self._searching = not over
        return over

    def _search(self, ask: Callable[[], Config | None], number: int) -> Trial | None:
        config = ask()
        if config is None:
            return None
        return Trial(number=number, config=config, budget=self._budget)

    def _best_in_time(self, left: float | None) -> Pair | None:
        if self._memory.mitigating or (self._memory.mitigated > 0 and not self._retry):
            return None
        pairs = [
            pair
            for pair in self._memory.pairs(prune=self._retry)
            if left is None or RESERVE * pair.seconds <= left
        ]
        return _best(pairs) if pairs else None


def _best(pairs: list[Pair]) -> Pair:
    return min(pairs, key=lambda pair: (pair.base.loss, pair.seconds))


ALLOCATOR = MitigateAfter
