"""Post-processing of several classes: class shares, the linear program, the rules.

With p_c(x) the probability of class c and f_c(x) that of choosing it, maximise
``E[sum_c f_c p_c]`` subject to bounded differences of rates that are linear in f. The dual has one
price per rate and group; for given prices every row chooses the class of the largest
``slope p_c - cut``. The convex dual is minimised on a subsample, with scores in place of labels
and a softened maximum whose temperature decreases. The remaining error is measured on all rows,
with labels shrunk towards the scores, and corrected in the next round.

Source: Denis, Elie, Hebiri, Hu, *Fairness guarantees in multi-class classification with
demographic parity*, arXiv 2109.13642 (the form of the rule and the softening); Xian, Zhao, *A
unified post-processing framework for group fairness in classification*, arXiv 2405.04025 (the
linear program, equalized odds).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linprog, minimize
from scipy.sparse import csr_matrix, hstack, identity, kron, vstack

from fairautoml.metrics import BoundConstraint, ClassCounts, Metric, Undefined
from fairautoml.metrics._table import Rate, effective_rows
from fairautoml.mitigators._base import Goal, RuntimeRule, ScoreRows, scales
from fairautoml.mitigators._group_program import Parts
from fairautoml.records import Floats

SOFTNESS = (0.05, 0.01, 0.002)
"""Temperatures of the softened maximum, in order of use."""

ROWS_PER_CELL = 2000
"""Largest number of rows per cell that prices are fitted on; corrections use all rows."""

FULL_TRUST = 2000.0
"""Rows of a cell at which labels and scores have equal weight, as for two classes."""

BALANCED = frozenset({"balanced_accuracy", "f1_macro"})
"""Objectives that weight all classes equally."""


COST = "neg_mean_cost"
"""The objective of a matrix of costs."""

SMALLEST_GAIN = 1e-3
"""Smallest gain of a class, as a share of the largest."""


@dataclass(frozen=True, kw_only=True)
class Band:
    """A rate of every class whose difference between groups is limited."""

    rate: Rate  # share of the class among all rows, among its own rows, among the other rows
    member: Floats  # shape (n_groups, n_cells): 1 where a cell belongs to a group
    # weight of the rows in the denominator of the rate, 0 where undefined
    mass: Floats  # shape (n_groups, n_classes)
    factor: float  # limit per unit of tolerance

    # Cached, because the optimiser reads them thousands of times.
    @cached_property
    def label(self) -> int | None:
        """The label whose rows the rate is a share of; None for rows of both labels."""
        return self.rate.label

    @cached_property
    def known(self) -> NDArray[np.bool_]:
        """Whether the rate is defined."""
        return self.mass > 0

    @cached_property
    def n_known(self) -> NDArray[np.int64]:
        """Number of groups that have the rate, at least 1, by class."""
        n_groups: NDArray[np.int64] = self.known.sum(axis=0)
        return n_groups.clip(min=1)

    @cached_property
    def per_mass(self) -> Floats:
        """One over the mass, 0 where it is 0."""
        return np.divide(1.0, self.mass, out=np.zeros_like(self.mass), where=self.known)

    def rates(self, mass: Floats, right: Floats) -> Floats:
        """Return the rates, 0 where undefined, shape (n_groups, n_classes)."""
        if self.label is None:
            part = mass
        elif self.label == 1:
            part = right
        else:
            part = mass - right
        return (self.member @ part) * self.per_mass

    def spread(self, rates: Floats) -> float:
        """Return the largest difference over the classes between groups that have the rate."""
        known = self.known
        high = np.where(known, rates, -np.inf).max(axis=0)
        low = np.where(known, rates, np.inf).min(axis=0)
        return float(np.maximum(high - low, 0.0).max())


class Program:
    """Scored rows, sorted by cell, and the rates to be equalised."""

    def __init__(self, rows: ScoreRows, goal: Goal) -> None:
        scores, weight = rows.scores.astype(np.float64), rows.weight / rows.weight.sum()
        # Sorted by content, so that the result does not depend on the order of the rows.
        order = np.lexsort((weight, *scores.T[::-1], rows.cells))
        every = rows.cells[order].astype(np.int64)
        kept = _thinned(every)
        self.thinned = len(kept) < len(every)
        # Probabilities, one class after the other, so that sums over the classes are fast.
        self.scores = np.ascontiguousarray(scores[order][kept].T)
        self.weight = weight[order][kept] * _lost(every, weight[order], kept)
        self.n_cells = rows.n_cells
        self.cell = every[kept]
        # The cells that have rows, and the first row of each.
        self.filled, self.starts = np.unique(self.cell, return_index=True)
        self.gain = _gain(rows, goal)
        self.bands = _bands(rows, goal)

    def rule(self, prices: Floats) -> tuple[Floats, Floats]:
        """Return slope and cut of every cell and class, shape (n_cells, n_classes) each."""
        slope = np.tile(self.gain, (self.n_cells, 1))
        cut = np.zeros_like(slope)
        for band, price in zip(self.bands, self._split(prices), strict=True):
            paid = band.member.T @ (price * band.per_mass)
            if band.label is None:
                cut += paid
            elif band.label == 1:
                slope -= paid
            else:
                slope, cut = slope + paid, cut + paid
        return slope, cut

    def _split(self, prices: Floats) -> list[Floats]:
        found, at = [], 0
        for band in self.bands:
            size = band.mass.size
            price = prices[at : at + size].reshape(band.mass.shape)
            # Prices act on differences between groups that have the rate; only those are free.
            mean = (price * band.known).sum(axis=0) / band.n_known
            found.append(np.where(band.known, price - mean, 0.0))
            at += size
        return found

    def solve(self, tolerance: float, start: Floats, off: Sequence[Floats]) -> Floats:
        """Return the prices at which the rates differ by about the tolerance."""
        prices = start
        # A warm start is near the solution and needs no high temperature.
        for softness in SOFTNESS[1:] if start.any() else SOFTNESS:
            prices = minimize(
                self._dual,
                prices,
                args=(tolerance, softness, off),
                jac=True,
                method="L-BFGS-B",
                options={"maxiter": 60},
            ).x
        return prices

    def _dual(
        self,
        prices: Floats,
        tolerance: float,
        softness: float,
        off: Sequence[Floats],
    ) -> tuple[float, Floats]:
        """Return the softened dual and its gradient."""
        value, mass, right = self._soft(prices, softness)
        gradients = []
        for band, price, added in zip(self.bands, self._split(prices), off, strict=True):
            # Softened like the maximum, in the units of the prices.
            size = np.sqrt(price**2 + softness**2 * band.mass.max() ** 2)
            limit = tolerance * band.factor / 2
            value += limit * float(size.sum()) - float((price * added).sum())
            rates = band.rates(mass, right) + added
            slopes = np.where(band.known, limit * price / size - rates, 0.0)
            centre = slopes.sum(axis=0) / band.n_known
            gradients.append(np.where(band.known, slopes - centre, 0.0).ravel())
        return value, np.concatenate(gradients)

    def _by_cell(self, columns: Floats) -> Floats:
        found = np.zeros((self.n_cells, len(columns)))
        found[self.filled] = np.add.reduceat(columns, self.starts, axis=1).T
        return found

    def _soft(self, prices: Floats, softness: float) -> tuple[float, Floats, Floats]:
        """Return the softened gain, and the softened choice of each class by cell."""
        slope, cut = self.rule(prices)
        worth = slope.T[:, self.cell] * self.scores - cut.T[:, self.cell]
        top = worth.max(axis=0)
        grown = np.exp((worth - top) / softness)
        total = grown.sum(axis=0)
        value = float(self.weight @ (top + softness * np.log(total)))
        chosen = grown * (self.weight / total)
        return value, self._by_cell(chosen), self._by_cell(chosen * self.scores)

    def soft_rates(self, prices: Floats) -> list[Floats]:
        """Return the rates of every band at the last temperature."""
        _, mass, right = self._soft(prices, SOFTNESS[-1])
        return [band.rates(mass, right) for band in self.bands]


def shrunk_labels(rows: ScoreRows) -> Floats:
    """Return labels shrunk towards the scores, more strongly in cells with fewer rows."""
    scores = rows.scores.astype(np.float64)
    size = effective_rows(rows.cells, rows.weight, rows.n_cells)
    share = (size / (size + FULL_TRUST))[rows.cells][:, None]
    return share * np.eye(scores.shape[1])[rows.y] + (1 - share) * scores


def _gain(rows: ScoreRows, goal: Goal) -> Floats:
    """Return the gain of a correct decision by class."""
    n_classes = rows.scores.shape[1]
    if goal.objective.name == COST:
        return cost_gains(goal.objective, n_classes)
    if goal.objective.name not in BALANCED:
        return np.ones(n_classes)
    labels = np.bincount(rows.y, weights=rows.weight, minlength=n_classes)
    return labels.sum() / (n_classes * np.maximum(labels, labels[labels > 0].min()))


def cost_gains(objective: Metric, n_classes: int) -> Floats:
    """Return what a correct decision saves by class, with mean 1, from a matrix of costs.

    The rule is optimal if the cost of an error depends on the true class only; otherwise the mean
    cost of the errors of a class stands for each of them.
    """
    values = np.zeros((n_classes, n_classes))
    for at in np.ndindex(values.shape):
        one_row = np.zeros((1, n_classes, n_classes))
        one_row[(0, *at)] = 1.0
        value = objective.value(ClassCounts(one_row))
        if isinstance(value, Undefined):
            return np.ones(n_classes)
        values[at] = value
    right = values.diagonal()
    saved = right - (values.sum(axis=1) - right) / (n_classes - 1)
    # Where errors cost less than a correct decision, the class is never worth choosing.
    gain: Floats = saved.clip(min=SMALLEST_GAIN * saved.max())
    return gain / gain.mean() if saved.max() > 0 else np.ones(n_classes)


def _thinned(cell: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return evenly spaced rows of each cell, up to the largest number."""
    kept = []
    for at in np.unique(cell):
        rows = np.flatnonzero(cell == at)
        places = np.linspace(0, len(rows) - 1, min(len(rows), ROWS_PER_CELL)).round()
        kept.append(rows[places.astype(np.int64)])
    return np.concatenate(kept)


