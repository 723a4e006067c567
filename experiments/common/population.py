"""A population of finitely many kinds of people, so that true rates are exact sums.

A person has a group g and three features of eight levels each. The levels of the first are pushed
up from group to group, those of the others are not; the label depends on all three and on the
group::

    P(x_k = j | g) = Phi(c_(j+1) - s_gk) - Phi(c_j - s_gk)        cuts c of the standard normal
    P(y = 1 | x, g) = 1 / (1 + exp(-(w . v(x) + b_g)))            v(x) the middles of the levels

No rate has a standard error: the decisions of a classifier on the 512 kinds of people of each
group, with their shares, are all there is to know.
"""

from dataclasses import dataclass
from functools import cached_property
from itertools import product

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.special import expit, ndtr

from fairautoml.metrics import Constraint, GroupCounts

FEATURES = ("income", "savings", "history")
LEVELS = 8
CUTS = np.concatenate([[-np.inf], np.linspace(-1.5, 1.5, LEVELS - 1), [np.inf]])
VALUES = np.linspace(-1.75, 1.75, LEVELS)
WEIGHTS = np.array([1.4, 1.0, -0.8])
PUSH = 0.9
"""Standard deviations by which the first feature of the last group lies above the middle."""

INTERCEPT, FAVOUR = -0.4, 0.6
"""Log-odds of the label at the middle of all features, and what the last group adds."""

SHARES: dict[int, tuple[float, ...]] = {
    2: (0.4, 0.6),
    5: (0.15, 0.15, 0.2, 0.2, 0.3),
    20: (0.05,) * 20,
}
"""Shares of the groups by their number."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Individuals:
    """People drawn from a population."""

    X: pd.DataFrame  # shape (n_rows, 3): features
    group: NDArray[np.str_]  # shape (n_rows,): names of groups
    y: NDArray[np.int64]  # shape (n_rows,): labels 0 or 1

    def take(self, rows: NDArray[np.integer]) -> "Individuals":
        """Return some of them."""
        X = self.X.iloc[rows].reset_index(drop=True)
        return Individuals(X=X, group=self.group[rows], y=self.y[rows])


@dataclass(frozen=True)
class Population:
    """Groups, features and labels with exact probabilities."""

    n_groups: int  # 2, 5 or 20

    @cached_property
    def names(self) -> tuple[str, ...]:
        """Names of the groups, sorted."""
        return tuple(f"group {number:02d}" for number in range(self.n_groups))

    @cached_property
    def _side(self) -> NDArray[np.float64]:
        """Place of each group between the worst off, -1, and the best off, 1."""
        return np.linspace(-1.0, 1.0, self.n_groups)

    @cached_property
    def _codes(self) -> NDArray[np.int64]:
        """Group of each kind of people."""
        return np.repeat(np.arange(self.n_groups), LEVELS ** len(FEATURES))

    @cached_property
    def _levels(self) -> NDArray[np.int64]:
        """Levels of the features of each kind of people, shape (n_kinds, 3)."""
        within = np.array(list(product(range(LEVELS), repeat=len(FEATURES))))
        return np.tile(within, (self.n_groups, 1))

    @cached_property
    def shares(self) -> NDArray[np.float64]:
        """Probability of each kind of people with label 0 and 1, shape (n_kinds, 2); sum 1."""
        push = np.zeros((self.n_groups, len(FEATURES)))
        push[:, 0] = PUSH * self._side
        cumulated = ndtr(CUTS[None, None, :] - push[:, :, None])
        levels = np.diff(cumulated, axis=2)
        here = np.prod(
            [levels[self._codes, k, self._levels[:, k]] for k in range(len(FEATURES))], axis=0
        )
        here = here * np.array(SHARES[self.n_groups])[self._codes]
        logit = VALUES[self._levels] @ WEIGHTS + INTERCEPT + FAVOUR * self._side[self._codes]
        positive = expit(logit)
        return np.stack([here * (1 - positive), here * positive], axis=1)

    @cached_property
    def kinds(self) -> Individuals:
        """One person of each kind; the labels are all 0 and say nothing."""
        X = pd.DataFrame(VALUES[self._levels], columns=list(FEATURES))
        group = np.array(self.names)[self._codes]
        return Individuals(X=X, group=group, y=np.zeros(len(X), dtype=np.int64))

    def draw(self, n_rows: int, rng: np.random.Generator) -> Individuals:
        """Draw people independently."""
        shares = self.shares.ravel()
        # Sums of floats may miss 1 by an ulp, which choice() would mind.
        drawn = rng.choice(len(shares), size=n_rows, p=shares / shares.sum())
        kind, y = np.divmod(drawn, 2)
        individuals = self.kinds.take(kind)
        return Individuals(X=individuals.X, group=individuals.group, y=y)

    def true_gap(self, decisions: NDArray[np.integer], constraint: Constraint) -> float:
        """Return the exact value of a difference of group rates."""
        table = np.zeros((self.n_groups, 2, 2))
        for label, decision in product((0, 1), repeat=2):
            mass = self.shares[:, label] * (decisions == decision)
            table[:, label, decision] = np.bincount(
                self._codes, weights=mass, minlength=self.n_groups
            )
        counts = GroupCounts(table)
        return float(max(np.ptp(counts.rates(rate)) for rate in constraint.metric.rates))
