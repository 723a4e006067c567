"""Allocator that mitigates the best model when that is worth its time.

It has the role of the strategy of Wu and Wang, FairAutoML, arXiv 2111.06495, but the rules are
our own design, not a reproduction of their formulas.
"""

from fairautoml.records import Terms, Trial
from fairautoml.search.allocators._expected_gain import (
    MitigatingLadder,
    Rules,
    best_pair,
    choose,
    fits,
)

FULL_RULE = Rules()


class CostAware(MitigatingLadder):
    """Chooses the trial whose expected improvement of the best fair model costs least."""

    def __init__(self, terms: Terms, rules: Rules = FULL_RULE) -> None:
        super().__init__(terms)
        self._rules = rules

    def mitigation(self, number: int, left: float | None) -> Trial | None:
        """Return the mitigation that gains more per second than the search."""
        pair = choose(self._memory, self._rules, left, self.longest)
        return None if pair is None else self._memory.start(pair, number)

    def rest(self, number: int, left: float | None) -> Trial | None:
        """Return the remaining promotions, then mitigations of the best models."""
        trial = super().rest(number, left)
        pairs = [pair for pair in self._memory.pairs() if fits(pair, left)]
        if trial is not None or not pairs:
            return trial
        return self._memory.start(best_pair(pairs), number)


ALLOCATOR = CostAware
