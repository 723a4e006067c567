"""Search for the multipliers and the threshold of blind rules, all tolerances in one go.

Every rule that is looked at counts for every tolerance. One or two degrees of freedom: a grid
around no bias at all, then finer ones around the best of each tolerance. More: the dual of the
linear program says where to begin. Off the tolerance a rule is priced, not refused, so a search
can come from outside; the rules returned are within it.
"""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fairautoml.mitigators._bias_dual import Dual
from fairautoml.mitigators._bias_table import Band, Table
from fairautoml.mitigators._choices import best_within

PRICE = 1.0
"""Worth that a gap beyond the tolerance costs at first: a good rule may be a little beyond, ..."""

STRICT_PRICE = 10.0
"""... and at last: within the tolerance."""

THRESHOLDS = 41
"""Thresholds that are tried with each choice of multipliers, ..."""

REACH = 0.25
"""... at first up to so far from the unconstrained one."""

GRID = {1: 41, 2: 17}
"""Points along each axis of the first grid, by the number of axes."""

TIGHTER = 0.97
"""With more axes a search may end just beyond its tolerance: it also aims at so much of it."""

NARROW = 0.02
"""Up to this tolerance two rates leave so little room that it is searched for from inside too."""

CUTS = 400
"""Thresholds between two people that are tried around the best one."""

FIRST_STEP = 0.1
"""Reach of the first steps from the dual, in units of the score."""

LITTLE = 1e-3
"""Group shares that differ by less, in units of the group's own share, say nothing."""

ROUNDS = 3
"""Rounds of search from there, ..."""

SHRINK = 0.3
"""... each so much narrower than the one before."""


WORK = 1e8
"""Products of a share and a multiplier that one round of search may take, about; ..."""

