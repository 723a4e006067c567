"""Fewer rows for what is too slow: a model on a part of the rows is better than none.

A trial that is cut off leaves nothing. So as long as a learner has not shown that it ends in time,
its trials leave time for a smaller one, and after one that was cut off the next have a 16th of its
rows. Once it has succeeded on few rows, its seconds there say how many it can afford.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, replace

from fairautoml.trials import Allocator, Budget, Candidate, Origin, Status, Terms, Told, Trial

FEWEST_ROWS = 500
"""Of a fold: with fewer, a model says little."""

CUT = 16
"""After a trial that was cut off, those like it have one row in so many."""

STEP = 2
"""From one size that is known to be affordable to the next."""

SHARE_OF_REST = 0.5
"""Of the time left, that a trial may take where it may well not end in time."""

LATER_SHARE = 0.75
"""The same once a trial has succeeded or was cut off. What does not shrink with the rows, such as
the start of a worker, would not fit into ever smaller halves."""

OTHERS, UNTRIED = 2.0, 3.0
"""How many times as long others of a learner that succeeded may take, and an untried learner."""

LEAST_SECONDS = 3.0
"""No such trial is cut off before: a worker may have to start and to load a library."""

FIXED_SECONDS, FIXED_SHARE = 1.0, 0.5
"""Part of a trial that does not grow with the rows it trains on, such as loading a library and
scoring: at the most so many seconds, and so much of it.
"""

TOO_MUCH = frozenset({Status.TIMEOUT, Status.MEMOUT})
"""Ends that fewer rows may prevent."""

_Kind = tuple[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Success:
    """The newest success of a kind on the most rows."""

    key: str
    budget: Budget
    seconds: float

    @property
    def fraction(self) -> float:
        """Share of the rows that it was trained on."""
        return self.budget.sample_fraction

    def seconds_on(self, more: Budget) -> float:
        """Return what it would have taken on more rows."""
        fixed = min(FIXED_SHARE * self.seconds, FIXED_SECONDS)
        times = more.sample_fraction * more.folds / (self.fraction * self.budget.folds)
        return fixed + (self.seconds - fixed) * times


class FewerRows:
    """Makes the trials of any allocator smaller where their learner proves too slow for the time.

    The allocator is told of its trials at the sizes that it asked for: all sizes of a learner
    shrink alike, so whoever compares or grows them goes on as with a smaller table. Without a
    deadline only a trial that ran out of memory makes later ones smaller.
    """

    def __init__(
        self, allocator: Allocator, terms: Terms, n_workers: int, *, stoppable: bool = True
    ) -> None:
        self.mitigates = allocator.mitigates
        self._allocator = allocator
        self._full = terms.budget
        self._least = FEWEST_ROWS / terms.n_train_rows
        self._n_workers = n_workers
        self._stoppable = stoppable
        self._open: dict[int, Trial] = {}
        self._done: dict[_Kind, Success] = {}
        self._cut: dict[_Kind, float] = {}
        self._shares: dict[_Kind, float] = {}
        self._last_cut = math.inf
        self._trained = False

    def next_trial(
        self, ask: Callable[[], Candidate | None], *, number: int, seconds_left: float | None
    ) -> Trial | None:
        """Return what the allocator says, on as many rows as it can afford.

        Until the first model is trained nothing is asked for in advance: how many rows come next
        depends on how the running trial ends.
        """
        running = sum(n > 0 for n in self._open)
        if seconds_left is not None and not self._trained and running >= self._n_workers:
            return None
        asked = self._allocator.next_trial(ask, number=number, seconds_left=seconds_left)
        if asked is None:
            return None
        self._open[number] = asked
        return asked if number == 0 else self._affordable(asked, seconds_left)

    def record(self, told: Told) -> None:
        """Learn what is too slow, and tell the allocator as it asked."""
        if told.trial.number > 0:
            self._learn(told)
        asked = self._open.pop(told.trial.number, told.trial)
        budget = replace(asked.budget, seconds=told.trial.budget.seconds)
        self._allocator.record(replace(told, trial=replace(told.trial, budget=budget)))

    def _affordable(self, asked: Trial, left: float | None) -> Trial:
        """Return the trial on the rows that it may have; what was found grows in its own scale."""
        fraction, kind = asked.budget.sample_fraction, _kind(asked)
        if asked.origin is not Origin.SEARCH:
            return self._sized(asked, fraction * self._shares.get(kind, 1.0))
        size = self._size(asked, left)
        self._shares[kind] = size / fraction
        return self._capped(self._sized(asked, size), left)

    def _sized(self, asked: Trial, fraction: float) -> Trial:
        """Return the trial on so many rows."""
        if fraction == asked.budget.sample_fraction:
            return asked
        budget = replace(self._full.on(fraction), seconds=asked.budget.seconds)
        return replace(asked, budget=budget)

    def _size(self, asked: Trial, left: float | None) -> float:
        """Return the share of the rows for a proposal of the strategy."""
        fraction, kind = asked.budget.sample_fraction, _kind(asked)
        cut, done = self._cut.get(kind, math.inf), self._done.get(kind)
        if done is None:
            most = self._untried(fraction, cut if self._trained else min(cut, self._last_cut))
            return most if self._stoppable or left is None else self._surely_in_time(most, left)
        same = done.key == asked.candidate.key
        late = left is not None and done.seconds_on(asked.budget) > left / (1 if same else OTHERS)
        slow = late or kind in self._cut or self._shares.get(kind, 1.0) < 1.0
        if fraction <= done.fraction or not (slow or same):
            return fraction
        share = LATER_SHARE if same else SHARE_OF_REST

        def fits(size: float) -> bool:
            more = self._full.on(size)
            in_time = left is None or done.seconds_on(more) <= share * left
            return in_time and STEP * size <= cut

        if fits(fraction):
            return fraction
        # The same on as many rows would only give the same again.
        size = min(fraction, done.fraction * (STEP if same else 1))
        while STEP * size < fraction and fits(STEP * size):
            size *= STEP
        return size

    def _untried(self, fraction: float, cut: float) -> float:
        """Return the share of the rows for a learner that has not succeeded yet."""
        size = min(fraction, max(cut / CUT, min(cut, self._least)))
        if self._done and any(share < 1.0 for share in self._shares.values()):
            # Where others could not afford what was asked for, it begins near what they could.
            size = min(size, CUT * max(done.fraction for done in self._done.values()))
        return size

    def _surely_in_time(self, size: float, left: float) -> float:
        """Return at most so large a share of the rows as a slow learner affords."""
        if not self._done:
            return size
        slowest = max(self._done.values(), key=lambda done: done.seconds_on(self._full))
        while size > self._least:
            if UNTRIED * slowest.seconds_on(self._full.on(size)) <= SHARE_OF_REST * left:
                break
            size = max(self._least, size / STEP)
        return size

    def _capped(self, trial: Trial, left: float | None) -> Trial:
        """Return the trial, limited as long as its learner has not succeeded."""
        size, own = trial.budget.sample_fraction, trial.budget.seconds
        if left is None or _kind(trial) in self._done or size <= self._least:
            return trial
        first = not self._trained and not self._cut
        most = max((SHARE_OF_REST if first else LATER_SHARE) * left, LEAST_SECONDS)
        seconds = most if own is None else min(own, most)
        return replace(trial, budget=replace(trial.budget, seconds=seconds))

    def _learn(self, told: Told) -> None:
        succeeded = told.status is Status.SUCCESS
        self._trained = self._trained or succeeded
        if told.trial.origin is not Origin.SEARCH:
            return
        kind, size = _kind(told.trial), told.trial.budget.sample_fraction
        done = self._done.get(kind)
        known = 0.0 if done is None else done.fraction
        if succeeded and size >= known:
            key = told.trial.candidate.key
            budget = told.trial.budget
            self._done[kind] = Success(key=key, budget=budget, seconds=told.seconds)
            if size >= self._cut.get(kind, math.inf):
                del self._cut[kind]
        elif told.status in TOO_MUCH and size > known:
            self._cut[kind] = min(size, self._cut.get(kind, math.inf))
            self._last_cut = min(size, self._last_cut)


def _kind(trial: Trial) -> _Kind:
    """Return learner and mitigation; what the allocator mitigates was trained without."""
    plain = trial.origin is Origin.MITIGATION
    return trial.candidate.learner, "none" if plain else trial.candidate.mitigation
