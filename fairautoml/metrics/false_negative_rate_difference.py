"""Largest gap in false negative rate."""

from fairautoml.metrics._base import GroupCounts, Metric, Undefined
from fairautoml.metrics._disparity import disparity


def value(counts: GroupCounts) -> float | Undefined:
    """Return the largest minus the smallest false negative rate, in [0, 1]; 0 is parity.

    ``max_g P(d = 0 | y = 1, g) - min_g P(d = 0 | y = 1, g)``. A false negative rate is one minus
    a true positive rate, so this is the gap in true positive rate, and equalising that is what
    a post-processor has to do.

    Parameters
    ----------
    counts : GroupCounts
        Weight by group, label and decision.

    Returns
    -------
    float or Undefined
        Undefined with fewer than two groups, or when a group has no rows with label 1.

    References
    ----------
    Chouldechova, "Fair prediction with disparate impact", Big Data 5(2), 2017 (error rate
    balance).
    """
    return disparity(counts, ("tpr",), "difference")


METRIC = Metric(
    name="false_negative_rate_difference",
    kind="fairness",
    on="decisions",
    value=value,
    greater_is_better=False,
    rates=("tpr",),
    form="difference",
)
