"""FPED, the false positive equality difference: distances from the overall rate, summed."""

from fairautoml.metrics._anchored import anchored
from fairautoml.metrics._base import GroupCounts, Metric, Undefined


def value(counts: GroupCounts) -> float | Undefined:
    """Return the distances of the false positive rates from the overall one, summed over groups.

    ``sum_g |P(d = 1 | y = 0, g) - P(d = 1 | y = 0)|``, in [0, number of groups]: it grows with
    the number of groups, so divide by it before comparing group systems. Never report the sum of
    FNED and FPED alone: one of them can get worse while their sum falls.

    Parameters
    ----------
    counts : GroupCounts
        Weight by group, label and decision; groups may overlap.

    Returns
    -------
    float or Undefined
        Undefined with a single group that is everybody, or when no group has such rows; a group
        that lacks them is left out.

    References
    ----------
    Borkan, Dixon, Sorensen, Thain, Vasserman, "Nuanced metrics for measuring unintended bias with
    real data for text classification", WWW 2019 companion; Gencoglu, arXiv 2005.06625.
    """
    return anchored(counts, ("fpr",), "sum")


METRIC = Metric(
    name="fped",
    kind="fairness",
    on="decisions",
    value=value,
    greater_is_better=False,
    to_overall=("fpr",),
    over_groups="sum",
)
