"""Allocator that searches first and mitigates the best plain model at the end of the budget."""

from collections.abc import Callable

from fairautoml.records import Config, Terms, Trial
from fairautoml.search.allocators._expected_gain import MitigatingLadder, best_pair

RESERVE = 1.2
"""Time reserved for the mitigation, in units of its expected cost."""


class MitigateAfter(MitigatingLadder):
    """Searches, then mitigates the best plain model; a reference for comparisons of allocators.

    Without a deadline the mitigation starts when the strategy has no more proposals.
    """

    screens = False

    def __init__(self, terms: Terms) -> None:
        super().__init__(terms)
        self._searching = True

    def mitigation(self, number: int, left: float | None) -> Trial | None:
        """Return the mitigation of the best model once one more trial would leave too little."""
        pairs = self._memory.pairs(prune=False)
        if self._searching and left is not None and pairs:
            self._searching = left - self.longest >= RESERVE * best_pair(pairs).seconds
        return None if self._searching else self._begun(number, left)

    def proposal(self, ask: Callable[[], Config | None]) -> Config | None:
        """Return a new configuration while the search lasts."""
        return ask() if self._searching else None

    def rest(self, number: int, left: float | None) -> Trial | None:
        """Return the mitigation of the best model."""
        self._searching = False
        return self._begun(number, left)

    def _begun(self, number: int, left: float | None) -> Trial | None:
        if self._memory.mitigating or self._memory.mitigated > 0:
            return None
        return self._best_in_time(number, left, prune=False)

    def _best_in_time(self, number: int, left: float | None, *, prune: bool) -> Trial | None:
        pairs = [
            pair
            for pair in self._memory.pairs(prune=prune)
            if left is None or RESERVE * pair.seconds <= left
        ]
        return self._memory.start(best_pair(pairs), number) if pairs else None


ALLOCATOR = MitigateAfter
