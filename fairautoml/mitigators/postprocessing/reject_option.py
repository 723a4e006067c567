"""A band around the threshold in which the deprived groups are accepted and the favoured rejected.

Source: Kamiran, Karim, Zhang, *Decision Theory for Discrimination-Aware Classification*, ICDM
2012: where the model is uncertain, ``max(p, 1 - p)`` small, rows of the deprived group are
accepted and rows of the favoured group rejected. The paper has two groups and leaves the width of
the band to the user. Here the width is searched for each tolerance. With several groups the lowest
are deprived and the highest favoured, with searched numbers of each; the threshold alone decides
for the groups in between. The rule has few parameters, so labels are not shrunk, and with more
than two groups a tight tolerance may have no rule.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fairautoml.metrics._table import Rate
from fairautoml.mitigators._base import FittedRules, Goal, Mitigator, RateMetrics, ScoreRows
from fairautoml.mitigators._group_program import (
    CommonRule,
    EquivalentRule,
    Ranked,
    Step,
    ThresholdProblem,
    build_problem,
    counted,
    outcomes,
    rules_within,
)
from fairautoml.records import Floats, Rule

TRIED = 20_000_000
"""Largest number of rates to compute; all distinct widths are tried if it suffices."""

FEWEST_WIDTHS = 50
"""Smallest number of widths that are tried."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BandRule(EquivalentRule):
    """Threshold on the score outside the band; inside the band the group decides.

    The threshold of a group is ``low``, ``high``, or the one in the middle.
    """

    low: float  # band: scores of at least ``low`` and below ``high``
    high: float
    accepted: tuple[str, ...]  # groups accepted and rejected inside the band
    refused: tuple[str, ...]

    def describe(self) -> str:
        return (
            f"scores from {self.low:.4f} to {self.high:.4f}: accept {', '.join(self.accepted)}, "
            f"refuse {', '.join(self.refused)}; else >= {self.cuts.neutral:.4f}"
        )


def fit_rules(rows: ScoreRows, goal: Goal, tolerances: Sequence[float]) -> FittedRules:
    """Return the best band for every tolerance, None where no band is within it.

    A group without rows of a rate (no label 1 for the true positive rate, no rows of positive
    weight at all) is excluded from that constraint; with fewer than two groups left there is no
    constraint and no band. Equal scores of a group are on one side of the band.
    """
    if not goal.targets:
        return []
    problem = build_problem(rows, goal)
    bands = _Bands(problem.ranked(rows), problem)
    return rules_within(*bands.outcomes(), tolerances, bands.rule)


class _Bands:
    """All bands that are tried: number 0 is no band, then every width for every side choice."""

    def __init__(self, ranked: tuple[Ranked, ...], problem: ThresholdProblem) -> None:
        self.ranked, self.problem = ranked, problem
        # Of each group 1 if it is accepted in the band, -1 if it is rejected.
        self.sides = tuple(_sides(ranked, problem))
        most = max(FEWEST_WIDTHS, TRIED // (max(1, len(self.sides)) * len(ranked)))
        self.widths = _widths(ranked, problem.neutral, most)

    def outcomes(self) -> tuple[Floats, Floats]:
        """Return gap and gain of every band, shape (1 + n_sides * n_widths,)."""
        at = {
            side: np.stack([g.accepted_from(self.problem.neutral - side * w) for g in self.ranked])
            for side, w in ((0, np.zeros(1)), (1, self.widths), (-1, self.widths))
        }

        def choices() -> Iterator[Floats]:
            yield at[0]
            for sides in self.sides:
                accepted = np.where((sides == 1)[:, None, None], at[1], at[-1])
                accepted[sides == 0] = at[0][sides == 0]
                yield accepted

        return outcomes(choices(), self.ranked, self.problem)

    def rule(self, at: int) -> Rule:
        """Return the rule of one band; number 0 is one common threshold."""
        middle = self.problem.neutral
        if at == 0:
            return CommonRule(threshold=middle)
        which, width = divmod(at - 1, len(self.widths))
        sides = self.sides[which]
        low, high = float(middle - self.widths[width]), float(middle + self.widths[width])
        names = np.array(self.problem.system.labels)
        return BandRule(
            low=low,
            high=high,
            accepted=tuple(names[sides == 1].tolist()),
            refused=tuple(names[sides == -1].tolist()),
            cuts=self.problem.thresholds(
                [[Step(threshold={1: low, 0: middle, -1: high}[int(side)])] for side in sides]
            ),
        )


def _sides(ranked: Sequence[Ranked], problem: ThresholdProblem) -> Iterator[NDArray[np.int8]]:
    """Yield the sides: the lowest groups by a constrained rate accepted, the highest rejected."""
    orders = {
        tuple(_by_rate(ranked, rate, problem.neutral))
        for target in problem.targets
        for rate in target.metric.rates
    }
    for order in sorted(orders):
        n = len(order)
        for lowest, highest in ((i, j) for i in range(1, n) for j in range(1, n - i + 1)):
            sides = np.zeros(len(ranked), dtype=np.int8)
            sides[list(order[:lowest])] = 1
            sides[list(order[n - highest :])] = -1
            yield sides


def _by_rate(ranked: Sequence[Ranked], rate: Rate, threshold: float) -> list[int]:
    """Return the groups that have the rate, ascending; ties by mean score."""
    accepted = np.array([group.accepted_from(np.array([threshold])) for group in ranked])
    mass = counted(np.array([group.totals for group in ranked]), rate)
    top = counted(accepted, rate)[:, 0]
    return sorted(
        np.flatnonzero(mass > 0).tolist(),
        key=lambda g: (top[g] / mass[g], ranked[g].scores.mean()),
    )


def _widths(ranked: Sequence[Ranked], middle: float, most: int) -> Floats:
    """Return half widths that select different rows, or at most so many quantiles of them."""
    apart = np.unique(np.concatenate([np.abs(group.scores - middle) for group in ranked]))
    if len(apart) > most:
        apart = apart[np.linspace(0, len(apart) - 1, most).astype(np.int64)]
    return np.append((apart[:-1] + apart[1:]) / 2, np.inf)


MITIGATOR = Mitigator(
    name="reject_option",
    stage="post",
    needs_sensitive_at_predict=True,
    serves=RateMetrics(difference="acceptance", ratio="acceptance"),
    opt_in=True,
    fit_rules=fit_rules,
)
