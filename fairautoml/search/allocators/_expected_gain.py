"""Rules that compare the expected gain per second of the search and of a mitigation.

They are our own design, not a reproduction of the formulas of Wu and Wang, FairAutoML, arXiv
2111.06495.
"""

import math
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Literal, NamedTuple

import numpy as np

from fairautoml.records import (
    Config,
    Fidelity,
    MitigationOption,
    Origin,
    Terms,
    Trial,
    TrialResult,
    TrialState,
)
from fairautoml.search.allocators._base import CostModel, bare, fair, is_baseline
from fairautoml.search.allocators.ladder import Ladder

FEWEST_SHIFTS = 5
"""Number of mitigations from which the most favourable shift of the loss is estimated."""

FAVOURABLE = 0.1
"""Quantile of the shifts that counts as the most favourable."""

LAST_INCUMBENTS = 10
"""Number of recent incumbents from which the share of feasible ones is estimated."""

MEASURED = frozenset({TrialState.SUCCESS, TrialState.TIMEOUT})
"""States in which the seconds of a mitigation measure its cost; a failure may come early."""


def mitigated(config: Config, costly: MitigationOption) -> Config:
    """Return the configuration under a training-time mitigation."""
    return replace(config, mitigation=costly.name, mitigation_params=costly.params)


@dataclass(slots=True, eq=False)
class Base:
    """A plain infeasible model, trained on all rows, that may be mitigated."""

    config: Config  # configuration of the model
    loss: float  # loss of its scores without post-processing
    seconds: float  # cost of its trial, seconds
    tried: set[str] = field(default_factory=set)


@dataclass(slots=True, eq=False)
class Arm:
    """A bandit arm: an expensive mitigation with statistics of its cost, success and loss.

    ``shift`` is the mean change of the loss, ``best_shift`` the most favourable expected change,
    at most 0; both are 0 until they are observed.
    """

    costly: MitigationOption  # name, parameters and prior estimate of the cost ratio
    n: int = 0
    n_fair: int = 0
    n_open: int = 0
    shift: float = 0.0
    best_shift: float = 0.0
    _shifts: list[float] = field(default_factory=list)
    _n_measured: int = 0
    _seconds: float = 0.0
    _base_seconds: float = 0.0

    @property
    def ratio(self) -> float:
        """Cost relative to plain training; the prior estimate counts as one observation."""
        if self._base_seconds <= 0:
            return self.costly.ratio
        measured = self._seconds / self._base_seconds
        return (self.costly.ratio + self._n_measured * measured) / (1 + self._n_measured)

    @property
    def odds(self) -> float:
        """Estimated probability that a mitigated model is feasible."""
        return (1 + self.n_fair) / (2 + self.n)

    def observe(self, shift: float) -> None:
        """Record the change of the loss by one mitigation."""
        self._shifts.append(shift)
        self.shift = float(np.mean(self._shifts))
        if len(self._shifts) >= FEWEST_SHIFTS:
            self.best_shift = min(0.0, float(np.quantile(self._shifts, FAVOURABLE)))

    def learn(self, base: Base, scored: TrialResult) -> None:
        """Record the result of mitigating ``base``."""
        self.n += 1
        if scored.status in MEASURED:
            self._n_measured += 1
            self._seconds += scored.seconds
            self._base_seconds += base.seconds
        if scored.status is TrialState.SUCCESS and scored.value is not None:
            self.n_fair += fair(scored.violations)
            self.observe(1.0 - scored.value - base.loss)


class Pair(NamedTuple):
    """A base, a mitigation, and the expected seconds of the mitigated trial."""

    base: Base
    arm: Arm
    seconds: float


