"""Rows for blind rules: who is accepted, group by group, when group shares move the threshold.

A blind rule accepts ``x`` when ``score(x) - sum_k lam_k w_k(x) > threshold``, with
``w_k(x) = P(group k | x) / P(group k)``, for label rates ``P(group k, y | x) / P(group k, y)``
(Chen, Klochkov, Liu, arXiv 2310.05725, in the form of Menon, Williamson 2018). For one ``lam`` the
rates at many thresholds are cumulated counts: real labels and real groups, not the model's.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fairautoml.data.dataset import GroupSystem
from fairautoml.metrics._base import Rate
from fairautoml.mitigators._base import ScoreRows, Target
from fairautoml.mitigators._cells import per_unit

COUNTED: dict[Rate, tuple[float, float]] = {
    "selection": (1.0, 1.0),
    "tpr": (0.0, 1.0),
    "fpr": (1.0, 0.0),
}
"""How much rows of label 0 and of label 1 count in a rate."""

APART = 1e-9
"""Adjusted scores that differ by less are the same person's."""

FEW = 500
"""Rows of one cell and label of which none is left out when rows are thinned."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Band:
    """One rate that the groups of one system must share; groups without such rows are left out.

    Parameters
    ----------
    rate : Rate
        ``"selection"``, ``"tpr"`` or ``"fpr"``.
    system : GroupSystem
        Which groups.
    scale : float
        Largest gap per unit of tolerance.
    groups : tuple of int
        Those of the system that have the rate, at least two.
    parts : ndarray of float64, shape (n_groups, 2 * n_cells)
        1 where the rows of that cell and label (``2 * cell + y``) count in the group's rate.
    mass : ndarray of float64, shape (n_groups,)
        Weight of those rows.
    """

    rate: Rate
    system: GroupSystem
    scale: float
    groups: tuple[int, ...]
    parts: NDArray[np.float64]
    mass: NDArray[np.float64]


def canonical(rows: ScoreRows) -> tuple[ScoreRows, NDArray[np.int64]]:
    """Return the rows and cells in an order that follows from their content.

    Sums are then the same to the last bit however rows are ordered and cells are numbered, so a
    search among nearly equal rules ends in the same one.

    Parameters
    ----------
    rows : ScoreRows
        With membership.

    Returns
    -------
    rows : ScoreRows
        Sorted by cell, label and score.
    cells : ndarray of int, shape (n_cells,)
        The former number of each cell.
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
    order = np.lexsort((shares[:, cells[0], 1], rows.weight, rows.scores, rows.y, new))
    moved = shares[order][:, cells]
    return replace(rows.take(order), cells=new[order], membership=moved), cells


