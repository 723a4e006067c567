"""Shared parts of allocators: clock, cost model, promotion to more rows, pruning, first trials."""

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
    Terms,
    Trial,
    TrialResult,
    TrialState,
)

RECENT = 20
"""Recent trials from which the longest time and the share of waiting are taken."""

LAST_CHANCE = 1.5
"""A last trial starts at once if the time left is below this multiple of its seconds."""


def now_or_never(seconds: float, left: float, longest: float) -> bool:
    """Return whether a trial fits into the time left but may not after one more trial."""
    return seconds <= left and (left < LAST_CHANCE * seconds or left - longest < seconds)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Open:
    """A pending trial: the time left at its creation, and the trials before it."""

    left: float | None
    seconds: float | None
    ahead: tuple[int, ...]


class _Ended(NamedTuple):
    opened: _Open
    seconds: float


class Clock:
    """Estimates the time left at the start of a trial, which may be later than its creation.

    An executor may queue a trial until a running one ends. The wait is estimated as the share of
    the shortest running trial that recent trials waited, or all of it before any has ended.
    """

    def __init__(self) -> None:
        self._open: dict[int, _Open] = {}
        self._ended: list[_Ended] = []
        self._seconds: dict[int, float] = {}
        self._searched: deque[float] = deque(maxlen=RECENT)
        self._shares: deque[float] = deque(maxlen=RECENT)

    @property
    def idle(self) -> bool:
        """Whether no trial is pending."""
        return not self._open

    @property
    def longest(self) -> float:
        """Seconds of the longest recent search trial, 0 before the first."""
        return max(self._searched, default=0.0)

    def left_at_start(self, seconds_left: float | None) -> float | None:
        """Return the expected seconds left at the start of a trial that is created now."""
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
        """Record the creation of a trial."""
        self._open[number] = _Open(left=seconds_left, seconds=seconds, ahead=tuple(self._open))

    def note_result(self, scored: TrialResult) -> None:
        """Record the seconds of a trial."""
        if scored.trial.origin is Origin.SEARCH:
            self._searched.append(scored.seconds)
        opened = self._open.pop(scored.trial.number, None)
        if opened is not None:
            self._seconds[scored.trial.number] = scored.seconds
            self._ended.append(_Ended(opened, scored.seconds))

    def _see(self, seconds_left: float) -> None:
        """Estimate how long the trials that have just ended had waited."""
        for opened, seconds in self._ended:
            known = [self._seconds[one] for one in opened.ahead if one in self._seconds]
            most = min(known, default=0.0)
            if opened.left is not None and most > 0:
                waited = opened.left - seconds_left - seconds
                self._shares.append(min(max(waited / most, 0.0), 1.0))
        self._ended.clear()


def fair(violations: tuple[float, ...]) -> bool:
    """Return whether every constraint is met."""
    return all(violation <= 0 for violation in violations)


def unknown(violations: tuple[float, ...]) -> bool:
    """Return whether all gaps are unknown: undefined, or of a constant predictor."""
    return bool(violations) and all(math.isinf(violation) for violation in violations)


def is_baseline(scored: TrialResult) -> bool:
    """Return whether the trial is the baseline, a constant predictor without training."""
    return scored.trial.number == 0 and all(math.isinf(v) for v in scored.violations)


def bare(scored: TrialResult) -> tuple[float, tuple[float, ...]]:
    """Return loss (1 - value) and violations without post-processing."""
    value = scored.value if scored.plain_value is None else scored.plain_value
    violations = scored.violations if scored.plain_value is None else scored.plain_violations
    return (math.inf if value is None else 1.0 - value), violations


FEWEST_PAIRS = 3
"""Configurations of a learner at two sizes from which its own costs are used, not those of all."""


@dataclass(slots=True)
class _Line:
    """Sums of a and b of ``seconds = a + b * rows`` over configurations run at two sizes."""

    n: int = 0
    fixed: float = 0.0
    growing: float = 0.0

    def learn(self, one: tuple[float, float], other: tuple[float, float]) -> None:
        """Add (rows, seconds) of one configuration at two sizes."""
        (few, before), (many, after) = sorted((one, other))
        slope = max(0.0, (after - before) / (many - few))
        self.n += 1
        self.fixed += max(0.0, before - slope * few)
        self.growing += slope

    def at(self, rows: float) -> float:
        """Return the sum of the seconds of these configurations at a number of rows."""
        return self.fixed + self.growing * rows


