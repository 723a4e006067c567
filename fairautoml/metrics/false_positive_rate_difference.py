"""Largest gap in false positive rate (predictive equality)."""

from fairautoml.metrics._base import GroupCounts, Metric, Undefined
from fairautoml.metrics._disparity import disparity


def value(counts: GroupCounts) -> float | Undefined:
    """Return the largest minus the smallest false positive rate, in [0, 1]; 0 is parity.

    ``max_g P(d = 1 | y = 0, g) - min_g P(d = 1 | y = 0, g)``.

    Parameters
    ----------
    counts : GroupCounts
        Weight by group, label and decision.

    Returns
    -------
    float or Undefined
        Undefined with fewer than two groups, or when a group has no rows with label 0.

    References
    ----------
    Chouldechova, "Fair prediction with disparate impact", Big Data 5(2), 2017 (error rate
    balance); Corbett-Davies et al., KDD 2017 (predictive equality).
    """
    return disparity(counts, ("fpr",), "difference")


METRIC = Metric(
    name="false_positive_rate_difference",
    kind="fairness",
    on="decisions",
    value=value,
    greater_is_better=False,
    rates=("fpr",),
    form="difference",
)
