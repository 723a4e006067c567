"""Multicalibration: scores calibrated within every group.

Source: Hebert-Johnson, Kim, Reingold, Rothblum, *Multicalibration: Calibration for the
(Computationally-Identifiable) Masses*, arXiv 1711.08513; groups by bins of equal width.

Source: Hu, Livni-Navon, Reingold, Yang, *Omnipredictors for Constrained Optimization*, arXiv
2209.07463: scores that are calibrated in every group of the constraints and at every level can be
thresholded for any loss and any of those constraints. Ours: the scores are calibrated on the
groups of every constraint; then the program of the threshold mitigators runs on the calibrated
scores, whose order within a group may differ from that of the model's scores. Labels of that
program are shrunk towards the calibrated scores: the fewer rows, the closer to the paper's
program, which uses no labels.

Where scores of a group are far too low, rows that move up are merged with those of the bins above
in the same round, which costs accuracy; scores that are already calibrated change little.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from fairautoml.mitigators._base import FittedRules, Goal, Mitigator, RuntimeRule, ScoreRows
from fairautoml.mitigators._group_program import THRESHOLDS_SERVE, ThresholdRule, build_problem
from fairautoml.mitigators._thresholds import by_group
from fairautoml.records import Floats
from fairautoml.runtime._rules import bins_of, shifted

ROUNDS = 100
"""Largest number of passes over all groups; calibration stops when no bin needs a correction."""

DIGITS = 12
"""Decimals of the scores, so that rounding of sums does not move a score across a bin edge."""

EDGE = 1e-6
"""Tolerance of a bin edge, in bins: 0.4 in float32 is more than 0.4."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Update:
    """A shift of the scores of one group in one bin by ``delta``."""

    group: int
    bin: int
    delta: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Bins:
    """The bins of the calibration, and the smallest bin that is corrected."""

    width: float = 0.1  # width of a bin, in (0, 1]
    # a group's bin with less than ``alpha * width`` of the group's weight is not corrected
    alpha: float = 0.1
    fewest: int = 1  # nor is a bin with fewer rows of positive weight

    @property
    def count(self) -> int:
        return int(np.ceil(1 / self.width - EDGE))

    def of(self, scores: Floats) -> NDArray[np.int64]:
        """Return the bin of each score, shape (n_rows,)."""
        return bins_of(scores, self.width, EDGE)

    def calibrate(
        self,
        scores: NDArray[np.floating],
        y: NDArray[np.integer],
        weight: Floats,
        groups: Sequence[NDArray[np.integer]],
    ) -> tuple[Floats, tuple[Update, ...]]:
        """Return the calibrated scores, shape (n_rows,), and the updates that produced them.

        Afterwards the mean of ``y`` minus the score is below a tenth of the width in every
        corrected bin of a group. Each update lowers the Brier score by the bin's share of the
        weight times ``delta ** 2``.
        """
        moved: Floats = scores.astype(np.float64).round(DIGITS)
        updates: list[Update] = []
        for _ in range(ROUNDS):
            before = len(updates)
            for group, rows in enumerate(groups):
                if len(rows):
                    moved[rows], found = self._correct(moved[rows], y[rows], weight[rows])
                    updates += [Update(group=group, bin=v, delta=delta) for v, delta in found]
            if len(updates) == before:
                break
        return moved, tuple(updates)

    def _correct(
        self, scores: Floats, y: NDArray[np.integer], weight: Floats
    ) -> tuple[Floats, list[tuple[int, float]]]:
        """Correct the bins of one group once, from the lowest up."""
        found = []
        at = self.of(scores)
        least = self.alpha * self.width * weight.sum()
        for v in range(self.count):
            rows = np.flatnonzero(at == v)
            mass = weight[rows].sum()
            few = np.count_nonzero(weight[rows]) < max(1, self.fewest)
            if few or mass < least:
                continue
            delta = round(float(weight[rows] @ (y[rows] - scores[rows]) / mass), DIGITS)
            if abs(delta) >= self.width / 10:
                found.append((v, delta))
                scores[rows] = shifted(scores[rows], delta, DIGITS)
                at[rows] = self.of(scores[rows])
        return scores, found


BINS = Bins(fewest=30)
"""Bins of the paper's procedure; in smaller bins the mean label is mostly noise."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CalibratedRule(RuntimeRule):
    """Calibrate the score by the stored updates, then compare it with the group's threshold."""

    bins: Bins  # bins of the updates
    updates: tuple[Update, ...]  # in order of application
    # per group system the group of each finest cell, -1 = none
    of_cell: tuple[tuple[int, ...], ...]
    # updates of all rows as one group, for rows without a group
    overall: tuple[Update, ...]
    cuts: ThresholdRule  # thresholds on the calibrated scores

    needs_sensitive: ClassVar[bool] = True

    @property
    def randomized(self) -> bool:
        return self.cuts.randomized

    def to_dict(self) -> dict[str, Any]:
        return {
            "kind": "calibrated",
            "randomized": self.randomized,
            "width": self.bins.width,
            "edge": EDGE,
            "digits": DIGITS,
            "systems": np.array(self.of_cell, dtype=np.int32),
            "updates": _portable(self.updates),
            "overall": _portable(self.overall),
            "cuts": self.cuts.to_dict(),
        }

    def describe(self) -> str:
        n = len(self.updates)
        return f"calibrated by {n} update{'s' * (n != 1)}, then {self.cuts.describe()}"


def _portable(updates: Sequence[Update]) -> dict[str, Any]:
    return {
        "group": np.array([one.group for one in updates], dtype=np.int32),
        "bin": np.array([one.bin for one in updates], dtype=np.int32),
        "delta": np.array([one.delta for one in updates], dtype=np.float64),
    }


def _all_groups(
    cells: NDArray[np.integer], of_cell: Sequence[Sequence[int]]
) -> list[NDArray[np.integer]]:
    """Return the rows of the groups of every system."""
    every = np.arange(len(cells))
    lookups = [np.append(np.asarray(groups, dtype=np.int64), -1) for groups in of_cell]
    return [rows for at in lookups for rows in by_group(every, at[cells], int(at.max()) + 1)]


def fit_rules(rows: ScoreRows, goal: Goal, tolerances: Sequence[float]) -> FittedRules:
    """Return the best rule on calibrated scores for every tolerance.

    Small bins of a group are not corrected. Groups without rows of a rate are excluded from it,
    and groups without rows get the neutral threshold, as in ``group_thresholds``.
    """
    if not goal.targets:
        return []
    systems = {target.system.key: target.system for target in goal.targets}
    of_cell = tuple(tuple(int(g) for g in system.of_cell) for system in systems.values())
    data = rows.scores, rows.y, rows.weight
    moved, updates = BINS.calibrate(*data, _all_groups(rows.cells, of_cell))
    _, overall = BINS.calibrate(*data, [np.arange(len(rows.y))])
    calibrated = replace(rows, scores=moved)
    problem = build_problem(calibrated, goal)
    labelled = problem.shrunk(calibrated, goal)
    return [
        (
            tolerance,
            None
            if cuts is None
            else CalibratedRule(
                bins=BINS, updates=updates, of_cell=of_cell, overall=overall, cuts=cuts
            ),
        )
        for tolerance, cuts in problem.rules(labelled, tolerances, randomized=goal.randomized)
    ]


MITIGATOR = Mitigator(
    name="multicalibration",
    stage="post",
    needs_sensitive_at_predict=True,
    serves=THRESHOLDS_SERVE,
    opt_in=True,
    fit_rules=fit_rules,
)
