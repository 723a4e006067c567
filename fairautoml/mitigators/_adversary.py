"""Row weights at their worst: what an unknown test distribution may do to a loss.

A weighting is ``w = basis @ alpha`` with ``low <= alpha <= high`` and a mean of 1. The worst one
is a linear program with one equality and bounds, a fractional knapsack, which is solved exactly
by filling up the coefficients of the highest loss first (Dantzig, "Discrete-variable extremum
problems", Operations Research 1957). The class of weightings by kernels is that of Du, Xu, Wu and
Tong, *Fairness-aware Agnostic Federated Learning*, 2020, arXiv 2010.05057; a weight per segment
is ours.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fairautoml.exceptions import ParameterError

SLACK = 1e-9
"""Bounds that leave room for a mean of 1 up to this are taken to leave it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Worst:
    """A worst weighting."""

    alpha: NDArray[np.float64]  # shape (n_coefficients,): its coefficients
    weight: NDArray[np.float64]  # shape (n_rows,): factor of each row, at least 0
    loss: float  # mean loss under it


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Adversary:
    """Who may choose the weights of rows."""

    basis: NDArray[np.float64]  # shape (n_rows, n_coefficients): non-negative
    share: NDArray[np.float64]  # shape (n_rows,): share of each row in the plain mean; 1 in total
    low: float  # bounds of each coefficient, ``0 <= low <= high``
    high: float

    def __post_init__(self) -> None:
        least, most = (float(bound * self._mass.sum()) for bound in (self.low, self.high))
        if not (0 <= self.low <= self.high and least <= 1 + SLACK and most >= 1 - SLACK):
            msg = (
                f"low={self.low}, high={self.high}: with coefficients within these bounds the "
                f"mean weight lies between {least:.4g} and {most:.4g}, but it must be 1. "
                "Lower low or raise high"
            )
            raise ParameterError(msg)

    @property
    def _mass(self) -> NDArray[np.float64]:
        """What one unit of each coefficient adds to the mean weight."""
        mass: NDArray[np.float64] = self.share @ self.basis
        return mass

    def worst(self, loss: NDArray[np.float64]) -> Worst:
        """Return the weighting with the largest mean loss."""
        mass = self._mass
        used = np.flatnonzero(mass > 0)
        per_unit = (self.share * loss) @ self.basis[:, used] / mass[used]
        order = used[np.argsort(-per_unit, kind="stable")]
        room = (self.high - self.low) * mass[order]
        before = np.cumsum(room) - room
        added = np.clip(1 - self.low * mass.sum() - before, 0.0, room)
        alpha = np.full(len(mass), self.low)
        alpha[order] += added / mass[order]
        weight = self.basis @ alpha
        return Worst(alpha=alpha, weight=weight, loss=float((self.share * weight) @ loss))


def kernel_adversary(
    distances: NDArray[np.float64], share: NDArray[np.float64], *, sigma: float, bound: float
) -> Adversary:
    """Return weightings that are sums of Gaussian bumps around reference points."""
    basis = np.exp(-distances / (2 * sigma**2))
    return Adversary(basis=basis, share=share, low=0.0, high=bound)


def segment_adversary(
    segment: NDArray[np.integer], share: NDArray[np.float64], *, low: float, high: float
) -> Adversary:
    """Return weightings that are constant within each segment."""
    basis = (segment[:, None] == np.arange(int(segment.max()) + 1)).astype(np.float64)
    return Adversary(basis=basis, share=share, low=low, high=high)