def _lost(cell: NDArray[np.int64], weight: Floats, kept: NDArray[np.int64]) -> Floats:
    """Return the weight factor of the subsampled rows, by cell."""
    every = np.bincount(cell, weights=weight)
    left = np.bincount(cell[kept], weights=weight[kept], minlength=len(every))
    factor = np.divide(every, left, out=np.ones_like(every), where=left > 0)
    return factor[cell[kept]]


def _bands(rows: ScoreRows, goal: Goal) -> tuple[Band, ...]:
    weight = rows.weight / rows.weight.sum()
    cell_weight = np.bincount(rows.cells, weights=weight, minlength=rows.n_cells)
    labels = np.stack(
        [
            np.bincount(rows.cells, weight * column, minlength=rows.n_cells)
            for column in shrunk_labels(rows).T
        ],
        axis=1,
    )
    real = np.zeros_like(labels)
    np.add.at(real, (rows.cells, rows.y), weight)
    found = []
    for target, factor in zip(goal.targets, scales(goal.targets), strict=True):
        member = target.system.member.astype(np.float64)
        whole = np.repeat((member @ cell_weight)[:, None], labels.shape[1], axis=1)
        own, own_real = member @ labels, member @ real
        others_real = member @ (real.sum(axis=1, keepdims=True) - real)
        # Shrunk labels give weight to classes of which a group has no row.
        masses = {
            None: whole,
            1: np.where(own_real > 0, own, 0.0),
            0: np.where(others_real > 0, whole - own, 0.0),
        }
        found += [
            Band(rate=rate, member=member, mass=masses[rate.label], factor=factor)
            for rate in target.metric.rates
        ]
    return tuple(found)