@dataclass(slots=True)
class SearchProgress:
    """Progress of the search in seconds of search trials; mitigations do not count.

    ``found``, ``found_before`` and ``spent`` are K1, K2 and K0 of FLAML's estimated cost for
    improvement.
    """

    spent: float = 0.0
    since: float = 0.0
    best: float = math.inf
    gain: float = 0.0
    found: float = 0.0
    found_before: float = 0.0
    full_seconds: float = 0.0
    _fair: deque[bool] = field(default_factory=lambda: deque(maxlen=LAST_INCUMBENTS))

    @property
    def cost_of_improvement(self) -> float:
        """Expected seconds until the next improvement."""
        return max(self.spent - self.found, self.found - self.found_before)

    @property
    def share_fair(self) -> float:
        """Share of feasible models among the last incumbents, 0 before the first."""
        return sum(self._fair) / len(self._fair) if self._fair else 0.0

    def pay(self, seconds: float) -> None:
        """Add the seconds of a trial with any result."""
        self.spent += seconds
        self.since += seconds

    def learn(self, loss: float, *, is_fair: bool, full_seconds: float) -> None:
        """Record the loss of a trial after its seconds were added by ``pay``."""
        if loss >= self.best:
            return
        self.gain = loss if math.isinf(self.best) else self.best - loss
        self.best = loss
        self.found_before, self.found = self.found, self.spent
        self.full_seconds = full_seconds
        self._fair.append(is_fair)


class AllocatorState:
    """State that the rules read: arms, costs, progress and models to mitigate."""

    def __init__(
        self,
        mitigations: tuple[MitigationOption, ...],
        full: Fidelity,
        costs: CostModel | None = None,
    ) -> None:
        self.arms = tuple(Arm(costly) for costly in mitigations)
        self._costs = CostModel() if costs is None else costs
        self.search = SearchProgress()
        self.mitigated = 0.0
        self.best_fair = math.inf
        self.closed = False  # whether no mitigation may start any more
        self._full = full
        self._incumbent: TrialResult | None = None
        self._smallest = math.inf
        self._floor = math.inf
        self._pool: dict[str, Base] = {}
        self._open: dict[int, Pair] = {}

    @property
    def committed(self) -> float:
        """Seconds spent on mitigations plus the expected seconds of running ones."""
        return self.mitigated + sum(pair.seconds for pair in self._open.values())

    @property
    def mitigating(self) -> bool:
        """Whether a mitigation is running."""
        return bool(self._open)

    def expected(self, number: int) -> float | None:
        """Return the expected seconds of a running mitigation, None for other trials."""
        pair = self._open.get(number)
        return None if pair is None else pair.seconds

    def pairs(self, *, prune: bool = True) -> list[Pair]:
        """Return the pairs of bases and mitigations that were not tried yet and may start."""
        found: list[Pair] = []
        for arm in () if self.closed else self.arms:
            name, ratio = arm.costly.name, arm.ratio
            most = min(self._floor, self.best_fair - arm.best_shift if prune else math.inf)
            found += [
                Pair(base, arm, base.seconds * ratio)
                for base in self._pool.values()
                if base.loss < most and name not in base.tried
            ]
        return found

    def start(self, pair: Pair, number: int) -> Trial:
        """Return the trial of a mitigation and mark the pair as tried."""
        pair.base.tried.add(pair.arm.costly.name)
        pair.arm.n_open += 1
        self._open[number] = pair
        self.search.since = 0.0
        return Trial(
            number=number,
            config=mitigated(pair.base.config, pair.arm.costly),
            fidelity=self._full,
            origin=Origin.MITIGATION,
        )

    def record(self, scored: TrialResult) -> None:
        """Record a result of any origin."""
        value = scored.value if scored.status is TrialState.SUCCESS else None
        if value is not None and fair(scored.violations):
            self.best_fair = min(self.best_fair, 1.0 - value)
        pair = self._open.pop(scored.trial.number, None)
        if pair is not None:
            self.mitigated += scored.seconds
            pair.arm.n_open -= 1
            pair.arm.learn(pair.base, scored)
            return
        self.search.pay(scored.seconds)
        if value is not None:
            self._learn_plain(scored)

    def _learn_plain(self, scored: TrialResult) -> None:
        loss, violations = bare(scored)
        if is_baseline(scored):
            # A model that is no better than a constant predictor is not mitigated.
            self._floor = min(self._floor, loss)
            return
        work = scored.trial.fidelity.rows * scored.trial.fidelity.folds
        smallest = min(self._smallest, work)
        if work == smallest:
            # Improvements are compared at one fidelity, that of the search.
            self._smallest = smallest
            self._incumbent = scored if loss < self.search.best else self._incumbent
            full_seconds = self._full_seconds(scored)
            self.search.learn(loss, is_fair=fair(scored.violations), full_seconds=full_seconds)
        elif self._incumbent is not None:
            # The cost of a promotion improves the estimate for the incumbent.
            self.search.full_seconds = self._full_seconds(self._incumbent)
        config = scored.trial.config
        mitigable = config.mitigation == "none" and not fair(violations)
        if mitigable and scored.trial.fidelity == self._full:
            self._pool.setdefault(config.key, Base(config, loss, self._full_seconds(scored)))

    def _full_seconds(self, scored: TrialResult) -> float:
        """Return the expected seconds of the configuration at full fidelity."""
        trial = Trial(number=-1, config=scored.trial.config, fidelity=self._full)
        expected = self._costs.seconds(trial)
        return scored.seconds if expected is None else expected


