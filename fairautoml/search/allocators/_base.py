"""What allocators share: cost of trials, sizes of rows, results so far.

An executor may hold one trial ready, so that no worker waits: what is asked for then begins when
a running one ends. Nobody says so to an allocator, but it shows: a trial that ended had begun as
many seconds before as it took, and that was later than it was asked for.

So ``seconds = a + b * rows``: a for reading and scoring, b for the training on the rows of all its
models together. On 665,800 rows nearly all of the second that a small model takes is a;
proportional to the rows, four times as many would seem to cost four times as much.

FLAML's rule (microsoft/FLAML at 53e3461): start at 10,000 rows, multiply by 4, once the search has
spent what the larger trial costs without finding a better one. Unlike there, it is not only the
best that grows: the order on few rows is not that on all, so the next best follow, each after
twice the search of the one before. A search that still finds better ones is thus left its time.

The search itself stays on the first size, and a strategy is not told what came of more rows: a
value on more rows is better whatever the candidate, so a local search would never again find a
neighbour better than an incumbent that grew, and a learner would look ahead because it was grown.

Source of the test: paired differences of the per-row log loss on the same rows, a racing rule as
in Maron and Moore (1994), "Hoeffding Races", with a standard error in place of their bound.

A trial that is cut off leaves nothing. So as long as a learner has not shown that it ends in time,
its trials leave time for a smaller one, and after one that was cut off the next have a 16th of its
rows. Once it has succeeded on few rows, its seconds there say how many it can afford.
"""

import math
from collections import defaultdict, deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from fairautoml.records import (
    Allocator,
    Budget,
    Config,
    Origin,
    ScoredTrial,
    Terms,
    Trial,
    TrialState,
)

RECENT = 20
"""Trials from which the longest and the share of waiting are taken."""

LAST_CHANCE = 1.5
"""With less time than this many of it, what has to be done before the end is done at once."""


def now_or_never(seconds: float, left: float, longest: float) -> bool:
    """Whether something still fits, and hardly would after one more trial."""
    return seconds <= left and (left < LAST_CHANCE * seconds or left - longest < seconds)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Open:
    """A trial that has not ended: when it was asked for, and behind which others."""

    left: float | None
    seconds: float | None
    ahead: tuple[int, ...]


class _Ended(NamedTuple):
    opened: _Open
    seconds: float


class Clock:
    """Seconds left, as of the start of a trial, and not as of the moment when it is asked for.

    With no trial running they are the same. Behind others, a trial begins when the first of them
    ends, unless a worker is free: the share of that wait that recent trials had is taken, all of
    it before any has ended.
    """

    def __init__(self) -> None:
        self._open: dict[int, _Open] = {}
        self._ended: list[_Ended] = []
        self._seconds: dict[int, float] = {}
        self._searched: deque[float] = deque(maxlen=RECENT)
        self._shares: deque[float] = deque(maxlen=RECENT)

    @property
    def idle(self) -> bool:
        """Whether no trial is open."""
        return not self._open

    @property
    def longest(self) -> float:
        """Seconds of the longest of the recent search trials, 0 before the first."""
        return max(self._searched, default=0.0)

    def left_at_start(self, seconds_left: float | None) -> float | None:
        """Return what would be left at the start of a trial that is asked for now."""
        if seconds_left is None:
            self._ended.clear()
            return None
        self._see(seconds_left)
        running = self._open.values()
        first = min(
            (self.longest if one.seconds is None else one.seconds for one in running), default=0.0
        )
        return seconds_left - first * max(self._shares, default=1.0)

    def note_ask(
        self, number: int, seconds_left: float | None, seconds: float | None = None
    ) -> None:
        """Note that a trial was asked for."""
        self._open[number] = _Open(left=seconds_left, seconds=seconds, ahead=tuple(self._open))

    def note_result(self, scored: ScoredTrial) -> None:
        """Take in what a trial took."""
        if scored.trial.origin is Origin.SEARCH:
            self._searched.append(scored.seconds)
        opened = self._open.pop(scored.trial.number, None)
        if opened is not None:
            self._seconds[scored.trial.number] = scored.seconds
            self._ended.append(_Ended(opened, scored.seconds))

    def _see(self, seconds_left: float) -> None:
        """Learn how long those waited that have ended just now."""
        for opened, seconds in self._ended:
            known = [self._seconds[one] for one in opened.ahead if one in self._seconds]
            most = min(known, default=0.0)
            if opened.left is not None and most > 0:
                waited = opened.left - seconds_left - seconds
                self._shares.append(min(max(waited / most, 0.0), 1.0))
        self._ended.clear()


