"""Rows for blind rules: who is accepted, group by group, when group shares move the threshold.

A blind rule accepts ``x`` when ``score(x) - sum_k lam_k w_k(x) > threshold``, with
``w_k(x) = P(group k | x) / P(group k)``, for label rates ``P(group k, y | x) / P(group k, y)``
(Chen, Klochkov, Liu, arXiv 2310.05725, in the form of Menon, Williamson 2018). For one ``lam`` the
rates at many thresholds are cumulated counts: real labels and real groups, not the model's.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import block_diag

from fairautoml.data.dataset import GroupSystem
from fairautoml.metrics._table import Rate
from fairautoml.mitigators._base import ScoreRows, Target
from fairautoml.mitigators._bias_rows import cell_weights
from fairautoml.mitigators._cells import per_unit

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
        everywhere, rows = self._settled(moves, thresholds)
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

    def _settled(
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
        people = adjusted[self.weight > 0]
        apart = np.abs(people - threshold)
        some = people
        if len(apart) > 2 * n:
            some = people[apart <= np.partition(apart, 2 * n)[2 * n]]
        between = _between(some)
        if len(between) < n and len(some) < len(people):
            # Many are alike: the nearest others are farther away.
            between = _between(people)
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


def _between(people: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the middle between any two neighbours that are apart, rising."""
    rising = np.sort(people)
    gap = np.flatnonzero(np.diff(rising) > APART)
    found: NDArray[np.float64] = (rising[gap] + rising[gap + 1]) / 2
    return found


def _from_top(counts: NDArray[Any]) -> NDArray[np.float64]:
    """Cumulate from the last bin down; leave out the rows that pass no threshold."""
    total: NDArray[np.float64] = counts[..., ::-1].cumsum(axis=-1)[..., ::-1][..., 1:]
    return total
