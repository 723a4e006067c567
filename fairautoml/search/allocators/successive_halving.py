"""Asynchronous successive halving (ASHA) with the number of rows as the resource.

Li et al., A System for Massively Parallel Hyperparameter Tuning, arXiv 1810.05934, Algorithm 2: a
configuration is promoted as soon as it is in the best third of its rung.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, field

from fairautoml.records import Config, Origin, Terms, Trial, TrialResult, TrialState
from fairautoml.search.allocators._base import Clock, RowCosts, fair, now_or_never

FEWEST_ROWS = 4000
"""Training rows of the lowest rung; on fewer, ranks say little about the ranks on all rows."""

GROWTH = 4
BEST = 3
"""Reduction factor: one in this many configurations is promoted."""


@dataclass(slots=True)
class _Rung:
    """Results at one sample size, and the keys of the promoted configurations."""

    fraction: float
    done: list[TrialResult] = field(default_factory=list)
    promoted: set[str] = field(default_factory=set)

    def promotable(self) -> TrialResult | None:
        """Return the best result of the best third that was not promoted yet."""
        ranked = sorted(self.done, key=_merit, reverse=True)[: len(self.done) // BEST]
        return next((scored for scored in ranked if self._open(scored)), None)

    def best(self) -> TrialResult | None:
        """Return the best result that was not promoted yet."""
        return max(filter(self._open, self.done), key=_merit, default=None)

    def _open(self, scored: TrialResult) -> bool:
        return _merit(scored)[1] > -math.inf and scored.trial.config.key not in self.promoted


class SuccessiveHalving:
    """Successive halving over sample sizes from at least 4,000 training rows, a factor of 4 apart.

    With fewer than 16,000 training rows there is one size, and every trial is full.
    """

    schedules_mitigation = False

    def __init__(self, terms: Terms) -> None:
        self._budget = terms.budget
        full = terms.budget.sample_fraction
        fractions = [full]
        while terms.n_train_rows * fractions[0] / GROWTH >= FEWEST_ROWS:
            fractions.insert(0, fractions[0] / GROWTH)
        self._rungs = [_Rung(fraction) for fraction in fractions]
        self._costs = RowCosts()
        self._clock = Clock()

    def next_trial(
        self, ask: Callable[[], Config | None], *, number: int, seconds_left: float | None
    ) -> Trial | None:
        """Return a promotion, the largest size first, or else a new configuration."""
        if seconds_left is not None and seconds_left <= 0:
            return None
        due = self._due(self._clock.left_at_start(seconds_left))
        if due is not None:
            scored, size = due
            self._clock.note_ask(number, seconds_left, self._seconds(scored, size))
            return self._promote(scored, size, number)
        config = ask()
        if config is None:
            return None
        self._clock.note_ask(number, seconds_left)
        return self._trial(number, config, 0, Origin.SEARCH)

    def record(self, scored: TrialResult) -> None:
        """Record the cost and the result of a trial."""
        self._clock.note_result(scored)
        self._costs.learn(scored)
        for rung in self._rungs:
            if rung.fraction == scored.trial.budget.sample_fraction:
                rung.done.append(scored)

    def _due(self, left: float | None) -> tuple[TrialResult, int] | None:
        """Return the result to promote and the index of its new sample size."""
        for size in range(len(self._rungs) - 1, 0, -1):
            scored = self._rungs[size - 1].promotable()
            if scored is not None and (left is None or self._seconds(scored, size) <= left):
                return scored, size
        return self._last_chance(left)

    def _last_chance(self, left: float | None) -> tuple[TrialResult, int] | None:
        """Return the best result for a full trial, if there is none and time is running out."""
        top = len(self._rungs) - 1
        if left is None or self._rungs[top].done or self._rungs[top - 1].promoted:
            return None
        found = (rung.best() for rung in reversed(self._rungs[:top]))
        scored = next((best for best in found if best is not None), None)
        if scored is None:
            return None
        due = now_or_never(self._seconds(scored, top), left, self._clock.longest)
        return (scored, top) if due else None

    def _seconds(self, scored: TrialResult, size: int) -> float:
        return self._costs.seconds(scored, self._budget.on(self._rungs[size].fraction))

    def _promote(self, scored: TrialResult, size: int, number: int) -> Trial:
        for rung in self._rungs[:size]:
            rung.promoted.add(scored.trial.config.key)
        return self._trial(number, scored.trial.config, size, Origin.ROWS)

    def _trial(self, number: int, config: Config, size: int, origin: Origin) -> Trial:
        budget = self._budget.on(self._rungs[size].fraction)
        return Trial(number=number, config=config, budget=budget, origin=origin)


def _merit(scored: TrialResult) -> tuple[bool, float]:
    """Return the rank key: feasible first by value, then by violation; failures come last."""
    if scored.status is not TrialState.SUCCESS or scored.value is None:
        return False, -math.inf
    if fair(scored.violations):
        return True, scored.value
    return False, -max(scored.violations)


ALLOCATOR = SuccessiveHalving
