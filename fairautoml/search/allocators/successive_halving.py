"""Rows as the resource: many candidates on few rows, the best third of each size on more.

Li et al., A System for Massively Parallel Hyperparameter Tuning (ASHA), arXiv 1810.05934,
Algorithm 2: a candidate is promoted as soon as it is in the best third of those at its size, so
no worker waits for the others.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, field

from fairautoml.records import Config, Origin, ScoredTrial, Terms, Trial, TrialState
from fairautoml.search.allocators._base import Clock, RowCosts, fair, now_or_never

FEWEST_ROWS = 4000
"""Below it, the order on few rows says little about the order on all rows."""

GROWTH = 4
BEST = 3
"""One in so many is promoted."""


@dataclass(slots=True)
class _Rung:
    """What ended at one sample size, and who was promoted from it."""

    fraction: float
    done: list[ScoredTrial] = field(default_factory=list)
    promoted: set[str] = field(default_factory=set)

    def promotable(self) -> ScoredTrial | None:
        """Return the best result of the best third that was not promoted."""
        ranked = sorted(self.done, key=_merit, reverse=True)[: len(self.done) // BEST]
        return next((scored for scored in ranked if self._open(scored)), None)

    def best(self) -> ScoredTrial | None:
        """Return the best result that was not promoted."""
        return max(filter(self._open, self.done), key=_merit, default=None)

    def _open(self, scored: ScoredTrial) -> bool:
        return _merit(scored)[1] > -math.inf and scored.trial.config.key not in self.promoted


class SuccessiveHalving:
    """Sample sizes from at least 4,000 training rows to all, a factor of 4 apart.

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
        """Return a promotion if there is one, the largest size first, else a new candidate."""
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

    def record(self, scored: ScoredTrial) -> None:
        """Learn how good a candidate is at its size, and what it cost."""
        self._clock.note_result(scored)
        self._costs.learn(scored)
        for rung in self._rungs:
            if rung.fraction == scored.trial.budget.sample_fraction:
                rung.done.append(scored)

    def _due(self, left: float | None) -> tuple[ScoredTrial, int] | None:
        """Return who is promoted now, and to which size."""
        for size in range(len(self._rungs) - 1, 0, -1):
            scored = self._rungs[size - 1].promotable()
            if scored is not None and (left is None or self._seconds(scored, size) <= left):
                return scored, size
        return self._last_chance(left)

    def _last_chance(self, left: float | None) -> tuple[ScoredTrial, int] | None:
        """Return the best so far while it can still be trained in full, if nothing was."""
        top = len(self._rungs) - 1
        if left is None or self._rungs[top].done or self._rungs[top - 1].promoted:
            return None
        found = (rung.best() for rung in reversed(self._rungs[:top]))
        scored = next((best for best in found if best is not None), None)
        if scored is None:
            return None
        due = now_or_never(self._seconds(scored, top), left, self._clock.longest)
        return (scored, top) if due else None

    def _seconds(self, scored: ScoredTrial, size: int) -> float:
        return self._costs.seconds(scored, self._budget.on(self._rungs[size].fraction))

    def _promote(self, scored: ScoredTrial, size: int, number: int) -> Trial:
        for rung in self._rungs[:size]:
            rung.promoted.add(scored.trial.config.key)
        return self._trial(number, scored.trial.config, size, Origin.ROWS)

    def _trial(self, number: int, config: Config, size: int, origin: Origin) -> Trial:
        budget = self._budget.on(self._rungs[size].fraction)
        return Trial(number=number, config=config, budget=budget, origin=origin)


def _merit(scored: ScoredTrial) -> tuple[bool, float]:
    """Fair ones first, by value; then the least unfair. Failures, and no known gap, come last."""
    if scored.status is not TrialState.SUCCESS or scored.value is None:
        return False, -math.inf
    if fair(scored.violations):
        return True, scored.value
    return False, -max(scored.violations)


ALLOCATOR = SuccessiveHalving
