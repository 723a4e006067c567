"""Accuracy parity: largest gap in accuracy."""

from fairautoml.metrics._base import GroupCounts, Metric, Undefined
from fairautoml.metrics._classes import ClassCounts
from fairautoml.metrics._disparity import disparity


def value(counts: GroupCounts | ClassCounts) -> float | Undefined:
    """Return the largest minus the smallest accuracy, in [0, 1]; 0 is parity.

    ``max_g P(d = y | g) - min_g P(d = y | g)``.

    Parameters
    ----------
    counts : GroupCounts or ClassCounts
        Weight by group, label and decision.

    Returns
    -------
    float or Undefined
        Undefined with fewer than two groups, or when a group has no rows.

    References
    ----------
    Berk, Heidari, Jabbari, Kearns, Roth, "Fairness in criminal justice risk assessments",
    Sociological Methods & Research 50(1), 2021 (overall accuracy equality).
    """
    return disparity(counts, ("accuracy",), "difference")


METRIC = Metric(
    name="accuracy_parity_difference",
    kind="fairness",
    on="decisions",
    value=value,
    greater_is_better=False,
    rates=("accuracy",),
    form="difference",
    tasks=frozenset({"binary", "multiclass"}),
)
