"""Rules that do not read the group: scores shifted by estimated group membership.

A blind rule accepts ``x`` when ``score(x) - sum_k lam_k w_k(x) > threshold``, with
``w_k(x) = P(group k | x) / P(group k)``, for label rates ``P(group k, y | x) / P(group k, y)``
(Chen, Klochkov, Liu, arXiv 2310.05725, in the form of Menon, Williamson 2018). For one ``lam`` the
rates at many thresholds are cumulated counts: real labels and real groups, not the model's.

``min over lam of E[(m - lam w)_+] - lam d + sum_k eps_k / 2 sum_a |lam_ka|`` with
``sum_a lam_ka = 0`` for each rate k; ``m = score - threshold``, ``w`` the group shares, and ``d``
the rates as counted minus the rates by the model, at the unconstrained decisions: where the model
of the groups is off, the constraint is on what was counted.

The positive part is smoothed, at first widely: convex and differentiable, so L-BFGS finds it.

Every rule that is looked at counts for every tolerance. Off the tolerance a rule is priced, not
refused, so a search can come from outside.

``max worth(lam, t)`` subject to ``mid_k - eps_k / 2 <= rate_ka(lam, t) <= mid_k + eps_k / 2`` for
every group a of every rate k, where a row is accepted by ``sigmoid((score - lam w - t) / width)``
instead of 0 or 1: worth and rates, counted on labels and groups, then have gradients, and
sequential quadratic programming finds a point from which no small move is better. With several
active limits that is where a search along axes does not get to.

One or two degrees of freedom: by a grid. More: by a program on smooth counts, from the loosest
tolerance to the tightest, begun from the next looser one's rule or where the linear program of the
model has its optimum. Then thresholds between any two people near what was found are counted.
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

from fairautoml.data.dataset import GroupSystem
from fairautoml.metrics._table import Rate
from fairautoml.mitigators._base import ScoreRows, Target
from fairautoml.mitigators._group_program import best_within
from fairautoml.mitigators._thresholds import per_unit

FEW = 500
"""Rows of one cell and label of which none is left out when rows are thinned."""


def canonical(rows: ScoreRows) -> tuple[ScoreRows, NDArray[np.int64]]:
    """Return the rows and cells in an order that follows from their content.

    Sums are then the same to the last bit however rows are ordered and cells are numbered, so a
    search among nearly equal rules ends in the same one.
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
    # Small integers are sorted in one go over them.
    slot = (2 * new + rows.y.astype(np.int32)).astype(np.min_scalar_type(-2 * rows.n_cells - 2))
    order = order[np.argsort(slot[order], kind="stable")]
    moved = shares[order][:, cells]
    return replace(rows.take(order), cells=new[order], membership=moved), cells


def thinned(rows: ScoreRows, most: int) -> tuple[ScoreRows, NDArray[np.int64]]:
    """Return about ``most`` of the rows, or all, and which; cells and labels keep their weight.

    Every k-th row of a cell and label in the order of the scores; all of them where they are few.
    """
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


def cell_weights(rows: ScoreRows) -> NDArray[np.float64]:
    """Return the weight of every cell and label, shape (2 * n_cells,)."""
    known = rows.cells >= 0
    at = rows.cells[known].astype(np.int64) * 2 + rows.y[known]
    weight = np.bincount(at, weights=rows.weight[known], minlength=2 * rows.n_cells)
    return weight.astype(np.float64, copy=False)


APART = 1e-9
"""Adjusted scores that differ by less are the same person's."""

