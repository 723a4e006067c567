"""Slack, penalty and duals of the operator splitting, as pure functions of arrays.

Liu et al., AAAI 2020, arXiv 1905.00424, Algorithm 2. A constraint ``gap <= limit``, gap at least
0, becomes ``gap - limit + slack = 0`` with ``slack`` in [0, limit]. The slack has a closed form,
so no solver ever sees it.
"""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

UNIT_OF_ZERO_LIMIT = 0.01
"""What a gap is divided by when its limit is 0."""


def normalised(gap: Floats, limit: Floats) -> tuple[Floats, Floats]:
    """Measure each gap in units of its limit, so that one penalty suits all constraints."""
    strict = limit == 0
    unit = np.where(strict, UNIT_OF_ZERO_LIMIT, limit)
    return gap / unit, np.where(strict, 0.0, 1.0)


def best_slack(gap: Floats, limit: Floats, mu: Floats, rho: float) -> Floats:
    """Return the slack in [0, limit] that makes the penalty smallest at this gap."""
    slack: Floats = np.clip(limit - gap - mu / rho, 0.0, limit)
    return slack


def residual(gap: Floats, limit: Floats, slack: Floats, mu: Floats, rho: float) -> Floats:
    """Return ``gap - limit + slack + mu / rho`` of each constraint."""
    return gap - limit + slack + mu / rho


def penalty(gap: Floats, limit: Floats, slack: Floats, mu: Floats, rho: float) -> float:
    """Return ``rho / 2`` times the squared residuals, summed over the constraints.

    With ``best_slack`` each residual is ``max(0, gap - limit + mu/rho) + min(0, gap + mu/rho)``.
    """
    return float(rho / 2 * np.sum(residual(gap, limit, slack, mu, rho) ** 2))


def next_mu(gap: Floats, limit: Floats, slack: Floats, mu: Floats, rho: float) -> Floats:
    """Return the dual variables of the constraints after a step.

    A slack that was fitted elsewhere can make them negative; that is as it should be.
    """
    return mu + rho * (gap - limit + slack)


def coupling(relaxed: Floats, copy: Floats, dual: Floats, rho: float) -> float:
    """Return ``rho / 2 |relaxed - b|^2`` with ``b = copy - dual / rho``."""
    return float(rho / 2 * np.sum((relaxed - anchor(copy, dual, rho)) ** 2))


def anchor(copy: Floats, dual: Floats, rho: float) -> Floats:
    """Return ``b = copy - dual / rho``, where the coupling pulls the relaxed parameters to."""
    return copy - dual / rho


def next_copy(
    relaxed: Floats, dual: Floats, rho: float, nearest: Callable[[Floats], Floats]
) -> tuple[Floats, Floats]:
    """Return the integer copies (delta-min, closed form) and their next dual variables."""
    copy = nearest(relaxed + dual / rho)
    return copy, dual + rho * (relaxed - copy)
