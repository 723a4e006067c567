"""Multicalibrated scores, then the best rule on them under any constraint.

Source: Hu, Livni-Navon, Reingold, Yang, *Omnipredictors for Constrained Optimization*, arXiv
2209.07463: a score that is calibrated in every group of the constraints and at every level can be
thresholded afterwards for any loss and any of those constraints. Two steps of our own form: the
scores are calibrated on the groups of every constraint; then the program of the threshold
mitigators runs on the calibrated scores, whose order within a group may differ from that
of the model's. Labels of that program are shrunk towards the calibrated scores: the fewer rows,
the nearer to the program without labels of the paper.

Where scores are far too low in some group, rows that move up pass through the bins above in the
same round and are mixed with theirs, which costs accuracy; calibrated models lose and gain little.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from fairautoml.mitigators._base import Goal, Mitigator, ScoreRows
from fairautoml.mitigators._cells import shrunk
from fairautoml.mitigators._group_program import THRESHOLDS_SERVE, pose
from fairautoml.mitigators._multicalibrate import Bins, Update, members
from fairautoml.mitigators._rules import ThresholdRule
from fairautoml.trials import Rule

BINS = Bins(fewest=30)
"""Bins of the paper's procedure; the mean label of fewer rows is mostly chance."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CalibratedRule:
    """Calibrate the score by the stored updates, then compare it with the group's threshold."""

    bins: Bins  # what the updates speak about
    updates: tuple[Update, ...]  # in the order in which they were found
    # per group system the group of each finest cell, -1 = none
    of_cell: tuple[tuple[int, ...], ...]
    # updates of all rows as one group, for rows that are in no group
    everybody: tuple[Update, ...]
    cuts: ThresholdRule  # thresholds on the calibrated scores

    @property
    def needs_sensitive(self) -> bool:
        """True: groups have updates and thresholds of their own."""
        return True

    @property
    def randomized(self) -> bool:
        """Whether some group mixes two thresholds."""
        return self.cuts.randomized

    def decide(
        self, scores: NDArray[np.floating], cells: NDArray[np.integer]
    ) -> NDArray[np.float64]:
        """Return the probability of acceptance, shape (n_rows,)."""
        moved = self.bins.replay(scores, _all_groups(cells, self.of_cell), self.updates)
        lookup = np.append(np.max(self.of_cell, axis=0), -1)
        strange = np.flatnonzero(lookup[cells] < 0)
        alone = [np.arange(len(strange))]
        moved[strange] = self.bins.replay(scores[strange], alone, self.everybody)
        return self.cuts.decide(moved, cells)

    def describe(self) -> str:
        """Return the number of updates and the thresholds in one line."""
        n = len(self.updates)
        return f"calibrated by {n} update{'s' * (n != 1)}, then {self.cuts.describe()}"


def _all_groups(
    cells: NDArray[np.integer], of_cell: Sequence[Sequence[int]]
) -> list[NDArray[np.int64]]:
    """Return the rows of the groups of every system."""
    lookups = [np.append(np.asarray(groups, dtype=np.int64), -1) for groups in of_cell]
    return [rows for at in lookups for rows in members(at[cells], int(at.max()) + 1)]


def fit_rules(
    rows: ScoreRows, goal: Goal, tolerances: Sequence[float]
) -> list[tuple[float | None, Rule | None]]:
    """Return the best rule on calibrated scores for every tolerance.

    A bin of a group with few rows is left as it is. Groups that lack the rows of a rate are left
    out of it, and groups without rows get the neutral threshold, as by ``group_thresholds``.
    """
    if not goal.targets:
        return []
    systems = {target.system.key: target.system for target in goal.targets}
    of_cell = tuple(tuple(int(g) for g in system.of_cell) for system in systems.values())
    data = rows.scores, rows.y, rows.weight
    moved, updates = BINS.calibrate(*data, _all_groups(rows.cells, of_cell))
    _, everybody = BINS.calibrate(*data, [np.arange(len(rows.y))])
    calibrated = replace(rows, scores=moved)
    posed = pose(calibrated, goal)
    labelled = shrunk(calibrated, goal, posed.groups, posed.system.n_groups)
    return [
        (
            tolerance,
            None
            if cuts is None
            else CalibratedRule(
                bins=BINS, updates=updates, of_cell=of_cell, everybody=everybody, cuts=cuts
            ),
        )
        for tolerance, cuts in posed.rules(labelled, tolerances, randomized=goal.randomized)
    ]


MITIGATOR = Mitigator(
    name="multicalibration",
    stage="post",
    needs_sensitive_at_predict=True,
    serves=THRESHOLDS_SERVE,
    opt_in=True,
    fit_rules=fit_rules,
)