def class_offsets(of_cell: Sequence[int], slopes: Floats, cuts: Floats) -> dict[str, Any]:
    """Return the portable form of factors and prices by group; the last group is of no cell."""
    return {
        "kind": "classes",
        "randomized": False,
        "of_cell": np.array(of_cell, dtype=np.int32),
        "slopes": slopes,
        "cuts": cuts,
    }


@dataclass(frozen=True, slots=True)
class MostLikely(RuntimeRule):
    """Choose the class of the largest probability, the first of ties."""

    needs_sensitive: ClassVar[bool] = False

    def to_dict(self) -> dict[str, Any]:
        return class_offsets((), np.ones((1, 1)), np.zeros((1, 1)))

    def describe(self) -> str:
        return "all: the most likely class"


@dataclass(frozen=True, slots=True, kw_only=True)
class ClassRule(RuntimeRule):
    """Choose the class with the largest scaled probability minus price."""

    slopes: tuple[tuple[float, ...], ...]  # factor and price of each class, per part
    cuts: tuple[tuple[float, ...], ...]
    neutral: tuple[float, ...]  # factor of each class for rows without a part; their prices are 0
    parts: Parts  # which cells make up each part

    @property
    def needs_sensitive(self) -> bool:
        """Whether the parts, or rows without a part, are decided differently."""
        zero_offsets = tuple(0.0 for _ in self.neutral)
        return set(zip(self.slopes, self.cuts, strict=True)) != {(self.neutral, zero_offsets)}

    def to_dict(self) -> dict[str, Any]:
        slopes = np.array([*self.slopes, self.neutral])
        cuts = np.array([*self.cuts, tuple(0.0 for _ in self.neutral)])
        return class_offsets(self.parts.of_cell, slopes, cuts)

    def describe(self) -> str:
        found = []
        for label, slopes, cuts in zip(self.parts.labels, self.slopes, self.cuts, strict=True):
            each = [
                f"{-cut:+z.4f}" if slope == plain else f"x{slope:.3f}{-cut:+z.4f}"
                for slope, cut, plain in zip(slopes, cuts, self.neutral, strict=True)
            ]
            found.append(f"{label}: {' '.join(each)}")
        return ", ".join(found)