class MitigatingLadder(Ladder):
    """A ladder that also decides when a model is mitigated."""

    schedules_mitigation = True

    def __init__(self, terms: Terms) -> None:
        super().__init__(terms)
        self._memory = AllocatorState(terms.mitigations, terms.fidelity, self.costs)
        self._counted: set[int] = set()  # trials that are not promotions

    def next_trial(
        self, ask: Callable[[], Config | None], *, number: int, seconds_left: float | None
    ) -> Trial | None:
        """Return the next trial, or None if there is none now."""
        # The search accepts only promotions after its number of trials.
        most = self.terms.n_trials
        self._memory.closed = most is not None and len(self._counted) >= most
        trial = super().next_trial(ask, number=number, seconds_left=seconds_left)
        if trial is not None and not trial.parent:
            self._counted.add(number)
        return trial

    def record(self, scored: TrialResult) -> None:
        """Record the cost and the result of a trial."""
        super().record(scored)
        if not scored.trial.parent:
            self._counted.add(scored.trial.number)
        self._memory.record(scored)

    def expected(self, trial: Trial) -> float | None:
        """Return the expected seconds of a trial."""
        known = self._memory.expected(trial.number)
        return super().expected(trial) if known is None else known


LAST_CHANCE = 1.5
"""A last trial starts at once if the time left is below this multiple of its seconds."""


def now_or_never(seconds: float, left: float, longest: float) -> bool:
    """Return whether a trial fits into the time left but may not after one more trial."""
    return seconds <= left and (left < LAST_CHANCE * seconds or left - longest < seconds)


