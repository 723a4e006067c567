"""Whether there are enough rows to judge a bound: how a perfectly fair rule would measure.

The rate of group g of such a rule is r + sqrt(r (1 - r) / n_g) Z with Z standard normal, r the
same for all groups and n_g the effective rows behind the rate. The variance is the largest one,
r = .5, except for selection rates, where r is the share of the label. A prediction of a number
varies at most as much as the target does.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from fairautoml.data.dataset import Dataset
from fairautoml.evaluation.group_sizes import (
    label_behind,
    labels_behind,
    rows_behind,
    tightest,
    too_small,
    unit,
)
from fairautoml.metrics import BoundConstraint
from fairautoml.metrics._table import Rate, weight_sums
from fairautoml.metrics.groups import UNDECIDED, Judgeability, SmallGroups
from fairautoml.metrics.rates import comparison

DRAWS = 4_000
"""Simulated samples; the standard error of a probability is at most .008."""

POINTS = 32
"""Thresholds at which two distributions of predictions are compared."""

DIGITS, NEXT = 2, 1.001
"""Significant digits of the smallest bound that can be judged, and a factor below one step."""

ROUNDING = 1e-9


def judgeability(
    dataset: Dataset,
    targets: Sequence[BoundConstraint],
    entities: NDArray[np.integer] | None = None,
    min_size: int | Literal["auto"] = "auto",
    *,
    pool: bool = False,
) -> tuple[Judgeability, ...]:
    """Return whether the rows of the constrained groups are enough to judge each bound.

    ``targets`` compare all groups; those with too few rows are left out here. A looser bound
    leaves out fewer groups, which the smallest bound that can be judged takes into account. A
    minimum, a level and the dependence on a number have no result: none compares groups.
    """

    def gaps(target: BoundConstraint, small: SmallGroups | None) -> NDArray[np.float64]:
        system = target.system if small is None else small.applied_to(target.system)
        return fair_gaps(dataset, replace(target, system=system), entities)

    found = []
    for target in tightest(targets):
        metric, system = target.metric, target.system
        compared = metric.compares_groups and not metric.degree
        if not compared or system.n_groups < target.fewest_groups:
            continue
        behind = rows_behind(dataset, target, entities)
        too_few = partial(
            too_small, dataset, entities=entities, min_size=min_size, pool=pool, behind=behind
        )
        small = too_few(target)
        measured = gaps(target, small)
        p0, median = float((measured <= target.limit).mean()), float(np.median(measured))
        judged = p0 >= UNDECIDED and _judged(small)
        start = median if judged else max(median, target.limit)
        smallest = None
        if min_size == "auto" or _judged(small):
            smallest = _smallest_limit(target, start, too_few, gaps)
        if judged:
            smallest = target.limit if smallest is None else min(smallest, target.limit)
        found.append(
            Judgeability(
                metric=metric.name,
                system=system.name,
                bound=metric.gap(target.limit),
                p0=p0,
                smallest_bound=None if smallest is None else float(f"{metric.gap(smallest):.10g}"),
            )
        )
    return tuple(found)


def _judged(small: SmallGroups | None) -> bool:
    return small is None or small.judged


def _smallest_limit(
    target: BoundConstraint,
    needed: float,
    too_few: Callable[[BoundConstraint], SmallGroups | None],
    gaps: Callable[[BoundConstraint, SmallGroups | None], NDArray[np.float64]],
) -> float | None:
    """Return the smallest limit of at least ``needed`` that can be judged, None without one."""
    limit = _rounded_up(needed)
    while limit < target.metric.most and math.isfinite(limit):
        looser = replace(target, limit=limit)
        small = too_few(looser)
        if _judged(small):
            needed = float(np.median(gaps(looser, small)))
            if needed <= limit:
                return limit
        limit = _rounded_up(max(needed, limit * NEXT))
    return None


def _rounded_up(gap: float) -> float:
    """Return a gap rounded up to two significant digits."""
    if gap <= 0 or math.isinf(gap):
        return gap
    step = 10.0 ** (math.floor(math.log10(gap)) + 1 - DIGITS)
    # A multiple of a step may be larger by rounding.
    return float(f"{math.ceil(gap / step - ROUNDING) * step:.10g}")


def fair_gaps(
    dataset: Dataset, target: BoundConstraint, entities: NDArray[np.integer] | None = None
) -> NDArray[np.float64]:
    """Return the gaps that a perfectly fair rule measures on simulated samples."""
    rng = np.random.default_rng(0)
    by_rate = [
        _gaps(_sums(dataset, target, label, entities), target, math.sqrt(rate * (1 - rate)), rng)
        for label, rate in _rates(dataset, target)
    ]
    over_classes = np.mean if comparison(target.metric) == "macro" else np.max
    found: NDArray[np.float64] = over_classes(by_rate, axis=0)
    return found / unit(dataset, target.metric)


def _rates(dataset: Dataset, target: BoundConstraint) -> list[tuple[int, float]]:
    """Return the label whose rows each compared rate uses, -1 for all, and its fair value."""
    shares = [
        float(np.average(dataset.y == label, weights=dataset.weight))
        for label in range(len(dataset.classes))
    ]
    compared = target.metric.compared
    if dataset.task == "binary" and compared:
        pairs = ((label_behind(r), shares[1] if _is_selection(r) else 0.5) for r in compared)
        return list(dict.fromkeys(pairs))
    labels = labels_behind(target, dataset)
    if dataset.task == "multiclass" and labels == {-1} and all(map(_is_selection, compared)):
        return [(-1, share) for share in shares]
    return [(label, 0.5) for label in sorted(labels)]


def _is_selection(rate: Rate) -> bool:
    return rate.is_acceptance and rate.label is None


@dataclass(frozen=True, slots=True)
class _Sums:
    """Sums of the weights behind a rate, and of their squares, over groups or finest cells."""

    total: NDArray[np.float64]  # shape (n_parts,)
    squares: NDArray[np.float64]  # shape (n_parts,)
    member: NDArray[np.float64]  # shape (n_groups, n_parts): parts that each group consists of


def _sums(
    dataset: Dataset, target: BoundConstraint, label: int, entities: NDArray[np.integer] | None
) -> _Sums:
    system, part = target.system, dataset.cells
    member = system.member.astype(np.float64)
    if not system.overlapping:
        # The rows of one entity may be in several cells of a group.
        part, member = system.of_cell[part], np.eye(system.n_groups)
    rows = np.flatnonzero((part >= 0) & ((dataset.y == label) | (label < 0)))
    whose = None if entities is None else entities[rows]
    total, squares = weight_sums(part[rows], dataset.weight[rows], member.shape[1], whose)
    return _Sums(total, squares, member)


def _gaps(
    sums: _Sums, target: BoundConstraint, deviation: float, rng: np.random.Generator
) -> NDArray[np.float64]:
    """Return the gap in one rate on each simulated sample."""
    mass = sums.member @ sums.total
    if not (mass > 0).all() and not target.metric.to_overall:
        return np.full(DRAWS, math.inf)
    spread = deviation * np.sqrt(sums.squares)
    if target.metric.name == "distribution_gap":
        return _distances(np.sqrt(sums.member @ sums.squares) / mass, rng)
    noise = rng.standard_normal((DRAWS, len(spread))) * spread
    rates = np.divide(
        noise @ sums.member.T, mass, out=np.zeros((DRAWS, len(mass))), where=mass > 0
    )
    if not target.metric.to_overall:
        found: NDArray[np.float64] = np.ptp(rates, axis=1)
        return found
    apart = np.abs(rates - (noise.sum(axis=1) / sums.total.sum())[:, None])
    apart[:, mass == 0] = 0.0
    summed: NDArray[np.float64] = (
        apart.sum(axis=1) if target.metric.over_groups == "sum" else apart.max(axis=1)
    )
    return summed


def _distances(scale: NDArray[np.float64], rng: np.random.Generator) -> NDArray[np.float64]:
    """Return the largest distance of two distribution functions on each simulated sample."""
    at = np.arange(1, POINTS + 1) / POINTS
    walk = rng.standard_normal((DRAWS // 4, len(scale), POINTS)).cumsum(axis=2) / math.sqrt(POINTS)
    # A distribution function moves like a Brownian bridge.
    bridge = (walk - at * walk[:, :, -1:]) * scale[:, None]
    found: NDArray[np.float64] = np.ptp(bridge, axis=1).max(axis=1)
    return found
