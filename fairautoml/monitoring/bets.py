"""Tests that may be looked at after every window without raising their error probability.

A bet of a share of the wealth on each outcome cannot be expected to win if the null hypothesis
holds, so that the wealth ever reaches ``1 / level`` with probability at most ``level`` (Ville).

References
----------
Bets on means of bounded outcomes: Waudby-Smith, Ramdas, "Estimating means of bounded random
variables by betting", JRSS B 86 (2024, arXiv 2010.09686). Confidence sequences: Howard, Ramdas,
McAuliffe, Sekhon, "Time-uniform, nonparametric, nonasymptotic confidence sequences", Annals of
Statistics 49 (2021). Mixture over the start of a change: Shin, Ramdas, Rinaldo, "E-detectors",
2022 (arXiv 2203.03532).
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import logsumexp

BETS = np.geomspace(0.01, 0.45, 8)
"""Shares of the wealth that are bet, mixed with equal weight; at most 0.45, because an outcome
minus its bound is at least -2."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Outcomes:
    """Outcomes of one window: pairs of means of two groups, or numbers in the first column."""

    values: NDArray[np.float64]  # shape (n_values, 2), in [0, 1]
    counts: NDArray[np.float64]  # shape (n_values,): how often each occurs

    @classmethod
    def single(cls, values: NDArray[np.floating]) -> "Outcomes":
        """Return numbers in [0, 1]."""
        return cls.of(np.column_stack([values, np.zeros(len(values))]))

    @classmethod
    def paired(
        cls, first: NDArray[np.bool_], second: NDArray[np.bool_], rng: np.random.Generator
    ) -> "Outcomes":
        """Return pairs of means of blocks, as many as the smaller sample has rows.

        Blocks are drawn at random, because a bet must not know the order of the outcomes.
        """
        n = min(len(first), len(second))
        if n == 0:
            return cls.of(np.empty((0, 2)))
        return cls.of(
            np.column_stack([_blocks(rng.permutation(one), n) for one in (first, second)])
        )

    @classmethod
    def of(cls, values: NDArray[np.float64]) -> "Outcomes":
        """Return the distinct values with their counts."""
        if len(values) == 0:
            return cls(values=values.astype(np.float64), counts=np.zeros(0))
        # As complex numbers, pairs are sorted much faster than as rows.
        pairs = np.ascontiguousarray(values, dtype=np.float64).view(np.complex128)
        distinct, counts = np.unique(pairs, return_counts=True)
        return cls(
            values=distinct.view(np.float64).reshape(-1, 2), counts=counts.astype(np.float64)
        )

    @property
    def mean(self) -> float | None:
        """Mean of the first column, None without outcomes."""
        n = self.counts.sum()
        return None if n == 0 else float(self.counts @ self.values[:, 0] / n)

    @property
    def complement(self) -> "Outcomes":
        """One minus each number."""
        values = np.column_stack([1 - self.values[:, 0], self.values[:, 1]])
        return Outcomes(values=values, counts=self.counts)

    def log_wealth(self, factor: float, bounds: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the log wealth of bets that ``factor * first - second`` exceeds each bound.

        The shape is (n_bounds, n_bets).
        """
        gain = factor * self.values[:, 0] - self.values[:, 1]
        outcome = gain[None, :, None] - bounds[:, None, None]
        found: NDArray[np.float64] = np.einsum("v,bvs->bs", self.counts, np.log1p(outcome * BETS))
        return found


def _blocks(values: NDArray[np.bool_], n: int) -> NDArray[np.float64]:
    """Return the means of ``n`` consecutive blocks of about equal size."""
    edges = np.arange(n + 1) * len(values) // n
    sums = np.add.reduceat(values.astype(np.float64), edges[:-1])
    return np.asarray(sums / np.diff(edges))


def mixed(logs: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the log wealth after each window, mixed over the bets and the first window.

    ``logs`` are those of single windows, shape (n_windows, ..., n_bets). The bet that starts with
    window k has the weight ``1 / (k (k + 1))``; what has not started keeps its wealth.
    """
    n = len(logs)
    total = np.concatenate([np.zeros_like(logs[:1]), np.cumsum(logs, axis=0)])
    found = np.empty(logs.shape[:-1])
    starts = np.arange(1, n + 1)
    prior = -np.log(starts * (starts + 1.0))
    for at in range(1, n + 1):
        since = logsumexp(total[at] - total[:at], axis=-1) - np.log(logs.shape[-1])
        weight = prior[:at].reshape(-1, *(1 for _ in since.shape[1:]))
        started = logsumexp(since + weight, axis=0)
        found[at - 1] = np.logaddexp(started, -np.log(at + 1.0))
    # A bet that has won stays won.
    return np.maximum.accumulate(found, axis=0)
