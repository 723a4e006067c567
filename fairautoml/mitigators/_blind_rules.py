"""Group-unaware rules: scores shifted by estimated group membership.

A rule accepts ``x`` when ``score(x) - sum_k lam_k w_k(x) > threshold``, with
``w_k(x) = P(group k | x) / P(group k)``, for label rates ``P(group k, y | x) / P(group k, y)``
(Chen, Klochkov, Liu, arXiv 2310.05725, in the form of Menon, Williamson 2018). Rates are counted
on observed labels and groups, not on the group probability model.

The dual of the problem is
``min over lam of E[(m - lam w)_+] - lam d + sum_k eps_k / 2 sum_a |lam_ka|`` with
``sum_a lam_ka = 0`` for each rate k; ``m = score - threshold``, ``w`` the group shares, and ``d``
the counted rates minus the modelled rates at the unconstrained decisions, which corrects errors
of the group probability model. The positive part is smoothed, and L-BFGS minimises the dual.

The primal is ``max gain(lam, t)`` subject to
``mid_k - eps_k / 2 <= rate_ka(lam, t) <= mid_k + eps_k / 2`` for every group a of every rate k.
Decisions are smoothed by ``sigmoid((score - lam w - t) / width)``, so that sequential quadratic
programming can use gradients of the counted gain and rates.

Problems with one or two degrees of freedom are solved by a grid search. Larger problems are solved
by the smooth program from the loosest to the tightest tolerance, started from the rule of the next
looser tolerance and from the dual optimum. A final search counts the exact decisions at
thresholds near each rule found.
"""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import block_diag
from scipy.optimize import minimize
from scipy.special import expit

from fairautoml.metrics import BoundConstraint
from fairautoml.metrics._table import Rate
from fairautoml.metrics.groups import GroupSystem
from fairautoml.mitigators._base import RateLimit, ScoreRows, rate_limits
from fairautoml.mitigators._group_program import best_within
from fairautoml.mitigators._thresholds import per_unit
from fairautoml.records import Floats

FEW = 500
"""Rows per cell and label below which subsampling keeps all rows."""


def canonical(rows: ScoreRows) -> tuple[ScoreRows, NDArray[np.int64]]:
    """Return the rows and cells in an order that depends only on their content.

    The sums are then bitwise equal for any order of rows and numbering of cells, and so is the
    rule chosen among nearly equal ones.
    """
    known = rows.cells >= 0
    count = np.bincount(rows.cells[known] * 2 + rows.y[known], minlength=2 * rows.n_cells)
    highest = np.zeros(rows.n_cells)
    np.maximum.at(highest, rows.cells[known], rows.scores[known])
    cells = np.lexsort((highest, count[1::2], count[::2]))
    new = np.append(np.argsort(cells), -1).astype(np.int32)[rows.cells]
    shares = rows.membership
    if shares is None:
        raise ValueError("rows.membership is None; post-hoc bias scoring reads P(cell, y | x)")
    order = np.lexsort((shares[:, cells[0], 1], rows.weight, rows.scores))
    # A small integer key is faster to sort than several columns.
    slot = (2 * new + rows.y.astype(np.int32)).astype(np.min_scalar_type(-2 * rows.n_cells - 2))
    order = order[np.argsort(slot[order], kind="stable")]
    moved = shares[order][:, cells]
    return replace(rows.take(order), cells=new[order], membership=moved), cells


