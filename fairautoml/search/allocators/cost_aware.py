"""Allocator that mitigates the best model when that is worth its time.

It has the role of the strategy of Wu and Wang, FairAutoML, arXiv 2111.06495, but the rules are
our own design, not a reproduction of their formulas.
"""

from fairautoml.records import Terms, Trial, TrialResult
from fairautoml.search.allocators._expected_gain import (
    AllocatorState,
    Rules,
    best_pair,
    choose,
    fits,
)
from fairautoml.search.allocators.ladder import Ladder

FULL_RULE = Rules()


class CostAware(Ladder):
    """Chooses the trial whose expected improvement of the best fair model costs least."""

    schedules_mitigation = True

    def __init__(self, terms: Terms, rules: Rules = FULL_RULE) -> None:
        super().__init__(terms)
        self._rules = rules
        self._memory = AllocatorState(terms.mitigations, terms.fidelity, self.costs)

    def record(self, scored: TrialResult) -> None:
        """Record the cost and the result of a trial."""
        super().record(scored)
        self._memory.record(scored)

    def expected(self, trial: Trial) -> float | None:
        """Return the expected seconds of a trial."""
        known = self._memory.expected(trial.number)
        return super().expected(trial) if known is None else known

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
