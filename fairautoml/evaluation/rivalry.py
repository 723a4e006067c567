"""When a trial is so far behind another one that its other folds are not worth their time.

Source of the test: paired differences of the per-row log loss on the same rows, a racing rule as
in Maron and Moore (1994), "Hoeffding Races", with a standard error in place of their bound.
"""

import numpy as np
from numpy.typing import NDArray

FEWEST_FOLDS = 2
"""Folds that every trial is given ..."""

ENOUGH_ROWS = 2000
"""... unless the first one scores so many rows: the standard error is then small next to the
margin (on 6,800 rows of Adult .002 against .015), and the test takes it into account."""

MARGIN = 0.05
"""Share of the rival's log loss by which a trial may be behind and still be of use.

The lowest log loss is not the best fair accuracy: of 40 candidates on Adult the best one under
equalized odds was 0.5 % behind, and the best five under a limit of 0.01 up to 4 %.
"""

STANDARD_ERRORS = 2.0
"""How sure the difference must be."""


def too_far(
    losses: NDArray[np.float64], rival: NDArray[np.float64], weight: NDArray[np.float64]
) -> str:
    """Return by how much a trial is behind for certain, or nothing when it may still catch up.

    With d the weighted mean of the differences per row and s its standard error, the trial is
    too far behind when ``d - 2 s`` exceeds 5 % of the rival's own log loss.
    """
    share = weight / weight.sum()
    difference = losses - rival
    mean = float(share @ difference)
    error = float(np.sqrt(share**2 @ (difference - mean) ** 2))
    best = float(share @ rival)
    if mean - STANDARD_ERRORS * error <= MARGIN * best:
        return ""
    return (
        f"its loss {best + mean:.4f} is above the best one's {best:.4f} on the same rows by "
        f"{mean:.4f} with standard error {error:.4f}; the margin is {MARGIN * best:.4f}"
    )
