"""Demographic parity: largest gap in selection rate."""

from fairautoml.metrics._base import GroupCounts, Metric, Undefined
from fairautoml.metrics._classes import ClassCounts
from fairautoml.metrics._disparity import disparity


def value(counts: GroupCounts | ClassCounts) -> float | Undefined:
    """Return the largest minus the smallest selection rate, in [0, 1]; 0 is parity.

    ``max_g P(d = 1 | g) - min_g P(d = 1 | g)`` over any number of groups ``g``.

    Parameters
    ----------
    counts : GroupCounts or ClassCounts
        Weight by group, label and decision; of several classes the one that is worst off
        counts, each against all others.

    Returns
    -------
    float or Undefined
        Undefined with fewer than two groups, or when a group has no rows.

    References
    ----------
    Dwork, Hardt, Pitassi, Reingold, Zemel, "Fairness through awareness", ITCS 2012 (statistical
    parity).
    """
    return disparity(counts, ("selection",), "difference")


METRIC = Metric(
    name="demographic_parity_difference",
    kind="fairness",
    on="decisions",
    value=value,
    greater_is_better=False,
    rates=("selection",),
    form="difference",
    tasks=frozenset({"binary", "multiclass"}),
)
