"""Scores shifted by a polynomial of a number such as age, then one common threshold.

Source of the constraint: Giuliani, Misino, Lombardi, "Generalized Disparate Impact for
Configurable Fairness Solutions in ML", ICML 2023. The bound applies to decisions, while projected
scores only bound the dependence of scores; the projections (coarse and fine) are therefore just
some of the polynomials tried, and rules are chosen by the measured GeDI of the decisions. Shifted
scores need no clipping to [0, 1], because they are compared with a threshold.

Notation of ``fairautoml.metrics.gedi``. The projection of v is ``z = v - Phi (alpha - alpha')``,
where alpha' are the allowed coefficients nearest to alpha in the norm of ``Phi' Phi``. Allowed are

* coarse: ``||alpha'||_1 <= bound``, and
* fine: what is left is a line of slope at most ``bound``,

the two constraints of Giuliani, Misino, Lombardi (ICML 2023), who reach them by other means. The
closed forms are ours.

A row is accepted when its score reaches a threshold plus a polynomial of its number. Decisions
enter GeDI linearly, so the Lagrangian gives the optimal polynomial as a weighted sum of the
contributions of a row to the coefficients; the weights are prices. Under a bound on the sum of
absolute coefficients, all non-zero coefficients have the same price, and no price is larger. The
search raises this price from 0 until no dependence is left; at each level Newton steps bring the
coefficients with a smaller price to 0. Several numbers have separate prices that rise together.
"""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from fairautoml.metrics import BoundConstraint
from fairautoml.metrics.gedi import centred_powers, solver
from fairautoml.mitigators._base import (
    FittedRules,
    Goal,
    Mitigator,
    RuntimeRule,
    ScoreRows,
    scales,
)
from fairautoml.mitigators._group_program import CommonRule, gains, rules_within, thresholds
from fairautoml.mitigators._thresholds import gain_weights, per_unit
from fairautoml.records import Floats, Rule

Kind = Literal["coarse", "fine"]

ROUNDING = 1e-12
"""Largest absolute value of a coefficient that is treated as 0."""


def taken_off(
    powers: Floats,
    alpha: Floats,
    weight: Floats,
    *,
    bound: float,
    kind: Kind,
) -> Floats:
    """Return ``alpha - alpha'``, shape (degree,)."""
    gram = (powers * weight[:, None]).T @ powers
    if kind == "fine":
        line = np.zeros_like(alpha)
        # Slope of the straight line through Phi alpha.
        line[0] = np.clip(gram[0] @ alpha / gram[0, 0], -bound, bound)
        return alpha - line
    return alpha - nearest_in_ball(alpha, gram, bound)


def nearest_in_ball(alpha: Floats, gram: Floats, bound: float) -> Floats:
    """Return the points of the L1 ball nearest to given points in the norm of ``gram``.

    The nearest point lies inside a face of the ball, that is, a pattern of signs. For each of the
    ``3^degree - 1`` patterns the nearest point of the plane solves linear equations; the result is
    the nearest of the solutions that keep the signs.
    """
    points = np.atleast_2d(alpha)
    best, best_distance = np.zeros_like(points), _distance(points, gram)
    patterns = itertools.product((0.0, 1.0, -1.0), repeat=points.shape[1]) if bound > 0 else ()
    for pattern in map(np.array, patterns):
        on = np.flatnonzero(pattern)
        if len(on) == 0:
            continue
        signs = pattern[on]
        inverse = np.linalg.inv(gram[np.ix_(on, on)])
        free, across = points @ gram[:, on] @ inverse, inverse @ signs
        inside = free - np.outer((free @ signs - bound) / (signs @ across), across)
        found = np.zeros_like(points)
        found[:, on] = inside
        distance = _distance(found - points, gram)
        better = (inside * signs >= -ROUNDING).all(axis=1) & (distance < best_distance)
        best[better], best_distance[better] = found[better], distance[better]
    within = np.abs(points).sum(axis=1) <= bound
    best[within] = points[within]
    return best.reshape(alpha.shape)


def _distance(apart: Floats, gram: Floats) -> Floats:
    return ((apart @ gram) * apart).sum(axis=1)


N_THRESHOLDS = 64
"""Score quantiles tried as thresholds, besides the best unconstrained threshold."""

FRACTIONS = 8
"""Steps between none and all of the dependence of the scores."""

END_STEPS = 12
"""Newton steps to decisions that do not depend on the number."""

PRICES = 16
PRICE_STEPS = 2
"""Price levels between none and full removal, and Newton steps at each."""

BISECTIONS = 8
"""Bisections between two price levels, for each tolerance."""

