from dataclasses import dataclass

import numpy as np

from fairautoml.metrics import GroupCounts, Undefined
from fairautoml.mitigators import Mitigator

CUTS = np.linspace(0.05, 0.95, 19)


@dataclass(frozen=True)
class OneCut:
    """Accept every row whose score reaches the same threshold."""

    cut: float
    needs_sensitive = False
    randomized = False

    def decide(self, scores, cells):
        return (scores >= self.cut).astype(np.float64)

    def describe(self):
        return f"one cut at {self.cut:.2f}"


def gap_at(cut, rows, target):
    accepted = (rows.scores >= cut).astype(np.float64)
    groups = np.append(target.system.of_cell, -1)[rows.cells]
    counts = GroupCounts.from_rows(
        groups, rows.y, accepted, rows.weight, n_groups=target.system.n_groups
    )
    value = target.metric.value(counts)
    return np.inf if isinstance(value, Undefined) else target.metric.gap(value)


def fit_rules(rows, goal, tolerances):
    """Return the most accurate threshold within each tolerance, None where there is none."""
    right = [np.average((rows.scores >= cut) == rows.y, weights=rows.weight) for cut in CUTS]
    gaps = [max((gap_at(cut, rows, t) for t in goal.targets), default=0.0) for cut in CUTS]
    found = []
    for tolerance in tolerances:
        fair = [
            (r, cut) for r, cut, gap in zip(right, CUTS, gaps, strict=True) if gap <= tolerance
        ]
        found.append((tolerance, OneCut(float(max(fair)[1])) if fair else None))
    return found


MITIGATOR = Mitigator(
    name="one_cut", stage="post", needs_sensitive_at_predict=False, fit_rules=fit_rules
)
