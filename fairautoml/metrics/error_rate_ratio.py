"""Smallest error rate over the largest."""

from fairautoml.metrics._base import GroupCounts, Metric, Undefined
from fairautoml.metrics._classes import ClassCounts
from fairautoml.metrics._disparity import disparity


def value(counts: GroupCounts | ClassCounts) -> float | Undefined:
    """Return the smallest over the largest error rate, in [0, 1]; 1 is parity.

    ``min_g P(d != y | g) / max_g P(d != y | g)``.

    Parameters
    ----------
    counts : GroupCounts or ClassCounts
        Weight by group, label and decision.

    Returns
    -------
    float or Undefined
        Undefined with fewer than two groups, when a group has no rows, or when nobody is
        decided wrongly (0/0).

    References
    ----------
    Berk, Heidari, Jabbari, Kearns, Roth, "Fairness in criminal justice risk assessments",
    Sociological Methods & Research 50(1), 2021 (overall accuracy equality, as a ratio).
    """
    return disparity(counts, ("error",), "ratio")


METRIC = Metric(
    name="error_rate_ratio",
    kind="fairness",
    on="decisions",
    value=value,
    greater_is_better=True,
    rates=("error",),
    form="ratio",
    tasks=frozenset({"binary", "multiclass"}),
)
