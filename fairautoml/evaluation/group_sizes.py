"""Sample size of groups: rows that a bound needs, groups it leaves out, and what can be judged.

Whether there are enough rows to judge a bound is how a perfectly fair rule would measure.
The rate of group g of such a rule is r + sqrt(r (1 - r) / n_g) Z with Z standard normal, r the
same for all groups and n_g the effective rows behind the rate. The variance is the largest one,
r = .5, except for selection rates, where r is the share of the label. A prediction of a number
varies at most as much as the target does.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from fairautoml.data.dataset import Dataset
from fairautoml.metrics import BoundConstraint, Metric
from fairautoml.metrics._table import Rate, effective_rows, weight_sums
from fairautoml.metrics.groups import UNDECIDED, GroupSystem, Judgeability, SmallGroups
from fairautoml.metrics.rates import comparison

SMALLEST_BOUND = 0.05
"""Tighter bounds do not require more rows, so that they never disable a constraint."""

MINIMUM_AS_DIFFERENCE = 0.1
"""Difference that needs as many rows as a minimum, whose standard error is then at most 0.1."""

LARGEST_VARIANCE = 0.25
"""Largest variance of a binary variable, whose mean a rate is."""

FEWEST_ROWS = 20
"""Rows behind a rate below which its value is mostly chance: its standard error is above 0.1."""

_ROUNDING = 1e-6

DRAWS = 4_000
"""Simulated samples; the standard error of a probability is at most .008."""

POINTS = 32
"""Thresholds at which two distributions of predictions are compared."""

DIGITS, NEXT = 2, 1.001
"""Significant digits of the smallest bound that can be judged, and a factor below one step."""

STEP_ROUNDING = 1e-9


@dataclass(frozen=True, slots=True, kw_only=True)
class GroupSizes:
    """Which groups of a dataset have enough rows for bounds on them."""

    dataset: Dataset
    entities: NDArray[np.integer] | None = None  # shape (n_rows,): group of related rows
    # effective rows that each compared rate of a group needs; "auto" = those of the bound
    min_size: int | Literal["auto"] = "auto"
    pool: bool = False  # whether smaller groups become one if they have as many rows together

    def small_groups(self, targets: Sequence[BoundConstraint]) -> tuple[SmallGroups, ...]:
        """Return the groups that have too few rows for the bounds on them.

        A group stays constrained if each compared rate of it rests on ``max(1 / e, .25 / e^2)``
        effective rows, with ``e`` the bound, at least .05: with fewer the rate may be unable to
        meet the bound, or its standard error exceeds it. At least two groups stay constrained.
        """
        return tuple(one for one in map(self.too_small, tightest(targets)) if one is not None)

    def too_small(
        self, target: BoundConstraint, behind: NDArray[np.float64] | None = None
    ) -> SmallGroups | None:
        """Return the groups with too few rows for a target, or None; ``behind`` if it is known."""
        dataset, system, least = self.dataset, target.system, target.fewest_groups
        if target.metric.degree or system.n_groups < least:
            return None
        fewest = self.min_size
        if fewest == "auto":
            fewest = fewest_rows(self._as_difference(target))
        behind = self._rows_behind(target) if behind is None else behind
        decisive = self._decisive(behind, fewest, least)
        kept: NDArray[np.bool_] = np.asarray((behind[decisive] >= fewest - _ROUNDING).all(axis=0))
        pooled = self.pool and (~kept).sum() > 1 and kept.sum() + 1 >= least
        if pooled:
            together = replace(target, system=system.pooling(_labels_of(system, ~kept)))
            of_all = self._rows_behind(together)[decisive, -1]
            pooled = bool((of_all >= fewest - _ROUNDING).all())
        judged, n_rows = pooled or bool(kept.sum() >= least), self._n_rows(system)
        if not judged:
            kept[np.lexsort((-n_rows, -behind[decisive].min(axis=0)))[:least]] = True
        if judged and kept.all():
            return None
        unequal = bool((dataset.weight != dataset.weight[0]).any())
        return SmallGroups(
            metric=target.metric.name,
            system=system.name,
            outside=_labels_of(system, ~kept),
            n_rows=tuple(n_rows[~kept].tolist()),
            n_groups=system.n_groups,
            fewest=fewest,
            effective=self.entities is not None or unequal,
            judged=judged,
            pooled=pooled,
        )

    def judgeability(self, targets: Sequence[BoundConstraint]) -> tuple[Judgeability, ...]:
        """Return whether the rows of the constrained groups are enough to judge each bound.

        ``targets`` compare all groups; those with too few rows are left out here. A looser bound
        leaves out fewer groups, which the smallest bound that can be judged takes into account. A
        minimum, a level and the dependence on a number have no result: none compares groups.
        """
        return tuple(
            self._judgeability(target)
            for target in tightest(targets)
            if target.metric.compares_groups
            and not target.metric.degree
            and target.system.n_groups >= target.fewest_groups
        )

    def _judgeability(self, target: BoundConstraint) -> Judgeability:
        metric, behind = target.metric, self._rows_behind(target)
        small = self.too_small(target, behind)
        measured = self._fair_gaps(target, small)
        p0, median = float((measured <= target.limit).mean()), float(np.median(measured))
        judged = p0 >= UNDECIDED and _judged(small)
        smallest = None
        if self.min_size == "auto" or _judged(small):
            start = median if judged else max(median, target.limit)
            smallest = self._smallest_limit(target, start, behind)
        if judged:
            smallest = target.limit if smallest is None else min(smallest, target.limit)
        return Judgeability(
            metric=metric.name,
            system=target.system.name,
            bound=metric.gap(target.limit),
            p0=p0,
            smallest_bound=None if smallest is None else float(f"{metric.gap(smallest):.10g}"),
        )

    def _smallest_limit(
        self, target: BoundConstraint, needed: float, behind: NDArray[np.float64]
    ) -> float | None:
        """Return the smallest limit of at least ``needed`` that can be judged, or None."""
        limit = _rounded_up(needed)
        while limit < target.metric.most and math.isfinite(limit):
            looser = replace(target, limit=limit)
            small = self.too_small(looser, behind)
            if _judged(small):
                needed = float(np.median(self._fair_gaps(looser, small)))
                if needed <= limit:
                    return limit
            limit = _rounded_up(max(needed, limit * NEXT))
        return None

    def _fair_gaps(
        self, target: BoundConstraint, small: SmallGroups | None
    ) -> NDArray[np.float64]:
        """Return the gaps that a perfectly fair rule measures on simulated samples."""
        if small is not None:
            target = replace(target, system=small.applied_to(target.system))
        rng = np.random.default_rng(0)
        by_rate = [
            _gaps(self._sums(target, label), target, math.sqrt(rate * (1 - rate)), rng)
            for label, rate in self._fair_rates(target)
        ]
        over_classes = np.mean if comparison(target.metric) == "macro" else np.max
        found: NDArray[np.float64] = over_classes(by_rate, axis=0)
        return found / self._unit(target.metric)

    def _as_difference(self, target: BoundConstraint) -> float:
        """Return the bound of a target converted to a difference of rates."""
        metric = target.metric
        if metric.is_minimum:
            return MINIMUM_AS_DIFFERENCE
        # A level is not a difference: require as many rows as for the tightest bound.
        return target.limit * self._unit(metric) if metric.compares_groups else 0.0

    def _unit(self, metric: Metric) -> float:
        """Return the difference of rates that corresponds to a gap of 1."""
        y = self.dataset.y
        if metric.form == "ratio":
            return float(np.average(y > 0, weights=self.dataset.weight))
        # The standard deviation of a binary variable is at most 1/2.
        return 1 / (2 * float(np.std(y))) if math.isinf(metric.most) else 1.0

    def _decisive(self, behind: NDArray[np.float64], fewest: int, least: int) -> NDArray[np.bool_]:
        """Return the rates that decide which groups are too small, shape (n_rates,)."""
        found: NDArray[np.bool_] = (behind >= fewest - _ROUNDING).sum(axis=1) >= least
        # A class that is rare in all groups must not exclude large groups.
        rare = self.dataset.task == "multiclass" and found.any()
        return found if rare else np.ones_like(found)

    def _rows_behind(self, target: BoundConstraint) -> NDArray[np.float64]:
        """Return the effective rows behind each compared rate, shape (n_rates, n_groups)."""
        system, dataset = target.system, self.dataset
        if system.masks is None:
            group = system.of_cell[dataset.cells].astype(np.int64)
            rows = np.flatnonzero(group >= 0)
            group = group[rows]
        else:
            rows, group = np.nonzero(system.masks.T[dataset.cells])
        found = []
        for label in sorted(labels_behind(target, dataset)):
            inside = (dataset.y[rows] == label) | (label < 0)
            at = rows[inside]
            whose = None if self.entities is None else self.entities[at]
            found.append(effective_rows(group[inside], dataset.weight[at], system.n_groups, whose))
        return np.stack(found)

    def _n_rows(self, system: GroupSystem) -> NDArray[np.int64]:
        """Return the unweighted number of rows of each group."""
        member = system.member
        return member @ np.bincount(self.dataset.cells, minlength=member.shape[1])

    def _fair_rates(self, target: BoundConstraint) -> list[tuple[int, float]]:
        """Return the label whose rows each rate uses, -1 for all, and its fair value."""
        dataset, compared = self.dataset, target.metric.compared
        shares = [
            float(np.average(dataset.y == label, weights=dataset.weight))
            for label in range(len(dataset.classes))
        ]
        if dataset.task == "binary" and compared:
            pairs = ((label_behind(r), shares[1] if _is_selection(r) else 0.5) for r in compared)
            return list(dict.fromkeys(pairs))
        labels = labels_behind(target, dataset)
        if dataset.task == "multiclass" and labels == {-1} and all(map(_is_selection, compared)):
            return [(-1, share) for share in shares]
        return [(label, 0.5) for label in sorted(labels)]

    def _sums(self, target: BoundConstraint, label: int) -> "_Sums":
        system, dataset = target.system, self.dataset
        part, member = dataset.cells, system.member.astype(np.float64)
        if not system.overlapping:
            # The rows of one entity may be in several cells of a group.
            part, member = system.of_cell[part], np.eye(system.n_groups)
        rows = np.flatnonzero((part >= 0) & ((dataset.y == label) | (label < 0)))
        whose = None if self.entities is None else self.entities[rows]
        total, squares = weight_sums(part[rows], dataset.weight[rows], member.shape[1], whose)
        return _Sums(total, squares, member)


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


def _labels_of(system: GroupSystem, chosen: NDArray[np.bool_]) -> tuple[str, ...]:
    return tuple(system.labels[at] for at in np.flatnonzero(chosen))


def _judged(small: SmallGroups | None) -> bool:
    return small is None or small.judged


def _rounded_up(gap: float) -> float:
    """Return a gap rounded up to two significant digits."""
    if gap <= 0 or math.isinf(gap):
        return gap
    step = 10.0 ** (math.floor(math.log10(gap)) + 1 - DIGITS)
    # A multiple of a step may be larger by rounding.
    return float(f"{math.ceil(gap / step - STEP_ROUNDING) * step:.10g}")


def _is_selection(rate: Rate) -> bool:
    return rate.is_acceptance and rate.label is None


@dataclass(frozen=True, slots=True)
class _Sums:
    """Sums of the weights behind a rate, and of their squares, over groups or finest cells."""

    total: NDArray[np.float64]  # shape (n_parts,)
    squares: NDArray[np.float64]  # shape (n_parts,)
    member: NDArray[np.float64]  # shape (n_groups, n_parts): parts that each group consists of


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
        return np.ptp(rates, axis=1)
    apart = np.abs(rates - (noise.sum(axis=1) / sums.total.sum())[:, None])
    apart[:, mass == 0] = 0.0
    return apart.sum(axis=1) if target.metric.over_groups == "sum" else apart.max(axis=1)


def _distances(scale: NDArray[np.float64], rng: np.random.Generator) -> NDArray[np.float64]:
    """Return the largest distance of two distribution functions on each simulated sample."""
    at = np.arange(1, POINTS + 1) / POINTS
    walk = rng.standard_normal((DRAWS // 4, len(scale), POINTS)).cumsum(axis=2) / math.sqrt(POINTS)
    # A distribution function moves like a Brownian bridge.
    bridge = (walk - at * walk[:, :, -1:]) * scale[:, None]
    return np.ptp(bridge, axis=1).max(axis=1)
