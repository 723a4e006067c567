"""Accuracy: share decided right."""

from fairautoml.metrics._base import GroupCounts, Metric, Undefined


def value(counts: GroupCounts) -> float | Undefined:
    """Return the share decided right over all groups together, in [0, 1].

    ``P(d = y)``.

    Parameters
    ----------
    counts : GroupCounts
        Weight by group, label and decision; the groups are pooled.

    Returns
    -------
    float or Undefined
        Undefined without rows.

    References
    ----------
    Fawcett, "An introduction to ROC analysis", Pattern Recognition Letters 27(8), 2006.
    """
    table = counts.pooled()
    total = table.sum()
    if total == 0:
        return Undefined("no rows")
    return float((table[0, 0] + table[1, 1]) / total)


METRIC = Metric(
    name="accuracy", kind="performance", on="decisions", value=value, greater_is_better=True
)
