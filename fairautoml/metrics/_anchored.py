"""How far group rates are from the rate of everybody; the groups may overlap.

Sources: Borkan, Dixon, Sorensen, Thain, Vasserman, "Nuanced metrics for measuring unintended bias
with real data for text classification", WWW 2019 companion; Gencoglu, "Cyberbullying detection
with fairness constraints", IEEE Internet Computing 2021, arXiv 2005.06625, whose constraint is
``|rate_g - rate| <= t`` for all groups ``g`` and whose FNED and FPED are the sums over ``g``.
"""

import math
from collections.abc import Sequence
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from fairautoml.metrics._base import GroupCounts, Rate, Undefined
from fairautoml.metrics._disparity import LACKS

OverGroups = Literal["max", "sum"]


def deviations(counts: GroupCounts, rate: Rate) -> NDArray[np.float64]:
    """Return the distance of each group's rate from the rate of everybody.

    Parameters
    ----------
    counts : GroupCounts
        Weight by group, label and decision.
    rate : Rate
        Which rate.

    Returns
    -------
    ndarray of float64, shape (n_groups,)
        In [0, 1], NaN where a group lacks the rows of the rate.
    """
    (overall,) = GroupCounts(counts.total[None]).rates(rate)
    apart: NDArray[np.float64] = np.abs(counts.rates(rate) - overall)
    return apart


def anchored(
    counts: GroupCounts, rates: Sequence[Rate], over_groups: OverGroups
) -> float | Undefined:
    """Return how far the group rates are from the rates of everybody, or why there is no value.

    A group without rows of the kind that a rate is a share of is left out of that rate.

    Parameters
    ----------
    counts : GroupCounts
        Weight by group, label and decision; everybody is ``counts.total``.
    rates : sequence of Rate
        The rates; the worst of them counts.
    over_groups : {"max", "sum"}
        The largest distance, or the sum over groups, which grows with their number.

    Returns
    -------
    float or Undefined
        At least 0; at most 1 for ``"max"``, at most the number of groups for ``"sum"``.
    """
    present = np.count_nonzero(counts.table.any(axis=(1, 2)))
    if present == 0 or (present == 1 and counts.overall is None):
        return Undefined("single group: nobody to compare it with")
    found = 0.0
    for rate in rates:
        apart = deviations(counts, rate)
        known = apart[~np.isnan(apart)]
        if len(known) == 0:
            return Undefined(f"no group has {LACKS[rate]}")
        # An exact sum: the numbers of the groups must not show in the last bit.
        found = max(found, known.max() if over_groups == "max" else math.fsum(known))
    return float(found)