DAMPING = 0.5
AT_SIDE = 1e-9

HALF_WIDTH = 0.1
"""Half-width, around a threshold, of the window in which the score density is measured."""

LEAST_DENSITY = 0.1
"""Smallest density; with few scores near a threshold, shifts change no decisions."""

Shifts = tuple[Floats, ...]
Term = tuple[str, tuple[float, ...]]


def _at(path: Sequence[Shifts], places: NDArray[np.integer]) -> Shifts:
    """Return, for every threshold, the coefficients at its own position on a path."""
    column = np.arange(len(places))
    parts = (np.stack(each) for each in zip(*path, strict=True))
    return tuple(np.asarray(part[places, :, column].T) for part in parts)


class _Search:
    """Rules tried on the rows; cells are the finest groups, then one for rows without a group."""

    def __init__(self, rows: ScoreRows, goal: Goal) -> None:
        self.targets = goal.targets
        self._scale = scales(goal.targets)
        self._gain = gain_weights(rows, goal.objective)
        cells = np.where(rows.cells < 0, rows.n_cells, rows.cells)
        self._ranked = tuple(
            _Ranked(rows, np.flatnonzero(cells == at)) for at in range(rows.n_cells + 1)
        )
        self._mass = np.array([cell.totals for cell in self._ranked])
        middle = self._gain[1] / sum(self._gain)
        shares = np.arange(1, N_THRESHOLDS) / N_THRESHOLDS
        inner = np.quantile(rows.scores.astype(np.float64), shares, method="inverted_cdf")
        self.thresholds = np.unique([-np.inf, *inner, middle, np.inf])
        self._numbers = tuple(_Number(target, self._mass[:-1]) for target in goal.targets)
        self._none = tuple(np.zeros((len(n.solver), len(self.thresholds))) for n in self._numbers)
        self.tried: list[Shifts] = []
        self.gaps: list[Floats] = []
        self.values: list[Floats] = []

    def try_projections(self) -> None:
        """Try shifts that leave a share of the dependence of the scores."""
        bent = any(len(number.solver) > 1 for number in self._numbers)
        kinds: tuple[Kind, ...] = ("coarse", "fine") if bent else ("coarse",)
        for kind, left in itertools.product(kinds, np.arange(FRACTIONS) / FRACTIONS):
            taken = [self._of_scores(number, left, kind) for number in self._numbers]
            n_cuts = len(self.thresholds)
            self._try(tuple(np.repeat(each[:, None], n_cuts, axis=1) for each in taken))

    def try_prices(self, tolerances: Sequence[float]) -> None:
        """Try rising prices, then bisect for each tolerance between infeasible and feasible."""
        ends = self._newton(self._none, None, END_STEPS)
        most = tuple(
            np.abs(number.prices(each)).max(axis=1, initial=0.0)
            for number, each in zip(self._numbers, ends, strict=True)
        )
        path = [self._none]
        for share in np.arange(1, PRICES) / PRICES:
            path.append(self._newton(path[-1], tuple(share * m for m in most), PRICE_STEPS))
        path.append(ends)
        gaps = np.array([self._try(shifts) for shifts in path])
        for tolerance in tolerances:
            first = (gaps <= tolerance).argmax(axis=0)
            # Both ends are equal where the tolerance holds from the start or never.
            before = np.maximum(first - 1, 0)
            self._bisect(_at(path, before), _at(path, first), tolerance)

    def _bisect(self, outside: Shifts, inside: Shifts, tolerance: float) -> None:
        """Bisect the prices: with many tied scores GeDI drops within a tiny interval."""
        for _ in range(BISECTIONS):
            middle = tuple((a + b) / 2 for a, b in zip(outside, inside, strict=True))
            kept = self._try(middle) <= tolerance
            inside = tuple(np.where(kept, m, b) for m, b in zip(middle, inside, strict=True))
            outside = tuple(np.where(kept, a, m) for m, a in zip(middle, outside, strict=True))

    def _try(self, shifts: Shifts) -> Floats:
        """Record the outcome of the coefficients and return the gaps at every threshold."""
        gap, value = self._outcome(shifts)
        self.tried.append(shifts)
        self.gaps.append(gap)
        self.values.append(value)
        return gap

    def _newton(self, found: Shifts, most: Shifts | None, steps: int) -> Shifts:
        """Return the shifts at which no coefficient exceeds its price, for every threshold."""
        for _ in range(steps):
            by_cell = self._by_cell(found)
            accepted = self._above(self.thresholds + by_cell)
            near = self._near(by_cell)
            found = tuple(
                number.step(each, accepted, near, None if most is None else most[at])
                for at, (each, number) in enumerate(zip(found, self._numbers, strict=True))
            )
        return found

    def _near(self, by_cell: Floats) -> Floats:
        """Return the weight of each cell around each threshold, per unit of score."""
        low = self._above(self.thresholds - HALF_WIDTH + by_cell)
        high = self._above(self.thresholds + HALF_WIDTH + by_cell)
        return (low - high).sum(axis=1) / (2 * HALF_WIDTH)

    def _of_scores(self, number: "_Number", left: float, kind: Kind) -> Floats:
        """Return the shift that leaves the given share of the GeDI of the scores."""
        sums = np.array([cell.weighted_score for cell in self._ranked[:-1]])
        alpha = number.solver @ number.mean(sums)
        if len(alpha) == 0:
            return alpha
        bound = left * float(np.abs(alpha).sum())
        return taken_off(number.powers, alpha, number.mass, bound=bound, kind=kind)

    def _above(self, cuts: Floats) -> Floats:
        """Return the weight accepted by cell, label and threshold."""
        return np.stack([cell.above(cut) for cell, cut in zip(self._ranked, cuts, strict=True)])

    def _by_cell(self, shifts: Shifts) -> Floats:
        """Return the shift of each threshold by cell, shape (n_cells + 1, n_thresholds)."""
        added = np.zeros((len(self._ranked), len(self.thresholds)))
        for number, each in zip(self._numbers, shifts, strict=True):
            inside = np.flatnonzero(number.of_cell >= 0)
            added[inside] += (number.powers @ each)[number.of_cell[inside]]
        return added

    def _outcome(self, shifts: Shifts) -> tuple[Floats, Floats]:
        """Return gap per unit of tolerance and gain at every threshold."""
        accepted = self._above(self.thresholds + self._by_cell(shifts))
        gap = np.zeros(len(self.thresholds))
        for target, scale in zip(self.targets, self._scale, strict=True):
            member = target.system.member.astype(np.float64)
            yes = np.tensordot(member, accepted[:-1], axes=1)
            all_ = np.tensordot(member, self._mass[:-1], axes=1)[:, :, None]
            tables = np.moveaxis(np.stack([all_ - yes, yes], axis=2), 3, 0)
            many = target.metric.many
            found = np.full(len(tables), np.nan) if many is None else many(tables)
            np.maximum(gap, per_unit(np.nan_to_num(found, nan=np.inf), scale), out=gap)
        return gap, gains(accepted, self._gain)

    def chosen(self, at: int) -> tuple[float, Floats, tuple[Term, ...]]:
        """Return threshold, shift of each cell, and polynomials of one outcome."""
        which, column = divmod(at, len(self.thresholds))
        shifts = self.tried[which]
        terms = tuple(
            (target.system.name, tuple(each[:, column].tolist()))
            for target, each in zip(self.targets, shifts, strict=True)
        )
        return float(self.thresholds[column]), self._by_cell(shifts)[:-1, column], terms


