"""Closed formulas: rows that a certificate takes."""

import math

from scipy.special import ndtri

from fairautoml.certification.exact import TAIL

SAFETY = 1.1
"""On the normal approximation, for the discreteness of the exact test."""


def rows_without_positives(eps: float, delta: float) -> float:
    """Return the rows from which a cell without events can pass against another such cell.

    ``ceil(ln(.96 delta) / ln(1 - eps))``; for messages, it decides nothing.
    """
    if eps <= 0:
        return math.inf
    return 1 if eps >= 1 else max(1, math.ceil(math.log(TAIL * delta) / math.log1p(-eps)))


def spread(rate: float, gap: float, ratio: float = 1.0) -> float:
    """Return n1 times the variance of the difference of two rates around ``rate``."""
    one, two = (min(max(rate + side * gap / 2, 0.0), 1.0) for side in (1, -1))
    larger, smaller = sorted((one * (1 - one), two * (1 - two)), reverse=True)
    return larger + smaller / ratio


def _standard_errors(delta: float, power: float, gap: float) -> float:
    """Return how many standard errors must lie between the true gap and the bound."""
    # Without a gap both directions are close and both must pass.
    share = (1 + power) / 2 if gap == 0 else power
    return float(ndtri(1 - TAIL * delta) + ndtri(share))


def rows_needed(
    eps: float,
    *,
    delta: float = 0.05,
    rate: float = 0.3,
    gap: float = 0.0,
    power: float = 0.8,
    ratio: float = 1.0,
) -> float:
    """Return the rows that the smaller of two cells takes, by normal approximation.

    ``V ((z_(1 - .96 delta) + z_power) / (eps - gap))^2``; not rounded and without ``SAFETY``.
    """
    if gap >= eps:
        return math.inf
    return spread(rate, gap, ratio) * (_standard_errors(delta, power, gap) / (eps - gap)) ** 2