def fair(violations: tuple[float, ...]) -> bool:
    """Whether every constraint is met."""
    return all(violation <= 0 for violation in violations)


def unknown(violations: tuple[float, ...]) -> bool:
    """Whether nothing is known of any gap: it has no value, or all get the same decision."""
    return bool(violations) and all(math.isinf(violation) for violation in violations)


def is_baseline(scored: ScoredTrial) -> bool:
    """Whether it is the trial that trains nothing and decides alike for everybody."""
    return scored.trial.number == 0 and all(math.isinf(v) for v in scored.violations)


def bare(scored: ScoredTrial) -> tuple[float, tuple[float, ...]]:
    """Return loss (1 - value) and violations of the scores without any post-processing."""
    value = scored.value if scored.plain_value is None else scored.plain_value
    violations = scored.violations if scored.plain_value is None else scored.plain_violations
    return (math.inf if value is None else 1.0 - value), violations


FEWEST_PAIRS = 3
"""Candidates of a learner seen at two sizes from which its costs are taken, else those of all."""


@dataclass(slots=True)
class _Line:
    """Sums of a and of b over candidates that were seen at two sizes."""

    n: int = 0
    fixed: float = 0.0
    growing: float = 0.0

    def learn(self, one: tuple[float, float], other: tuple[float, float]) -> None:
        """Take in (rows, seconds) of the same candidate at two sizes."""
        (few, before), (many, after) = sorted((one, other))
        slope = max(0.0, (after - before) / (many - few))
        self.n += 1
        self.fixed += max(0.0, before - slope * few)
        self.growing += slope

    def at(self, rows: float) -> float:
        """Return the seconds of all these candidates together."""
        return self.fixed + self.growing * rows


class RowCosts:
    """Learns a and b, in units of a candidate's own cost, from candidates seen at two sizes.

    Different candidates at different sizes would not do: those that grow are the best, and the
    best are dearer than the others. Before there are any, a is what the baseline took, which
    trains nothing, and without a baseline 0.
    """

    def __init__(self) -> None:
        self._baseline = 0.0
        self._seen: dict[str, tuple[float, float]] = {}
        self._all = _Line()
        self._of_learner: defaultdict[str, _Line] = defaultdict(_Line)

    def learn(self, scored: ScoredTrial) -> None:
        """Take in what a trial cost; only one that went to its end says it."""
        if scored.status is not TrialState.SUCCESS or scored.trial.origin is Origin.MITIGATION:
            return
        if is_baseline(scored):
            self._baseline = scored.seconds
            return
        config = scored.trial.config
        now = (_rows(scored.trial.budget), scored.seconds)
        before = self._seen.get(config.key, now)
        self._seen[config.key] = now
        if before[0] != now[0]:
            self._all.learn(before, now)
            self._of_learner[config.learner].learn(before, now)

    def seconds(self, scored: ScoredTrial, budget: Budget) -> float:
        """Return what the candidate of a trial is expected to cost at another size."""
        known, rows = _rows(scored.trial.budget), _rows(budget)
        if rows == known:
            return scored.seconds
        line = self._of_learner.get(scored.trial.config.learner, self._all)
        if line.n < FEWEST_PAIRS:
            line = self._all
        if line.at(known) > 0:
            return scored.seconds * line.at(rows) / line.at(known)
        fixed = min(self._baseline, scored.seconds)
        return fixed + (scored.seconds - fixed) * rows / known


def _rows(budget: Budget) -> float:
    """Return the rows that all models of a trial are trained on, in those outside one fold."""
    return budget.sample_fraction * budget.folds


FIRST_ROWS = 10_000
GROWTH = 4
KEPT = 20
"""Candidates of a size that may still grow; whoever has so many better ones hardly will."""

COST_GROWTH = 2.0
"""Factor on the search that a growth takes to earn, from one to the next of the same size."""

NO_MERIT = (False, -math.inf)


@dataclass(frozen=True, slots=True, kw_only=True)
class Growth:
    """A known candidate on more rows."""

    config: Config  # what is trained again
    size: int  # index of the sample size
    seconds: float  # what that is expected to cost