class _Number:
    """A continuous attribute that decisions must not depend on."""

    def __init__(self, target: BoundConstraint, mass: Floats) -> None:
        system = target.system
        if system.values is None:
            raise ValueError(f"{target.metric.name} was given groups without numbers")
        self.of_cell = system.of_cell
        self.mass = system.member @ mass.sum(axis=1)
        found = solver(system.values, self.mass, target.metric.degree)
        self.solver = np.zeros((0, system.n_groups)) if found is None else found
        self.powers = centred_powers(system.values, len(self.solver), self.mass)

    def mean(self, sums: Floats) -> Floats:
        """Return the mean by group of sums by cell, shape (n_groups, ...)."""
        inside = self.of_cell >= 0
        total = np.zeros((len(self.mass), *sums.shape[1:]))
        np.add.at(total, self.of_cell[inside], sums[inside])
        mass = self.mass.reshape(-1, *(1 for _ in sums.shape[1:]))
        return np.divide(total, mass, out=np.zeros_like(total), where=mass > 0)

    @property
    def gram(self) -> Floats:
        """``Phi' Phi`` per unit of weight, shape (degree, degree)."""
        shares = (self.mass / self.mass.sum())[:, None]
        return (self.powers * shares).T @ self.powers

    def prices(self, shifts: Floats) -> Floats:
        """Return the price of each coefficient of the decisions, shape (n_thresholds, degree).

        A row at x is shifted by ``Phi(x) shifts``, which equals ``prices`` times the contribution
        of the row to the coefficients of the decisions.
        """
        return (self.gram @ shifts).T

    def step(self, shifts: Floats, accepted: Floats, near: Floats, most: Floats | None) -> Floats:
        """Return a Newton step towards coefficients that are 0 or at the largest price.

        These rules have the least GeDI for their accuracy: under a bound on the L1 norm of the
        coefficients, the prices lie in a box, and at its boundary where a coefficient is not 0.
        """
        if len(self.solver) == 0:
            return shifts
        alpha = (self.solver @ self.mean(accepted[:-1].sum(axis=1))).T
        overall = near[:-1].sum(axis=0) / self.mass.sum()
        density = np.maximum((self.mean(near[:-1]) + overall) / 2, LEAST_DENSITY)
        to_shifts = np.linalg.inv(self.gram)
        slope = np.einsum("kg,gt,gm->tkm", self.solver, density, self.powers) @ to_shifts
        prices = self.prices(shifts)
        free = np.ones(prices.shape, dtype=bool)
        if most is not None:
            at_side = np.abs(prices) >= most[:, None] * (1 - AT_SIDE)
            free = ~(at_side & (alpha * prices >= 0) & (most[:, None] > 0))
        both = free[:, :, None] & free[:, None, :]
        slope = np.where(both, slope, np.eye(len(alpha[0])))
        moved = np.linalg.solve(slope, np.where(free, alpha, 0.0)[:, :, None])[:, :, 0]
        prices = prices + DAMPING * moved
        if most is not None:
            prices = np.clip(prices, -most[:, None], most[:, None])
        return to_shifts @ prices.T


