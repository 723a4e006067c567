"""Predictive parity: largest gap in positive predictive value."""

from fairautoml.metrics._base import GroupCounts, Metric, Undefined
from fairautoml.metrics._disparity import disparity


def value(counts: GroupCounts) -> float | Undefined:
    """Return the largest minus the smallest positive predictive value, in [0, 1]; 0 is parity.

    ``max_g P(y = 1 | d = 1, g) - min_g P(y = 1 | d = 1, g)``.

    Parameters
    ----------
    counts : GroupCounts
        Weight by group, label and decision.

    Returns
    -------
    float or Undefined
        Undefined with fewer than two groups, or when nobody of a group is accepted.

    References
    ----------
    Chouldechova, "Fair prediction with disparate impact", Big Data 5(2), 2017 (predictive
    parity).
    """
    return disparity(counts, ("ppv",), "difference")


METRIC = Metric(
    name="predictive_parity_difference",
    kind="fairness",
    on="decisions",
    value=value,
    greater_is_better=False,
    rates=("ppv",),
    form="difference",
)
