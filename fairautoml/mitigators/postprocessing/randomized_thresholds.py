"""Randomised mixture of score thresholds per group: the optimum over the ROC hulls.

Source: Hardt, Price, Srebro, *Equality of Opportunity in Supervised Learning*, arXiv 1610.02413
(the derived predictor); Xian, Zhao, *A Unified Post-Processing Framework for Group Fairness in
Classification*, arXiv 2405.04025 (the linear program for any tolerance). Mixtures reach every
point of the convex hull of a group's ROC curve, so each tolerance is met exactly, and no rule on
the same scores and groups is more accurate on the fitted rows. A basic solution mixes in at most
as many groups as there are binding constraints. Used only when the goal allows randomised rules.
"""

from collections.abc import Sequence

from fairautoml.mitigators._base import Goal, Mitigator, ScoreRows
from fairautoml.mitigators._group_program import THRESHOLD_PROGRAMS_SERVE, build_problem
from fairautoml.mitigators._thresholds import shrunk
from fairautoml.records import Rule


def fit_rules(
    rows: ScoreRows, goal: Goal, tolerances: Sequence[float]
) -> list[tuple[float | None, Rule | None]]:
    """Return the best mixture of thresholds for every tolerance.

    Gaps are met in expectation over the draws. Degenerate groups are handled as in
    ``group_thresholds``; a group of equal scores may be accepted in part.
    """
    if not (goal.targets and goal.randomized):
        return []
    problem = build_problem(rows, goal)
    labelled = shrunk(rows, goal, problem.groups, problem.system.n_groups)
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
