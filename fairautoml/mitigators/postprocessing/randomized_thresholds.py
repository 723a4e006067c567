"""Randomised mixture of score thresholds per group: the optimum over the ROC hulls.

Source: Hardt, Price, Srebro, *Equality of Opportunity in Supervised Learning*, arXiv 1610.02413
(the derived predictor); Xian, Zhao, *A Unified Post-Processing Framework for Group Fairness in
Classification*, arXiv 2405.04025 (the linear program for any tolerance). Mixtures reach every
point of the convex hull of a group's ROC curve. A basic solution mixes in at most as many groups
as there are binding constraints. Used only when the goal allows randomised rules.

Labels are shrunk towards the scores first, as in ``group_thresholds``, unless every group has
20,000 rows of each label, or the constraint is on selection rates and there are 1000 rows. The
optimum is then that of the shrunk labels: on the rows it was fitted on the gap may exceed the
tolerance and the accuracy fall short of the optimum, in return for a smaller gap on new rows (for
equalized odds at tolerance 0 and 500 simulated rows 0.06 instead of 0.08). Without shrinkage each
tolerance is met exactly, and no rule on the same scores and groups is more accurate on the fitted
rows.
"""

from collections.abc import Sequence

from fairautoml.mitigators._base import FittedRules, Goal, Mitigator, ScoreRows
from fairautoml.mitigators._group_program import THRESHOLD_PROGRAMS_SERVE, build_problem


def fit_rules(
    rows: ScoreRows, goal: Goal, tolerances: Sequence[float], *, shrink: bool = True
) -> FittedRules:
    """Return the best mixture of thresholds for every tolerance.

    Gaps are met in expectation over the draws: exactly with ``shrink=False``, otherwise for labels
    that are shrunk where rows are few. Degenerate groups are handled as in ``group_thresholds``; a
    group of equal scores may be accepted in part.
    """
    if not (goal.targets and goal.randomized):
        return []
    problem = build_problem(rows, goal)
    labelled = problem.shrunk(rows, goal) if shrink else rows
    return [*problem.rules(labelled, tolerances, randomized=True)]


MITIGATOR = Mitigator(
    name="randomized_thresholds",
    stage="post",
    needs_sensitive_at_predict=True,
    serves=THRESHOLD_PROGRAMS_SERVE,
    overlapping=True,
    randomizes=True,
    fit_rules=fit_rules,
)
