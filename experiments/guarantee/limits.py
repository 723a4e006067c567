"""From counts to pass or fail: binomial limits, per cell and pooled."""

import math

from scipy.stats import binom

from guarantee.outcomes import DELTA

CELL_QUANTILE = 0.999
"""A cell whose error is exactly delta exceeds its limit in one of 1,000 experiments."""

POOLED_QUANTILE = 0.95
LEAST_ANSWERS = 0.02
"""Share certified just beyond the bound; less would mean that the test wastes its level."""


def cell_limit(repetitions: int) -> int:
    """Return the most errors that a cell may show: 73 of 1,000, 21 of 200, 13 of 100."""
    return int(binom.ppf(CELL_QUANTILE, repetitions, DELTA))


def pooled_limit(repetitions: int) -> int:
    """Return the most errors that cells may show together: 62 of 1,000, 116 of 2,000."""
    return int(binom.ppf(POOLED_QUANTILE, repetitions, DELTA))


def least_answers(share: float, repetitions: int) -> float:
    """Return the smallest share of answers that three standard errors below ``share`` allow."""
    return share - 3 * math.sqrt(share * (1 - share) / repetitions)
