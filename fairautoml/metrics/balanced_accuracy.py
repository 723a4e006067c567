"""Balanced accuracy: mean of the shares decided right in each label."""

from fairautoml.metrics._base import GroupCounts, Metric, Undefined


def value(counts: GroupCounts) -> float | Undefined:
    """Return the mean of true positive and true negative rate, in [0, 1]; 0.5 is chance.

    ``(P(d = 1 | y = 1) + P(d = 0 | y = 0)) / 2``.

    Parameters
    ----------
    counts : GroupCounts
        Weight by group, label and decision; the groups are pooled.

    Returns
    -------
    float or Undefined
        Undefined when a label has no rows.

    References
    ----------
    Brodersen, Ong, Stephan, Buhmann, "The balanced accuracy and its posterior distribution",
    ICPR 2010.
    """
    table = counts.pooled()
    totals = table.sum(axis=1)
    if (totals == 0).any():
        return Undefined(f"no rows with label {int(totals.argmin())}")
    return float((table[0, 0] / totals[0] + table[1, 1] / totals[1]) / 2)


METRIC = Metric(
    name="balanced_accuracy",
    kind="performance",
    on="decisions",
    value=value,
    greater_is_better=True,
)
