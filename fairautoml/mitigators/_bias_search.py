"""Search for the multipliers and the threshold of blind rules, all tolerances in one go.

One or two degrees of freedom: by a grid. More: by a program on smooth counts, from the loosest
tolerance to the tightest, begun from the next looser one's rule or where the linear program of the
model has its optimum. Then thresholds between any two people near what was found are counted.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from fairautoml.mitigators._bias_dual import Dual
from fairautoml.mitigators._bias_grid import PRICE, REACH, Pool, by_grid, few_axes
from fairautoml.mitigators._bias_smooth import Smooth
from fairautoml.mitigators._bias_table import Table
from fairautoml.mitigators._choices import best_within

FIRST_STEPS = 60
"""Of the program on smooth counts for the loosest tolerance, ..."""

STEPS = 15
"""... for each other one from there, ..."""

LAST_STEPS = 6
"""... and then on all rows, ..."""

SETTLING = 20
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
    asked = np.unique(tolerances)
    if few_axes(few):
        found = by_grid(coarse, few, all_rows, start, asked)
    else:
        found = _by_program(few, all_rows, start, asked)
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
        found += [last, everything.within(*last, limits, SETTLING)]
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
    alike = np.array([-np.inf, np.inf])
    found = [(plain, alike, *table.cuts(table.scores, alike))]
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
    alike = worth[:2].max()
    return other if worth[at] - alike < (worth[other] - alike) / 2 else at
