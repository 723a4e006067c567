"""A Gaussian process over the log of ADMM, and the point with the largest expected improvement.

Liu et al. 2020 solve theta-min so: a Matern-5/2 kernel, its scale by the marginal likelihood, and
expected improvement. Here all arms share one process, so that a result informs the configurations
that differ from it by an arm.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import cho_factor, cho_solve
from scipy.special import ndtr

from fairautoml.search.strategies._admm import Arms, Floats, Outcome, Reading, UnitHypercube

MOST_OUTCOMES = 150
"""Last outcomes of the log that the process is fitted to; its cost grows with their cube."""

N_CANDIDATES = 400
"""Points that are compared: one half uniform, the other around the incumbent."""

MOST_READ = 32
"""Best candidates that are decoded to find one that was not tried."""

LENGTHS, ARM_SHARES = (0.15, 0.3, 0.6, 1.2), (0.5, 2.0)
"""Length scales of the kernel, and the negative logarithm of its factor for each other arm."""

NOISE = 1e-3
"""Variance of the noise, in units of that of the values."""

WORST = 0.8
"""Quantile of the values above which they are cut, so that a few bad ones do not set the scale."""

ABSENT = 0.5
"""Coordinate of a parameter that a configuration does not have."""


class _Fitted(NamedTuple):
    likelihood: float
    length: float
    share: float
    factor: Any
    weights: Floats


class _Points(NamedTuple):
    at: Floats  # shape (n_points, n_coordinates)
    arms: NDArray[np.int64]  # shape (n_points, n_modules)


class _Apart(NamedTuple):
    distance: Floats  # shape (n_a, n_b)
    n_arms: NDArray[np.int64]  # shape (n_a, n_b): arms that differ

    def kernel(self, length: float, share: float) -> Floats:
        r = np.sqrt(5.0) * self.distance / length
        return (1 + r + r**2 / 3) * np.exp(-r - share * self.n_arms)


class Surrogate:
    """Proposes points of theta-min."""

    def __init__(self, cube: UnitHypercube, rng: np.random.Generator) -> None:
        self._cube, self._rng = cube, rng

    def best(
        self, arms: Arms, log: Sequence[Outcome], values: Sequence[float], incumbent: Floats
    ) -> Reading | None:
        """Return the new candidate whose expected improvement is largest, None without one."""
        log, found = log[-MOST_OUTCOMES:], np.array(values[-MOST_OUTCOMES:])
        cut = np.quantile(found, WORST)
        found = np.minimum(found, 2 * cut - found.min())
        scaled = (found - found.mean()) / (found.std() or 1.0)
        known = self._points(
            np.array([one.reading.point for one in log]),
            np.array([one.reading.present for one in log]),
            [one.reading.arms for one in log],
        )
        drawn = self._candidates(incumbent)
        new = self._points(drawn, self._cube.presence(arms, drawn), [arms] * len(drawn))
        mine = [z for z, one in zip(scaled, log, strict=True) if one.reading.arms == arms]
        model = _fitted(_apart(known, known), scaled)
        gain = _improvement(model, _apart(new, known), goal=min(mine, default=scaled.min()))
        tried = {one.reading.config.key for one in log}
        ranked = (self._cube.read(arms, drawn[at]) for at in np.argsort(-gain)[:MOST_READ])
        return next((one for one in ranked if one.config.key not in tried), None)

    def _candidates(self, incumbent: Floats) -> Floats:
        rng, shape = self._rng, (N_CANDIDATES // 2, len(incumbent))
        sizes = 10 ** rng.uniform(-2.0, -0.3, (shape[0], 1))
        moved = rng.normal(0.0, 1.0, shape) * sizes * (rng.random(shape) < 0.6)
        return np.concatenate([rng.random(shape), np.clip(incumbent + moved, 0.0, 1.0)])

    def _points(self, at: Floats, present: NDArray[np.bool_], arms: Sequence[Arms]) -> _Points:
        modules = self._cube.modules
        places = {
            one: [names.index(arm) for names, arm in zip(modules, one, strict=True)]
            for one in set(arms)
        }
        levels = np.where(present, self._cube.rounded(at), ABSENT)
        return _Points(levels, np.array([places[one] for one in arms]))


def _apart(a: _Points, b: _Points) -> _Apart:
    squares = (a.at**2).sum(axis=1)[:, None] + (b.at**2).sum(axis=1) - 2 * a.at @ b.at.T
    n_arms = (a.arms[:, None] != b.arms[None]).sum(axis=2)
    return _Apart(np.sqrt(np.maximum(squares, 0.0)), n_arms)


def _fitted(apart: _Apart, values: Floats) -> _Fitted:
    """Return the process of the kernel with the largest marginal likelihood."""
    found = []
    for length in LENGTHS:
        for share in ARM_SHARES:
            covariance = apart.kernel(length, share) + NOISE * np.eye(len(values))
            factor = cho_factor(covariance, lower=True)
            weights = cho_solve(factor, values)
            fit = -0.5 * values @ weights - np.log(np.diag(factor[0])).sum()
            found.append(_Fitted(float(fit), length, share, factor, weights))
    return max(found, key=lambda one: one.likelihood)


def _improvement(model: _Fitted, apart: _Apart, goal: float) -> Floats:
    cross = apart.kernel(model.length, model.share)
    variance = 1.0 - np.einsum("ij,ji->i", cross, cho_solve(model.factor, cross.T))
    spread = np.sqrt(np.maximum(variance, 1e-9))
    better = (goal - cross @ model.weights) / spread
    density = np.exp(-(better**2) / 2) / np.sqrt(2 * np.pi)
    return spread * (better * ndtr(better) + density)
