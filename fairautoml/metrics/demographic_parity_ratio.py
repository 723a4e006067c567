"""Demographic parity: smallest selection rate over the largest."""

from fairautoml.metrics._base import GroupCounts, Metric, Undefined
from fairautoml.metrics._disparity import disparity


def value(counts: GroupCounts) -> float | Undefined:
    """Return the smallest over the largest selection rate, in [0, 1]; 1 is parity.

    ``min_g P(d = 1 | g) / max_g P(d = 1 | g)``. The four-fifths rule of the US guidelines on
    employee selection (29 CFR 1607.4 D) asks for at least 0.8.

    Parameters
    ----------
    counts : GroupCounts
        Weight by group, label and decision.

    Returns
    -------
    float or Undefined
        Undefined with fewer than two groups, when a group has no rows, or when nobody is
        accepted (0/0).

    References
    ----------
    Feldman, Friedler, Moeller, Scheidegger, Venkatasubramanian, "Certifying and removing
    disparate impact", KDD 2015, Definition 1.1.
    """
    return disparity(counts, ("selection",), "ratio")


METRIC = Metric(
    name="demographic_parity_ratio",
    kind="fairness",
    on="decisions",
    value=value,
    greater_is_better=True,
    rates=("selection",),
    form="ratio",
)
