"""Scores that depend less on a number: the nearest ones within a bound on GeDI.

Notation of ``fairautoml.metrics.gedi``. The projection of v is ``z = v - Phi (alpha - alpha')``,
where alpha' are the allowed coefficients nearest to alpha in the norm of ``Phi' Phi``. Allowed are

* coarse: ``||alpha'||_1 <= bound``, and
* fine: what is left is a line of slope at most ``bound``,

the two constraints of Giuliani, Misino, Lombardi (ICML 2023), who reach them by other means. The
closed forms are ours.
"""

import itertools
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from fairautoml.metrics.gedi import centred_powers, solver

Kind = Literal["coarse", "fine"]

ROUNDING = 1e-12
"""A coefficient that is this much on the wrong side of 0 is 0."""


def project(
    x: NDArray[np.float64],
    v: NDArray[np.float64],
    weight: NDArray[np.float64],
    *,
    degree: int,
    bound: float,
    kind: Kind,
) -> NDArray[np.float64]:
    """Return the nearest z within a bound; v itself where it is within it."""
    found = solver(x, weight, degree)
    if found is None:
        return v.copy()
    powers = centred_powers(x, len(found), weight)
    removed = taken_off(powers, found @ v, weight, bound=bound, kind=kind)
    return v - powers @ removed


def taken_off(
    powers: NDArray[np.float64],
    alpha: NDArray[np.float64],
    weight: NDArray[np.float64],
    *,
    bound: float,
    kind: Kind,
) -> NDArray[np.float64]:
    """Return ``alpha - alpha'``, shape (degree,)."""
    gram = (powers * weight[:, None]).T @ powers
    if kind == "fine":
        line = np.zeros_like(alpha)
        # The slope of the straight line through Phi alpha.
        line[0] = np.clip(gram[0] @ alpha / gram[0, 0], -bound, bound)
        return alpha - line
    return alpha - nearest_in_ball(alpha, gram, bound)


def nearest_in_ball(
    alpha: NDArray[np.float64], gram: NDArray[np.float64], bound: float
) -> NDArray[np.float64]:
    """Return the points of the L1 ball nearest to some points in the norm of ``gram``.

    The nearest point lies inside a face of the ball, which is a pattern of signs; on each the
    nearest point of its plane is the solution of linear equations, and of those that keep the
    signs the nearest one is it. There are ``3^degree - 1`` patterns.
    """
    points = np.atleast_2d(alpha)
    best, best_distance = np.zeros_like(points), _distance(points, gram)
    patterns = itertools.product((0.0, 1.0, -1.0), repeat=points.shape[1]) if bound > 0 else ()
    for pattern in map(np.array, patterns):
        on = np.flatnonzero(pattern)
        if len(on) == 0:
            continue
        signs = pattern[on]
        inverse = np.linalg.inv(gram[np.ix_(on, on)])
        free, across = points @ gram[:, on] @ inverse, inverse @ signs
        inside = free - np.outer((free @ signs - bound) / (signs @ across), across)
        found = np.zeros_like(points)
        found[:, on] = inside
        distance = _distance(found - points, gram)
        better = (inside * signs >= -ROUNDING).all(axis=1) & (distance < best_distance)
        best[better], best_distance[better] = found[better], distance[better]
    within = np.abs(points).sum(axis=1) <= bound
    best[within] = points[within]
    return best.reshape(alpha.shape)


def _distance(apart: NDArray[np.float64], gram: NDArray[np.float64]) -> NDArray[np.float64]:
    squared: NDArray[np.float64] = ((apart @ gram) * apart).sum(axis=1)
    return squared
