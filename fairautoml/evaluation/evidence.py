"""Which groups are too small for their measured rates to say much."""

from collections.abc import Sequence

import numpy as np

from fairautoml.data.dataset import Dataset
from fairautoml.metrics._base import Rate
from fairautoml.mitigators import Target

FEWEST_ROWS = 20
"""Rows behind a rate below which its value is mostly chance: its standard error is above 0.1."""

_LABELS: dict[Rate, tuple[int, ...]] = {"tpr": (1,), "fpr": (0,)}


def thin_groups(dataset: Dataset, targets: Sequence[Target]) -> tuple[str, ...]:
    """Return one line per constrained group whose rates rest on fewer than 20 rows.

    Parameters
    ----------
    dataset : Dataset
        Search rows; rows count, not weights.
    targets : sequence of Target
        What is constrained.
    """
    found: dict[str, None] = {}
    for target in targets:
        group = target.system.of_cell[dataset.cells]
        needed = {label for rate in target.metric.rates for label in _LABELS.get(rate, (-1,))}
        for label in sorted(needed):
            inside = (group >= 0) & ((dataset.y == label) | (label < 0))
            counts = np.bincount(group[inside], minlength=target.system.n_groups)
            for at in np.flatnonzero(counts < FEWEST_ROWS):
                kind = "" if label < 0 else f" of class {dataset.classes.tolist()[label]!r}"
                name = f"{target.system.labels[at]!r} of {target.system.name!r}"
                found[f"{name}: {counts[at]} rows{kind}"] = None
    return tuple(found)
