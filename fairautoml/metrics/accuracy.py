"""Accuracy: share decided right."""

import numpy as np

from fairautoml.metrics._base import GroupCounts, Metric, Undefined
from fairautoml.metrics._classes import ClassCounts


def value(counts: GroupCounts | ClassCounts) -> float | Undefined:
    """Return the share decided right over all groups together, in [0, 1].

    ``P(d = y)``.

    Parameters
    ----------
    counts : GroupCounts or ClassCounts
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
    return float(np.trace(table) / total)


METRIC = Metric(
    name="accuracy",
    kind="performance",
    on="decisions",
    value=value,
    greater_is_better=True,
    tasks=frozenset({"binary", "multiclass"}),
)