@dataclass(slots=True)
class _Level:
    """One sample size: its best trials that were not grown, and what was done since."""

    fraction: float
    rank_key: tuple[bool, float] = NO_MERIT
    n_since: int = 0
    seconds_since: float = 0.0
    price: float = 1.0
    n_open: int = 0
    top: list[ScoredTrial] = field(default_factory=list)
    grown: set[str] = field(default_factory=set)

    @property
    def known(self) -> bool:
        """Whether there is a result at this size."""
        return self.rank_key > NO_MERIT

    def learn(self, scored: ScoredTrial) -> None:
        """Take in a result at this size; a new best one begins the count anew."""
        self.n_open -= scored.trial.origin is Origin.ROWS
        if (
            scored.status is not TrialState.SUCCESS
            or scored.value is None
            or unknown(scored.violations)
        ):
            return
        if _merit(scored) > self.rank_key:
            self.rank_key = _merit(scored)
            self.n_since, self.seconds_since, self.price = 0, 0.0, 1.0
        if scored.trial.config.key not in self.grown:
            self.top = sorted([*self.top, scored], key=_merit, reverse=True)[:KEPT]

    def count(self, scored: ScoredTrial) -> None:
        """Count a trial at this size or below; larger ones would pay for each other."""
        if scored.trial.budget.sample_fraction <= self.fraction:
            self.n_since += 1
            self.seconds_since += scored.seconds

    def earned(self, seconds: float) -> bool:
        """Whether enough was spent since the last best, or the last one that grew."""
        return self.n_since > 0 and self.seconds_since >= self.price * seconds

    def drop(self, key: str) -> None:
        """Forget a candidate that is grown."""
        self.grown.add(key)
        self.top = [scored for scored in self.top if scored.trial.config.key != key]


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

    def first(self, config: Config, number: int) -> Trial:
        """Return the trial of a proposal of the strategy, on the smallest sample."""
        budget = self._budget.on(self._levels[0].fraction)
        return Trial(number=number, config=config, budget=budget)

    def record(self, scored: ScoredTrial) -> None:
        """Take in a result; mitigations are none of the search's business."""
        if scored.trial.origin is Origin.MITIGATION:
            return
        for level in self._levels:
            level.count(scored)
            if level.fraction == scored.trial.budget.sample_fraction:
                level.learn(scored)

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
            level.drop(growth.config.key)
        source, target = self._levels[growth.size - 1], self._levels[growth.size]
        source.n_since, source.seconds_since = 0, 0.0
        source.price *= COST_GROWTH
        target.n_open += 1
        budget = self._budget.on(target.fraction)
        return Trial(number=number, config=growth.config, budget=budget, origin=Origin.ROWS)

    def _growth(self, level: _Level, size: int, left: float | None) -> Growth | None:
        """Return the best of a level that was not grown and would end in time."""
        for scored in level.top:
            seconds = self._costs.seconds(scored, self._budget.on(self._levels[size].fraction))
            if left is None or seconds <= left:
                return Growth(config=scored.trial.config, size=size, seconds=seconds)
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


def _merit(scored: ScoredTrial) -> tuple[bool, float]:
    """Fair ones first, each kind by value."""
    return fair(scored.violations), -math.inf if scored.value is None else scored.value


FEWEST_FOLDS = 2
"""Folds that every trial is given ..."""

ENOUGH_ROWS = 2000
"""... unless the first one scores so many rows: the standard error is then small next to the
margin (on 6,800 rows of Adult .002 against .015), and the test takes it into account."""

MARGIN = 0.05
"""Share of the rival's log loss by which a trial may be behind and still be of use.

The lowest log loss is not the best fair accuracy: of 40 candidates on Adult the best one under
equalized odds was 0.5 % behind, and the best five under a limit of 0.01 up to 4 %.
"""

STANDARD_ERRORS = 2.0
"""How sure the difference must be."""


