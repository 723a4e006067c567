"""Blind rules of one or two degrees of freedom: a grid around no bias at all, then finer ones.

Every rule that is looked at counts for every tolerance. Off the tolerance a rule is priced, not
refused, so a search can come from outside.
"""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fairautoml.mitigators._bias_table import Table

PRICE = 1.0
"""Worth that a gap beyond the tolerance costs at first: a good rule may be a little beyond, ..."""

STRICT_PRICE = 10.0
"""... and at last: within the tolerance."""

THRESHOLDS = 41
"""Thresholds that are tried with each choice of multipliers, ..."""

REACH = 0.25
"""... at first up to so far from the unconstrained one."""

GRID = {0: 1, 1: 41, 2: 17}
"""Points along each axis of the first grid, by the number of axes."""

REACHES = {
    0: (0.05, 0.01),
    1: (0.05, 0.01, 0.002),
    2: (0.125, 0.0375, 0.01125, 0.003375),
}
"""How far each round of search goes from there, in units of the axes."""

OFFSETS = {0: 1, 1: 11, 2: 5}
"""Points along each axis of such a round."""

NARROW = 0.02
"""Up to this tolerance two rates leave so little room that it is searched for from inside too."""

LITTLE = 1e-3
"""Group shares that differ by less, in units of the group's own share, say nothing."""

MOST_AXES = 2
"""Beyond that a grid has too many points."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Axes:
    """The ways in which multipliers may move: two groups of a rate against each other."""

    # one move per row, as far as it makes sense
    moves: NDArray[np.float64]  # shape (n_axes, n_multipliers)
    # where a round of search looks, in units of its reach
    offsets: NDArray[np.float64]  # shape (n_offsets, n_axes)

    @classmethod
    def of(cls, table: Table) -> "Axes":
        """Return the axes of the bands of a table, all of two groups."""
        moves = np.kron(np.eye(len(table.bands)), np.array([[-1.0, 1.0]]))
        typical = np.quantile(np.abs(moves @ table.shares), 0.9, axis=1)
        reach = np.divide(1.0, typical, out=np.zeros_like(typical), where=typical > LITTLE)
        return cls(moves=moves * reach[:, None], offsets=_grid(len(moves), OFFSETS[len(moves)]))


def _grid(n_axes: int, n: int) -> NDArray[np.float64]:
    points = list(itertools.product(np.linspace(-1.0, 1.0, n), repeat=n_axes))
    return np.array(points).reshape(len(points), n_axes)


class Pool:
    """The best rule of each tolerance so far."""

    def __init__(self, tolerances: NDArray[np.float64], price: float, n_multipliers: int) -> None:
        self.tolerances = tolerances
        self.price = price
        self.worth = np.full(len(tolerances), -np.inf)
        self.multipliers = np.zeros((len(tolerances), n_multipliers))
        self.thresholds = np.zeros(len(tolerances))

    def offer(
        self, table: Table, multipliers: NDArray[np.float64], centre: float, reach: float
    ) -> None:
        """Try rules, each with thresholds around ``centre``."""
        thresholds = centre + reach * np.linspace(-1.0, 1.0, THRESHOLDS)
        gap, worth = table.outcomes(multipliers, thresholds)
        for at, tolerance in enumerate(self.tolerances):
            priced = worth - self.price * np.maximum(gap - tolerance, 0.0)
            best = int(priced.argmax())
            if priced.flat[best] > self.worth[at]:
                rule, cut = divmod(best, THRESHOLDS)
                self.worth[at] = priced.flat[best]
                self.multipliers[at] = multipliers[rule]
                self.thresholds[at] = thresholds[cut]

    def on(self, table: Table, reach: float) -> "Pool":
        """Return a pool of the same rules, each as good as it is on other rows."""
        found = Pool(self.tolerances, self.price, self.multipliers.shape[1])
        for multipliers, threshold in self.centres():
            found.offer(table, multipliers[None], threshold, min(REACH, reach))
        return found

    def centres(self) -> list[tuple[NDArray[np.float64], float]]:
        """Return the distinct rules in it."""
        both = np.column_stack([self.multipliers, self.thresholds])
        distinct = dict.fromkeys(map(tuple, both.tolist()))
        return [(np.array(rule[:-1]), rule[-1]) for rule in distinct]

    def refine(self, table: Table, axes: Axes, reach: float) -> None:
        """Look around each rule."""
        for multipliers, threshold in self.centres():
            tried = multipliers + reach * axes.offsets @ axes.moves
            self.offer(table, tried, threshold, min(REACH, reach))


def few_axes(table: Table) -> bool:
    """Return whether a grid does: at most two rates, each of two groups."""
    return len(table.bands) <= MOST_AXES and all(len(band.groups) == 2 for band in table.bands)


def by_grid(
    coarse: Table, few: Table, all_rows: Table, start: float, tolerances: NDArray[np.float64]
) -> list[tuple[NDArray[np.float64], float]]:
    """Return multipliers and threshold of good rules for all tolerances."""
    axes = Axes.of(few)
    n_axes, n_multipliers = axes.moves.shape
    reaches = REACHES[n_axes]
    pool = Pool(tolerances, PRICE, n_multipliers)
    pool.offer(coarse, np.zeros((1, n_multipliers)), start, REACH)
    pool.offer(coarse, _grid(n_axes, GRID[n_axes]) @ axes.moves, start, REACH)
    if coarse is not few:
        pool = pool.on(few, reaches[0])
    for reach in reaches:
        pool.refine(few, axes, reach)
    centres = pool.centres()
    if n_axes == MOST_AXES and tolerances[0] <= NARROW:
        centres += _within_reach(few, axes, pool, reaches)
    last = Pool(tolerances, STRICT_PRICE, n_multipliers)
    for multipliers, threshold in centres:
        last.offer(all_rows, multipliers[None], threshold, reaches[-1])
    # What was found on some of the rows is farther from the best on all of them.
    last.refine(all_rows, axes, reaches[-1 if all_rows is few else -2])
    return last.centres()


def _within_reach(
    table: Table, axes: Axes, pool: Pool, reaches: Sequence[float]
) -> list[tuple[NDArray[np.float64], float]]:
    """Return what is found near the rules of the pool at narrow tolerances, strictly priced.

    Two rates may leave so little room that the last small steps from outside do not reach it.
    """
    narrow = pool.tolerances[pool.tolerances <= NARROW]
    strict = Pool(narrow, STRICT_PRICE, pool.multipliers.shape[1])
    for multipliers, threshold in pool.centres():
        strict.offer(table, multipliers[None], threshold, reaches[-1])
    for reach in reaches:
        strict.refine(table, axes, reach)
    return strict.centres()
