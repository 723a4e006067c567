"""Macro F1: mean over the classes of the harmonic mean of precision and recall."""

import numpy as np

from fairautoml.metrics._base import GroupCounts, Metric, Undefined
from fairautoml.metrics._classes import ClassCounts


def value(counts: GroupCounts | ClassCounts) -> float | Undefined:
    """Return ``mean_c 2 TP_c / (2 TP_c + FP_c + FN_c)``, in [0, 1].

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
    Sokolova, Lapalme, "A systematic analysis of performance measures for classification tasks",
    Information Processing and Management 45(4), 2009, table 3 (macro-averaging; here the mean of
    the classes' F1, as in scikit-learn's ``f1_score(average="macro")``).
    """
    table = counts.pooled()
    labels, decisions = table.sum(axis=1), table.sum(axis=0)
    if (labels == 0).any():
        return Undefined(f"no rows with label {int(labels.argmin())}")
    return float(np.mean(2 * np.diagonal(table) / (labels + decisions)))


METRIC = Metric(
    name="f1_macro",
    kind="performance",
    on="decisions",
    value=value,
    greater_is_better=True,
    tasks=frozenset({"binary", "multiclass"}),
)
