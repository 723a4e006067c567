"""F1: harmonic mean of precision and recall."""

from fairautoml.metrics._base import GroupCounts, Metric, Undefined


def value(counts: GroupCounts) -> float | Undefined:
    """Return ``2 TP / (2 TP + FP + FN)``, in [0, 1].

    Parameters
    ----------
    counts : GroupCounts
        Weight by group, label and decision; the groups are pooled.

    Returns
    -------
    float or Undefined
        0 when nobody with label 1 is accepted; Undefined without rows with label 1, because
        recall has no value then.

    References
    ----------
    van Rijsbergen, "Information Retrieval", 2nd edition, 1979, chapter 7 (``1 - E`` with
    ``alpha = 1/2``).
    """
    (_, false_positive), (false_negative, true_positive) = counts.pooled()
    if false_negative + true_positive == 0:
        return Undefined("no rows with label 1")
    right = 2 * true_positive
    return float(right / (right + false_positive + false_negative))


METRIC = Metric(name="f1", kind="performance", on="decisions", value=value, greater_is_better=True)
