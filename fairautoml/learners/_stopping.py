"""The rows on which boosting decides when to stop."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from fairautoml.data.splits import holdout_split
from fairautoml.data.strata import strata_of

STOPPING = "early_stopping_rounds"
"""Parameter: rounds without progress after which training stops; 0 = all rounds are run."""

STOPPING_SHARE = 0.12
"""Share of the training rows that are set aside for it."""


def stopping_parts(y: NDArray[Any], seed: int) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
    """Return the training rows to learn from and those to stop by, the same share of each label.

    Both lie inside the rows that a fold trains on: the rows that score the fold have no say in
    the number of rounds.
    """
    parts = holdout_split(strata_of(y), np.zeros(len(y), dtype=np.int32), STOPPING_SHARE, seed)
    learned, held = (part.astype(np.int32) for part in parts)
    return learned, held
