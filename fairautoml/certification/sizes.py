"""Closed formulas: rows that a certificate takes, and the inner target of the search."""

import math

from scipy.special import ndtri

from fairautoml.certification.exact import TAIL

SAFETY = 1.1
"""On the normal approximation, for the discreteness of the exact test."""


def rows_without_positives(eps: float, delta: float) -> float:
    """Return the rows from which a cell without events can pass against another such cell.

    ``ceil(ln(.96 delta) / ln(1 - eps))``; for messages, it decides nothing.

    Parameters
    ----------
    eps : float
        Largest difference allowed, in [0, 1].
    delta : float
        Level, in (0, 1).

    Returns
    -------
    float
        A whole number, at least 1; ``inf`` for ``eps = 0``, which no number of rows can show.
    """
    if eps <= 0:
        return math.inf
    return 1 if eps >= 1 else max(1, math.ceil(math.log(TAIL * delta) / math.log1p(-eps)))


def spread(rate: float, gap: float, ratio: float = 1.0) -> float:
    """Return n1 times the variance of the difference of two rates around ``rate``.

    Parameters
    ----------
    rate : float
        Middle of the two rates, in [0, 1].
    gap : float
        Their true difference.
    ratio : float
        Rows of the second cell over those of the first, positive; the first has the larger
        variance.
    """
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

    Parameters
    ----------
    eps : float
        Largest difference allowed.
    delta : float
        Level, in (0, 1).
    rate : float
        Assumed rate, in [0, 1].
    gap : float
        Assumed true difference, below ``eps``; else ``inf`` is returned.
    power : float
        Probability that the certificate is given, in (0, 1).
    ratio : float
        Rows of the larger cell over those of the smaller.
    """
    if gap >= eps:
        return math.inf
    return spread(rate, gap, ratio) * (_standard_errors(delta, power, gap) / (eps - gap)) ** 2


def eps_within_reach(
    n: float,
    *,
    delta: float = 0.05,
    rate: float = 0.3,
    gap: float = 0.0,
    power: float = 0.8,
    ratio: float = 1.0,
) -> float:
    """Return the smallest difference that ``n`` rows in the smaller cell can certify.

    The inverse of ``rows_needed`` with ``SAFETY``.

    Parameters
    ----------
    n : float
        Rows of the smaller cell; without rows the answer is 1.
    delta, rate, gap, power, ratio : float
        As in ``rows_needed``.

    Returns
    -------
    float
        In [0, 1].
    """
    if n <= 0:
        return 1.0
    error = math.sqrt(SAFETY * spread(rate, gap, ratio) / n)
    return min(1.0, gap + _standard_errors(delta, power, gap) * error)


def inner_target(
    eps: float, rates: tuple[float, float], n: tuple[int, int], *, delta: float = 0.05
) -> float:
    """Return the bound that the search should meet so that ``eps`` is likely certified.

    ``max(0, eps - (z_(1 - .96 delta) + z_.8) sqrt(sum theta (1 - theta) / n))``.

    Parameters
    ----------
    eps : float
        Bound to certify.
    rates : tuple of float
        Rates of the two cells as the search rows show them; never from certification rows.
    n : tuple of int
        Certification rows of the two cells, positive.
    delta : float
        Level, in (0, 1).

    References
    ----------
    Thomas et al., "Preventing undesirable behavior of intelligent machines", Science 366 (2019),
    the predicted safety test.
    """
    error = math.sqrt(sum(rate * (1 - rate) / rows for rate, rows in zip(rates, n, strict=True)))
    return max(0.0, eps - float(ndtri(1 - TAIL * delta) + ndtri(0.8)) * error)
