"""No mitigation: accept scores of at least one half, or predict the most likely class."""

from collections.abc import Sequence

from fairautoml.metrics import TaskName
from fairautoml.mitigators._base import FittedRules, Goal, Mitigator, ScoreRows
from fairautoml.mitigators._group_program import AsPredicted, CommonRule
from fairautoml.mitigators._multiclass import MostLikely
from fairautoml.records import Rule

PLAIN: dict[TaskName, Rule] = {
    "binary": CommonRule(threshold=0.5),
    "multiclass": MostLikely(),
    "regression": AsPredicted(),
}
"""Default rules by task."""


def fit_rules(rows: ScoreRows, goal: Goal, tolerances: Sequence[float]) -> FittedRules:
    """Return the default rule of the task, for any rows."""
    return [(None, PLAIN[goal.task])]


MITIGATOR = Mitigator(
    name="none",
    stage="post",
    needs_sensitive_at_predict=False,
    overlapping=True,
    tasks=frozenset({"binary", "multiclass", "regression"}),
    fit_rules=fit_rules,
)
