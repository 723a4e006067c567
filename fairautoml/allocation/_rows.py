"""Sample sizes that grow: the search on a part of the rows, what is promising on more.

FLAML's rule (microsoft/FLAML at 53e3461): start at 10,000 rows, multiply by 4, once the search has
spent what the larger trial costs without finding a better one. Unlike there, it is not only the
best that grows: the order on few rows is not that on all, so the next best follow, each after
twice the search of the one before. A search that still finds better ones is thus left its time.

The search itself stays on the first size, and a strategy is not told what came of more rows: a
value on more rows is better whatever the candidate, so a local search would never again find a
neighbour better than an incumbent that grew, and a learner would look ahead because it was grown.
"""

import math
from dataclasses import dataclass, field

from fairautoml.allocation._clock import now_or_never
from fairautoml.allocation._cost_of_rows import RowCosts
from fairautoml.allocation._told import fair, unknown
from fairautoml.trials import Candidate, Origin, Status, Terms, Told, Trial

FIRST_ROWS = 10_000
GROWTH = 4
KEPT = 20
"""Candidates of a size that may still grow; whoever has so many better ones hardly will."""

DEARER = 2.0
"""Factor on the search that a growth takes to earn, from one to the next of the same size."""

NO_MERIT = (False, -math.inf)


@dataclass(frozen=True, slots=True, kw_only=True)
class Growth:
    """A known candidate on more rows."""

    candidate: Candidate  # what is trained again
    size: int  # index of the sample size
    seconds: float  # what that is expected to cost


@dataclass(slots=True)
class _Level:
    """One sample size: its best trials that were not grown, and what was done since."""

    fraction: float
    merit: tuple[bool, float] = NO_MERIT
    n_since: int = 0
    seconds_since: float = 0.0
    price: float = 1.0
    n_open: int = 0
    top: list[Told] = field(default_factory=list)
    grown: set[str] = field(default_factory=set)

    @property
    def known(self) -> bool:
        """Whether there is a result at this size."""
        return self.merit > NO_MERIT

    def learn(self, told: Told) -> None:
        """Take in a result at this size; a new best one begins the count anew."""
        self.n_open -= told.trial.origin is Origin.ROWS
        if told.status is not Status.SUCCESS or told.value is None or unknown(told.violations):
            return
        if _merit(told) > self.merit:
            self.merit = _merit(told)
            self.n_since, self.seconds_since, self.price = 0, 0.0, 1.0
        if told.trial.candidate.key not in self.grown:
            self.top = sorted([*self.top, told], key=_merit, reverse=True)[:KEPT]

    def count(self, told: Told) -> None:
        """Count a trial at this size or below; larger ones would pay for each other."""
        if told.trial.budget.sample_fraction <= self.fraction:
            self.n_since += 1
            self.seconds_since += told.seconds

    def earned(self, seconds: float) -> bool:
        """Whether enough was spent since the last best, or the last one that grew."""
        return self.n_since > 0 and self.seconds_since >= self.price * seconds

    def drop(self, key: str) -> None:
        """Forget a candidate that is grown."""
        self.grown.add(key)
        self.top = [told for told in self.top if told.trial.candidate.key != key]


class SampleSizes:
    """Sample sizes of a run, and who deserves the next one."""

    def __init__(self, terms: Terms, costs: RowCosts) -> None:
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
        self._costs = costs
        self._levels = [_Level(fraction) for fraction in fractions]

    def first(self, candidate: Candidate, number: int) -> Trial:
        """Return the trial of a proposal of the strategy, on the smallest sample."""
        budget = self._budget.on(self._levels[0].fraction)
        return Trial(number=number, candidate=candidate, budget=budget)

    def record(self, told: Told) -> None:
        """Take in a result; mitigations are none of the search's business."""
        if told.trial.origin is Origin.MITIGATION:
            return
        for level in self._levels:
            level.count(told)
            if level.fraction == told.trial.budget.sample_fraction:
                level.learn(told)

    def propose(self, left: float | None, longest: float = 0.0) -> Growth | None:
        """Return who deserves more rows now, the largest sample first; None = nobody."""
        last = self._last_chance(left, longest)
        if last is not None:
            return last
        for size in range(len(self._levels) - 1, 0, -1):
            level = self._levels[size - 1]
            growth = self._growth(level, size, left)
            if growth is not None and level.earned(growth.seconds):
                return growth
        return None

    def start(self, growth: Growth, number: int) -> Trial:
        """Return the trial of a growth, and remember it, so that it is not wanted again."""
        for level in self._levels[: growth.size]:
            level.drop(growth.candidate.key)
        source, target = self._levels[growth.size - 1], self._levels[growth.size]
        source.n_since, source.seconds_since = 0, 0.0
        source.price *= DEARER
        target.n_open += 1
        budget = self._budget.on(target.fraction)
        return Trial(number=number, candidate=growth.candidate, budget=budget, origin=Origin.ROWS)

    def _growth(self, level: _Level, size: int, left: float | None) -> Growth | None:
        """Return the best of a level that was not grown and would end in time."""
        for told in level.top:
            seconds = self._costs.seconds(told, self._budget.on(self._levels[size].fraction))
            if left is None or seconds <= left:
                return Growth(candidate=told.trial.candidate, size=size, seconds=seconds)
        return None

    def _last_chance(self, left: float | None, longest: float) -> Growth | None:
        """Train the best in full while that is still possible, if nothing was."""
        top = len(self._levels) - 1
        full = self._levels[top]
        if left is None or full.known or full.n_open:
            return None
        found = (self._growth(level, top, left) for level in reversed(self._levels[:-1]))
        growth = next((g for g in found if g is not None), None)
        due = growth is not None and now_or_never(growth.seconds, left, longest)
        return growth if due else None


def _merit(told: Told) -> tuple[bool, float]:
    """Fair ones first, each kind by value."""
    return fair(told.violations), -math.inf if told.value is None else told.value
