"""Decide on the fly: a new configuration, more rows, or a costly mitigation of a promising model.

The role that Wu and Wang, FairAutoML, arXiv 2111.06495, give to their strategy; the rules are our
own design, not a reproduction of their formulas.
"""

from collections.abc import Callable

from fairautoml.allocation._rows import SampleSizes
from fairautoml.allocation._rules import Rules, choose, fits
from fairautoml.allocation._state import Memory
from fairautoml.trials import Candidate, Terms, Told, Trial

FULL_RULE = Rules()


class CostAware:
    """Spends where an improvement of the best fair model is expected to cost least.

    Parameters
    ----------
    terms : Terms
        What may be spent, and on which mitigations.
    rules : Rules
        Test and guards; the full rule by default.
    """

    mitigates = True

    def __init__(self, terms: Terms, rules: Rules = FULL_RULE) -> None:
        self._budget = terms.budget
        self._rules = rules
        self._memory = Memory(terms.mitigations, terms.budget.sample_fraction)
        self._sizes = SampleSizes(terms, self._memory.costs)
        self._n_open = 0

    def next_trial(
        self, ask: Callable[[], Candidate | None], *, number: int, seconds_left: float | None
    ) -> Trial | None:
        """Return the next spend; without time nothing, and the strategy is not asked."""
        if seconds_left is not None and seconds_left <= 0:
            return None
        trial = self._known(number, seconds_left)
        if trial is None and (candidate := ask()) is not None:
            trial = self._sizes.first(candidate, number)
        if trial is None and self._n_open == 0:
            trial = self._rest(number, seconds_left)
        self._n_open += trial is not None
        return trial

    def record(self, told: Told) -> None:
        """Learn what a trial cost and brought."""
        self._n_open -= 1
        self._memory.record(told)
        self._sizes.record(told)

    def _known(self, number: int, seconds_left: float | None) -> Trial | None:
        """Return a mitigation or a growth that is due, the cheaper of the two."""
        pair = choose(self._memory, self._rules, seconds_left)
        growth = self._sizes.propose(seconds_left)
        if pair is not None and (growth is None or pair.seconds <= growth.seconds):
            return self._memory.start(pair, number, self._budget)
        return None if growth is None else self._sizes.start(growth, number)

    def _rest(self, number: int, seconds_left: float | None) -> Trial | None:
        """Mitigate the best base when the strategy has nothing left and nothing runs."""
        pairs = [pair for pair in self._memory.pairs() if fits(pair, seconds_left)]
        pair = min(pairs, key=lambda p: (p.base.loss, p.seconds), default=None)
        return None if pair is None else self._memory.start(pair, number, self._budget)


ALLOCATOR = CostAware
