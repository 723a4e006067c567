"""Equal opportunity: largest gap in true positive rate."""

from fairautoml.metrics._base import GroupCounts, Metric, Undefined
from fairautoml.metrics._classes import ClassCounts
from fairautoml.metrics._disparity import disparity


def value(counts: GroupCounts | ClassCounts) -> float | Undefined:
    """Return the largest minus the smallest true positive rate, in [0, 1]; 0 is parity.

    ``max_g P(d = 1 | y = 1, g) - min_g P(d = 1 | y = 1, g)``.

    Parameters
    ----------
    counts : GroupCounts or ClassCounts
        Weight by group, label and decision; of several classes the one that is worst off
        counts, each against all others.

    Returns
    -------
    float or Undefined
        Undefined with fewer than two groups, or when a group has no rows with label 1.

    References
    ----------
    Hardt, Price, Srebro, "Equality of opportunity in supervised learning", NeurIPS 2016,
    Definition 2.2.
    """
    return disparity(counts, ("tpr",), "difference")


METRIC = Metric(
    name="equal_opportunity_difference",
    kind="fairness",
    on="decisions",
    value=value,
    greater_is_better=False,
    rates=("tpr",),
    form="difference",
    tasks=frozenset({"binary", "multiclass"}),
)