def thinned(rows: ScoreRows, most: int) -> tuple[ScoreRows, NDArray[np.int64]]:
    """Return a subsample, every k-th row by score of each large cell, and its positions."""
    every = -(-len(rows.y) // most)
    if every == 1:
        return rows, np.arange(len(rows.y))
    slot = (rows.cells.astype(np.int64) + 1) * 2 + rows.y
    count = np.bincount(slot)
    rank = np.arange(len(slot)) - (np.cumsum(count) - count)[slot]
    kept = np.flatnonzero((rank % every == 0) | (count[slot] <= FEW))
    full = np.bincount(slot, weights=rows.weight)
    left = np.bincount(slot[kept], weights=rows.weight[kept], minlength=len(full))
    ratio = np.divide(full, left, out=np.ones_like(full), where=left > 0)
    fewer = rows.take(kept)
    return replace(fewer, weight=fewer.weight * ratio[slot[kept]]), kept


def cell_weights(rows: ScoreRows) -> Floats:
    """Return the weight of every cell and label, shape (2 * n_cells,)."""
    known = rows.cells >= 0
    at = rows.cells[known].astype(np.int64) * 2 + rows.y[known]
    weight = np.bincount(at, weights=rows.weight[known], minlength=2 * rows.n_cells)
    return weight.astype(np.float64, copy=False)


APART = 1e-9
"""Smallest difference between two distinct adjusted scores."""

BLOCK = 100_000
"""Approximate number of decisions counted in one batch, to bound memory."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Band:
    """One constrained rate of one group system; groups without such rows are excluded."""

    rate: Rate  # share of accepted rows
    system: GroupSystem  # groups that are compared
    scale: float  # largest gap per unit of tolerance
    groups: tuple[int, ...]  # groups of the system that have the rate, at least two
    # 1 where the rows of that cell and label (``2 * cell + y``) count in the group's rate
    parts: Floats  # shape (n_groups, 2 * n_cells)
    mass: Floats  # shape (n_groups,): weight of those rows


def bands_of(
    rows: ScoreRows,
    cells: NDArray[np.int64],
    targets: Sequence[BoundConstraint],
    scale: Sequence[float],
) -> tuple[Band, ...]:
    """Return the constrained rates, each with its tightest limit."""
    totals = cell_weights(rows)
    found = [_band(one, cells, totals) for one in rate_limits(targets, scale)]
    return tuple(band for band in found if len(band.groups) >= 2)


def _band(limited: RateLimit, cells: NDArray[np.int64], totals: Floats) -> Band:
    rate, system = limited.rate, limited.system
    of_cell = system.of_cell[cells]
    in_order = [int(g) for g in dict.fromkeys(of_cell.tolist()) if g >= 0]
    member = of_cell == np.array(in_order, dtype=np.int64)[:, None]
    parts = np.kron(member.astype(np.float64), rate.linear()[0])
    mass = parts @ totals
    has = mass > 0
    return Band(
        rate=rate,
        system=system,
        scale=limited.limit,
        groups=tuple(g for g, kept in zip(in_order, has, strict=True) if kept),
        parts=parts[has],
        mass=mass[has],
    )


class Table:
    """Rows prepared for the evaluation of many rules at once."""

    def __init__(
        self,
        rows: ScoreRows,
        labels: NDArray[np.floating],
        bands: Sequence[Band],
        gain: tuple[float, float],
    ) -> None:
        self.scores = rows.scores.astype(np.float64)
        self.weight = rows.weight
        self.bands = tuple(bands)
        # The last slot holds rows without a cell: they count for the objective only.
        self.n_slots = 2 * rows.n_cells + 1
        self.slot = np.where(rows.cells >= 0, rows.cells.astype(np.int64) * 2 + rows.y, -1)
        self.slot[self.slot < 0] = self.n_slots - 1
        worth = gain[0] * labels - gain[1] * (1.0 - labels)
        self.gains = rows.weight * worth / (sum(gain) * rows.weight.sum())
        self.totals = cell_weights(rows)
        self.shares = self._shares(rows)

    def _shares(self, rows: ScoreRows) -> Floats:
        """Return ``w_k(x)`` of all groups of all bands, shape (n_multipliers, n_rows)."""
        flat = np.asarray(rows.membership).reshape(len(self.scores), -1).astype(np.float64)
        parts = [np.zeros((0, flat.shape[1])), *(band.parts for band in self.bands)]
        return np.concatenate(parts) @ flat.T / self.priors()[:, None]

    @cached_property
    def _basis(self) -> Floats:
        """Return the free directions: the groups of a pair move against each other."""
        return _of_pairs(self.bands, (-1.0, 1.0)) @ self.shares

    @cached_property
    def _sizes(self) -> Floats:
        return np.abs(self._basis)

    @cached_property
    def block(self) -> NDArray[np.int64]:
        """Return the band of each multiplier."""
        return np.repeat(np.arange(len(self.bands)), [len(band.groups) for band in self.bands])

    def adjusted(self, multipliers: Floats) -> Floats:
        """Return the scores minus the bias of each row, shape (n_rows,)."""
        return self.scores - multipliers @ self.shares

    def outcomes(self, multipliers: Floats, thresholds: Floats) -> tuple[Floats, Floats]:
        """Return gap and gain of rules, each with the same grid of thresholds around it."""
        moves = multipliers @ _of_pairs(self.bands, (-0.5, 0.5)).T
        everywhere, rows = self._agreed_rows(moves, thresholds)
        n, step = len(thresholds), thresholds[1] - thresholds[0]
        above, basis = self.scores[rows] - thresholds[0], self._basis[:, rows]
        mass = np.empty((len(moves), self.n_slots, n))
        gain = np.empty((len(moves), n))
        block = max(1, BLOCK // max(len(rows), 1))
        for at in range(0, len(moves), block):
            some = slice(at, at + block)
            passed = (above - moves[some] @ basis) / step
            passed = np.clip(np.ceil(passed, out=passed), 0, n, out=passed)
            mass[some], gain[some] = self._cumulated(passed.astype(np.int64), n, rows)
        return self._with(mass, gain, everywhere)

    def _with(
        self, mass: Floats, gain: Floats, accepted: NDArray[np.int64]
    ) -> tuple[Floats, Floats]:
        """Return gap and gain after accepting further rows on top of those already counted."""
        weight = self.weight[accepted]
        more = np.bincount(self.slot[accepted], weights=weight, minlength=self.n_slots)
        return self._gaps(mass + more[:, None]), gain + self.gains[accepted].sum()

    def _agreed_rows(
        self, moves: Floats, thresholds: Floats
    ) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Return the rows that all rules accept, and the rows on which the rules may differ."""
        middle = (moves.max(axis=0) + moves.min(axis=0)) / 2
        adjusted = self.scores - middle @ self._basis
        spread = np.abs(moves - middle).max(axis=0) @ self._sizes + APART
        above = adjusted - spread > thresholds[-1]
        below = adjusted + spread < thresholds[0]
        return np.flatnonzero(above), np.flatnonzero(~(above | below))

    def near(self, multipliers: Floats, threshold: float, n: int) -> tuple[Floats, Floats, Floats]:
        """Return up to ``n`` thresholds between scores near a given one, with gap and gain."""
        adjusted = self.adjusted(multipliers)
        adjusted_rows = adjusted[self.weight > 0]
        apart = np.abs(adjusted_rows - threshold)
        some = adjusted_rows
        if len(apart) > 2 * n:
            some = adjusted_rows[apart <= np.partition(apart, 2 * n)[2 * n]]
        between = _between(some)
        if len(between) < n and len(some) < len(adjusted_rows):
            # With many ties the nearest distinct scores are farther away.
            between = _between(adjusted_rows)
        at = int(np.searchsorted(between, threshold))
        cuts = between[max(0, at - n // 2) : at + n // 2]
        return (cuts, *self.cuts(adjusted, cuts))

    def cuts(self, adjusted: Floats, thresholds: Floats) -> tuple[Floats, Floats]:
        """Return gap and gain of one rule at given thresholds, each of shape (n_thresholds,)."""
        if len(thresholds) == 0:
            return np.zeros(0), np.zeros(0)
        everywhere = np.flatnonzero(adjusted > thresholds[-1])
        rows = np.flatnonzero((adjusted > thresholds[0]) & (adjusted <= thresholds[-1]))
        passed = np.searchsorted(thresholds, adjusted[rows], side="left")
        mass, gain = self._cumulated(passed[None], len(thresholds), rows)
        gap, worth = self._with(mass, gain, everywhere)
        return gap[0], worth[0]

    def _cumulated(
        self, passed: NDArray[np.int64], n: int, rows: NDArray[np.int64]
    ) -> tuple[Floats, Floats]:
        """Count the rows of each rule that pass at least so many thresholds, and their gain."""
        n_rules, bins = len(passed), n + 1
        rule = np.arange(n_rules)[:, None]
        at = passed + self.slot[rows] * bins + rule * (self.n_slots * bins)
        mass = _summed(at, self.weight[rows], n_rules * self.n_slots * bins)
        gain = _summed(passed + rule * bins, self.gains[rows], n_rules * bins)
        by_slot = mass.reshape(n_rules, self.n_slots, bins)
        return _from_top(by_slot), _from_top(gain.reshape(n_rules, bins))

    def priors(self) -> Floats:
        """Return the population share of the group of each multiplier."""
        mass = [band.mass for band in self.bands]
        return np.concatenate([*mass, []]) / self.totals.sum()

    def rates(self, counts: NDArray[Any]) -> Floats:
        return np.concatenate([b.parts @ counts[:-1] / b.mass[:, None] for b in self.bands])

    def _gaps(self, counts: Floats) -> Floats:
        largest = np.zeros((counts.shape[0], counts.shape[2]))
        for band in self.bands:
            rates = band.parts @ counts[:, :-1] / band.mass[:, None]
            apart = rates.max(axis=1) - rates.min(axis=1)
            np.maximum(largest, per_unit(apart, band.scale), out=largest)
        return largest

    @property
    def one_row(self) -> float:
        """Return the smallest gap, per unit of tolerance, that a single row causes."""
        heaviest = float(self.weight.max())
        steps = [heaviest / (b.scale * b.mass.min()) if b.scale > 0 else 0.0 for b in self.bands]
        return min(steps, default=0.0)


def _of_pairs(bands: Sequence[Band], pair: tuple[float, float]) -> Floats:
    """Return a matrix that combines each pair of groups with these factors."""
    parts = [np.array([pair]) if len(b.groups) == 2 else np.eye(len(b.groups)) for b in bands]
    return block_diag(*parts) if parts else np.zeros((0, 0))


def _summed(at: NDArray[np.int64], values: NDArray[np.floating], size: int) -> Floats:
    """Return the sums of values by position, for each row of positions."""
    each = np.broadcast_to(values, at.shape)
    found = np.bincount(at.ravel(), weights=each.ravel(), minlength=size)
    return found.astype(np.float64, copy=False)


def _between(adjusted_rows: Floats) -> Floats:
    """Return the midpoints between distinct neighbouring scores, ascending."""
    rising = np.sort(adjusted_rows)
    gap = np.flatnonzero(np.diff(rising) > APART)
    return (rising[gap] + rising[gap + 1]) / 2


def _from_top(counts: NDArray[Any]) -> Floats:
    """Cumulate from the last bin down, without the rows that pass no threshold."""
    return counts[..., ::-1].cumsum(axis=-1)[..., ::-1][..., 1:]


WIDTHS = (1e-2, 1e-3)
"""Widths of the smoothed positive part, in units of the score."""

ROUNDED = 1e-4
"""Size below which the absolute value of a multiplier is smoothed."""


class Dual:
    """The dual problem on one table of rows, around an unconstrained threshold."""

    def __init__(self, table: Table, threshold: float) -> None:
        self.table = table
        self.block = table.block
        self.margin = table.scores - threshold
        self.share = table.weight / table.weight.sum()
        # Scales the steps of the multipliers to a common size.
        self.unit = table.priors()
        by_model = table.shares @ (self.share * (self.margin > 0))
        accepted = table.weight * (self.margin > 0)
        counted = np.bincount(table.slot, weights=accepted, minlength=table.n_slots)
        self.off = table.rates(counted[:, None])[:, 0] - by_model

    def path(self, tolerances: Sequence[float]) -> list[Floats]:
        """Return the multipliers for each tolerance, warm-started from the next larger one."""
        at = np.zeros(len(self.block))
        found = []
        for tolerance in reversed(tolerances):
            for width in WIDTHS:
                at = minimize(
                    self._value,
                    at,
                    args=(tolerance, width),
                    jac=True,
                    method="L-BFGS-B",
                    # The search on counts refines the result.
                    options={"maxiter": 60},
                ).x
            found.append(self._multipliers(at))
        return found[::-1]

    def _multipliers(self, at: Floats) -> Floats:
        return self._centred(self.unit * at)

    def _centred(self, values: Floats) -> Floats:
        """Subtract the mean of each band, because the multipliers of one rate sum to 0."""
        mean = np.bincount(self.block, weights=values) / np.bincount(self.block)
        return values - mean[self.block]

    def _value(self, at: Floats, tolerance: float, width: float) -> tuple[float, Floats]:
        multipliers = self._multipliers(at)
        left = self.margin - multipliers @ self.table.shares
        slope = np.clip(left / width + 0.5, 0.0, 1.0)
        size = np.sqrt(multipliers**2 + ROUNDED**2)
        limit = tolerance * np.array([band.scale for band in self.table.bands])[self.block] / 2
        accepted = self.share * slope
        # The positive part is a parabola within half a width of 0.
        positive = accepted @ left + width / 2 * (accepted @ (1.0 - slope))
        value = positive - multipliers @ self.off + limit @ size
        gradient = limit * multipliers / size - self.table.shares @ accepted - self.off
        return float(value), self.unit * self._centred(gradient)


PRICE = 1.0
"""Initial price of a gap beyond the tolerance; low, so that the search can cross the limit."""

STRICT_PRICE = 10.0
"""Final price of a gap beyond the tolerance; high, so that the rule meets the limit."""

THRESHOLDS = 41
"""Thresholds tried with each choice of multipliers."""

REACH = 0.25
"""Initial distance of the outermost threshold from the unconstrained one."""

GRID = {0: 1, 1: 41, 2: 17}
"""Points per axis of the first grid, by the number of axes."""

REACHES = {
    0: (0.05, 0.01),
    1: (0.05, 0.01, 0.002),
    2: (0.125, 0.0375, 0.01125, 0.003375),
}
"""Reach of each refinement round, in units of the axes."""

OFFSETS = {0: 1, 1: 11, 2: 5}
"""Points per axis of a refinement round, by the number of axes."""

NARROW = 0.02
"""Tolerance up to which two rates are also searched from inside the feasible region."""

LITTLE = 1e-3
"""Smallest informative difference of group shares, in units of the group's own share."""

MOST_AXES = 2
"""Largest number of axes for a grid search."""


def _axes(table: Table) -> Floats:
    """Return the directions of bands of two groups, each scaled to its largest useful step."""
    moves = np.kron(np.eye(len(table.bands)), np.array([[-1.0, 1.0]]))
    typical = np.quantile(np.abs(moves @ table.shares), 0.9, axis=1)
    reach = np.divide(1.0, typical, out=np.zeros_like(typical), where=typical > LITTLE)
    return moves * reach[:, None]


def _grid(n_axes: int, n: int) -> Floats:
    points = list(itertools.product(np.linspace(-1.0, 1.0, n), repeat=n_axes))
    return np.array(points).reshape(len(points), n_axes)


class Pool:
    """Best rule found so far for each tolerance."""

    def __init__(self, tolerances: Floats, price: float, n_multipliers: int) -> None:
        self.tolerances = tolerances
        self.price = price
        self.worth = np.full(len(tolerances), -np.inf)
        self.multipliers = np.zeros((len(tolerances), n_multipliers))
        self.thresholds = np.zeros(len(tolerances))

    def offer(self, table: Table, multipliers: Floats, centre: float, reach: float) -> None:
        """Evaluate rules, each with thresholds around ``centre``, and keep the best ones."""
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
        """Return a pool of the same rules, evaluated on other rows."""
        found = Pool(self.tolerances, self.price, self.multipliers.shape[1])
        for multipliers, threshold in self.centres():
            found.offer(table, multipliers[None], threshold, min(REACH, reach))
        return found

    def centres(self) -> list[tuple[Floats, float]]:
        """Return the distinct rules of the pool."""
        both = np.column_stack([self.multipliers, self.thresholds])
        distinct = dict.fromkeys(map(tuple, both.tolist()))
        return [(np.array(rule[:-1]), rule[-1]) for rule in distinct]

    def refine(self, table: Table, axes: Floats, reach: float) -> None:
        """Search around each rule."""
        offsets = _grid(len(axes), OFFSETS[len(axes)])
        for multipliers, threshold in self.centres():
            tried = multipliers + reach * offsets @ axes
            self.offer(table, tried, threshold, min(REACH, reach))


def by_grid(
    coarse: Table, few: Table, all_rows: Table, start: float, tolerances: Floats
) -> list[tuple[Floats, float]]:
    """Return multipliers and threshold of good rules for all tolerances."""
    axes = _axes(few)
    n_axes, n_multipliers = axes.shape
    reaches = REACHES[n_axes]
    pool = Pool(tolerances, PRICE, n_multipliers)
    pool.offer(coarse, np.zeros((1, n_multipliers)), start, REACH)
    pool.offer(coarse, _grid(n_axes, GRID[n_axes]) @ axes, start, REACH)
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
    # A rule found on a subsample may be farther from the optimum on all rows.
    last.refine(all_rows, axes, reaches[-1 if all_rows is few else -2])
    return last.centres()


def _within_reach(
    table: Table, axes: Floats, pool: Pool, reaches: Sequence[float]
) -> list[tuple[Floats, float]]:
    """Return rules near those of the pool for narrow tolerances, with the strict price.

    With two rates the feasible region may be too narrow to be reached from outside.
    """
    narrow = pool.tolerances[pool.tolerances <= NARROW]
    strict = Pool(narrow, STRICT_PRICE, pool.multipliers.shape[1])
    for multipliers, threshold in pool.centres():
        strict.offer(table, multipliers[None], threshold, reaches[-1])
    for reach in reaches:
        strict.refine(table, axes, reach)
    return strict.centres()


FAR = 8.0
"""Distance from the threshold, in widths, beyond which a smooth decision is 0 or 1."""

UNIT = 10.0
"""Scales gain and rates, which are small, to the size that the optimiser expects."""

WIDTH = 0.01
"""Width of the smooth decision, in units of the span of the scores."""

SPAN = 2.0
"""Span of the scores as a multiple of their 10%-90% range; at most 1."""

LEAST_SPAN = 1e-3
"""Smallest span of the scores."""

FARTHEST = 2.0
"""Largest shift by a group of certain membership, in units of the span."""

SMOOTH_PRICE = 10.0
"""Price of a gap beyond its limit when two rules are compared."""


class Smooth:
    """The smooth program on one table of rows."""

    def __init__(self, table: Table, width: float = WIDTH) -> None:
        self.table = table
        low, high = np.quantile(table.scores, [0.1, 0.9])
        self.span = float(np.clip(SPAN * (high - low), LEAST_SPAN, 1.0))
        self.width = width * self.span
        self.block = table.block
        # Free variables near 1; the multipliers of each rate sum to 0.
        self.unit = table.priors() * self.span
        sizes = np.bincount(self.block)
        self.centred = block_diag(*[np.eye(n) - 1.0 / n for n in sizes]) * self.unit
        # Contribution of an accepted row of each cell and label to each rate.
        no_rows = np.zeros((len(self.unit), 1))
        cells = np.concatenate([band.parts / band.mass[:, None] for band in table.bands])
        self.of_slot = np.concatenate([cells, no_rows], axis=1)

    def improved(
        self,
        multipliers: Floats,
        threshold: float,
        limits: Floats,
        steps: int,
    ) -> tuple[Floats, float]:
        """Return a rule with better smooth counts, or the same rule if none was found."""
        n = len(self.unit)
        half = limits[self.block] / 2
        chosen = np.equal.outer(self.block, np.arange(len(limits))).astype(np.float64)
        last: dict[bytes, tuple[Floats, Floats]] = {}

        def at(x: Floats) -> tuple[Floats, Floats]:
            # Loss and constraints request the same point.
            key = x.tobytes()
            if key not in last:
                last.clear()
                last[key] = self.values(x)
            return last[key]

        start = self._free(multipliers, threshold)
        rates = at(start)[0][:n]

        def loss(x: Floats) -> tuple[float, Floats]:
            values, slopes = at(x[: n + 1])
            return -UNIT * values[n], -UNIT * np.append(slopes[n], np.zeros(len(limits)))

        def room(x: Floats) -> Floats:
            apart = at(x[: n + 1])[0][:n] - x[n + 1 :][self.block]
            return UNIT * np.concatenate([half - apart, half + apart])

        def room_slopes(x: Floats) -> Floats:
            slopes = np.concatenate([at(x[: n + 1])[1][:n], -chosen], axis=1)
            return UNIT * np.concatenate([-slopes, slopes])

        found = minimize(
            loss,
            np.concatenate([start, self._middle(rates)]),
            jac=True,
            method="SLSQP",
            bounds=[(-FARTHEST, FARTHEST)] * n + [(None, None)] * (1 + len(limits)),
            constraints={"type": "ineq", "fun": room, "jac": room_slopes},
            options={"maxiter": steps, "ftol": 1e-6},
        ).x[: n + 1]
        if not np.isfinite(found).all() or self._priced(found, limits) < self._priced(
            start, limits
        ):
            return multipliers, threshold
        return self._rule(found)

    def priced(self, multipliers: Floats, threshold: float, limits: Floats) -> float:
        """Return the smooth gain of a rule minus the price of its violations."""
        return self._priced(self._free(multipliers, threshold), limits)

    def within(
        self,
        multipliers: Floats,
        threshold: float,
        limits: Floats,
        steps: int,
    ) -> tuple[Floats, float]:
        """Return a nearby rule whose exact decisions meet the limits, or the closest one found.

        Each step is the smallest one that removes the excess to first order. As the steps shrink,
        smooth and exact counts converge.
        """
        n = len(self.unit)
        half = limits[self.block] / 2
        at = self._free(multipliers, threshold)
        best, least = (multipliers, threshold), np.inf
        for _ in range(steps):
            rule = self._rule(at)
            rates = self._counted(*rule)
            beyond = self._beyond(rates, limits)
            if beyond < least:
                best, least = rule, beyond
            if beyond <= 0.0:
                break
            middle = self._middle(rates)[self.block]
            lacking = np.clip(rates, middle - half, middle + half) - rates
            slopes = self.values(at)[1][:n]
            at = at + np.linalg.lstsq(slopes, lacking, rcond=1e-6)[0]
        return best

    def _free(self, multipliers: Floats, threshold: float) -> Floats:
        return np.append(multipliers / self.unit, threshold / self.span)

    def _rule(self, at: Floats) -> tuple[Floats, float]:
        return self.centred @ at[:-1], float(at[-1] * self.span)

    def _beyond(self, rates: Floats, limits: Floats) -> float:
        gaps = np.array([np.ptp(part) for part in self._by_band(rates)])
        return float(np.maximum(gaps - limits, 0.0).max())

    def _priced(self, at: Floats, limits: Floats) -> float:
        values, _ = self.values(at)
        return float(values[-1]) - SMOOTH_PRICE * self._beyond(values[:-1], limits)

    def _counted(self, multipliers: Floats, threshold: float) -> Floats:
        table = self.table
        weight = table.weight * (table.adjusted(multipliers) > threshold)
        counts = np.bincount(table.slot, weights=weight, minlength=table.n_slots)
        return self.of_slot @ counts

    def _middle(self, rates: Floats) -> Floats:
        return np.array([(part.max() + part.min()) / 2 for part in self._by_band(rates)])

    def _by_band(self, rates: Floats) -> list[Floats]:
        return np.split(rates, np.flatnonzero(np.diff(self.block)) + 1)

    def values(self, at: Floats) -> tuple[Floats, Floats]:
        """Return smooth rates and gain, and their derivatives."""
        table = self.table
        multipliers, threshold = self._rule(at)
        above = (table.adjusted(multipliers) - threshold) / self.width
        accepted = (above > 0).astype(np.float64)
        near = np.flatnonzero(np.abs(above) < FAR)
        accepted[near] = expit(above[near])
        weight = np.bincount(table.slot, weights=table.weight * accepted, minlength=table.n_slots)
        values = np.append(self.of_slot @ weight, table.gains @ accepted)
        density = accepted[near] * (1.0 - accepted[near]) / self.width
        adds = [self.of_slot[:, table.slot[near]] * table.weight[near], table.gains[None, near]]
        falls = np.concatenate(adds) * density
        slopes = np.column_stack(
            [falls @ table.shares[:, near].T @ self.centred, falls.sum(axis=1) * self.span]
        )
        return values, -slopes


def search(
    coarse: Table, few: Table, all_rows: Table, tolerances: Sequence[float]
) -> list[tuple[Floats, float]]:
    """Return multipliers and threshold of the best rule within each tolerance.

    A rule always exists, because a constant decision has no gap. Where only constant decisions
    meet the tolerance, the tolerance is raised by the gap that one row causes.
    """
    start = _unconstrained(few)
    levels = np.unique(tolerances)
    if len(few.bands) <= MOST_AXES and all(len(band.groups) == 2 for band in few.bands):
        found = by_grid(coarse, few, all_rows, start, levels)
    else:
        found = _by_program(few, all_rows, start, levels)
    return _exact(all_rows, found, start, tolerances)


def _by_program(
    few: Table, all_rows: Table, start: float, tolerances: Floats
) -> list[tuple[Floats, float]]:
    """Return rules for all tolerances, started from the next looser rule and from the dual."""
    gap, _ = all_rows.cuts(all_rows.scores, np.array([start]))
    # Where the constraint costs no gain, an unshifted rule is preferred.
    tolerances = tolerances[tolerances < gap[0]]
    # The program may end slightly beyond the limits it is given.
    scale = 0.99 * np.array([band.scale for band in few.bands])
    some, everything = Smooth(few), Smooth(all_rows)
    plain = (np.zeros(len(few.shares)), start)
    # Only the loosest tolerance starts far from its solution.
    rule, steps, found = plain, 60, []
    pool = Pool(tolerances, PRICE, len(few.shares))
    if len(tolerances) > 0:
        pool.offer(few, np.stack(Dual(few, start).path(tolerances.tolist())), start, REACH)
    for at in range(len(tolerances))[::-1]:
        limits = tolerances[at] * scale
        starts = [rule, (pool.multipliers[at], float(pool.thresholds[at]))]
        tried = [some.improved(*one, limits, steps) for one in starts]
        prices = [some.priced(by, above, limits) for by, above in tried]
        rule, steps = tried[int(np.argmax(prices))], 15
        last = everything.improved(*rule, limits, steps=6)
        found += [last, everything.within(*last, limits, steps=20)]
    return found


def _unconstrained(table: Table) -> float:
    """Return the best threshold without constraints."""
    order = np.argsort(table.scores)
    rising = table.scores[order]
    kept = table.gains.sum() - np.cumsum(table.gains[order])
    parts = np.flatnonzero(np.diff(rising) > 0)
    if len(parts) == 0:
        return 0.5
    best = parts[kept[parts].argmax()]
    return float((rising[best] + rising[best + 1]) / 2)


def _exact(
    table: Table,
    rules: Sequence[tuple[Floats, float]],
    start: float,
    tolerances: Sequence[float],
) -> list[tuple[Floats, float]]:
    """Choose among all thresholds between distinct scores near each rule."""
    plain = np.zeros(len(table.shares))
    extremes = np.array([-np.inf, np.inf])
    found = [(plain, extremes, *table.cuts(table.scores, extremes))]
    found += [
        (multipliers, *table.near(multipliers, threshold, n=400))
        for multipliers, threshold in [(plain, start), *rules]
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


def _within(gap: Floats, worth: Floats, tolerance: float, one_row: float) -> int:
    """Return the best choice within the tolerance, or within one row more.

    The first two choices are constant decisions without a gap. One row more is allowed where
    otherwise more than half of the possible gain over these two would be lost.
    """
    strict, lenient = best_within(gap, worth, [tolerance, tolerance + one_row])
    at, other = 0 if strict is None else strict, 0 if lenient is None else lenient
    constant_worth = worth[:2].max()
    return other if worth[at] - constant_worth < (worth[other] - constant_worth) / 2 else at
