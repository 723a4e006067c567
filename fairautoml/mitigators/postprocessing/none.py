"""No intervention: the model's own decisions: score at least one half, the most likely class."""

from collections.abc import Sequence

from fairautoml.metrics import TaskName
from fairautoml.mitigators._base import Goal, Mitigator, ScoreRows
from fairautoml.mitigators._group_program import AsPredicted, CommonRule
from fairautoml.mitigators._multiclass import MostLikely
from fairautoml.records import Rule

PLAIN: dict[TaskName, Rule] = {
    "binary": CommonRule(threshold=0.5),
    "multiclass": MostLikely(),
    "regression": AsPredicted(),
}
"""What decides when nothing is done about groups."""


def fit_rules(
    rows: ScoreRows, goal: Goal, tolerances: Sequence[float]
) -> list[tuple[float | None, Rule | None]]:
    """Return the rule "score >= 0.5", whatever the rows; for other targets what comes nearest."""
    del rows, tolerances
    return [(None, PLAIN[goal.task])]


MITIGATOR = Mitigator(
    name="none",
    stage="post",
    needs_sensitive_at_predict=False,
    overlapping=True,
    tasks=frozenset({"binary", "multiclass", "regression"}),
    fit_rules=fit_rules,
)
