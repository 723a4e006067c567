"""Allocator that chooses between a new configuration, more rows and an expensive mitigation.

It has the role of the strategy of Wu and Wang, FairAutoML, arXiv 2111.06495, but the rules are
our own design, not a reproduction of their formulas.
"""

from collections.abc import Callable

from fairautoml.records import Config, Terms, Trial, TrialResult
from fairautoml.search.allocators._base import Clock, Growth, SampleSizes
from fairautoml.search.allocators._expected_gain import AllocatorState, Pair, Rules, choose, fits

FULL_RULE = Rules()


class CostAware:
    """Chooses the trial whose expected improvement of the best fair model costs least."""

    schedules_mitigation = True

    def __init__(self, terms: Terms, rules: Rules = FULL_RULE) -> None:
        self._budget = terms.budget
        self._rules = rules
        self._memory = AllocatorState(terms.mitigations, terms.budget)
        self._sizes = SampleSizes(terms, self._memory.costs)
        self._clock = Clock()

    def next_trial(
        self, ask: Callable[[], Config | None], *, number: int, seconds_left: float | None
    ) -> Trial | None:
        """Return the next trial, or None without calling the strategy if no time is left."""
        if seconds_left is not None and seconds_left <= 0:
            return None
        left = self._clock.left_at_start(seconds_left)
        known = self._due(left)
        config = ask() if known is None else None
        if known is None and config is None and self._clock.idle:
            known = self._rest(left)
        trial = None if config is None else self._sizes.first(config, number)
        if known is not None:
            trial = self._start(known, number)
        if trial is not None:
            seconds = None if known is None else known.seconds
            self._clock.note_ask(number, seconds_left, seconds)
        return trial

    def record(self, scored: TrialResult) -> None:
        """Record the cost and the result of a trial."""
        self._clock.note_result(scored)
        self._memory.record(scored)
        self._sizes.record(scored)

    def _due(self, left: float | None) -> Pair | Growth | None:
        """Return the less expensive of the mitigation and the promotion that are due."""
        pair = choose(self._memory, self._rules, left, self._clock.longest)
        growth = self._sizes.propose(left, self._clock.longest)
        if pair is not None and (growth is None or pair.seconds <= growth.seconds):
            return pair
        return growth

    def _rest(self, left: float | None) -> Pair | None:
        """Return the best base to mitigate, for when the strategy has no more proposals."""
        pairs = [pair for pair in self._memory.pairs() if fits(pair, left)]
        return min(pairs, key=lambda p: (p.base.loss, p.seconds), default=None)

    def _start(self, known: Pair | Growth, number: int) -> Trial:
        if isinstance(known, Growth):
            return self._sizes.start(known, number)
        return self._memory.start(known, number, self._budget)


ALLOCATOR = CostAware