class RowCosts:
    """Cost model ``seconds = a + b * rows``: a for reading and scoring, b for training.

    Only configurations that were run at two sizes are used, because promoted configurations are
    better and more expensive than the others. Before there are any, a is the time of the baseline,
    which trains nothing, or 0 without a baseline.
    """

    def __init__(self) -> None:
        self._baseline = 0.0
        self._seen: dict[str, tuple[float, float]] = {}
        self._all = _Line()
        self._of_learner: defaultdict[str, _Line] = defaultdict(_Line)

    def learn(self, scored: TrialResult) -> None:
        """Record the cost of a successful trial."""
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

    def seconds(self, scored: TrialResult, budget: Budget) -> float:
        """Return the expected seconds of the configuration of a trial at another size."""
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
    """Return the training rows of all models of a trial, relative to the rows outside one fold."""
    return budget.sample_fraction * budget.folds


# FLAML's rule (microsoft/FLAML at 53e3461): start at 10,000 rows, and multiply by 4 once the
# search has spent the cost of the larger trial without an improvement. Here the next best
# configurations are promoted as well, because ranks on few rows differ from ranks on all rows.
# The strategy does not receive results on more rows: they are better for any configuration, so
# a local search would never again improve on a promoted incumbent.
FIRST_ROWS = 10_000
GROWTH = 4
KEPT = 20
"""Configurations of a size that may still be promoted."""

COST_GROWTH = 2.0
"""Factor on the search time before the next promotion from the same size."""

NO_MERIT = (False, -math.inf)


@dataclass(frozen=True, slots=True, kw_only=True)
class Growth:
    """Promotion of a known configuration to more rows."""

    config: Config  # configuration to train again
    size: int  # index of the sample size
    seconds: float  # expected cost, seconds


@dataclass(slots=True)
class _Level:
    """One rung: its best trials without a promotion, and the search since the last improvement."""

    fraction: float
    rank_key: tuple[bool, float] = NO_MERIT
    n_since: int = 0
    seconds_since: float = 0.0
    price: float = 1.0
    n_open: int = 0
    top: list[TrialResult] = field(default_factory=list)
    grown: set[str] = field(default_factory=set)

    @property
    def known(self) -> bool:
        """Whether there is a successful result at this size."""
        return self.rank_key > NO_MERIT

    def learn(self, scored: TrialResult) -> None:
        """Record a result at this size; a new best one resets the count."""
        self.n_open = max(0, self.n_open - (scored.trial.origin is Origin.ROWS))
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

    def count(self, scored: TrialResult) -> None:
        """Count a trial at this size or below; larger trials must not pay for each other."""
        if scored.trial.budget.sample_fraction <= self.fraction:
            self.n_since += 1
            self.seconds_since += scored.seconds

    def earned(self, seconds: float) -> bool:
        """Whether enough search time was spent since the last improvement or promotion."""
        return self.n_since > 0 and self.seconds_since >= self.price * seconds

    def drop(self, key: str) -> None:
        """Remove a promoted configuration."""
        self.grown.add(key)
        self.top = [scored for scored in self.top if scored.trial.config.key != key]


class SampleSizes:
    """Sample sizes of a run and the promotions between them."""

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
        """Return the trial of a new configuration on the smallest sample."""
        budget = self._budget.on(self._levels[0].fraction)
        return Trial(number=number, config=config, budget=budget)

    def record(self, scored: TrialResult) -> None:
        """Record a result of the search; mitigations are ignored."""
        if scored.trial.origin is Origin.MITIGATION:
            return
        for level in self._levels:
            level.count(scored)
            if level.fraction == scored.trial.budget.sample_fraction:
                level.learn(scored)

    def propose(self, left: float | None, longest: float = 0.0) -> Growth | None:
        """Return the promotion that is due, the largest sample first, or None."""
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
        """Return the trial of a promotion and mark the configuration as promoted."""
        for level in self._levels[: growth.size]:
            level.drop(growth.config.key)
        source, target = self._levels[growth.size - 1], self._levels[growth.size]
        source.n_since, source.seconds_since = 0, 0.0
        source.price *= COST_GROWTH
        target.n_open += 1
        budget = self._budget.on(target.fraction)
        return Trial(number=number, config=growth.config, budget=budget, origin=Origin.ROWS)

    def _growth(self, level: _Level, size: int, left: float | None) -> Growth | None:
        """Return the promotion of the best trial of a level that would end in time."""
        for scored in level.top:
            seconds = self._costs.seconds(scored, self._budget.on(self._levels[size].fraction))
            if left is None or seconds <= left:
                return Growth(config=scored.trial.config, size=size, seconds=seconds)
        return None

    def _last_chance(self, left: float | None, longest: float) -> Growth | None:
        """Return a promotion of the best to all rows if there is none and time is running out."""
        top = len(self._levels) - 1
        full = self._levels[top]
        if left is None or full.known or full.n_open:
            return None
        found = (self._growth(level, top, left) for level in reversed(self._levels[:-1]))
        growth = next((g for g in found if g is not None), None)
        due = growth is not None and now_or_never(growth.seconds, left, longest)
        return growth if due else None