def thinned(rows: ScoreRows, most: int) -> tuple[ScoreRows, NDArray[np.int64]]:
    """Return about ``most`` of the rows, or all, and which; cells and labels keep their weight.

    Every k-th row of a cell and label in the order of the scores; all of them where they are few.

    Parameters
    ----------
    rows : ScoreRows
        In canonical order.
    most : int
        Number of rows wanted.
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


def bands_of(
    rows: ScoreRows, cells: NDArray[np.int64], targets: Sequence[Target], scale: Sequence[float]
) -> tuple[Band, ...]:
    """Return the rates that the targets constrain, the tightest limit for each.

    Parameters
    ----------
    rows : ScoreRows
        In canonical order.
    cells : ndarray of int, shape (n_cells,)
        The number that the systems of the targets give to each cell.
    targets : sequence of Target
        Differences of rates that grow with acceptance.
    scale : sequence of float
        Limit of each target per unit of tolerance.
    """
    totals = cell_weights(rows)
    tightest: dict[tuple[Rate, str], tuple[float, GroupSystem]] = {}
    for target, factor in zip(targets, scale, strict=True):
        for rate in target.metric.rates:
            key = (rate, target.system.name)
            before = tightest.get(key, (np.inf, target.system))[0]
            tightest[key] = (min(factor, before), target.system)
    found = [
        _band(rate, system, factor, cells, totals)
        for (rate, _), (factor, system) in tightest.items()
    ]
    return tuple(band for band in found if len(band.groups) >= 2)


def cell_weights(rows: ScoreRows) -> NDArray[np.float64]:
    """Return the weight of every cell and label, shape (2 * n_cells,)."""
    known = rows.cells >= 0
    at = rows.cells[known].astype(np.int64) * 2 + rows.y[known]
    weight = np.bincount(at, weights=rows.weight[known], minlength=2 * rows.n_cells)
    return weight.astype(np.float64, copy=False)


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
    parts = np.kron(member.astype(np.float64), np.array(COUNTED[rate]))
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
    """Rows, ready to be decided by many rules at once.

    Parameters
    ----------
    rows : ScoreRows
        Real labels, groups and membership, in canonical order.
    labels : ndarray, shape (n_rows,)
        What the objective is counted with: labels, possibly shrunk, in [0, 1].
    bands : sequence of Band
        The constraints, over those rows.
    gain : (float, float)
        Worth of a true acceptance, price of a false one.
    """

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

    def adjusted(self, multipliers: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the scores minus the bias of each row, shape (n_rows,).

        Parameters
        ----------
        multipliers : ndarray of float64, shape (n_multipliers,)
            One per group of each band.
        """
        moved: NDArray[np.float64] = self.scores - multipliers @ self.shares
        return moved

    def outcomes(
        self, multipliers: NDArray[np.float64], thresholds: NDArray[np.float64]
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return gap and worth of rules, each with the same evenly spaced thresholds around it.

        Parameters
        ----------
        multipliers : ndarray of float64, shape (n_rules, n_multipliers)
            One rule per row.
        thresholds : ndarray of float64, shape (n_thresholds,)
            Rising in equal steps, at least two.

        Returns
        -------
        gap : ndarray of float64, shape (n_rules, n_thresholds)
            Largest gap per unit of tolerance.
        worth : ndarray of float64, shape (n_rules, n_thresholds)
            Mean gain per unit of weight.
        """
        n, step = len(thresholds), thresholds[1] - thresholds[0]
        counts = np.empty((len(multipliers), self.n_slots, n))
        worth = np.empty((len(multipliers), n))
        for at, one in enumerate(multipliers):
            passed = np.ceil((self.adjusted(one) - thresholds[0]) / step)
            passed = np.clip(passed, 0, n).astype(np.int64)
            counts[at], worth[at] = self._cumulated(passed, n)
        return self._gaps(counts), worth

    def cuts(
        self, multipliers: NDArray[np.float64], thresholds: NDArray[np.float64]
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return gap and worth of one rule at any thresholds, each of shape (n_thresholds,).

        Parameters
        ----------
        multipliers : ndarray of float64, shape (n_multipliers,)
            The rule's.
        thresholds : ndarray of float64, shape (n_thresholds,)
            Rising.
        """
        passed = np.searchsorted(thresholds, self.adjusted(multipliers), side="left")
        counts, worth = self._cumulated(passed, len(thresholds))
        return self._gaps(counts[None])[0], worth

    def near(
        self, multipliers: NDArray[np.float64], threshold: float, n: int
    ) -> NDArray[np.float64]:
        """Return up to ``n`` thresholds that part people, the nearest to one; rising.

        Parameters
        ----------
        multipliers : ndarray of float64, shape (n_multipliers,)
            The rule's.
        threshold : float
            Where to look.
        n : int
            How many.
        """
        found = np.sort(self.adjusted(multipliers)[self.weight > 0])
        gap = np.flatnonzero(np.diff(found) > APART)
        between = (found[gap] + found[gap + 1]) / 2
        at = int(np.searchsorted(between, threshold))
        kept: NDArray[np.float64] = between[max(0, at - n // 2) : at + n // 2]
        return kept

    def _cumulated(
        self, passed: NDArray[np.int64], n: int
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Count who passes at least so many thresholds, by cell and label, and the gain."""
        size = self.n_slots * (n + 1)
        at = self.slot * (n + 1) + passed
        mass = np.bincount(at, weights=self.weight, minlength=size).reshape(self.n_slots, -1)
        gain = np.bincount(passed, weights=self.gains, minlength=n + 1)
        return _from_top(mass), _from_top(gain)

    def priors(self) -> NDArray[np.float64]:
        """Return the share of people that each multiplier speaks about."""
        mass = [band.mass for band in self.bands]
        found: NDArray[np.float64] = np.concatenate([*mass, []]) / self.totals.sum()
        return found

    def rates(self, counts: NDArray[Any]) -> NDArray[np.float64]:
        """Return the rate of every group of every band.

        Parameters
        ----------
        counts : ndarray of float64, shape (n_slots, n_rules)
            Weight accepted by cell and label.

        Returns
        -------
        ndarray of float64, shape (n_multipliers, n_rules)
        """
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


def _from_top(counts: NDArray[Any]) -> NDArray[np.float64]:
    """Cumulate from the last bin down; leave out the rows that pass no threshold."""
    total: NDArray[np.float64] = counts[..., ::-1].cumsum(axis=-1)[..., ::-1][..., 1:]
    return total
