"""Multicalibration: scores that are right on average in every group, at every level.

Source: Hebert-Johnson, Kim, Reingold, Rothblum, *Multicalibration: Calibration for the
(Computationally-Identifiable) Masses*, arXiv 1711.08513; groups by bins of equal width.
"""

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

ROUNDS = 100
"""Passes over all groups; it ends earlier, when nothing is left to correct."""

DIGITS = 12
"""Scores are kept to so many, so that the order of a sum does not move one over a bin's edge."""

EDGE = 1e-6
"""A score that is above an edge by less, in bins, is on it: 0.4 in float32 is more than 0.4."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Update:
    """The scores of one group in one bin move by ``delta``."""

    group: int
    bin: int
    delta: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Bins:
    """What is calibrated, and how finely."""

    width: float = 0.1  # width of a bin, in (0, 1]
    # a group's bin with less than ``alpha * width`` of the group's weight is left alone
    alpha: float = 0.1
    fewest: int = 1  # so is one with fewer rows of positive weight

    @property
    def count(self) -> int:
        """Number of bins."""
        return int(np.ceil(1 / self.width - EDGE))

    def of(self, scores: NDArray[np.float64]) -> NDArray[np.int64]:
        """Return the bin of each score, shape (n_rows,)."""
        raw = np.ceil(scores / self.width - EDGE).astype(np.int64) - 1
        return np.clip(raw, 0, self.count - 1)

    def calibrate(
        self,
        scores: NDArray[np.floating],
        y: NDArray[np.integer],
        weight: NDArray[np.float64],
        groups: Sequence[NDArray[np.int64]],
    ) -> tuple[NDArray[np.float64], tuple[Update, ...]]:
        """Return the calibrated scores, shape (n_rows,), and the updates that lead there.

        Afterwards the mean of ``y`` less the score is below a tenth of the width in every group's
        bin that is not left alone. Each update lowers the Brier score by the bin's share of the
        weight times ``delta ** 2``.
        """
        moved: NDArray[np.float64] = scores.astype(np.float64).round(DIGITS)
        updates: list[Update] = []
        for _ in range(ROUNDS):
            before = len(updates)
            for group, rows in enumerate(groups):
                if len(rows):
                    moved[rows], found = self._correct(moved[rows], y[rows], weight[rows])
                    updates += [Update(group=group, bin=v, delta=delta) for v, delta in found]
            if len(updates) == before:
                break
        return moved, tuple(updates)

    def _correct(
        self, scores: NDArray[np.float64], y: NDArray[np.integer], weight: NDArray[np.float64]
    ) -> tuple[NDArray[np.float64], list[tuple[int, float]]]:
        """Go through the bins of one group once, from the lowest up."""
        found = []
        at = self.of(scores)
        least = self.alpha * self.width * weight.sum()
        for v in range(self.count):
            rows = np.flatnonzero(at == v)
            mass = weight[rows].sum()
            few = np.count_nonzero(weight[rows]) < max(1, self.fewest)
            if few or mass < least:
                continue
            delta = round(float(weight[rows] @ (y[rows] - scores[rows]) / mass), DIGITS)
            if abs(delta) >= self.width / 10:
                found.append((v, delta))
                scores[rows] = shifted(scores[rows], delta)
                at[rows] = self.of(scores[rows])
        return scores, found

    def replay(
        self,
        scores: NDArray[np.floating],
        groups: Sequence[NDArray[np.int64]],
        updates: Sequence[Update],
    ) -> NDArray[np.float64]:
        """Return the calibrated scores of new rows, shape (n_rows,)."""
        moved: NDArray[np.float64] = scores.astype(np.float64).round(DIGITS)
        for group, of_group in itertools.groupby(updates, key=lambda update: update.group):
            rows = groups[group]
            here = moved[rows]
            at = self.of(here)
            for update in of_group:
                inside = np.flatnonzero(at == update.bin)
                here[inside] = shifted(here[inside], update.delta)
                at[inside] = self.of(here[inside])
            moved[rows] = here
        return moved


def shifted(scores: NDArray[np.float64], delta: float) -> NDArray[np.float64]:
    """Return the scores moved by ``delta``, within [0, 1]; shape (n_rows,)."""
    return np.clip(np.round(scores + delta, DIGITS), 0.0, 1.0)


def members(of_row: NDArray[np.integer], n_groups: int) -> Iterator[NDArray[np.int64]]:
    """Yield the rows of each group of a partition, rising."""
    order = np.argsort(of_row, kind="stable")
    edges = np.searchsorted(of_row[order], np.arange(n_groups + 1))
    for start, end in itertools.pairwise(edges):
        yield order[start:end]
