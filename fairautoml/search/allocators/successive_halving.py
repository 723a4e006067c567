"""Rows as the resource: many candidates on few rows, the best third of each size on more.

Li et al., A System for Massively Parallel Hyperparameter Tuning (ASHA), arXiv 1810.05934,
Algorithm 2: a candidate is promoted as soon as it is in the best third of those at its size, so
no worker waits for the others.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, field

from fairautoml.records import Candidate, Origin, Status, Terms, Told, Trial
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
    done: list[Told] = field(default_factory=list)
    promoted: set[str] = field(default_factory=set)

    def promotable(self) -> Told | None:
        """Return the best result of the best third that was not promoted."""
        ranked = sorted(self.done, key=_merit, reverse=True)[: len(self.done) // BEST]
        return next((told for told in ranked if self._open(told)), None)

    def best(self) -> Told | None:
        """Return the best result that was not promoted."""
        return max(filter(self._open, self.done), key=_merit, default=None)

    def _open(self, told: Told) -> bool:
        return _merit(told)[1] > -math.inf and told.trial.candidate.key not in self.promoted


class SuccessiveHalving:
    """Sample sizes from at least 4,000 training rows to all, a factor of 4 apart.

    With fewer than 16,000 training rows there is one size, and every trial is full.
    """

    mitigates = False

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
        self, ask: Callable[[], Candidate | None], *, number: int, seconds_left: float | None
    ) -> Trial | None:
        """Return a promotion if there is one, the largest size first, else a new candidate."""
        if seconds_left is not None and seconds_left <= 0:
            return None
        due = self._due(self._clock.left_at_start(seconds_left))
        if due is not None:
            told, size = due
            self._clock.asked(number, seconds_left, self._seconds(told, size))
            return self._promote(told, size, number)
        candidate = ask()
        if candidate is None:
            return None
        self._clock.asked(number, seconds_left)
        return self._trial(number, candidate, 0, Origin.SEARCH)

    def record(self, told: Told) -> None:
        """Learn how good a candidate is at its size, and what it cost."""
        self._clock.told(told)
        self._costs.learn(told)
        for rung in self._rungs:
            if rung.fraction == told.trial.budget.sample_fraction:
                rung.done.append(told)

    def _due(self, left: float | None) -> tuple[Told, int] | None:
        """Return who is promoted now, and to which size."""
        for size in range(len(self._rungs) - 1, 0, -1):
            told = self._rungs[size - 1].promotable()
            if told is not None and (left is None or self._seconds(told, size) <= left):
                return told, size
        return self._last_chance(left)

    def _last_chance(self, left: float | None) -> tuple[Told, int] | None:
        """Return the best so far while it can still be trained in full, if nothing was."""
        top = len(self._rungs) - 1
        if left is None or self._rungs[top].done or self._rungs[top - 1].promoted:
            return None
        found = (rung.best() for rung in reversed(self._rungs[:top]))
        told = next((best for best in found if best is not None), None)
        if told is None:
            return None
        due = now_or_never(self._seconds(told, top), left, self._clock.longest)
        return (told, top) if due else None

    def _seconds(self, told: Told, size: int) -> float:
        return self._costs.seconds(told, self._budget.on(self._rungs[size].fraction))

    def _promote(self, told: Told, size: int, number: int) -> Trial:
        for rung in self._rungs[:size]:
            rung.promoted.add(told.trial.candidate.key)
        return self._trial(number, told.trial.candidate, size, Origin.ROWS)

    def _trial(self, number: int, candidate: Candidate, size: int, origin: Origin) -> Trial:
        budget = self._budget.on(self._rungs[size].fraction)
        return Trial(number=number, candidate=candidate, budget=budget, origin=origin)


def _merit(told: Told) -> tuple[bool, float]:
    """Fair ones first, by value; then the least unfair. Failures, and no known gap, come last."""
    if told.status is not Status.SUCCESS or told.value is None:
        return False, -math.inf
    if fair(told.violations):
        return True, told.value
    return False, -max(told.violations)


ALLOCATOR = SuccessiveHalving