Test = Literal["full", "simple", "gain", "greedy"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Rules:
    """The test for a mitigation and its parts; the defaults are the full rule."""

    test: Test = "full"  # ``"full"`` compares the expected gain per second with the search
    # try the least expensive base once it costs no more than the search so far, to measure the
    # cost ratio
    early: bool = True
    prune: bool = True  # drop bases that cannot beat the best feasible loss
    # divide costs by the estimated probability that a mitigated model is feasible; else by 1
    learn_odds: bool = True
    cap: bool = True  # no mitigation while mitigations have cost more than the search
    last_chance: bool = True  # mitigate at the end if there is no feasible model


def choose(
    memory: AllocatorState, rules: Rules, left: float | None, longest: float = 0.0
) -> Pair | None:
    """Return the pair to mitigate now, or None to continue the search."""
    pairs = memory.pairs(prune=rules.prune)
    if not pairs:
        return None
    if rules.last_chance and (saved := _last_chance(memory, pairs, left, longest)) is not None:
        return saved
    if rules.cap and memory.committed > memory.search.spent:
        return None
    pair = _first_of_its_kind(memory, pairs) if rules.early else None
    if pair is None:
        pair = TESTS[rules.test](memory, pairs, rules)
    return pair if pair is not None and fits(pair, left) else None


def fits(pair: Pair, left: float | None) -> bool:
    """Return whether the pair is expected to end in time."""
    return left is None or pair.seconds <= left


def _last_chance(
    memory: AllocatorState, pairs: list[Pair], left: float | None, longest: float
) -> Pair | None:
    if left is None or memory.mitigating or memory.best_fair < math.inf:
        return None
    pair = min(pairs, key=_cost)
    return pair if now_or_never(pair.seconds, left, longest) else None


def _first_of_its_kind(memory: AllocatorState, pairs: list[Pair]) -> Pair | None:
    """Return the least expensive pair of an untried mitigation if the search has cost as much."""
    unknown = [p for p in pairs if p.arm.n == 0 and p.arm.n_open == 0]
    pair = min(unknown, key=_cost, default=None)
    return pair if pair is not None and pair.seconds <= memory.search.spent else None


def _full(memory: AllocatorState, pairs: list[Pair], rules: Rules) -> Pair | None:
    """Return the best pair if its expected gain per second is at least that of the search."""
    search = memory.search
    if math.isinf(memory.best_fair):
        pair = best_pair(pairs)
        patience = max(search.cost_of_improvement, search.since)
        return pair if pair.seconds / _success_probability(pair, rules) <= patience else None

    def speed(pair: Pair) -> float:
        gain = max(0.0, memory.best_fair - pair.base.loss - pair.arm.shift)
        return _per_second(gain, pair.seconds / _success_probability(pair, rules))

    pair = max(pairs, key=speed)
    # A better base must still be mitigated, unless incumbents of the search tend to be feasible.
    after = (
        (1 - search.share_fair)
        * pair.arm.ratio
        * search.full_seconds
        / _success_probability(pair, rules)
    )
    search_speed = _per_second(search.gain, search.cost_of_improvement + after)
    found = speed(pair)
    return pair if found > 0 and found >= search_speed else None


def _simple(memory: AllocatorState, pairs: list[Pair], rules: Rules) -> Pair | None:
    """Return the best base if it costs no more than the next improvement of the search."""
    pair = best_pair(pairs)
    search = memory.search
    return pair if pair.seconds <= max(search.cost_of_improvement, search.since) else None


def _gain(memory: AllocatorState, pairs: list[Pair], rules: Rules) -> Pair | None:
    """Return the best pair if its expected gain is at least the last improvement of the search."""
    pair = min(pairs, key=lambda p: (p.base.loss + p.arm.shift, p.seconds))
    promised = memory.best_fair - pair.base.loss - pair.arm.shift
    return pair if promised > 0 and promised >= memory.search.gain else None


TESTS: dict[Test, Callable[[AllocatorState, list[Pair], Rules], Pair | None]] = {
    "full": _full,
    "simple": _simple,
    "gain": _gain,
    "greedy": lambda memory, pairs, rules: best_pair(pairs),
}


def best_pair(pairs: list[Pair]) -> Pair:
    """Return the pair of the best base with the least expensive mitigation."""
    return min(pairs, key=lambda pair: (pair.base.loss, pair.seconds))


def _cost(pair: Pair) -> float:
    return pair.seconds


def _success_probability(pair: Pair, rules: Rules) -> float:
    return pair.arm.odds if rules.learn_odds else 1.0


def _per_second(gain: float, seconds: float) -> float:
    """Return gain per second, infinite for a positive gain at no cost."""
    if seconds > 0:
        return gain / seconds
    return math.inf if gain > 0 else 0.0
