"""The two sub-solvers: where to look in the cube, and which arms to pull."""

import math
from collections.abc import Sequence
from typing import Protocol

import numpy as np

from fairautoml.search.strategies._admm_cube import Arms
from fairautoml.search.strategies._admm_math import Floats

LOCAL_STEP = 0.1
"""Standard deviation of a local step, in units of a parameter's whole range."""

PRIOR = 10.0
"""Both parameters of the Beta prior of every arm (Liu et al. 2020, alpha_0 and delta_0)."""


class PointSolver(Protocol):
    """A black-box minimiser over the cube, asked for one point at a time."""

    def point(self, current: Floats, incumbent: Floats | None) -> Floats:
        """Return the next point in [0, 1], shape (n_coordinates,)."""
        ...


class ArmSolver(Protocol):
    """Chooses arms and learns from their values; a value of ``bound`` or more is worthless."""

    bound: float

    def pull(self) -> Arms:
        """Return the next arms to evaluate."""
        ...

    def learn(self, arms: Arms, value: float) -> None:
        """Learn what they were worth; less is better, ``inf`` for a failure."""
        ...


class HalfLocal:
    """In turns a uniform draw and a Gaussian step from the incumbent; before all, ``current``."""

    def __init__(self, rng: np.random.Generator) -> None:
        self._rng = rng
        self._local = True
        self._begun = False

    def point(self, current: Floats, incumbent: Floats | None) -> Floats:
        """Return the next point; the very first one is ``current`` when nothing is known."""
        first, self._begun = not self._begun, True
        if incumbent is None:
            return current if first else self._rng.random(len(current))
        self._local = not self._local
        if not self._local:
            return self._rng.random(len(current))
        step = self._rng.normal(0.0, LOCAL_STEP, len(current))
        near: Floats = np.clip(incumbent + step, 0.0, 1.0)
        return near


def reward(value: float, bound: float) -> float:
    """Return the probability of a success, from 1 for no loss to 0 at the bound and above."""
    return 1.0 - min(max(value / bound, 0.0), 1.0)


class Bandit:
    """Combinatorial Thompson sampling with Beta posteriors (Liu et al. 2020, section 4).

    Counts persist over the iterations.
    """

    def __init__(
        self, modules: Sequence[tuple[str, ...]], rng: np.random.Generator, bound: float
    ) -> None:
        self.bound = bound
        self._rng = rng
        self._modules = modules
        self._pulls = [np.zeros(len(arms)) for arms in modules]
        self._wins = [np.zeros(len(arms)) for arms in modules]

    def pull(self) -> Arms:
        """Draw every arm's worth and return the best arm of each module."""
        learner, encoding, mitigation = (
            arms[int(np.argmax(self._rng.beta(PRIOR + wins, PRIOR + pulls - wins)))]
            for arms, pulls, wins in zip(self._modules, self._pulls, self._wins, strict=True)
        )
        return Arms(learner, encoding, mitigation)

    def learn(self, arms: Arms, value: float) -> None:
        """Count a pull, and a success with probability ``reward(value, bound)``."""
        won = self._rng.random() < reward(value, self.bound)
        for module, arm in enumerate(arms):
            at = self._modules[module].index(arm)
            self._pulls[module][at] += 1
            self._wins[module][at] += won


def raised_bound(bound: float, pulled: Sequence[float], logged: Sequence[float]) -> float:
    """Return the bound for the next pulls: the median of the log if no pull was worth anything."""
    if not logged or min(pulled, default=-math.inf) < bound:
        return bound
    return max(bound, float(np.median(logged)))
