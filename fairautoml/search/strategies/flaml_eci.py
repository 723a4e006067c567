"""Learner by estimated cost for improvement, hyperparameters by cost-frugal search, as in FLAML.

Wang, Wu, Weimer and Zhu, "FLAML: a fast and lightweight AutoML library", MLSys 2021, arXiv
1911.04706. Not taken over: the growing sample of rows and the rules on the time left, which are
the allocator's. Measured seconds have a say, so the load of the machine has one too.
"""

from collections import Counter
from collections.abc import Mapping, Sequence

import numpy as np

from fairautoml.search.strategies._eci import (
    LEAST,
    Account,
    booked,
    cost_of_first,
    cost_of_improvement,
    shares,
)
from fairautoml.search.strategies._flaml import FlamlSearch
from fairautoml.search.strategies._signal import penalised_loss
from fairautoml.search.strategies.cfo import CFO
from fairautoml.spaces import SearchSpace
from fairautoml.trials import Candidate, Told


class FlamlECI:
    """One cost-frugal search per learner, and a draw that decides whose turn it is."""

    def __init__(self, space: SearchSpace, seed: int, first: Sequence[Candidate]) -> None:
        self._waiting = list(first)
        seeds = np.random.SeedSequence(seed).generate_state(len(space.learners) + 1, np.uint32)
        self._rng = np.random.default_rng(int(seeds[-1]))
        self._searches: dict[str, FlamlSearch] = {
            name: CFO(
                SearchSpace(
                    learners={name: part},
                    encodings=space.encodings,
                    mitigations=space.mitigations,
                ),
                int(one),
                [candidate for candidate in first if candidate.learner == name],
            )
            for (name, part), one in zip(space.learners.items(), seeds[:-1], strict=True)
        }
        self._accounts = {name: Account() for name in space.learners}
        self._reference: tuple[str, float] | None = None
        self._due: Counter[str] = Counter()
        self._most = 0.0

    def ask(self) -> Candidate | None:
        """Return the next candidate; None while every learner waits for results."""
        candidate = self._waiting.pop(0) if self._waiting else None
        if candidate is None:
            candidate = self._proposed()
        elif candidate.learner in self._searches:
            candidate = self._searches[candidate.learner].ask()
        if candidate is not None:
            self._due[candidate.key] += 1
        return candidate

    def _proposed(self) -> Candidate | None:
        """Return a proposal of the learner whose turn it is; of another one while it waits."""
        if self._reference is None and self._due.total():
            # Nothing is known of any cost: the cheap learners are to come first.
            return None
        idle = dict(self._accounts)
        while idle:
            learner = self._learner(idle)
            proposed = self._searches[learner].ask()
            if proposed is not None:
                return proposed
            del idle[learner]
        return None

    def tell(self, told: Told) -> None:
        """Book what the trial cost and brought, and tell the search of its learner."""
        candidate = told.trial.candidate
        learner = candidate.learner
        if not self._due[candidate.key]:
            return
        self._due[candidate.key] -= 1
        if learner not in self._searches:
            return
        loss = penalised_loss(told)
        # A full trial may have a part of a large table: what counts is whether more is possible.
        size = told.trial.budget.sample_fraction
        self._most = max(self._most, size)
        self._accounts[learner] = booked(
            self._accounts[learner], loss, told.seconds, size / self._most
        )
        if self._reference is None and loss is not None:
            self._reference = (learner, max(told.seconds, LEAST))
        self._searches[learner].tell(told)

    def _learner(self, accounts: Mapping[str, Account]) -> str:
        """Return the untried learner if it is the cheapest of all, else a draw by ``1 / ECI``."""
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

    def _cost(self, name: str, account: Account, overall: float) -> float:
        if account.tried or self._reference is None:
            return cost_of_improvement(account, overall)
        return cost_of_first(name, *self._reference, account.failures)


STRATEGY = FlamlECI