def should_prune(
    losses: NDArray[np.float64], rival: NDArray[np.float64], weight: NDArray[np.float64]
) -> str:
    """Return by how much a trial is behind for certain, or nothing when it may still catch up.

    With d the weighted mean of the differences per row and s its standard error, the trial is
    too far behind when ``d - 2 s`` exceeds 5 % of the rival's own log loss.
    """
    share = weight / weight.sum()
    difference = losses - rival
    mean = float(share @ difference)
    error = float(np.sqrt(share**2 @ (difference - mean) ** 2))
    best = float(share @ rival)
    if mean - STANDARD_ERRORS * error <= MARGIN * best:
        return ""
    return (
        f"its loss {best + mean:.4f} is above the best one's {best:.4f} on the same rows by "
        f"{mean:.4f} with standard error {error:.4f}; the margin is {MARGIN * best:.4f}"
    )


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

TOO_MUCH = frozenset({TrialState.TIMEOUT, TrialState.OUT_OF_MEMORY})
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
        self.schedules_mitigation = allocator.schedules_mitigation
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
        self, ask: Callable[[], Config | None], *, number: int, seconds_left: float | None
    ) -> Trial | None:
        """Return what the allocator says, on as many rows as it can afford.

        Until the first model is trained nothing is asked for in advance: how many rows come next
        depends on how the running trial ends.
        """
        running = sum(n > 0 for n in self._open)
        if seconds_left is not None and not self._trained and running >= self._n_workers:
            return None
        trial = self._allocator.next_trial(ask, number=number, seconds_left=seconds_left)
        if trial is None:
            return None
        self._open[number] = trial
        return trial if number == 0 else self._affordable(trial, seconds_left)

    def record(self, scored: ScoredTrial) -> None:
        """Learn what is too slow, and tell the allocator as it asked."""
        if scored.trial.number > 0:
            self._learn(scored)
        trial = self._open.pop(scored.trial.number, scored.trial)
        budget = replace(trial.budget, seconds=scored.trial.budget.seconds)
        self._allocator.record(replace(scored, trial=replace(scored.trial, budget=budget)))

    def _affordable(self, trial: Trial, left: float | None) -> Trial:
        """Return the trial on the rows that it may have; what was found grows in its own scale."""
        fraction, kind = trial.budget.sample_fraction, _kind(trial)
        if trial.origin is not Origin.SEARCH:
            return self._sized(trial, fraction * self._shares.get(kind, 1.0))
        size = self._size(trial, left)
        self._shares[kind] = size / fraction
        return self._capped(self._sized(trial, size), left)

    def _sized(self, trial: Trial, fraction: float) -> Trial:
        """Return the trial on so many rows."""
        if fraction == trial.budget.sample_fraction:
            return trial
        budget = replace(self._full.on(fraction), seconds=trial.budget.seconds)
        return replace(trial, budget=budget)

    def _size(self, trial: Trial, left: float | None) -> float:
        """Return the share of the rows for a proposal of the strategy."""
        fraction, kind = trial.budget.sample_fraction, _kind(trial)
        cut, done = self._cut.get(kind, math.inf), self._done.get(kind)
        if done is None:
            most = self._untried(fraction, cut if self._trained else min(cut, self._last_cut))
            return most if self._stoppable or left is None else self._surely_in_time(most, left)
        same = done.key == trial.config.key
        late = left is not None and done.seconds_on(trial.budget) > left / (1 if same else OTHERS)
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

    def _learn(self, scored: ScoredTrial) -> None:
        succeeded = scored.status is TrialState.SUCCESS
        self._trained = self._trained or succeeded
        if scored.trial.origin is not Origin.SEARCH:
            return
        kind, size = _kind(scored.trial), scored.trial.budget.sample_fraction
        done = self._done.get(kind)
        known = 0.0 if done is None else done.fraction
        if succeeded and size >= known:
            key = scored.trial.config.key
            budget = scored.trial.budget
            self._done[kind] = Success(key=key, budget=budget, seconds=scored.seconds)
            if size >= self._cut.get(kind, math.inf):
                del self._cut[kind]
        elif scored.status in TOO_MUCH and size > known:
            self._cut[kind] = min(size, self._cut.get(kind, math.inf))
            self._last_cut = min(size, self._last_cut)


def _kind(trial: Trial) -> _Kind:
    """Return learner and mitigation; what the allocator mitigates was trained without."""
    plain = trial.origin is Origin.MITIGATION
    return trial.config.learner, "none" if plain else trial.config.mitigation


ROWS_PER_SECOND = 100_000
"""Rows of two classes and few columns that a small model trains on in a second, all folds
together."""

ROWS_PER_SECOND_UNKNOWN = 1_000
"""The same of a learner that may be slow, such as a forest."""

