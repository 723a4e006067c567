"""One score threshold per group: the Bayes-optimal rule under constraints on group rates.

Source: Hardt, Price, Srebro, *Equality of Opportunity in Supervised Learning*, arXiv 1610.02413;
Menon, Williamson, *The Cost of Fairness in Binary Classification*, 2018: with the group known at
decision time, the most accurate rule under demographic parity, equal opportunity or equalized odds
thresholds P(y = 1 | x) per group (up to ties). Fitted on score cuts with labels shrunk towards the
scores; deterministic. For mixtures of thresholds see ``randomized_thresholds``.
"""

from collections.abc import Sequence

from fairautoml.mitigators._base import FittedRules, Goal, Mitigator, ScoreRows
from fairautoml.mitigators._group_program import THRESHOLD_PROGRAMS_SERVE, build_problem


def fit_rules(rows: ScoreRows, goal: Goal, tolerances: Sequence[float]) -> FittedRules:
    """Return the best threshold rule for every tolerance.

    A group without rows of a rate (no label 1 for the true positive rate, no rows at all) is
    excluded from that constraint, and with fewer than two groups left the constraint has no
    effect. Groups without rows, and rows without a group, get the neutral threshold. A group of
    one row, or of equal scores, is accepted or rejected as a whole.
    """
    if not goal.targets:
        return []
    problem = build_problem(rows, goal)
    return [*problem.rules(problem.shrunk(rows, goal), tolerances, randomized=False)]


MITIGATOR = Mitigator(
    name="group_thresholds",
    stage="post",
    needs_sensitive_at_predict=True,
    serves=THRESHOLD_PROGRAMS_SERVE,
    overlapping=True,
    fit_rules=fit_rules,
)
