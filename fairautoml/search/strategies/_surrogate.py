"""A Gaussian process over the log of ADMM, and the point with the largest expected improvement.

Liu et al. 2020 solve theta-min so: a Matern-5/2 kernel, its scale by the marginal likelihood, and
expected improvement. Here all arms share one process, so that what is known of one configuration
tells about those that differ from it by an arm.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import LinAlgError, cho_factor, cho_solve
from scipy.special import ndtr

from fairautoml.search.strategies._admm import Arms, Floats, Outcome, Reading, UnitHypercube

MOST_OUTCOMES = 150
"""Last outcomes of the log that the process is fitted to; its cost grows with their cube."""

N_CANDIDATES = 64
"""Points that are compared: one half uniform, the other around the incumbent."""

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
        tried = {one.reading.config.key for one in log}
        drawn = [self._cube.read(arms, point) for point in self._candidates(incumbent)]
        readings = [one for one in drawn if one.config.key not in tried]
        if not readings:
            return None
        known, new = self._points([one.reading for one in log]), self._points(readings)
        model = _fitted(known, scaled)
        mine = [z for z, one in zip(scaled, log, strict=True) if one.reading.arms == arms]
        gain = _improvement(model, known, new, goal=min(mine, default=scaled.min()))
        return readings[int(np.argmax(gain))]

    def _candidates(self, incumbent: Floats) -> Floats:
        rng, shape = self._rng, (N_CANDIDATES // 2, len(incumbent))
        sizes = 10 ** rng.uniform(-2.0, -0.3, (shape[0], 1))
        moved = rng.normal(0.0, 1.0, shape) * sizes * (rng.random(shape) < 0.6)
        return np.concatenate([rng.random(shape), np.clip(incumbent + moved, 0.0, 1.0)])

    def _points(self, readings: Sequence[Reading]) -> _Points:
        at = self._cube.rounded(np.array([one.point for one in readings]))
        present = np.array([one.present for one in readings])
        modules = self._cube.modules
        arms = [[names.index(arm) for names, arm in zip(modules, one.arms, strict=True)]
                for one in readings]  # fmt: skip
        return _Points(np.where(present, at, ABSENT), np.array(arms))


def _kernel(a: _Points, b: _Points, length: float, share: float) -> Floats:
    squares = (a.at**2).sum(axis=1)[:, None] + (b.at**2).sum(axis=1) - 2 * a.at @ b.at.T
    r = np.sqrt(5 * np.maximum(squares, 0.0)) / length
    other = (a.arms[:, None] != b.arms[None]).sum(axis=2)
    found: Floats = (1 + r + r**2 / 3) * np.exp(-r - share * other)
    return found


def _fitted(known: _Points, values: Floats) -> _Fitted:
    """Return the process of the kernel with the largest marginal likelihood."""
    found = []
    for length in LENGTHS:
        for share in ARM_SHARES:
            covariance = _kernel(known, known, length, share) + NOISE * np.eye(len(values))
            try:
                factor = cho_factor(covariance, lower=True)
            except LinAlgError:
                continue
            weights = cho_solve(factor, values)
            fit = -0.5 * values @ weights - np.log(np.diag(factor[0])).sum()
            found.append(_Fitted(float(fit), length, share, factor, weights))
    return max(found, key=lambda one: one.likelihood)


def _improvement(model: _Fitted, known: _Points, new: _Points, goal: float) -> Floats:
    cross = _kernel(new, known, model.length, model.share)
    variance = 1.0 - np.einsum("ij,ji->i", cross, cho_solve(model.factor, cross.T))
    spread = np.sqrt(np.maximum(variance, 1e-9))
    better = (goal - cross @ model.weights) / spread
    density = np.exp(-(better**2) / 2) / np.sqrt(2 * np.pi)
    found: Floats = spread * (better * ndtr(better) + density)
    return found