BLOCK = 100_000
"""Decisions that are counted at once, about."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Band:
    """One rate that the groups of one system must share; groups without such rows are left out."""

    rate: Rate  # a share of acceptances
    system: GroupSystem  # which groups
    scale: float  # largest gap per unit of tolerance
    groups: tuple[int, ...]  # those of the system that have the rate, at least two
    # 1 where the rows of that cell and label (``2 * cell + y``) count in the group's rate
    parts: NDArray[np.float64]  # shape (n_groups, 2 * n_cells)
    mass: NDArray[np.float64]  # shape (n_groups,): weight of those rows


def bands_of(
    rows: ScoreRows, cells: NDArray[np.int64], targets: Sequence[Target], scale: Sequence[float]
) -> tuple[Band, ...]:
    """Return the rates that the targets constrain, the tightest limit for each."""
    totals = cell_weights(rows)
    tightest: dict[tuple[Rate, tuple[str, tuple[str, ...]]], tuple[float, GroupSystem]] = {}
    for target, factor in zip(targets, scale, strict=True):
        for rate in target.metric.rates:
            key = (rate, target.system.key)
            before = tightest.get(key, (np.inf, target.system))[0]
            tightest[key] = (min(factor, before), target.system)
    found = [
        _band(rate, system, factor, cells, totals)
        for (rate, _), (factor, system) in tightest.items()
    ]
    return tuple(band for band in found if len(band.groups) >= 2)


def _band(
    rate: Rate,
    system: GroupSystem,
    scale: float,
    cells: NDArray[np.int64],
    totals: NDArray[np.float64],
) -> Band:
    of_cell = system.of_cell[cells]
    in_order = [int(g) for g in dict.fromkeys(of_cell.tolist()) if g >= 0]
    member = of_cell == np.array(in_order, dtype=np.int64)[:, None]
    parts = np.kron(member.astype(np.float64), rate.linear()[0])
    mass = parts @ totals
    has = mass > 0
    return Band(
        rate=rate,
        system=system,
        scale=scale,
        groups=tuple(g for g, kept in zip(in_order, has, strict=True) if kept),
        parts=parts[has],
        mass=mass[has],
    )


class Table:
    """Rows, ready to be decided by many rules at once."""

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
        # The last slot takes rows of no cell: they count for the objective alone.
        self.n_slots = 2 * rows.n_cells + 1
        self.slot = np.where(rows.cells >= 0, rows.cells.astype(np.int64) * 2 + rows.y, -1)
        self.slot[self.slot < 0] = self.n_slots - 1
        worth = gain[0] * labels - gain[1] * (1.0 - labels)
        self.gains = rows.weight * worth / (sum(gain) * rows.weight.sum())
        self.totals = cell_weights(rows)
        self.shares = self._shares(rows)

    def _shares(self, rows: ScoreRows) -> NDArray[np.float64]:
        """Return ``w_k(x)`` of all groups of all bands, shape (n_multipliers, n_rows)."""
        flat = np.asarray(rows.membership).reshape(len(self.scores), -1).astype(np.float64)
        parts = [np.zeros((0, flat.shape[1])), *(band.parts for band in self.bands)]
        shares: NDArray[np.float64] = np.concatenate(parts) @ flat.T / self.priors()[:, None]
        return shares

    @cached_property
    def _basis(self) -> NDArray[np.float64]:
        """What free moves are multiplied with: the groups of a pair move against each other."""
        found: NDArray[np.float64] = _of_pairs(self.bands, (-1.0, 1.0)) @ self.shares
        return found

    @cached_property
    def _sizes(self) -> NDArray[np.float64]:
        return np.abs(self._basis)

    def adjusted(self, multipliers: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the scores minus the bias of each row, shape (n_rows,)."""
        moved: NDArray[np.float64] = self.scores - multipliers @ self.shares
        return moved

    def outcomes(
        self, multipliers: NDArray[np.float64], thresholds: NDArray[np.float64]
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return gap and worth of rules, each with the same evenly spaced thresholds around it."""
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
        self, mass: NDArray[np.float64], gain: NDArray[np.float64], accepted: NDArray[np.int64]
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return gap and worth where some rows are accepted besides what was counted."""
        weight = self.weight[accepted]
        more = np.bincount(self.slot[accepted], weights=weight, minlength=self.n_slots)
        return self._gaps(mass + more[:, None]), gain + self.gains[accepted].sum()

    def _agreed_rows(
        self, moves: NDArray[np.float64], thresholds: NDArray[np.float64]
    ) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Return the rows that all these rules accept, and those on which they may differ."""
        middle = (moves.max(axis=0) + moves.min(axis=0)) / 2
        adjusted = self.scores - middle @ self._basis
        spread = np.abs(moves - middle).max(axis=0) @ self._sizes + APART
        above = adjusted - spread > thresholds[-1]
        below = adjusted + spread < thresholds[0]
        return np.flatnonzero(above), np.flatnonzero(~(above | below))

    def near(
        self, multipliers: NDArray[np.float64], threshold: float, n: int
    ) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
        """Return up to ``n`` thresholds that part people near one, with gap and worth of each."""
        adjusted = self.adjusted(multipliers)
        adjusted_rows = adjusted[self.weight > 0]
        apart = np.abs(adjusted_rows - threshold)
        some = adjusted_rows
        if len(apart) > 2 * n:
            some = adjusted_rows[apart <= np.partition(apart, 2 * n)[2 * n]]
        between = _between(some)
        if len(between) < n and len(some) < len(adjusted_rows):
            # Many are alike: the nearest others are farther away.
            between = _between(adjusted_rows)
        at = int(np.searchsorted(between, threshold))
        cuts = between[max(0, at - n // 2) : at + n // 2]
        return (cuts, *self.cuts(adjusted, cuts))

    def cuts(
        self, adjusted: NDArray[np.float64], thresholds: NDArray[np.float64]
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return gap and worth of one rule at any thresholds, each of shape (n_thresholds,)."""
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
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Count, rule by rule, who passes at least so many thresholds, and the gain."""
        n_rules, bins = len(passed), n + 1
        rule = np.arange(n_rules)[:, None]
        at = passed + self.slot[rows] * bins + rule * (self.n_slots * bins)
        mass = _summed(at, self.weight[rows], n_rules * self.n_slots * bins)
        gain = _summed(passed + rule * bins, self.gains[rows], n_rules * bins)
        by_slot = mass.reshape(n_rules, self.n_slots, bins)
        return _from_top(by_slot), _from_top(gain.reshape(n_rules, bins))

    def priors(self) -> NDArray[np.float64]:
        """Return the share of people that each multiplier speaks about."""
        mass = [band.mass for band in self.bands]
        found: NDArray[np.float64] = np.concatenate([*mass, []]) / self.totals.sum()
        return found

    def rates(self, counts: NDArray[Any]) -> NDArray[np.float64]:
        """Return the rate of every group of every band."""
        return np.concatenate([b.parts @ counts[:-1] / b.mass[:, None] for b in self.bands])

    def _gaps(self, counts: NDArray[np.float64]) -> NDArray[np.float64]:
        largest = np.zeros((counts.shape[0], counts.shape[2]))
        for band in self.bands:
            rates = band.parts @ counts[:, :-1] / band.mass[:, None]
            apart = rates.max(axis=1) - rates.min(axis=1)
            np.maximum(largest, per_unit(apart, band.scale), out=largest)
        return largest

    @property
    def one_row(self) -> float:
        """The gap per unit of tolerance that one row makes, of the rate where that is least."""
        heaviest = float(self.weight.max())
        steps = [heaviest / (b.scale * b.mass.min()) if b.scale > 0 else 0.0 for b in self.bands]
        return min(steps, default=0.0)


def _of_pairs(bands: Sequence[Band], pair: tuple[float, float]) -> NDArray[np.float64]:
    """Return what takes each pair of groups together, by these factors, and leaves others."""
    parts = [np.array([pair]) if len(b.groups) == 2 else np.eye(len(b.groups)) for b in bands]
    found: NDArray[np.float64] = block_diag(*parts) if parts else np.zeros((0, 0))
    return found


def _summed(at: NDArray[np.int64], values: NDArray[np.floating], size: int) -> NDArray[np.float64]:
    """Return the sums of values, the same for each row of places, place by place."""
    each = np.broadcast_to(values, at.shape)
    found = np.bincount(at.ravel(), weights=each.ravel(), minlength=size)
    return found.astype(np.float64, copy=False)


def _between(adjusted_rows: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the middle between any two neighbours that are apart, rising."""
    rising = np.sort(adjusted_rows)
    gap = np.flatnonzero(np.diff(rising) > APART)
    found: NDArray[np.float64] = (rising[gap] + rising[gap + 1]) / 2
    return found


def _from_top(counts: NDArray[Any]) -> NDArray[np.float64]:
    """Cumulate from the last bin down; leave out the rows that pass no threshold."""
    total: NDArray[np.float64] = counts[..., ::-1].cumsum(axis=-1)[..., ::-1][..., 1:]
    return total


WIDTHS = (1e-2, 1e-3)
"""Of the smoothed positive part, in units of the score."""

ROUNDED = 1e-4
"""Size below which a multiplier's absolute value is smoothed."""

ITERATIONS = 60
"""Steps of L-BFGS for each width; the search on counts goes on from there."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Dual:
    """The dual of one table of rows."""

    table: Table  # the rows
    margin: NDArray[np.float64]  # shape (n_rows,): score minus the unconstrained threshold
    share: NDArray[np.float64]  # shape (n_rows,): share of each row in the weight of all
    block: NDArray[np.int64]  # shape (n_multipliers,): band of each multiplier
    # share of the population that each multiplier speaks about: what makes steps alike
    unit: NDArray[np.float64]  # shape (n_multipliers,)
    off: NDArray[np.float64]  # shape (n_multipliers,): rates as counted minus rates by the model

    @classmethod
    def of(cls, table: Table, threshold: float) -> "Dual":
        """Return the dual around an unconstrained threshold."""
        sizes = [len(band.groups) for band in table.bands]
        margin = table.scores - threshold
        share = table.weight / table.weight.sum()
        by_model = table.shares @ (share * (margin > 0))
        counted = np.bincount(
            table.slot, weights=table.weight * (margin > 0), minlength=table.n_slots
        )
        return cls(
            table=table,
            margin=margin,
            share=share,
            block=np.repeat(np.arange(len(sizes)), sizes),
            unit=table.priors(),
            off=table.rates(counted[:, None])[:, 0] - by_model,
        )

    def path(self, tolerances: Sequence[float]) -> list[NDArray[np.float64]]:
        """Return the multipliers for each tolerance, each found from the next larger one's."""
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
                    options={"maxiter": ITERATIONS},
                ).x
            found.append(self._multipliers(at))
        return found[::-1]

    def _multipliers(self, at: NDArray[np.float64]) -> NDArray[np.float64]:
        return self._centred(self.unit * at)

    def _centred(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
        """Subtract the mean of each band: multipliers of one rate sum to 0."""
        mean = np.bincount(self.block, weights=values) / np.bincount(self.block)
        centred: NDArray[np.float64] = values - mean[self.block]
        return centred

    def _value(
        self, at: NDArray[np.float64], tolerance: float, width: float
    ) -> tuple[float, NDArray[np.float64]]:
        multipliers = self._multipliers(at)
        left = self.margin - multipliers @ self.table.shares
        slope = np.clip(left / width + 0.5, 0.0, 1.0)
        size = np.sqrt(multipliers**2 + ROUNDED**2)
        limit = tolerance * np.array([band.scale for band in self.table.bands])[self.block] / 2
        accepted = self.share * slope
        # The positive part: within half a width of 0 a parabola.
        positive = accepted @ left + width / 2 * (accepted @ (1.0 - slope))
        value = positive - multipliers @ self.off + limit @ size
        gradient = limit * multipliers / size - self.table.shares @ accepted - self.off
        return float(value), self.unit * self._centred(gradient)


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


FAR = 8.0
"""Widths from the threshold beyond which a row is decided."""

UNIT = 10.0
"""Worth and rates are small numbers: what makes them alike in size to what the program expects."""

PRECISE = 1e-6
"""Of the worth, in that unit."""

WIDTH = 0.01
"""Of the smooth decision, in units of the span of the scores."""

SPAN = 2.0
"""The span, in times of what lies between a tenth and nine tenths of them; at most 1, ..."""

LEAST_SPAN = 1e-3
"""... and at least."""

FARTHEST = 2.0
"""What a group may move the score by, in units of the span, where a row is of it for certain."""

SMOOTH_PRICE = 10.0
"""Worth that a gap beyond its limit costs where two rules are compared."""


class Smooth:
    """The program over one table of rows."""

    def __init__(self, table: Table, width: float = WIDTH) -> None:
        self.table = table
        low, high = np.quantile(table.scores, [0.1, 0.9])
        self.span = float(np.clip(SPAN * (high - low), LEAST_SPAN, 1.0))
        self.width = width * self.span
        sizes = [len(band.groups) for band in table.bands]
        self.block = np.repeat(np.arange(len(sizes)), sizes)
        # Multipliers of free numbers near 1: those of each rate sum to 0.
        self.unit = table.priors() * self.span
        self.centred = block_diag(*[np.eye(n) - 1.0 / n for n in sizes]) * self.unit
        # What an accepted row of each cell and label adds to each rate.
        no_rows = np.zeros((len(self.unit), 1))
        cells = np.concatenate([band.parts / band.mass[:, None] for band in table.bands])
        self.of_slot = np.concatenate([cells, no_rows], axis=1)

    def improved(
        self,
        multipliers: NDArray[np.float64],
        threshold: float,
        limits: NDArray[np.float64],
        steps: int,
    ) -> tuple[NDArray[np.float64], float]:
        """Return a rule that is better by smooth counts, or the same one where none was found."""
        n = len(self.unit)
        half = limits[self.block] / 2
        chosen = np.equal.outer(self.block, np.arange(len(limits))).astype(np.float64)
        at = _Remembered(self)
        start = self._free(multipliers, threshold)
        rates = at(start)[0][:n]

        def loss(x: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
            values, slopes = at(x[: n + 1])
            return -UNIT * values[n], -UNIT * np.append(slopes[n], np.zeros(len(limits)))

        def room(x: NDArray[np.float64]) -> NDArray[np.float64]:
            apart = at(x[: n + 1])[0][:n] - x[n + 1 :][self.block]
            return UNIT * np.concatenate([half - apart, half + apart])

        def room_slopes(x: NDArray[np.float64]) -> NDArray[np.float64]:
            slopes = np.concatenate([at(x[: n + 1])[1][:n], -chosen], axis=1)
            return UNIT * np.concatenate([-slopes, slopes])

        found = minimize(
            loss,
            np.concatenate([start, self._middle(rates)]),
            jac=True,
            method="SLSQP",
            bounds=[(-FARTHEST, FARTHEST)] * n + [(None, None)] * (1 + len(limits)),
            constraints={"type": "ineq", "fun": room, "jac": room_slopes},
            options={"maxiter": steps, "ftol": PRECISE},
        ).x[: n + 1]
        if not np.isfinite(found).all() or self._priced(found, limits) < self._priced(
            start, limits
        ):
            return multipliers, threshold
        return self._rule(found)

    def priced(
        self, multipliers: NDArray[np.float64], threshold: float, limits: NDArray[np.float64]
    ) -> float:
        """Return the smooth worth of a rule less the price of what exceeds the limits."""
        return self._priced(self._free(multipliers, threshold), limits)

    def within(
        self,
        multipliers: NDArray[np.float64],
        threshold: float,
        limits: NDArray[np.float64],
        steps: int,
    ) -> tuple[NDArray[np.float64], float]:
        """Return a rule near one whose real decisions are within the limits, or the nearest to it.

        Each step is the smallest that makes up for what is too much, by the smooth slopes: ever
        fewer rows change sides, and what was counted smoothly and what is counted come together.
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

    def _free(self, multipliers: NDArray[np.float64], threshold: float) -> NDArray[np.float64]:
        return np.append(multipliers / self.unit, threshold / self.span)

    def _rule(self, at: NDArray[np.float64]) -> tuple[NDArray[np.float64], float]:
        return self.centred @ at[:-1], float(at[-1] * self.span)

    def _beyond(self, rates: NDArray[np.float64], limits: NDArray[np.float64]) -> float:
        parts = np.split(rates, np.flatnonzero(np.diff(self.block)) + 1)
        gaps = np.array([part.max() - part.min() for part in parts])
        return float(np.maximum(gaps - limits, 0.0).max())

    def _priced(self, at: NDArray[np.float64], limits: NDArray[np.float64]) -> float:
        values, _ = self.values(at)
        return float(values[-1]) - SMOOTH_PRICE * self._beyond(values[:-1], limits)

    def _counted(self, multipliers: NDArray[np.float64], threshold: float) -> NDArray[np.float64]:
        table = self.table
        weight = table.weight * (table.adjusted(multipliers) > threshold)
        counts = np.bincount(table.slot, weights=weight, minlength=table.n_slots)
        found: NDArray[np.float64] = self.of_slot @ counts
        return found

    def _middle(self, rates: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the middle of the rates of each band."""
        parts = np.split(rates, np.flatnonzero(np.diff(self.block)) + 1)
        return np.array([(part.max() + part.min()) / 2 for part in parts])

    def values(self, at: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return smooth rates and worth, and how each grows with each number."""
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


class _Remembered:
    """Values and slopes at the last place asked for: loss and limits ask for the same in turn."""

    def __init__(self, smooth: Smooth) -> None:
        self.smooth = smooth
        self.place = b""
        self.found = (np.zeros(0), np.zeros((0, 0)))

    def __call__(self, at: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        if at.tobytes() != self.place:
            self.place = at.tobytes()
            self.found = self.smooth.values(at)
        return self.found


FIRST_STEPS = 60
"""Of the program on smooth counts for the loosest tolerance, ..."""

STEPS = 15
"""... for each other one from there, ..."""

LAST_STEPS = 6
"""... and then on all rows, ..."""

MAX_STEPS = 20
"""... where real decisions are then brought within the tolerance by so many steps at most."""

TIGHTER = 0.99
"""The program may end just beyond its tolerance: it aims at so much of it."""

CUTS = 400
"""Thresholds between two people that are tried around the best one."""


def search(
    coarse: Table, few: Table, all_rows: Table, tolerances: Sequence[float]
) -> list[tuple[NDArray[np.float64], float]]:
    """Return multipliers and threshold of the best rule within each tolerance.

    There always is one: to decide alike for everybody leaves no gap. Where nothing else is within
    the tolerance, what one row makes is let pass.
    """
    start = _unconstrained(few)
    levels = np.unique(tolerances)
    if few_axes(few):
        found = by_grid(coarse, few, all_rows, start, levels)
    else:
        found = _by_program(few, all_rows, start, levels)
    return _exact(all_rows, found, start, tolerances)


def _by_program(
    few: Table, all_rows: Table, start: float, tolerances: NDArray[np.float64]
) -> list[tuple[NDArray[np.float64], float]]:
    """Return good rules for all tolerances, from the next looser one's and by the model."""
    gap, _ = all_rows.cuts(all_rows.scores, np.array([start]))
    # Where nothing is to be given up, no bias is better than none.
    tolerances = tolerances[tolerances < gap[0]]
    scale = TIGHTER * np.array([band.scale for band in few.bands])
    some, everything = Smooth(few), Smooth(all_rows)
    plain = (np.zeros(len(few.shares)), start)
    rule, steps, found = plain, FIRST_STEPS, []
    pool = Pool(tolerances, PRICE, len(few.shares))
    if len(tolerances) > 0:
        pool.offer(few, np.stack(Dual.of(few, start).path(tolerances.tolist())), start, REACH)
    for at in range(len(tolerances))[::-1]:
        limits = tolerances[at] * scale
        starts = [rule, (pool.multipliers[at], float(pool.thresholds[at]))]
        tried = [some.improved(*one, limits, steps) for one in starts]
        prices = [some.priced(by, above, limits) for by, above in tried]
        rule, steps = tried[int(np.argmax(prices))], STEPS
        last = everything.improved(*rule, limits, LAST_STEPS)
        found += [last, everything.within(*last, limits, MAX_STEPS)]
    return found


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


def _exact(
    table: Table,
    rules: Sequence[tuple[NDArray[np.float64], float]],
    start: float,
    tolerances: Sequence[float],
) -> list[tuple[NDArray[np.float64], float]]:
    """Choose among all thresholds between two people near each rule."""
    plain = np.zeros(len(table.shares))
    extremes = np.array([-np.inf, np.inf])
    found = [(plain, extremes, *table.cuts(table.scores, extremes))]
    found += [
        (multipliers, *table.near(multipliers, threshold, CUTS))
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


def _within(
    gap: NDArray[np.float64], worth: NDArray[np.float64], tolerance: float, one_row: float
) -> int:
    """Return the choice worth most within the tolerance, or within one row more.

    The first two choices decide alike for everybody and leave no gap. One row more is let pass
    where otherwise less than half remains of what can be had beyond these two.
    """
    strict, lenient = best_within(gap, worth, [tolerance, tolerance + one_row])
    at, other = 0 if strict is None else strict, 0 if lenient is None else lenient
    constant_worth = worth[:2].max()
    return other if worth[at] - constant_worth < (worth[other] - constant_worth) / 2 else at
