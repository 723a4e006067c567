"""Sufficient statistics of a score column: cut points, cumulated counts, rates, gains.

Every deterministic threshold of a group is one cut; everything a solver needs to know about the
cut is here, so solving takes milliseconds and does not depend on the number of rows.
"""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fairautoml.metrics._table import Rate, effective_rows
from fairautoml.metrics.rates import SELECTION
from fairautoml.mitigators._base import Goal, ScoreRows, Target

SLACK = 1e-12
"""Gaps that differ by rounding only are equal."""

MAX_CUTS = 400
"""Cut points per group; the steps of both label rates then add up to at most 2/400."""

SHRINKAGE_ROWS = 2000.0
"""n0 of the label shrinkage alpha = n / (n + n0)."""

ENOUGH_ROWS = 20_000
"""From this many rows in every group-label cell on, real labels alone are better."""

FEW_ROWS = 1000
"""Below this many rows labels are shrunk for demographic parity too."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Cuts:
    """The thresholds of one group, from "nobody" to "everybody"."""

    thresholds: NDArray[np.float64]  # shape (n_cuts,): falling from +inf to -inf
    # weight accepted at each cut, of label 0 and of label 1
    accepted: NDArray[np.float64]  # shape (n_cuts, 2)
    # rates whose rows the group has none of, though shrunk labels give them a weight
    lacks: frozenset[Rate] = frozenset()

    @property
    def totals(self) -> NDArray[np.float64]:
        """Weight of label 0 and label 1 in the group."""
        last: NDArray[np.float64] = self.accepted[-1]
        return last

    @property
    def empty(self) -> bool:
        """Whether the group has no rows of positive weight."""
        return not self.totals.any()

    def has(self, rate: Rate) -> bool:
        """Whether the group has rows that the rate is a share of."""
        return rate not in self.lacks and self.mass(rate) > 0

    def mass(self, rate: Rate) -> float:
        """Return the denominator of a rate in this group."""
        zero, one = self.totals
        return float(zero + one if rate.label is None else self.totals[rate.label])

    def rate(self, rate: Rate) -> NDArray[np.float64]:
        """Return a group rate at every cut, shape (n_cuts,); 0 where its denominator is empty."""
        zero, one = self.accepted.T
        _, gain, rejected = rate.linear()
        top = gain[1] * one + rejected @ self.totals + gain[0] * zero
        mass = self.mass(rate)
        return top / mass if mass > 0 else np.zeros(len(top))


def build_cuts(rows: ScoreRows, groups: NDArray[np.integer], n_groups: int) -> tuple[Cuts, ...]:
    """Return the cuts of every group."""
    order = np.argsort(-rows.scores)
    if n_groups > 1 or (groups != 0).any():
        # Small integers take the radix sort: three times as fast as sorting by both keys.
        small = groups[order].astype(np.min_scalar_type(-n_groups))
        order = order[np.argsort(small, kind="stable")]
    edges = np.searchsorted(groups[order], np.arange(n_groups + 1))
    return tuple(_cuts_of(rows, order[start:end]) for start, end in itertools.pairwise(edges))


def _cuts_of(rows: ScoreRows, order: NDArray[np.integer]) -> Cuts:
    """Cumulate from the highest score down; ties stay on one side of every cut."""
    score = rows.scores[order].astype(np.float64)
    weight, y = rows.weight[order], rows.y[order]
    cumulated = np.zeros((len(score) + 1, 2))
    np.cumsum(weight * (1 - y), out=cumulated[1:, 0])
    np.cumsum(weight * y, out=cumulated[1:, 1])
    last_of_score = np.flatnonzero(score[:-1] > score[1:]) + 1
    if len(last_of_score) > MAX_CUTS:
        # Equal steps in the sum of both label rates: rare labels get as fine a grid as others.
        totals = np.maximum(cumulated[-1], np.finfo(float).tiny)
        mass = cumulated[last_of_score] @ (1 / totals)
        steps = np.linspace(0, mass[-1], MAX_CUTS + 2)[1:-1]
        last_of_score = last_of_score[np.unique(np.searchsorted(mass, steps))]
    at = np.concatenate([[0], last_of_score, [len(score)]])
    above, below = score[last_of_score - 1], score[last_of_score]
    middle = (above + below) / 2
    # Between two neighbouring floats there is no number: the middle may round down to the lower.
    middle = np.where(middle > below, middle, above)
    thresholds = np.concatenate([[np.inf], middle, [-np.inf]])
    return Cuts(thresholds=thresholds, accepted=cumulated[at])


def shrunk(rows: ScoreRows, goal: Goal, groups: NDArray[np.integer], n_groups: int) -> ScoreRows:
    """Return the rows with labels pulled towards the scores, where that makes rules better.

    ``y~ = alpha y + (1 - alpha) score`` with ``alpha = n / (n + 2000)`` and n the effective rows
    of the group: a rule fitted on few labels follows their noise, one fitted on these does not.
    """
    by_label = any(set(target.metric.compared) - {SELECTION} for target in goal.targets)
    known = groups >= 0
    cell = groups[known].astype(np.int64) * 2 + rows.y[known]
    smallest = np.bincount(cell, minlength=2 * n_groups).min()
    if smallest >= ENOUGH_ROWS or (not by_label and len(rows.y) >= FEW_ROWS):
        return rows
    slot = np.where(known, groups, n_groups)
    effective = effective_rows(slot, rows.weight, n_groups + 1)
    alpha = (effective / (effective + SHRINKAGE_ROWS))[slot]
    labels = alpha * rows.y + (1 - alpha) * rows.scores
    return ScoreRows(
        scores=rows.scores, y=labels, weight=rows.weight, cells=rows.cells, n_cells=rows.n_cells
    )


def gain_weights(rows: ScoreRows, objective: str) -> tuple[float, float]:
    """Return what a true and a false acceptance are worth: ``(c1, -c0)`` as ``(c1, c0)``.

    Accepting x gains ``c1 P(y=1|x) - c0 P(y=0|x)``; the best unconstrained threshold is
    ``c0 / (c0 + c1)``. Accuracy: 1 and 1. Balanced accuracy: each label by its share. F1: the
    linear form that has the same maximum at the unconstrained optimum v (Dinkelbach 1967):
    ``2 - v`` and ``v``. Macro F1: its slopes in the two counts at its best threshold. Metrics of
    the scores alone do not depend on decisions: as accuracy.
    """
    if objective not in {"balanced_accuracy", "f1", "f1_macro"}:
        return 1.0, 1.0
    one = float(rows.weight @ rows.y)
    zero = float(rows.weight.sum()) - one
    if one == 0 or zero == 0:
        return 1.0, 1.0
    if objective == "balanced_accuracy":
        return zero / (one + zero) * 2, one / (one + zero) * 2
    (cuts,) = build_cuts(rows, np.zeros(len(rows.y), dtype=np.int64), 1)
    false, true = cuts.accepted.T
    values = f1_values(cuts.accepted, one, zero, objective)
    if objective == "f1":
        best = float(values.max())
        return 2.0 - best, best
    at = int(values.argmax())
    size_one, size_zero = true[at] + false[at] + one, 2 * zero - false[at] + one - true[at]
    right = (false[at] + one) / size_one**2 + (zero - false[at]) / size_zero**2
    wrong = true[at] / size_one**2 + (zero + one - true[at]) / size_zero**2
    return float(2 * right / (right + wrong)), float(2 * wrong / (right + wrong))


def f1_values(
    accepted: NDArray[np.float64], one: float, zero: float, objective: str
) -> NDArray[np.float64]:
    """Return F1 or macro F1 at every cut."""
    false, true = accepted.T
    of_one: NDArray[np.float64] = 2 * true / (true + false + one)
    if objective == "f1":
        return of_one
    of_zero: NDArray[np.float64] = 2 * (zero - false) / (2 * zero - false + one - true)
    return (of_one + of_zero) / 2


def per_unit(gap: NDArray[np.float64], scale: float) -> NDArray[np.float64]:
    """Return gaps per unit of tolerance; where nothing is allowed, 0 at parity and inf else."""
    if scale > 0:
        return gap / scale
    return np.where(gap <= SLACK, 0.0, np.inf)


def limits_by_rate(
    targets: Sequence[Target], scale: Sequence[float]
) -> tuple[tuple[Rate, str, float], ...]:
    """Return ``(rate, form, scale)`` of all constrained rates, the tightest scale for each."""
    found: dict[tuple[Rate, str], float] = {}
    for target, factor in zip(targets, scale, strict=True):
        for rate in target.metric.rates:
            key = (rate, target.metric.form)
            found[key] = min(factor, found.get(key, np.inf))
    return tuple((rate, form, factor) for (rate, form), factor in found.items())