FEWEST = 8
"""... but it looks in so many places around each rule at least."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Axes:
    """The ways in which multipliers may move: those of a rate sum to 0.

    Parameters
    ----------
    moves : ndarray of float64, shape (n_axes, n_multipliers)
        One move per row, as far as it makes sense.
    offsets : ndarray of float64, shape (n_offsets, n_axes)
        Where a round of search looks, in units of its reach.
    """

    moves: NDArray[np.float64]
    offsets: NDArray[np.float64]

    @classmethod
    def of(cls, table: Table) -> "Axes":
        """Return the axes of the bands of a table: one for two groups, else one per group."""
        moves = _moves(table.bands)
        if len(moves) in GRID:
            typical = np.quantile(np.abs(moves @ table.shares), 0.9, axis=1)
            reach = np.divide(1.0, typical, out=np.zeros_like(typical), where=typical > LITTLE)
        else:
            reach = FIRST_STEP * np.array([table.priors() @ (move > 0.5) for move in moves])
        return cls(moves=moves * reach[:, None], offsets=_offsets(len(moves)))

    def looks(self, n: int) -> NDArray[np.float64]:
        """Return where a round looks that has time for so many places, by a fixed draw.

        Parameters
        ----------
        n : int
            How many at most.
        """
        if n >= len(self.offsets):
            return self.offsets
        drawn = np.random.default_rng(n).choice(len(self.offsets), size=n, replace=False)
        some: NDArray[np.float64] = self.offsets[np.sort(drawn)]
        return some


def _moves(bands: Sequence[Band]) -> NDArray[np.float64]:
    sizes = [len(band.groups) for band in bands]
    moves = np.zeros((sum(1 if n == 2 else n for n in sizes), sum(sizes)))
    row = column = 0
    for n in sizes:
        block = np.array([[-1.0, 1.0]]) if n == 2 else np.eye(n) - 1.0 / n
        moves[row : row + len(block), column : column + n] = block
        row, column = row + len(block), column + n
    return moves


def _offsets(n_axes: int) -> NDArray[np.float64]:
    if n_axes == 0:
        return np.zeros((1, 0))
    if n_axes == 1:
        return np.linspace(-1.0, 1.0, 11)[:, None]
    if n_axes == 2:
        return _grid(2, 5)
    along = np.kron(np.eye(n_axes), np.array([[-1.0], [-0.4], [-0.1], [0.1], [0.4], [1.0]]))
    # Along an edge of what is allowed no single axis leads on; a fixed seed keeps it repeatable.
    mixed = np.random.default_rng(0).normal(size=(2 * n_axes, n_axes)) / np.sqrt(n_axes)
    return np.concatenate([np.zeros((1, n_axes)), along, mixed, -mixed])


def _grid(n_axes: int, n: int) -> NDArray[np.float64]:
    return np.array(list(itertools.product(np.linspace(-1.0, 1.0, n), repeat=n_axes)))


class Pool:
    """The best rule of each tolerance so far.

    Parameters
    ----------
    tolerances : ndarray of float64, shape (n_tolerances,)
        Rising.
    price : float
        What a unit of gap beyond the tolerance costs.
    n_multipliers : int
        How many a rule has.
    """

    def __init__(self, tolerances: NDArray[np.float64], price: float, n_multipliers: int) -> None:
        self.tolerances = tolerances
        self.price = price
        self.worth = np.full(len(tolerances), -np.inf)
        self.multipliers = np.zeros((len(tolerances), n_multipliers))
        self.thresholds = np.zeros(len(tolerances))

    def offer(
        self, table: Table, multipliers: NDArray[np.float64], centre: float, reach: float
    ) -> None:
        """Try rules, each with thresholds around ``centre``.

        Parameters
        ----------
        table : Table
            Rows to decide.
        multipliers : ndarray of float64, shape (n_rules, n_multipliers)
            One rule per row.
        centre, reach : float
            Where the thresholds lie.
        """
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
        """Return a pool of the same rules, each as good as it is on other rows.

        Parameters
        ----------
        table : Table
            Those rows.
        reach : float
            How far from each rule's threshold others are tried.
        """
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
        """Look around each rule.

        Parameters
        ----------
        table : Table
            Rows to decide.
        axes : Axes
            Where to.
        reach : float
            How far, in units of the axes; the thresholds go as far as one unit of the score.
        """
        centres = self.centres()
        once = len(centres) * max(table.shares.size, 1)
        looks = axes.looks(max(FEWEST, int(WORK / once)))
        for multipliers, threshold in centres:
            tried = multipliers + reach * looks @ axes.moves
            self.offer(table, tried, threshold, min(REACH, reach))


def search(
    coarse: Table, few: Table, all_rows: Table, tolerances: Sequence[float]
) -> list[tuple[NDArray[np.float64], float]]:
    """Return multipliers and threshold of the best rule within each tolerance.

    There always is one: to decide alike for everybody leaves no gap. Where nothing else is within
    the tolerance, what one row makes is let pass.

    Parameters
    ----------
    coarse : Table
        Rows that say where to begin.
    few : Table
        Rows to search on.
    all_rows : Table
        Rows that the tolerances hold for; all three may be the same object.
    tolerances : sequence of float
        In any order.
    """
    axes = Axes.of(few)
    start = _unconstrained(few)
    n_multipliers = axes.moves.shape[1]
    asked = np.asarray(tolerances, dtype=np.float64)
    if len(axes.moves) > max(GRID):
        asked = np.concatenate([asked, TIGHTER * asked])
    pool = Pool(np.unique(asked), PRICE, n_multipliers)
    first = coarse if len(axes.moves) in GRID else few
    reaches = _begin(first, axes, pool, start, sorted(set(tolerances)))
    if first is not few:
        pool = pool.on(few, reaches[0])
    for reach in reaches:
        pool.refine(few, axes, reach)
    last = Pool(pool.tolerances, STRICT_PRICE, n_multipliers)
    centres = pool.centres()
    if len(axes.moves) == 2 and pool.tolerances[0] <= NARROW:
        centres += _within_reach(few, axes, pool, reaches)
    for multipliers, threshold in centres:
        last.offer(all_rows, multipliers[None], threshold, reaches[-1])
    # What was found on some of the rows is farther from the best on all of them.
    reach = reaches[-1 if all_rows is few else -2]
    last.refine(all_rows, axes, reach)
    return _exact(all_rows, last, start, tolerances)


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


def _unconstrained(table: Table) -> float:
    """Return the threshold that is best when nothing is constrained."""
    order = np.argsort(table.scores)
    rising = table.scores[order]
    kept = table.gains.sum() - np.cumsum(table.gains[order])
    parts = np.flatnonzero(np.diff(rising) > 0)
    if len(parts) == 0:
        return 0.5
    best = parts[kept[parts].argmax()]
    return float((rising[best] + rising[best + 1]) / 2)


def _begin(
    table: Table, axes: Axes, pool: Pool, start: float, tolerances: Sequence[float]
) -> list[float]:
    """Fill the pool; return how far each round of search goes from there."""
    n_axes, n_multipliers = axes.moves.shape
    pool.offer(table, np.zeros((1, n_multipliers)), start, REACH)
    if n_axes == 0:
        return [0.05, 0.01]
    if n_axes in GRID:
        pool.offer(table, _grid(n_axes, GRID[n_axes]) @ axes.moves, start, REACH)
        step = 2.0 / (GRID[n_axes] - 1)
        shrink = 0.2 if n_axes == 1 else SHRINK
        return [step * shrink**at for at in range(3 if n_axes == 1 else 4)]
    path = Dual.of(table, start).path(tolerances)
    pool.offer(table, np.stack(path), start, REACH)
    return [SHRINK**at for at in range(ROUNDS)]


def _exact(
    table: Table, pool: Pool, start: float, tolerances: Sequence[float]
) -> list[tuple[NDArray[np.float64], float]]:
    """Choose among all thresholds between two people near each rule of the pool."""
    plain = np.zeros(pool.multipliers.shape[1])
    alike = np.array([-np.inf, np.inf])
    found = [(plain, alike, *table.cuts(table.scores, alike))]
    found += [
        (multipliers, *table.near(multipliers, threshold, CUTS))
        for multipliers, threshold in [(plain, start), *pool.centres()]
    ]
    gap = np.concatenate([part for _, _, part, _ in found])
    worth = np.concatenate([part for _, _, _, part in found])
    which = np.repeat(np.arange(len(found)), [len(cuts) for _, cuts, _, _ in found])
    cut = np.concatenate([cuts for _, cuts, _, _ in found])
    chosen = []
    for tolerance in tolerances:
        at = _within(gap, worth, tolerance, table.one_row)
        chosen.append((found[which[at]][0], float(cut[at])))
    return chosen


def _within(
    gap: NDArray[np.float64], worth: NDArray[np.float64], tolerance: float, one_row: float
) -> int:
    """Return the choice worth most within the tolerance, or within one row more.

    The first two choices decide alike for everybody and leave no gap. One row more is let pass
    where otherwise less than half remains of what can be had beyond these two.
    """
    strict, lenient = best_within(gap, worth, [tolerance, tolerance + one_row])
    at, other = 0 if strict is None else strict, 0 if lenient is None else lenient
    alike = worth[:2].max()
    return other if worth[at] - alike < (worth[other] - alike) / 2 else at
