"""Sample size of groups: how many rows a bound needs, and which groups it leaves out."""

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from fairautoml.data.dataset import Dataset
from fairautoml.metrics import BoundConstraint, Metric
from fairautoml.metrics._table import Rate, effective_rows
from fairautoml.metrics.groups import GroupSystem, SmallGroups

SMALLEST_BOUND = 0.05
"""Tighter bounds do not require more rows, so that they never disable a constraint."""

MINIMUM_AS_DIFFERENCE = 0.1
"""Difference that needs as many rows as a minimum, whose standard error is then at most 0.1."""

LARGEST_VARIANCE = 0.25
"""Largest variance of a binary variable, whose mean a rate is."""

FEWEST_ROWS = 20
"""Rows behind a rate below which its value is mostly chance: its standard error is above 0.1."""

_ROUNDING = 1e-6


def small_groups(
    dataset: Dataset,
    targets: Sequence[BoundConstraint],
    entities: NDArray[np.integer] | None = None,
    min_size: int | Literal["auto"] = "auto",
    *,
    pool: bool = False,
) -> tuple[SmallGroups, ...]:
    """Return the groups that have too few rows for the bounds on them.

    A group stays constrained if each compared rate of it rests on ``max(1 / e, .25 / e^2)``
    effective rows, with ``e`` the bound, at least .05: with fewer the rate may be unable to meet
    the bound, or its standard error exceeds it. ``min_size`` replaces this number. With ``pool``
    two or more smaller groups become one if they have as many rows together. At least two groups
    stay constrained.
    """
    found = (too_small(dataset, one, entities, min_size, pool=pool) for one in tightest(targets))
    return tuple(one for one in found if one is not None)


def tightest(targets: Sequence[BoundConstraint]) -> tuple[BoundConstraint, ...]:
    """Return one target per metric and grouping, with the smallest of its limits."""
    found: dict[tuple[str, str], BoundConstraint] = {}
    for target in targets:
        key = target.metric.name, target.system.name
        known = found.setdefault(key, target)
        found[key] = replace(target, limit=min(target.limit, known.limit))
    return tuple(found.values())


def fewest_rows(bound: float) -> int:
    """Return the rows that each rate of a group needs for a bound on a difference of rates."""
    bound = max(bound, SMALLEST_BOUND)
    return math.ceil(max(1 / bound, LARGEST_VARIANCE / bound**2) - _ROUNDING)


def _as_difference(dataset: Dataset, target: BoundConstraint) -> float:
    """Return the bound of a target converted to a difference of rates."""
    if target.metric.is_minimum:
        return MINIMUM_AS_DIFFERENCE
    # A level is not a difference: require as many rows as for the tightest bound.
    return target.limit * unit(dataset, target.metric) if target.metric.compares_groups else 0.0


def unit(dataset: Dataset, metric: Metric) -> float:
    """Return the difference of rates that corresponds to a gap of 1."""
    if metric.form == "ratio":
        return float(np.average(dataset.y > 0, weights=dataset.weight))
    if math.isinf(metric.most):
        # The standard deviation of a binary variable is at most 1/2.
        return 1 / (2 * float(np.std(dataset.y)))
    return 1.0


