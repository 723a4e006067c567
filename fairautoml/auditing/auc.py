"""The area under the ROC curve with an interval."""

import math

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtri
from scipy.stats import rankdata

from fairautoml.auditing.records import Interval


def auc_interval(
    score: NDArray[np.floating], s: NDArray[np.bool_], level: float
) -> tuple[float, Interval]:
    """Return the AUC of a score for telling ``s``, ties counting half, with its interval.

    References
    ----------
    DeLong, DeLong, Clarke-Pearson, "Comparing the areas under two or more correlated receiver
    operating characteristic curves", Biometrics 44 (1988); by ranks: Sun, Xu, 2014. Without a
    fault: Hanley, McNeil, Radiology 143 (1982), at an AUC half a pair nearer to one half.
    """
    yes, no = score[s], score[~s]
    everybody = rankdata(np.concatenate((yes, no)))
    above_no = (everybody[: len(yes)] - rankdata(yes)) / len(no)
    above_yes = 1.0 - (everybody[len(yes) :] - rankdata(no)) / len(yes)
    auc = float(above_no.mean())
    spread = math.sqrt(above_no.var(ddof=1) / len(yes) + above_yes.var(ddof=1) / len(no))
    if spread == 0.0:
        return auc, _without_a_fault(auc, len(yes), len(no), level)
    half = float(ndtri(1 - level / 2)) * spread
    ends = Interval(
        low=max(0.0, auc - half), high=min(1.0, auc + half), method="delong (approximate)"
    )
    return auc, ends


def _without_a_fault(auc: float, n_yes: int, n_no: int, level: float) -> Interval:
    """Return the interval around an AUC half a pair nearer to one half.

    For groups that are told apart without a fault, where DeLong's error is 0.
    """
    pairs = n_yes * n_no
    near = (auc * pairs + 0.5) / (pairs + 1)
    both_yes, both_no = near / (2 - near), 2 * near**2 / (1 + near)
    variance = near * (1 - near)
    variance += (n_yes - 1) * (both_yes - near**2) + (n_no - 1) * (both_no - near**2)
    half = float(ndtri(1 - level / 2)) * math.sqrt(variance / pairs)
    return Interval(
        low=max(0.0, min(auc, near - half)),
        high=min(1.0, max(auc, near + half)),
        method="hanley-mcneil (approximate)",
    )
