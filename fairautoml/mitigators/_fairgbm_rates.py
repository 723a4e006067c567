"""Rates of groups, as FairGBM counts them: of decisions, and of their convex proxies."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fairautoml.data.dataset import GroupSystem
from fairautoml.exceptions import DegenerateGroupError, InputError
from fairautoml.metrics._table import Rate
from fairautoml.mitigators._base import Target, TrainRows
from fairautoml.mitigators._fairgbm_proxies import Array, Proxy
from fairautoml.mitigators._pre import groups_of_cells


def events_of(rate: Rate) -> Array:
    """Return for label 0 and 1: 1 where acceptance is counted, -1 where rejection is, else 0.

    Equal true positive rates are equal false negative rates, whose events are the errors.
    """
    counts, _, _ = rate.linear()
    return -counts if rate.label == 1 else counts


SERVES = frozenset(
    {
        "demographic_parity_difference",
        "equal_opportunity_difference",
        "equalized_odds_difference",
        "false_negative_rate_difference",
        "false_positive_rate_difference",
    }
)
"""Metrics that are differences of such rates."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class GroupRate:
    """One rate over the groups of one system that have rows for it."""

    name: Rate  # which rate, or its complement
    at: NDArray[np.int64]  # shape (n_counted,): the rows that count
    group: NDArray[np.int64]  # shape (n_counted,): their groups, 0 .. n_groups - 1
    sign: Array  # shape (n_counted,): 1 where acceptance is the event, -1 where refusal is
    weight: Array  # shape (n_counted,): their weights
    mass: Array  # shape (n_groups,): weight of each group
    tolerance: float  # largest difference that costs nothing
    system: GroupSystem  # which groups
    codes: NDArray[np.int64]  # shape (n_groups,): their numbers in the system

    def on(self, rows: TrainRows) -> "GroupRate":
        """Return the same rate of the same groups on other rows, some of which may lack rows."""
        return _counted(rows, self.system, self.name, self.codes, self.tolerance)

    def lean(self, margin: Array) -> Array:
        """Return how far the rows that count lean towards the event, shape (n_counted,)."""
        return self.sign * margin[self.at]

    def proxies(self, margin: Array, proxy: Proxy) -> Array:
        """Return the group means of the proxy, shape (n_groups,); NaN without rows."""
        return self._means(proxy.value(self.lean(margin)))

    def rates(self, margin: Array) -> Array:
        """Return the group rates of the decisions ``margin >= 0``, shape (n_groups,); NaN too."""
        return self._means(((margin[self.at] >= 0) == (self.sign > 0)).astype(np.float64))

    def per_row(self, of_group: Array) -> Array:
        """Return what one row adds to a weighted sum of the rates, shape (n_counted,)."""
        nothing = np.zeros_like(self.mass)
        per_weight = np.divide(of_group, self.mass, out=nothing, where=self.mass > 0)
        share: Array = self.weight * per_weight[self.group]
        return share

    def _means(self, values: Array) -> Array:
        sums = np.bincount(self.group, weights=self.weight * values, minlength=len(self.mass))
        unknown = np.full_like(self.mass, np.nan)
        means: Array = np.divide(sums, self.mass, out=unknown, where=self.mass > 0)
        return means


def group_rates(rows: TrainRows, targets: Sequence[Target]) -> tuple[GroupRate, ...]:
    """Return every rate of every group system that the targets speak of, once.

    A group that lacks the rows of a rate is left out of that rate, as the post-processors do.
    """
    limits: dict[tuple[tuple[str, tuple[str, ...]], Rate], tuple[GroupSystem, float]] = {}
    for target in targets:
        if target.metric.name not in SERVES:
            allowed = ", ".join(sorted(SERVES))
            msg = f"targets: fairgbm cannot bound {target.metric.name!r}; it can bound {allowed}"
            raise InputError(msg)
        for name in target.metric.rates:
            _, known = limits.get((target.system.key, name), (target.system, target.limit))
            smaller = min(known, target.limit)
            limits[target.system.key, name] = (target.system, smaller)
    found = [
        _group_rate(rows, system, name, limit) for (_, name), (system, limit) in limits.items()
    ]
    kept = tuple(rate for rate in found if len(rate.mass) >= 2)
    if not kept:
        names = ", ".join(f"{name} on {system!r}" for (system, _), name in limits)
        msg = (
            f"targets: fewer than two groups have rows for {names} among the {len(rows.y)} rows "
            "trained on; merge small groups or train on more rows"
        )
        raise DegenerateGroupError(msg)
    return kept


def _group_rate(rows: TrainRows, system: GroupSystem, name: Rate, tolerance: float) -> GroupRate:
    everybody = np.arange(system.n_groups)
    rate = _counted(rows, system, name, everybody, tolerance)
    return _counted(rows, system, name, everybody[rate.mass > 0], tolerance)


def _counted(
    rows: TrainRows,
    system: GroupSystem,
    name: Rate,
    codes: NDArray[np.int64],
    tolerance: float,
) -> GroupRate:
    """Return the rate of the groups of these numbers, and of no other."""
    sign = events_of(name)[rows.y]
    position = np.full(system.n_groups + 1, -1)
    position[codes] = np.arange(len(codes))
    group = position[groups_of_cells(system.of_cell, rows.cells)]
    at = np.flatnonzero((sign != 0) & (group >= 0))
    weight = rows.weight[at]
    mass = np.bincount(group[at], weights=weight, minlength=len(codes))
    return GroupRate(
        name=name,
        at=at,
        group=group[at],
        sign=sign[at],
        weight=weight,
        mass=mass.astype(np.float64, copy=False),
        tolerance=tolerance,
        system=system,
        codes=codes,
    )
