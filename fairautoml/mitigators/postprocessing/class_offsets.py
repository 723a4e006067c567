"""Class prices per group: group thresholds for more than two classes.

With the group known, the most accurate decision under demographic parity or equalized odds is the
class of the largest ``slope p_c(x) - cut``, with slope and cut by group and class. The prices
solve the dual of a linear program; under demographic parity the shares are then made exact on the
fitted rows, up to one row per group. Label rates use labels shrunk towards the scores, as for two
classes. The rule is deterministic. A bound on a mean over the classes is met by every class.

Source: see ``_multiclass``.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from fairautoml.metrics.rates import SELECTION
from fairautoml.mitigators._base import (
    FittedRules,
    Goal,
    Mitigator,
    RateMetrics,
    ScoreRows,
    scales,
)
from fairautoml.mitigators._group_program import Parts
from fairautoml.mitigators._multiclass import (
    ClassRule,
    Program,
    cuts_for,
    nearest_shares,
    shrunk_labels,
)
from fairautoml.records import Floats, Rule

NEAR_ENOUGH = 0.002
"""Excess over the tolerance that needs no further round."""

Prices = tuple[Floats, Floats]


def fit_rules(rows: ScoreRows, goal: Goal, tolerances: Sequence[float]) -> FittedRules:
    """Return the best prices for every tolerance.

    A group without rows of a rate is excluded from that rate. For cells without rows, and rows
    without a cell, the most likely class is predicted.
    """
    if not goal.targets:
        return []
    parts = Parts.of(goal.targets, rows.n_cells)
    ordered, known = _in_order_of_content(rows, parts)
    if len(known.y) == 0:
        return [(tolerance, None) for tolerance in tolerances]
    fit = _Fit(known, ordered.goal(goal), ordered)
    # From loose to tight: the prices of one tolerance are a warm start for the next.
    found = {tolerance: fit.rule(tolerance) for tolerance in sorted(tolerances, reverse=True)}
    return [(tolerance, found[tolerance]) for tolerance in tolerances]


def _in_order_of_content(rows: ScoreRows, parts: Parts) -> tuple[Parts, ScoreRows]:
    """Return parts and rows in an order of their content, so that sums round equally."""
    coarse = parts.rows(rows)
    known = np.flatnonzero((coarse.cells >= 0) & (coarse.weight > 0))
    order = known[np.lexsort((rows.weight[known], rows.y[known], *rows.scores[known].T))]
    seen, first = np.unique(coarse.cells[order], return_index=True)
    rest = np.setdiff1d(np.arange(len(parts.labels)), seen)
    ordered = parts.reordered([*seen[np.argsort(first)].tolist(), *rest.tolist()])
    return ordered, ordered.rows(rows).take(order)


class _Fit:
    """Rules of one score column, for one tolerance after the other."""

    def __init__(self, rows: ScoreRows, goal: Goal, parts: Parts) -> None:
        self._rows, self._goal, self._parts = rows, goal, parts
        self._program = Program(rows, goal)
        self._weight = rows.weight / rows.weight.sum()
        self._labels = shrunk_labels(rows)
        self._prices = np.zeros(sum(band.mass.size for band in self._program.bands))
        self._off = [np.zeros_like(band.mass) for band in self._program.bands]
        self._exact = all(target.metric.rates == (SELECTION,) for target in goal.targets)

    def rule(self, tolerance: float) -> Rule:
        program = self._program
        best = program.rule(np.zeros_like(self._prices))
        least = self._excess(self._rates(best), tolerance)
        # Rounds that measure the error of the program on all rows, and correct it.
        rounds = 4
        if self._exact:
            rounds = 2 if program.thinned else 1
        for _ in range(0 if least <= 0 else rounds):
            self._prices = program.solve(tolerance, self._prices, self._off)
            found = program.rule(self._prices)
            rates = self._rates(found)
            excess = self._excess(rates, tolerance)
            if excess < least or self._exact:
                best, least = found, excess
            if excess <= NEAR_ENOUGH:
                break
            soft = program.soft_rates(self._prices)
            self._off = [real - said for real, said in zip(rates, soft, strict=True)]
        if self._exact and least > 0:
            limits = [tolerance * factor for factor in scales(self._goal.targets)]
            best = self._with_exact_shares(best, limits)
        return self._made(best)

    def _chosen(self, rule: Prices) -> NDArray[np.int64]:
        slope, cut = rule
        cells = self._rows.cells
        worth = slope[cells] * self._rows.scores.astype(np.float64) - cut[cells]
        return worth.argmax(axis=1)

    def _rates(self, rule: Prices) -> list[Floats]:
        """Return the rates of every band on all rows."""
        chosen = self._chosen(rule)
        right = self._weight * self._labels[np.arange(len(chosen)), chosen]
        mass, own = self._by_cell(chosen, self._weight), self._by_cell(chosen, right)
        return [band.rates(mass, own) for band in self._program.bands]

    def _by_cell(self, chosen: NDArray[np.int64], weight: Floats) -> Floats:
        """Return the weight of the rows by cell and chosen class."""
        shape = (self._rows.n_cells, len(self._program.gain))
        at = self._rows.cells.astype(np.int64) * shape[1] + chosen
        found = np.bincount(at, weights=weight, minlength=shape[0] * shape[1])
        return found.astype(np.float64).reshape(shape)

    def _excess(self, rates: Sequence[Floats], tolerance: float) -> float:
        """Return the largest gap minus limit."""
        pairs = zip(self._program.bands, rates, strict=True)
        return max(band.spread(found) - tolerance * band.factor for band, found in pairs)

    def _with_exact_shares(self, rule: Prices, limits: Sequence[float]) -> Prices:
        slope, cut = rule
        rows = self._rows
        held = self._by_cell(self._chosen(rule), rows.weight)
        mass = held.sum(axis=1)
        even = np.full_like(held, 1.0 / held.shape[1])
        shares = np.divide(held, mass[:, None], out=even, where=mass[:, None] > 0)
        wanted = nearest_shares(shares, mass, self._goal.targets, limits)
        cuts = cut.copy()
        for cell in np.flatnonzero(mass > 0):
            inside = rows.cells == cell
            worth = slope[cell] * rows.scores[inside].astype(np.float64)
            cuts[cell] = cuts_for(worth, rows.weight[inside], wanted[cell], cut[cell])
        return slope, cuts

    def _made(self, rule: Prices) -> Rule:
        slope, cut = rule
        return ClassRule(
            slopes=tuple(map(tuple, slope.tolist())),
            cuts=tuple(map(tuple, cut.tolist())),
            neutral=tuple(self._program.gain.tolist()),
            parts=self._parts,
        )


MITIGATOR = Mitigator(
    name="class_offsets",
    stage="post",
    needs_sensitive_at_predict=True,
    serves=RateMetrics(difference="monotone", macro="monotone", task="multiclass"),
    tasks=frozenset({"multiclass"}),
    overlapping=True,
    fit_rules=fit_rules,
)
