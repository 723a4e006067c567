"""Equalized odds against everybody: the worst group in true or false positive rate."""

from fairautoml.metrics._anchored import anchored
from fairautoml.metrics._base import GroupCounts, Metric, Undefined


def value(counts: GroupCounts) -> float | Undefined:
    """Return the largest distance of a true or false positive rate from that of everybody.

    ``max_y max_g |P(d = 1 | y, g) - P(d = 1 | y)|``, in [0, 1].

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
    Gencoglu, "Cyberbullying detection with fairness constraints", IEEE Internet Computing 2021,
    arXiv 2005.06625 (the constraint ``|rate_g - rate| <= t``).
    """
    return anchored(counts, ("tpr", "fpr"), "max")


METRIC = Metric(
    name="equalized_odds_to_overall",
    kind="fairness",
    on="decisions",
    value=value,
    greater_is_better=False,
    to_overall=("tpr", "fpr"),
    over_groups="max",
)
