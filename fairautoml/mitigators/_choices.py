"""Many joint choices of one threshold per group: the worth of each and the gap it leaves."""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fairautoml.metrics._table import Rate
from fairautoml.metrics.rates import worst
from fairautoml.mitigators._base import ScoreRows
from fairautoml.mitigators._cells import SLACK, per_unit
from fairautoml.mitigators._group_program import Posed


@dataclass(frozen=True, slots=True, kw_only=True)
class Ranked:
    """One group's rows of positive weight from the lowest score up, and their cumulated weight."""

    scores: NDArray[np.float64]  # shape (n_rows,): rising
    # weight of label 0 and label 1 among the first so many rows
    below: NDArray[np.float64]  # shape (2, n_rows + 1)

    @property
    def totals(self) -> NDArray[np.float64]:
        """Weight of label 0 and label 1, shape (2,)."""
        last: NDArray[np.float64] = self.below[:, -1]
        return last

    def accepted_from(self, thresholds: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the weight by label of the scores of at least each threshold."""
        refused = np.searchsorted(self.scores, thresholds, side="left")
        left: NDArray[np.float64] = self.totals[:, None] - self.below[:, refused]
        return left

    def cut(self, refused: int) -> float:
        """Return the threshold that refuses so many of the lowest rows."""
        if refused == 0:
            return -np.inf
        if refused == len(self.scores):
            return np.inf
        below, above = self.scores[refused - 1], self.scores[refused]
        # Between two neighbouring floats there is no number: the middle may be the lower one.
        middle = (below + above) / 2
        return float(middle if middle > below else above)


def rank(rows: ScoreRows, groups: NDArray[np.integer], n_groups: int) -> tuple[Ranked, ...]:
    """Return the rows of every group in rising order of the scores."""
    kept = np.flatnonzero((groups >= 0) & (rows.weight > 0))
    order = kept[np.argsort(rows.scores[kept])]
    small = groups[order].astype(np.min_scalar_type(n_groups))
    order = order[np.argsort(small, kind="stable")]
    edges = np.searchsorted(groups[order], np.arange(n_groups + 1))
    return tuple(_ranked(rows, order[start:end]) for start, end in itertools.pairwise(edges))


def _ranked(rows: ScoreRows, order: NDArray[np.integer]) -> Ranked:
    weight, y = rows.weight[order], rows.y[order]
    below = np.zeros((2, len(order) + 1))
    np.cumsum(weight * (1 - y), out=below[0, 1:])
    np.cumsum(weight * y, out=below[1, 1:])
    return Ranked(scores=rows.scores[order].astype(np.float64), below=below)


def gaps(
    accepted: NDArray[np.float64], totals: NDArray[np.float64], posed: Posed
) -> NDArray[np.float64]:
    """Return the largest gap per unit of tolerance of every choice, shape (n_choices,).

    A group without the rows of a rate is left out of it; a ratio of 0/0 is no solution: inf.
    """
    largest = np.zeros(accepted.shape[2])
    for target, scale in zip(posed.targets, posed.scale, strict=True):
        parts = np.arange(target.system.n_groups)[:, None] == target.system.of_cell
        member = parts.astype(np.float64)
        for rate in target.metric.rates:
            mass = member @ counted(totals, rate)
            has = mass > 0
            if has.sum() < 2:
                continue
            rates = (member[has] @ counted(accepted, rate)) / mass[has, None]
            apart = worst(rates.T[None], target.metric.form)
            gap = apart if target.metric.form == "difference" else 1.0 - apart
            np.maximum(largest, per_unit(np.nan_to_num(gap, nan=np.inf), scale), out=largest)
    return largest


def counted(by_label: NDArray[np.float64], rate: Rate) -> NDArray[np.float64]:
    """Return what a rate that grows with acceptance counts: label 1, label 0 or both."""
    if rate.label is None:
        both: NDArray[np.float64] = by_label[:, 0] + by_label[:, 1]
        return both
    one: NDArray[np.float64] = by_label[:, rate.label]
    return one


def gains(accepted: NDArray[np.float64], gain: tuple[float, float]) -> NDArray[np.float64]:
    """Return the worth of every choice, shape (n_choices,)."""
    false, true = accepted.sum(axis=0)
    value: NDArray[np.float64] = gain[0] * true - gain[1] * false
    return value


def best_within(
    gap: NDArray[np.float64], value: NDArray[np.float64], tolerances: Sequence[float]
) -> list[int | None]:
    """Return the choice worth most within each tolerance, the first of equals, or None."""
    found: list[int | None] = []
    for tolerance in tolerances:
        allowed = np.where(gap <= tolerance + SLACK, value, -np.inf)
        at = int(allowed.argmax())
        found.append(at if allowed[at] > -np.inf else None)
    return found
