"""No intervention: the model's own decisions, score at least one half."""

from collections.abc import Sequence

from fairautoml.mitigators._base import Goal, Mitigator, ScoreRows
from fairautoml.mitigators._rules import CommonRule
from fairautoml.trials import Rule


def fit_rules(
    rows: ScoreRows, goal: Goal, tolerances: Sequence[float]
) -> list[tuple[float | None, Rule | None]]:
    """Return the rule "score >= 0.5", whatever the rows."""
    del rows, goal, tolerances
    return [(None, CommonRule(threshold=0.5))]


MITIGATOR = Mitigator(
    name="none", stage="post", needs_sensitive_at_predict=False, fit_rules=fit_rules
)
