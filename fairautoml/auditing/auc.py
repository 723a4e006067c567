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

    Parameters
    ----------
    score : ndarray of float, shape (n_rows,)
        Larger for True.
    s : ndarray of bool, shape (n_rows,)
        Both values occur twice or more.
    level : float
        Error probability of the interval, in (0, 1).

    References
    ----------
    DeLong, DeLong, Clarke-Pearson, "Comparing the areas under two or more correlated receiver
    operating characteristic curves", Biometrics 44 (1988); by ranks: Sun, Xu, 2014.
    """
    yes, no = score[s], score[~s]
    everybody = rankdata(np.concatenate((yes, no)))
    above_no = (everybody[: len(yes)] - rankdata(yes)) / len(no)
    above_yes = 1.0 - (everybody[len(yes) :] - rankdata(no)) / len(yes)
    auc = float(above_no.mean())
    spread = math.sqrt(above_no.var(ddof=1) / len(yes) + above_yes.var(ddof=1) / len(no))
    half = float(ndtri(1 - level / 2)) * spread
    ends = Interval(
        low=max(0.0, auc - half), high=min(1.0, auc + half), method="delong (approximate)"
    )
    return auc, ends
