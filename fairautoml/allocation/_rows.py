"""Sample sizes that grow: the search on a part of the rows, what is promising on more.

FLAML's rule (microsoft/FLAML at 53e3461): start at 10,000 rows, multiply by 4, once the search has
spent what the larger trial costs without finding a better one. Unlike there, the search itself
stays on the first size, so that what a strategy is told remains comparable.
"""

import math
from dataclasses import dataclass, field, replace

from fairautoml.allocation._state import constant, fair
from fairautoml.trials import Candidate, Origin, Status, Terms, Told, Trial

FIRST_ROWS = 10_000
GROWTH = 4
LAST_CHANCE = 1.5
"""With less time than this many full trainings and none done, the best is trained in full."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Growth:
    """A known candidate on more rows.

    Parameters
    ----------
    candidate : Candidate
        What is trained again.
    size : int
        Index of the sample size.
    seconds : float
        What that is expected to cost: cost grows like the number of rows.
    """

    candidate: Candidate
    size: int
    seconds: float


@dataclass(slots=True)
class _Level:
    """One sample size: its best trial, and what was done since."""

    fraction: float
    best: Told | None = None
    merit: tuple[bool, float] = (False, -math.inf)
    n_since: int = 0
    seconds_since: float = 0.0
    grown: set[str] = field(default_factory=set)

    def learn(self, told: Told) -> None:
        """Make the trial the best of its size if it is."""
        if told.status is not Status.SUCCESS or told.value is None or constant(told.violations):
            return
        merit = (fair(told.violations), told.value)
        if self.best is None or merit > self.merit:
            self.best, self.merit = told, merit
            self.n_since, self.seconds_since = 0, 0.0


class SampleSizes:
    """Sample sizes of a run, and who deserves the next one.

    Parameters
    ----------
    terms : Terms
        Number of training rows and the full trial. With at most 40,000 rows there is one size.
    """

    def __init__(self, terms: Terms) -> None:
        full = terms.budget.sample_fraction
        fractions = [full]
        if terms.n_train_rows * full > GROWTH * FIRST_ROWS:
            rows = FIRST_ROWS
            fractions = []
            while rows < terms.n_train_rows * full:
                fractions.append(rows / terms.n_train_rows)
                rows *= GROWTH
            fractions.append(full)
        self._budget = terms.budget
        self._levels = [_Level(fraction) for fraction in fractions]
        self._full_known = False

    def first(self, candidate: Candidate, number: int) -> Trial:
        """Return the trial of a proposal of the strategy, on the smallest sample."""
        budget = replace(self._budget, sample_fraction=self._levels[0].fraction)
        return Trial(number=number, candidate=candidate, budget=budget)

    def record(self, told: Told) -> None:
        """Take in a result; mitigations are none of the search's business."""
        if told.trial.origin is Origin.MITIGATION:
            return
        for level in self._levels:
            level.n_since += 1
            level.seconds_since += told.seconds
        for level in self._levels:
            if level.fraction == told.trial.budget.sample_fraction:
                level.learn(told)
        self._full_known = self._levels[-1].best is not None

    def propose(self, seconds_left: float | None) -> Growth | None:
        """Return who deserves more rows now, the largest sample first; None = nobody.

        Parameters
        ----------
        seconds_left : float or None
            Until the deadline.
        """
        last = self._last_chance(seconds_left)
        if last is not None:
            return last
        for size in range(len(self._levels) - 1, 0, -1):
            level = self._levels[size - 1]
            growth = self._growth(level, size)
            if growth is None or level.n_since < 1 or level.seconds_since < growth.seconds:
                continue
            if seconds_left is None or growth.seconds <= seconds_left:
                return growth
        return None

    def start(self, growth: Growth, number: int) -> Trial:
        """Return the trial of a growth, and remember it, so that it is not wanted again."""
        for level in self._levels[: growth.size]:
            level.grown.add(growth.candidate.key)
        budget = replace(self._budget, sample_fraction=self._levels[growth.size].fraction)
        return Trial(number=number, candidate=growth.candidate, budget=budget, origin=Origin.ROWS)

    def _growth(self, level: _Level, size: int) -> Growth | None:
        if level.best is None or level.best.trial.candidate.key in level.grown:
            return None
        seconds = level.best.seconds * self._levels[size].fraction / level.fraction
        return Growth(candidate=level.best.trial.candidate, size=size, seconds=seconds)

    def _last_chance(self, seconds_left: float | None) -> Growth | None:
        """Train the best in full while that is still possible, if nothing was."""
        if seconds_left is None or self._full_known:
            return None
        top = len(self._levels) - 1
        found = (self._growth(level, top) for level in reversed(self._levels[:-1]))
        growth = next((g for g in found if g is not None), None)
        if growth is None:
            return None
        due = growth.seconds <= seconds_left < LAST_CHANCE * growth.seconds
        return growth if due else None
