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
        member = target.system.member
        needed = _labels(target, dataset)
        for label in sorted(needed):
            inside = (dataset.y == label) | (label < 0)
            counts = member @ np.bincount(dataset.cells[inside], minlength=member.shape[1])
            for at in np.flatnonzero(counts < FEWEST_ROWS):
                kind = "" if label < 0 else f" of class {dataset.classes.tolist()[label]!r}"
                name = f"{target.system.labels[at]!r} of {target.system.name!r}"
                found[f"{name}: {counts[at]} rows{kind}"] = None
    return tuple(found)


def _labels(target: Target, dataset: Dataset) -> set[int]:
    """Return the labels whose rows are behind the rates of a target, -1 for all rows."""
    if dataset.task != "multiclass":
        rates = target.metric.compared
        found = {label for rate in rates for label in _LABELS.get(rate, (-1,))}
        return found if dataset.task == "binary" else {-1}
    # Each class is told from all others: a rate of its own rows is the thinner one.
    by_label = bool({"tpr", "fpr", "ppv"} & set(target.metric.compared))
    return set(range(len(dataset.classes))) if by_label else {-1}