def _merit(scored: TrialResult) -> tuple[bool, float]:
    """Return the rank key: feasible first, then by value."""
    return fair(scored.violations), -math.inf if scored.value is None else scored.value


# The pruning test uses paired differences of the per-row log loss, a racing rule as in Maron and
# Moore (1994), "Hoeffding Races", with a standard error instead of their bound.
FEWEST_FOLDS = 2
"""Minimum number of folds before a trial may be pruned."""

ENOUGH_ROWS = 2000
"""Rows of the first fold from which one fold is enough: the standard error is then small relative
to the margin (on 6,800 rows of Adult 0.002 and 0.015)."""

MARGIN = 0.05
"""Share of the incumbent's log loss by which a trial may be worse without being pruned.

The lowest log loss is not the best fair accuracy: of 40 configurations on Adult the best one under
equalized odds was 0.5 % worse, and the best five under a limit of 0.01 up to 4 %.
"""

STANDARD_ERRORS = 2.0
"""Standard errors that are subtracted from the mean difference."""


def should_prune(
    losses: NDArray[np.float64], rival: NDArray[np.float64], weight: NDArray[np.float64]
) -> str:
    """Return the reason to prune a trial, or an empty string.

    With d the weighted mean of the per-row differences to the incumbent and s its standard error,
    the trial should be pruned if ``d - 2 s`` exceeds 5 % of the incumbent's log loss.
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
"""Minimum training rows of a fold; with fewer, a model says little."""

CUT = 16
"""Divisor of the rows of a learner after a trial that exceeded its time or memory."""

STEP = 2
"""Factor between sizes that are tested for being affordable."""

SHARE_OF_REST = 0.5
"""Share of the time left for a trial that may not end in time."""

LATER_SHARE = 0.75
"""The same share after a success or a timeout: fixed costs, such as the start of a worker, would
not fit into ever smaller halves."""

OTHERS, UNTRIED = 2.0, 3.0
"""Safety factors on seconds: other configurations of a learner, and an untried learner."""

LEAST_SECONDS = 3.0
"""Minimum time limit: a worker may have to start and to load a library."""

FIXED_SECONDS, FIXED_SHARE = 1.0, 0.5
"""Largest part of a trial, in seconds and as a share, that does not grow with the training rows,
such as loading a library and scoring."""

TOO_MUCH = frozenset({TrialState.TIMEOUT, TrialState.OUT_OF_MEMORY})
"""Failures that fewer rows may prevent."""

_Kind = tuple[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Success:
    """Newest success on the most rows of a learner and mitigation."""

    key: str
    budget: Budget
    seconds: float

    @property
    def fraction(self) -> float:
        """Sample fraction of the trial."""
        return self.budget.sample_fraction

    def seconds_on(self, more: Budget) -> float:
        """Return the expected seconds on more rows."""
        fixed = min(FIXED_SHARE * self.seconds, FIXED_SECONDS)
        times = more.sample_fraction * more.folds / (self.fraction * self.budget.folds)
        return fixed + (self.seconds - fixed) * times


class FewerRows:
    """Reduces the rows of an allocator's trials whose learner is too slow for the time budget.

    All sizes of a learner are reduced by the same factor, and the allocator receives the results
    at the sizes that it requested, so its comparisons and promotions remain valid. Without a
    deadline, only a trial that runs out of memory reduces later ones.
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
        """Return the trial of the allocator on an affordable number of rows.

        Until the first model is trained no trial is queued in advance, because its number of rows
        depends on the result of the running trial.
        """
        running = sum(n > 0 for n in self._open)
        if seconds_left is not None and not self._trained and running >= self._n_workers:
            return None
        trial = self._allocator.next_trial(ask, number=number, seconds_left=seconds_left)
        if trial is None:
            return None
        self._open[number] = trial
        return trial if number == 0 else self._affordable(trial, seconds_left)

    def record(self, scored: TrialResult) -> None:
        """Record a result and pass it to the allocator at the size that it requested."""
        if scored.trial.number > 0:
            self._learn(scored)
        trial = self._open.pop(scored.trial.number, scored.trial)
        budget = replace(trial.budget, seconds=scored.trial.budget.seconds)
        self._allocator.record(replace(scored, trial=replace(scored.trial, budget=budget)))

    def _affordable(self, trial: Trial, left: float | None) -> Trial:
        """Return the trial on affordable rows; promotions keep the factor of the learner."""
        fraction, kind = trial.budget.sample_fraction, _kind(trial)
        if trial.origin is not Origin.SEARCH:
            return self._sized(trial, fraction * self._shares.get(kind, 1.0))
        size = self._size(trial, left)
        self._shares[kind] = size / fraction
        return self._capped(self._sized(trial, size), left)

    def _sized(self, trial: Trial, fraction: float) -> Trial:
        """Return the trial on a fraction of the rows."""
        if fraction == trial.budget.sample_fraction:
            return trial
        budget = replace(self._full.on(fraction), seconds=trial.budget.seconds)
        return replace(trial, budget=budget)

    def _size(self, trial: Trial, left: float | None) -> float:
        """Return the sample fraction for a new configuration."""
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
        # The same configuration on the same rows would give the same result.
        size = min(fraction, done.fraction * (STEP if same else 1))
        while STEP * size < fraction and fits(STEP * size):
            size *= STEP
        return size

    def _untried(self, fraction: float, cut: float) -> float:
        """Return the sample fraction for a learner without a success."""
        size = min(fraction, max(cut / CUT, min(cut, self._least)))
        if self._done and any(share < 1.0 for share in self._shares.values()):
            # If other learners had to be reduced, start near the sizes that they could afford.
            size = min(size, CUT * max(done.fraction for done in self._done.values()))
        return size

    def _surely_in_time(self, size: float, left: float) -> float:
        """Return a sample fraction that is affordable even for a slow learner."""
        if not self._done:
            return size
        slowest = max(self._done.values(), key=lambda done: done.seconds_on(self._full))
        while size > self._least:
            if UNTRIED * slowest.seconds_on(self._full.on(size)) <= SHARE_OF_REST * left:
                break
            size = max(self._least, size / STEP)
        return size

    def _capped(self, trial: Trial, left: float | None) -> Trial:
        """Return the trial, with a time limit if its learner has no success yet."""
        size, own = trial.budget.sample_fraction, trial.budget.seconds
        if left is None or _kind(trial) in self._done or size <= self._least:
            return trial
        first = not self._trained and not self._cut
        most = max((SHARE_OF_REST if first else LATER_SHARE) * left, LEAST_SECONDS)
        seconds = most if own is None else min(own, most)
        return replace(trial, budget=replace(trial.budget, seconds=seconds))

    def _learn(self, scored: TrialResult) -> None:
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
    """Return learner and mitigation; a mitigation that the allocator added counts as none."""
    plain = trial.origin is Origin.MITIGATION
    return trial.config.learner, "none" if plain else trial.config.mitigation


