"""FLAML's choice of learners by estimated cost for improvement (ECI).

Wang, Wu, Weimer and Zhu, "FLAML: a fast and lightweight AutoML library", MLSys 2021, arXiv
1911.04706, and FLAML 2.7 (``_select_estimator``). Results depend on measured seconds.
"""

# FLAML's growing sample size and its rules on the time left are the task of the allocator here.

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from fairautoml.records import Config, TrialResult
from fairautoml.search.space import SearchSpace
from fairautoml.search.strategies import cfo
from fairautoml.search.strategies._flaml import FlamlSearch
from fairautoml.search.strategies._optuna import penalised_loss

GROWTH = 4.0
"""Factor by which FLAML enlarges its sample of rows."""

LEAST = 1e-9
"""Smallest cost in seconds; ``1 / ECI`` must be finite."""

MOST = 1e15
"""Largest cost in seconds, so that every learner keeps a positive probability."""

COST_TO_LIGHTGBM: Mapping[str, float] = {
    "lightgbm": 1.0,
    "xgboost": 1.6,
    "extra_trees": 1.9,
    "random_forest": 2.0,
    "catboost": 15.0,
    "logistic_regression": 25.0,
}
"""FLAML's relative cost of a first trial; as in FLAML, a learner that is not listed has 1."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CostRecord:
    """Costs and losses of one learner so far, in seconds."""

    total: float = 0.0  # K0: seconds spent on the learner so far
    # K1 and K2: ``total`` when its best and its previous best trial ended
    at_best: float = 0.0
    at_best_before: float = 0.0
    best: float = math.inf  # loss of its best and previous best trial, ``inf`` without one
    best_before: float = math.inf
    seconds_of_best: float = 0.0  # seconds of its best trial
    # sample fraction of its best trial relative to the largest so far, in (0, 1]
    fraction: float = 1.0
    failures: int = 0  # failed trials before the first one with a loss

    @property
    def tried(self) -> bool:
        """Whether the learner has a trial with a loss."""
        return math.isfinite(self.best)


def booked(account: CostRecord, loss: float | None, seconds: float, fraction: float) -> CostRecord:
    """Return the cost record after one more trial."""
    total = account.total + seconds
    if loss is None or loss >= account.best:
        failures = account.failures if account.tried else account.failures + 1
        return replace(account, total=total, failures=failures)
    return CostRecord(
        total=total,
        at_best=total,
        at_best_before=account.at_best,
        best=loss,
        best_before=account.best if account.tried else 2 * loss,
        seconds_of_best=seconds,
        fraction=fraction,
        failures=account.failures,
    )


def cost_of_improvement(account: CostRecord, best_overall: float) -> float:
    """Return the ECI of a learner that has a result.

    It is ``ECI1 = max(K1 - K2, K0 - K1)``. On a sample of the rows it is at most ``ECI2``, the
    cost of the best configuration on up to four times the rows. For a learner that is not the best
    it is at least twice the gap in loss divided by the speed of improvement.
    """
    own = max(account.at_best - account.at_best_before, account.total - account.at_best)
    if account.fraction < 1:
        own = min(own, account.seconds_of_best * min(GROWTH, 1 / account.fraction))
    gap = account.best - best_overall
    speed = _speed(account)
    if gap > 0 and speed != 0:
        own = max(own, 2 * gap / speed)
    return min(own, MOST) if own != 0 else LEAST


def _speed(account: CostRecord) -> float:
    gained = account.best_before - account.best
    spent = account.total - account.at_best_before
    return (gained if gained != 0 else account.best) / (spent if spent != 0 else 1e-10)


def cost_of_first(learner: str, reference: str, seconds: float, failures: int) -> float:
    """Return the ECI of a learner without a result, from the first trial of another learner."""
    relative = COST_TO_LIGHTGBM.get(learner, 1.0) / COST_TO_LIGHTGBM.get(reference, 1.0)
    return seconds * relative * 2.0 ** min(failures, 64)


def shares(costs: Mapping[str, float]) -> dict[str, float]:
    """Return the probability of each learner: proportional to ``1 / ECI``."""
    total = sum(1 / cost for cost in costs.values())
    return {name: 1 / cost / total for name, cost in costs.items()}


class FlamlECI:
    """One cost-frugal search per learner; the next learner is drawn by ``1 / ECI``."""

    def __init__(self, space: SearchSpace, seed: int, first: Sequence[Config]) -> None:
        self._waiting = list(first)
        seeds = np.random.SeedSequence(seed).generate_state(len(space.learners) + 1, np.uint32)
        self._rng = np.random.default_rng(int(seeds[-1]))
        self._searches: dict[str, FlamlSearch] = {
            name: cfo.STRATEGY(
                replace(space, learners={name: part}),
                int(one),
                [config for config in first if config.learner == name],
            )
            for (name, part), one in zip(space.learners.items(), seeds[:-1], strict=True)
        }
        self._accounts = {name: CostRecord() for name in space.learners}
        self._reference: tuple[str, float] | None = None
        self._due: Counter[str] = Counter()
        self._most = 0.0

    def ask(self) -> Config | None:
        """Return the next configuration, or None while every learner waits for results."""
        config = self._waiting.pop(0) if self._waiting else None
        if config is None:
            config = self._sample()
        elif config.learner in self._searches:
            config = self._searches[config.learner].ask()
        if config is not None:
            self._due[config.key] += 1
        return config

    def _sample(self) -> Config | None:
        """Return a proposal of the chosen learner, or of another one while that learner waits."""
        if self._reference is None and self._due.total():
            # No cost is known yet, so no learner can be preferred.
            return None
        idle = dict(self._accounts)
        while idle:
            learner = self._learner(idle)
            sampled = self._searches[learner].ask()
            if sampled is not None:
                return sampled
            del idle[learner]
        return None

    def tell(self, scored: TrialResult) -> None:
        """Record the cost and the loss of a trial, and tell the search of its learner."""
        config = scored.trial.config
        learner = config.learner
        if not self._due[config.key]:
            return
        self._due[config.key] -= 1
        if learner not in self._searches:
            return
        loss = penalised_loss(scored)
        # A full trial may use a sample of a large table, so shares are relative to the largest.
        size = scored.trial.fidelity.rows
        self._most = max(self._most, size)
        self._accounts[learner] = booked(
            self._accounts[learner], loss, scored.seconds, size / self._most
        )
        if self._reference is None and loss is not None:
            self._reference = (learner, max(scored.seconds, LEAST))
        self._searches[learner].tell(scored)

    def _learner(self, accounts: Mapping[str, CostRecord]) -> str:
        """Return an untried learner if it has the lowest ECI, else a draw by ``1 / ECI``."""
        if self._reference is None:
            return min(accounts, key=lambda name: accounts[name].failures)
        overall = min(account.best for account in self._accounts.values())
        costs = {name: self._cost(name, account, overall) for name, account in accounts.items()}
        cheapest = min(costs, key=costs.__getitem__)
        tried = {name: cost for name, cost in costs.items() if accounts[name].tried}
        if cheapest not in tried:
            return cheapest
        chances = shares(tried)
        return str(self._rng.choice(list(chances), p=list(chances.values())))

    def _cost(self, name: str, account: CostRecord, overall: float) -> float:
        if account.tried or self._reference is None:
            return cost_of_improvement(account, overall)
        return cost_of_first(name, *self._reference, account.failures)


STRATEGY = FlamlECI
