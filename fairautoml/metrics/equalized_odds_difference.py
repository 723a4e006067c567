"""Equalized odds: larger of the gaps in true and false positive rate."""

from fairautoml.metrics._base import GroupCounts, Metric, Undefined
from fairautoml.metrics._classes import ClassCounts
from fairautoml.metrics._disparity import disparity


def value(counts: GroupCounts | ClassCounts) -> float | Undefined:
    """Return the larger of the gaps in true and false positive rate, in [0, 1]; 0 is parity.

    ``max_y (max_g P(d = 1 | y, g) - min_g P(d = 1 | y, g))``. The maximum, not the mean, so that
    a gap in one label cannot hide behind the other.

    Parameters
    ----------
    counts : GroupCounts or ClassCounts
        Weight by group, label and decision; of several classes the one that is worst off
        counts, each against all others.

    Returns
    -------
    float or Undefined
        Undefined with fewer than two groups, or when a group lacks one of the labels.

    References
    ----------
    Hardt, Price, Srebro, "Equality of opportunity in supervised learning", NeurIPS 2016,
    Definition 2.1.
    """
    return disparity(counts, ("tpr", "fpr"), "difference")


METRIC = Metric(
    name="equalized_odds_difference",
    kind="fairness",
    on="decisions",
    value=value,
    greater_is_better=False,
    rates=("tpr", "fpr"),
    form="difference",
    tasks=frozenset({"binary", "multiclass"}),
)