BEYOND = 1e-9
"""Distance of a cut beyond the last row, so that all rows lie on one side."""


def nearest_shares(
    shares: Floats,
    mass: Floats,
    targets: Sequence[BoundConstraint],
    limits: Sequence[float],
) -> Floats:
    """Return the shares of the classes within the limits that are nearest to given ones.

    The distance is the weight of the rows that change their class (a linear program).
    """
    n_cells, n_classes = shares.shape
    size = shares.size
    n_levels = len(targets) * n_classes
    # Variables: shares, distances, and the lowest rate of each target and class.
    cost = np.concatenate([np.zeros(size), np.repeat(mass, n_classes), np.zeros(n_levels)])
    eye, free = identity(size), csr_matrix((size, n_levels))
    rows = [hstack([eye, -eye, free]), hstack([-eye, -eye, free])]
    bounds = [shares.ravel(), -shares.ravel()]
    for number, (target, limit) in enumerate(zip(targets, limits, strict=True)):
        part = target.system.member * mass
        total = part.sum(axis=1)
        there = total > 0
        rates = kron(csr_matrix(part[there] / total[there, None]), identity(n_classes))
        own = np.eye(1, len(targets), number)
        low = kron(np.ones((there.sum(), 1)), kron(own, identity(n_classes)))
        unused = csr_matrix(rates.shape)
        rows += [hstack([rates, unused, -low]), hstack([-rates, unused, low])]
        bounds += [np.full(rates.shape[0], limit), np.zeros(rates.shape[0])]
    each = kron(identity(n_cells), np.ones((1, n_classes)))
    solved = linprog(
        cost,
        A_ub=vstack(rows, format="csr"),
        b_ub=np.concatenate(bounds),
        A_eq=hstack([each, csr_matrix((n_cells, size + n_levels))], format="csr"),
        b_eq=np.ones(n_cells),
        bounds=(0.0, 1.0),
        method="highs",
    )
    if solved.x is None:
        return shares
    return solved.x[:size].reshape(shares.shape)


def cuts_for(worth: Floats, weight: Floats, wanted: Floats, start: Floats) -> Floats:
    """Return the cuts at which the rows of a cell choose each class as often as wanted.

    Each class in turn gets the cut at which its share is right, given the cuts of the others,
    until all shares are right up to one row.
    """
    cuts = start.copy()
    goal = wanted * weight.sum()
    best, fewest = cuts.copy(), np.inf
    # Most cells need fewer than ten rounds.
    for _ in range(60):
        chosen = (worth - cuts).argmax(axis=1)
        held = np.bincount(chosen, weights=weight, minlength=len(cuts))
        off = np.abs(held - goal)
        if off.max() < fewest:
            best, fewest = cuts.copy(), off.max()
        if fewest <= weight.max() * 0.75:
            break
        at = int(off.argmax())
        cuts[at] = _cut(worth - cuts, cuts[at], weight, at, goal[at])
    return best


def _cut(left: Floats, cut: float, weight: Floats, at: int, goal: float) -> float:
    """Return the cut of one class at which its chosen weight is closest to the goal."""
    others = np.delete(left, at, axis=1).max(axis=1)
    ahead = left[:, at] + cut - others
    inside = ahead > cut
    held = float(weight[inside].sum())
    # The rows that change class lie next to the cut, in the direction in which it moves.
    side = np.flatnonzero(~inside if held < goal else inside)
    missing = abs(goal - held)
    near = _nearest(np.abs(ahead[side] - cut), weight[side], missing)
    moved = side[near]
    count = int(np.abs(np.concatenate([[0.0], np.cumsum(weight[moved])]) - missing).argmin())
    if count == 0:
        return cut
    last = float(ahead[moved[count - 1]])
    if count < len(moved):
        return (last + float(ahead[moved[count]])) / 2
    # All rows of that side: the cut lies beyond the last one.
    return last - BEYOND if held < goal else last + BEYOND


def _nearest(distance: Floats, weight: Floats, wanted: float) -> NDArray[np.int64]:
    """Return the positions of the nearest rows, in order, that hold the wanted weight."""
    # Mostly few rows are needed, and a full sort would dominate the running time.
    count = 32 + int(2 * wanted / max(float(weight.mean()), 1e-300)) if len(weight) else 0
    while count < len(distance):
        few = np.argpartition(distance, count)[: count + 1]
        few = few[np.lexsort((few, distance[few]))]
        # Ties of the last row may lie outside the selection.
        if weight[few[:-2]].sum() > wanted:
            return few[:-1]
        count *= 4
    return np.argsort(distance, kind="stable")