class _Ranked:
    """Scores of one cell, ascending, and the weight of each label at or above each score."""

    def __init__(self, rows: ScoreRows, at: NDArray[np.integer]) -> None:
        scores = rows.scores[at].astype(np.float64)
        order = np.argsort(scores, kind="stable")
        weight, y = rows.weight[at][order], rows.y[at][order]
        by_label = np.stack([weight * (1 - y), weight * y])
        rest = np.cumsum(by_label[:, ::-1], axis=1)[:, ::-1]
        self.scores = scores[order]
        self.from_here = np.concatenate([rest, np.zeros((2, 1))], axis=1)
        self.weighted_score = float(rows.weight[at] @ scores)

    @property
    def totals(self) -> Floats:
        """Return the weight of label 0 and label 1."""
        return self.from_here[:, 0]

    def above(self, cuts: Floats) -> Floats:
        """Return the weight by label of the scores at or above each cut, shape (2, n_cuts)."""
        return self.from_here[:, np.searchsorted(self.scores, cuts, side="left")]


@dataclass(frozen=True, slots=True, kw_only=True)
class ShiftedRule(RuntimeRule):
    """Accept a row when its score reaches the threshold plus the polynomial of its number."""

    threshold: float  # for a row at the mean of all powers
    shifts: tuple[float, ...]  # shift of each finest cell, in units of the score
    # name of each number, and the coefficients of its powers, in standard deviations
    terms: tuple[Term, ...]

    needs_sensitive: ClassVar[bool] = True

    def to_dict(self) -> dict[str, Any]:
        cuts = self.threshold + np.array([*self.shifts, 0.0])
        return thresholds(range(len(self.shifts)), cuts[None, :])

    def describe(self) -> str:
        terms = [
            " ".join(
                f"{factor:+.4f} {name}" + ("" if power == 1 else f"^{power}")
                for power, factor in enumerate(factors, 1)
            )
            for name, factors in self.terms
        ]
        return f">= {self.threshold:.4f} {' '.join(terms)} (centred powers, standard deviations)"


def fit_rules(rows: ScoreRows, goal: Goal, tolerances: Sequence[float]) -> FittedRules:
    """Return the best rule for every tolerance; one always exists (reject all rows)."""
    if not goal.targets:
        return []
    search = _Search(rows, goal)
    search.try_projections()
    search.try_prices(tolerances)
    gap, value = np.concatenate(search.gaps), np.concatenate(search.values)
    return rules_within(gap, value, tolerances, partial(_rule, search))


def _rule(search: _Search, at: int) -> Rule:
    threshold, shifts, terms = search.chosen(at)
    if not np.isfinite(threshold) or not shifts.any():
        return CommonRule(threshold=threshold)
    return ShiftedRule(threshold=threshold, shifts=tuple(shifts.tolist()), terms=terms)


MITIGATOR = Mitigator(
    name="gedi_projection",
    stage="post",
    needs_sensitive_at_predict=True,
    serves=frozenset({"gedi", "gedi_2", "gedi_3", "gedi_5", "gedi_relative"}),
    fit_rules=fit_rules,
)