SHARE, MOST_SECONDS = 0.1, 0.3
"""Of the budget, that the first model may take; a small one also no more than so many seconds."""

FEWEST_FIRST_ROWS = 2_000
"""That each is trained on at least; where a fold has fewer, all rows are affordable too."""

FEWEST_ROWS_UNKNOWN = 500
"""The same of a learner that may be slow."""

LARGEST = 0.5
"""With a larger share of the rows of a full trial there is no need for a lighter one."""

SLOWER, FIRST_SHARE_OF_REST = 2.0, 0.75
"""A candidate takes at most so many times as long as the smaller one before it, and comes only if
that is no more of the time left."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Light:
    """What is tried on few rows before everything else."""

    # tried after the baseline, each if the one before it says that there is time for it
    configs: tuple[Config, ...]
    budget: Budget  # what each may spend; without a limit of time


class LightStart:
    """Tries the baseline and small candidates on few rows before full trials.

    Neither allocator nor strategy hears of the small candidates.
    """

    def __init__(self, allocator: Allocator, light: Light) -> None:
        self.schedules_mitigation = allocator.schedules_mitigation
        self._allocator = allocator
        self._light = light
        self._last = len(light.configs)
        self._seconds: float | None = 0.0

    def next_trial(
        self, ask: Callable[[], Config | None], *, number: int, seconds_left: float | None
    ) -> Trial | None:
        """Return a light trial, or what the allocator says."""
        if 0 < number <= self._last and not self._in_time(seconds_left):
            self._last = number - 1
        if number > self._last:
            return self._allocator.next_trial(ask, number=number, seconds_left=seconds_left)
        config = self._light.configs[number - 1] if number else ask()
        if config is None:
            return None
        self._seconds = None if number else 0.0
        return Trial(number=number, config=config, budget=self._light.budget)

    def record(self, scored: ScoredTrial) -> None:
        """Pass on what the allocator has asked for, and the baseline: what scoring costs."""
        if scored.trial.number == 0 or scored.trial.number > self._last:
            self._allocator.record(scored)
        else:
            self._seconds = scored.seconds

    def _in_time(self, left: float | None) -> bool:
        """Return whether there is time for the next, as far as the one before it says."""
        if self._seconds is None:
            return False
        return left is None or SLOWER * self._seconds <= FIRST_SHARE_OF_REST * left


def light_fraction(terms: Terms, seconds: float, *, quick: bool = True) -> float | None:
    """Return the share of the rows for a light trial, None where a full one is affordable."""
    full, allowed = terms.budget, SHARE * seconds
    pace, fewest = ROWS_PER_SECOND_UNKNOWN, FEWEST_ROWS_UNKNOWN
    if quick:
        pace, fewest = ROWS_PER_SECOND, FEWEST_FIRST_ROWS
        rows = full.folds * full.sample_fraction * terms.n_train_rows
        few = full.one_fold * terms.n_train_rows < fewest
        if rows * terms.row_cost <= pace * (allowed if few else min(allowed, MOST_SECONDS)):
            return None
        allowed = min(allowed, MOST_SECONDS)
    affordable = allowed * pace / full.models_of_a_sample / terms.row_cost
    share = max(fewest, affordable) / terms.n_train_rows
    held = min(share, full.one_fold)
    return held if (held if quick else share) < LARGEST * full.sample_fraction else None


def on_all_rows(
    first: tuple[Config, ...], small: Config | None, light: Light | None
) -> tuple[Config, ...]:
    """Return the first candidates of full trials, without the one tried on few rows."""
    return first[1:] if light is not None and small in light.configs else first


def begun_with(planned: Light | None, own: Budget, past: Mapping[int, Trial]) -> Light | None:
    """Return what an earlier run began with, so that it is not run again, else what is planned."""
    if 0 not in past:
        return planned
    budget = replace(past[0].budget, seconds=None)
    if budget == own and (planned is None or planned.budget != budget):
        return None
    found: list[Config] = []
    for number, config in enumerate((None,) if planned is None else planned.configs, 1):
        then, next_config = past.get(number), config
        if then is not None:
            light = then.budget.sample_fraction == budget.sample_fraction
            next_config = then.config if light else None
        if next_config is None:
            break
        found.append(next_config)
    return Light(configs=tuple(found), budget=budget)
