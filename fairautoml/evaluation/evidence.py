"""Which groups have too few rows for their measured rates to say much."""

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from fairautoml.data.dataset import Dataset, GroupSystem
from fairautoml.data.small_groups import SmallGroups
from fairautoml.metrics._table import Rate, effective_rows
from fairautoml.mitigators import Target

SMALLEST_BOUND = 0.05
"""Tighter bounds ask for no more rows, so that they never switch a constraint off."""

LARGEST_VARIANCE = 0.25
"""Of what a rate is the mean of."""

FEWEST_ROWS = 20
"""Rows behind a rate below which its value is mostly chance: its standard error is above 0.1."""

_ROUNDING = 1e-6


def small_groups(
    dataset: Dataset, targets: Sequence[Target], entities: NDArray[np.integer] | None = None
) -> tuple[SmallGroups, ...]:
    """Return which groups have too few rows for the bounds on them.

    A group stays constrained if each compared rate of it rests on ``max(1 / e, .25 / e^2)``
    effective rows, ``e`` being the bound and at least .05: with fewer no share of them need lie
    inside the bound, or the standard error of a rate is above it. Two groups stay in any case.
    """
    tightest: dict[tuple[str, str], Target] = {}
    for target in targets:
        known = tightest.setdefault((target.metric.name, target.system.name), target)
        tightest[target.metric.name, target.system.name] = replace(
            target, limit=min(target.limit, known.limit)
        )
    found = (_of_target(dataset, target, entities) for target in tightest.values())
    return tuple(one for one in found if one is not None)


def fewest_rows(bound: float) -> int:
    """Return how many rows a bound on a difference of rates needs behind each rate of a group."""
    bound = max(bound, SMALLEST_BOUND)
    return math.ceil(max(1 / bound, LARGEST_VARIANCE / bound**2) - _ROUNDING)


def _as_difference(dataset: Dataset, target: Target) -> float:
    """Return the bound of a target as one on a difference of rates."""
    metric = target.metric
    if metric.form == "level":
        # A level is no difference: as many rows as for the tightest bound.
        return 0.0
    if metric.form == "ratio":
        return target.limit * float(np.average(dataset.y > 0, weights=dataset.weight))
    if math.isinf(metric.most):
        # The standard deviation behind a rate is at most 1/2, that behind a mean is the target's.
        deviation = float(np.std(dataset.y))
        return target.limit / (2 * deviation) if deviation > 0 else 1.0
    return target.limit


def _of_target(
    dataset: Dataset, target: Target, entities: NDArray[np.integer] | None
) -> SmallGroups | None:
    system = target.system
    least = target.fewest_groups
    if target.metric.degree or system.n_groups < least:
        return None
    fewest = fewest_rows(_as_difference(dataset, target))
    behind = _behind(dataset, target, entities)
    enough = behind >= fewest - _ROUNDING
    decisive = enough.sum(axis=1) >= least
    if dataset.task == "multiclass" and decisive.any():
        # A class that is rare everywhere must not put large groups outside.
        behind, enough = behind[decisive], enough[decisive]
    kept: NDArray[np.bool_] = np.asarray(enough.all(axis=0))
    judged = bool(kept.sum() >= least)
    if not judged:
        sizes = _rows_of(dataset, system)
        kept[np.lexsort((-sizes, -behind.min(axis=0)))[:least]] = True
    if judged and kept.all():
        return None
    outside = np.flatnonzero(~kept)
    return SmallGroups(
        metric=target.metric.name,
        system=system.name,
        outside=tuple(system.labels[at] for at in outside),
        n_rows=tuple(_rows_of(dataset, system)[outside].tolist()),
        n_groups=system.n_groups,
        fewest=fewest,
        effective=entities is not None or bool((dataset.weight != dataset.weight[0]).any()),
        judged=judged,
    )


def _behind(
    dataset: Dataset, target: Target, entities: NDArray[np.integer] | None
) -> NDArray[np.float64]:
    """Return the effective rows behind each compared rate, shape (n_rates, n_groups)."""
    system, cells = target.system, dataset.cells
    if system.masks is None:
        group = system.of_cell[cells].astype(np.int64)
        rows = np.flatnonzero(group >= 0)
        group = group[rows]
    else:
        rows, group = np.nonzero(system.masks.T[cells])
    found = []
    for label in sorted(_labels(target, dataset)):
        inside = (dataset.y[rows] == label) | (label < 0)
        at = rows[inside]
        whose = None if entities is None else entities[at]
        found.append(effective_rows(group[inside], dataset.weight[at], system.n_groups, whose))
    return np.stack(found)


def _rows_of(dataset: Dataset, system: GroupSystem) -> NDArray[np.int64]:
    """Return the rows of each group, whatever they weigh."""
    member = system.member
    found: NDArray[np.int64] = member @ np.bincount(dataset.cells, minlength=member.shape[1])
    return found


def thin_groups(dataset: Dataset, targets: Sequence[Target]) -> tuple[str, ...]:
    """Return one line per constrained group whose rates rest on fewer than 20 rows."""
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
        found = {_label_behind(rate) for rate in rates}
        return found if dataset.task == "binary" and found else {-1}
    # Each class is told from all others: a rate of its own rows is the thinner one.
    by_label = any(
        rate.label is not None or rate.depends_on_decision for rate in target.metric.compared
    )
    return set(range(len(dataset.classes))) if by_label else {-1}


def _label_behind(rate: Rate) -> int:
    """Return the label whose rows are as many as those of the rate, -1 for all rows."""
    if rate.label is not None:
        return rate.label
    # About as many rows are accepted as have label 1.
    return min(d for _, d in rate.among) if rate.depends_on_decision else -1
