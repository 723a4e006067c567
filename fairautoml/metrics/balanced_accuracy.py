"""Balanced accuracy: mean of the shares decided right in each label."""

import numpy as np

from fairautoml.metrics._base import GroupCounts, Metric, Undefined
from fairautoml.metrics._classes import ClassCounts


def value(counts: GroupCounts | ClassCounts) -> float | Undefined:
    """Return the mean share decided right over the labels, in [0, 1]; of two, 0.5 is chance.

    ``mean_c P(d = c | y = c)``.

    Parameters
    ----------
    counts : GroupCounts or ClassCounts
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
    return float(np.mean(np.diagonal(table) / totals))


METRIC = Metric(
    name="balanced_accuracy",
    kind="performance",
    on="decisions",
    value=value,
    greater_is_better=True,
    tasks=frozenset({"binary", "multiclass"}),
)