ROWS_PER_SECOND = 100_000
"""Training rows per second of a small model on a binary task with few columns, over all folds."""

ROWS_PER_SECOND_UNKNOWN = 1_000
"""The same for a learner that may be slow, such as a forest."""

SHARE, MOST_SECONDS = 0.1, 0.3
"""Share of the time budget for the first model, and maximum seconds of a small one."""

FEWEST_FIRST_ROWS = 2_000
"""Minimum training rows of a first model; if a fold has fewer, all rows are affordable."""

FEWEST_ROWS_UNKNOWN = 500
"""The same for a learner that may be slow."""

LARGEST = 0.5
"""Largest sample, as a share of a full trial, for which a trial on few rows is useful."""

SLOWER, FIRST_SHARE_OF_REST = 2.0, 0.75
"""A first configuration may take this many times as long as the one before it, and is run only if
that is at most this share of the time left."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Light:
    """Configurations for the lowest rung, run on few rows before all full trials."""

    # run after the baseline, each if the time of the previous one shows that time is left
    configs: tuple[Config, ...]
    budget: Budget  # budget of each, without a time limit


class LightStart:
    """Runs the baseline and fast configurations on few rows before full trials.

    Allocator and strategy do not receive the results of the fast configurations.
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
        """Return a trial on few rows, or the next trial of the allocator."""
        if 0 < number <= self._last and not self._in_time(seconds_left):
            self._last = number - 1
        if number > self._last:
            return self._allocator.next_trial(ask, number=number, seconds_left=seconds_left)
        config = self._light.configs[number - 1] if number else ask()
        if config is None:
            return None
        self._seconds = None if number else 0.0
        return Trial(number=number, config=config, budget=self._light.budget)

    def record(self, scored: TrialResult) -> None:
        """Pass the results of the baseline and of the allocator's trials to the allocator."""
        if scored.trial.number == 0 or scored.trial.number > self._last:
            self._allocator.record(scored)
        else:
            self._seconds = scored.seconds

    def _in_time(self, left: float | None) -> bool:
        """Return whether there is time for the next configuration, given the previous one."""
        if self._seconds is None:
            return False
        return left is None or SLOWER * self._seconds <= FIRST_SHARE_OF_REST * left


def light_fraction(terms: Terms, seconds: float, *, quick: bool = True) -> float | None:
    """Return the sample fraction of a first trial, or None if a full trial is affordable."""
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
    """Return the initial configurations of full trials, without the one run on few rows."""
    return first[1:] if light is not None and small in light.configs else first


def begun_with(planned: Light | None, own: Budget, past: Mapping[int, Trial]) -> Light | None:
    """Return the first trials of the previous run, if there is one, else the planned ones."""
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
