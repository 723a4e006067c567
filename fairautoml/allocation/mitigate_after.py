"""Search first, and mitigate the best plain model with the last of the time."""

from collections import deque
from collections.abc import Callable

from fairautoml.allocation._state import Memory, Pair
from fairautoml.trials import Candidate, Origin, Terms, Told, Trial

RESERVE = 1.2
"""Time kept for the mitigation, in units of its expected cost."""

LAST_TRIALS = 20
"""Trials of which the longest says what one more would take."""


class MitigateAfter:
    """The baseline of comparisons between allocators; without a deadline it never mitigates.

    Parameters
    ----------
    terms : Terms
        What may be spent. Costs of mitigations are guessed from the ratios given here; who knows
        the true ratio gives it as the guess.
    retry : bool
        Go on with the next best models while there is time; else stop after one.
    """

    mitigates = True

    def __init__(self, terms: Terms, *, retry: bool = False) -> None:
        self._budget = terms.budget
        self._memory = Memory(terms.mitigations, terms.budget.sample_fraction)
        self._last: deque[float] = deque(maxlen=LAST_TRIALS)
        self._retry = retry
        self._searching = True
        self._n_open = 0

    def next_trial(
        self, ask: Callable[[], Candidate | None], *, number: int, seconds_left: float | None
    ) -> Trial | None:
        """Return a full trial of the next candidate, or the mitigation at the end."""
        if seconds_left is not None and seconds_left <= 0:
            return None
        trial = None
        if self._searching and not self._is_time(seconds_left):
            trial = self._search(ask, number)
            self._searching = trial is not None or self._n_open > 0
        if trial is None and not self._searching:
            trial = self._mitigate(number, seconds_left)
        self._n_open += trial is not None
        return trial

    def record(self, told: Told) -> None:
        """Learn what a trial cost."""
        self._n_open -= 1
        self._memory.record(told)
        if told.trial.origin is Origin.SEARCH:
            self._last.append(told.seconds)

    def _is_time(self, seconds_left: float | None) -> bool:
        """Whether one more trial would leave too little for the mitigation; then it is so."""
        pairs = self._memory.pairs(prune=False)
        if seconds_left is None or not pairs:
            return False
        over = seconds_left - max(self._last, default=0.0) < RESERVE * _best(pairs).seconds
        self._searching = not over
        return over

    def _search(self, ask: Callable[[], Candidate | None], number: int) -> Trial | None:
        candidate = ask()
        if candidate is None:
            return None
        return Trial(number=number, candidate=candidate, budget=self._budget)

    def _mitigate(self, number: int, seconds_left: float | None) -> Trial | None:
        if self._memory.mitigating or (self._memory.mitigated > 0 and not self._retry):
            return None
        pairs = [
            pair
            for pair in self._memory.pairs(prune=self._retry)
            if seconds_left is None or RESERVE * pair.seconds <= seconds_left
        ]
        return self._memory.start(_best(pairs), number, self._budget) if pairs else None


def _best(pairs: list[Pair]) -> Pair:
    return min(pairs, key=lambda pair: (pair.base.loss, pair.seconds))


ALLOCATOR = MitigateAfter
