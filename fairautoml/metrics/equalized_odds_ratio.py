"""Equalized odds: smaller of the ratios of true and false positive rate."""

from fairautoml.metrics._base import GroupCounts, Metric, Undefined
from fairautoml.metrics._disparity import disparity


def value(counts: GroupCounts) -> float | Undefined:
    """Return the smaller of the ratios of true and false positive rate, in [0, 1]; 1 is parity.

    ``min_y (min_g P(d = 1 | y, g) / max_g P(d = 1 | y, g))``.

    Parameters
    ----------
    counts : GroupCounts
        Weight by group, label and decision.

    Returns
    -------
    float or Undefined
        Undefined with fewer than two groups, when a group lacks one of the labels, or when one
        of the two ratios is 0/0, for example because nobody with label 0 is accepted.

    References
    ----------
    Hardt, Price, Srebro, "Equality of opportunity in supervised learning", NeurIPS 2016,
    Definition 2.1.
    """
    return disparity(counts, ("tpr", "fpr"), "ratio")


METRIC = Metric(
    name="equalized_odds_ratio",
    kind="fairness",
    on="decisions",
    value=value,
    greater_is_better=True,
    rates=("tpr", "fpr"),
    form="ratio",
)