def too_small(
    dataset: Dataset,
    target: BoundConstraint,
    entities: NDArray[np.integer] | None = None,
    min_size: int | Literal["auto"] = "auto",
    *,
    pool: bool = False,
    behind: NDArray[np.float64] | None = None,
) -> SmallGroups | None:
    """Return the groups with too few rows for one target, None if there are none.

    ``behind`` are its ``rows_behind`` if they are known: they do not depend on the bound.
    """
    system, least = target.system, target.fewest_groups
    if target.metric.degree or system.n_groups < least:
        return None
    fewest = fewest_rows(_as_difference(dataset, target)) if min_size == "auto" else min_size
    behind = rows_behind(dataset, target, entities) if behind is None else behind
    decisive = _decisive(dataset, behind, fewest, least)
    kept: NDArray[np.bool_] = np.asarray((behind[decisive] >= fewest - _ROUNDING).all(axis=0))
    pooled = pool and (~kept).sum() > 1 and kept.sum() + 1 >= least
    if pooled:
        together = replace(target, system=system.pooling(_labels_of(system, ~kept)))
        of_all = rows_behind(dataset, together, entities)[decisive, -1]
        pooled = bool((of_all >= fewest - _ROUNDING).all())
    judged = pooled or bool(kept.sum() >= least)
    if not judged:
        sizes = _rows_of(dataset, system)
        kept[np.lexsort((-sizes, -behind[decisive].min(axis=0)))[:least]] = True
    if judged and kept.all():
        return None
    return SmallGroups(
        metric=target.metric.name,
        system=system.name,
        outside=_labels_of(system, ~kept),
        n_rows=tuple(_rows_of(dataset, system)[~kept].tolist()),
        n_groups=system.n_groups,
        fewest=fewest,
        effective=entities is not None or bool((dataset.weight != dataset.weight[0]).any()),
        judged=judged,
        pooled=pooled,
    )


def _decisive(
    dataset: Dataset, behind: NDArray[np.float64], fewest: int, least: int
) -> NDArray[np.bool_]:
    """Return the rates that decide which groups are too small, shape (n_rates,)."""
    found: NDArray[np.bool_] = (behind >= fewest - _ROUNDING).sum(axis=1) >= least
    # A class that is rare in all groups must not exclude large groups.
    return found if dataset.task == "multiclass" and found.any() else np.ones_like(found)


def _labels_of(system: GroupSystem, chosen: NDArray[np.bool_]) -> tuple[str, ...]:
    return tuple(system.labels[at] for at in np.flatnonzero(chosen))


def rows_behind(
    dataset: Dataset, target: BoundConstraint, entities: NDArray[np.integer] | None
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
    for label in sorted(labels_behind(target, dataset)):
        inside = (dataset.y[rows] == label) | (label < 0)
        at = rows[inside]
        whose = None if entities is None else entities[at]
        found.append(effective_rows(group[inside], dataset.weight[at], system.n_groups, whose))
    return np.stack(found)


def _rows_of(dataset: Dataset, system: GroupSystem) -> NDArray[np.int64]:
    """Return the unweighted number of rows of each group."""
    member = system.member
    found: NDArray[np.int64] = member @ np.bincount(dataset.cells, minlength=member.shape[1])
    return found


def thin_groups(dataset: Dataset, targets: Sequence[BoundConstraint]) -> tuple[str, ...]:
    """Return one line per constrained group whose rates rest on fewer than 20 rows."""
    found: dict[str, None] = {}
    for target in targets:
        member = target.system.member
        needed = labels_behind(target, dataset)
        for label in sorted(needed):
            inside = (dataset.y == label) | (label < 0)
            counts = member @ np.bincount(dataset.cells[inside], minlength=member.shape[1])
            for at in np.flatnonzero(counts < FEWEST_ROWS):
                kind = "" if label < 0 else f" of class {dataset.classes.tolist()[label]!r}"
                name = f"{target.system.labels[at]!r} of {target.system.name!r}"
                found[f"{name}: {counts[at]} rows{kind}"] = None
    return tuple(found)


def labels_behind(target: BoundConstraint, dataset: Dataset) -> set[int]:
    """Return the labels whose rows the rates of a target use, -1 for all rows."""
    if dataset.task != "multiclass":
        rates = target.metric.compared
        found = {label_behind(rate) for rate in rates}
        return found if dataset.task == "binary" and found else {-1}
    # One class against the rest: the rate on the rows of the class has fewer rows.
    by_label = any(
        rate.label is not None or rate.depends_on_decision for rate in target.metric.compared
    )
    return set(range(len(dataset.classes))) if by_label else {-1}


def label_behind(rate: Rate) -> int:
    """Return the label with about as many rows as the rate has, -1 for all rows."""
    if rate.label is not None:
        return rate.label
    # About as many rows are accepted as have label 1.
    return min(d for _, d in rate.among) if rate.depends_on_decision else -1
