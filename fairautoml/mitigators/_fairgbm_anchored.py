"""Rates of groups that may overlap, priced by their distance from the rate of everybody.

Source of the constraint ``|rate_g - rate| <= t``: Gencoglu, *Cyberbullying Detection with Fairness
Constraints*, IEEE Internet Computing 2021, arXiv 2005.06625. Ours: its place in the objective of
FairGBM (Cruz et al., arXiv 2209.07850), with two prices for each group.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Self

import numpy as np
from numpy.typing import NDArray

from fairautoml.data.dataset import GroupSystem
from fairautoml.exceptions import DegenerateGroupError
from fairautoml.metrics._table import Rate
from fairautoml.mitigators._base import Target, TrainRows
from fairautoml.mitigators._fairgbm_proxies import Array, Proxy
from fairautoml.mitigators._fairgbm_rates import GroupRate, events_of


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Distances(GroupRate):
    """One rate of groups that may overlap: of each group, less that of everybody.

    The number of a row's group, ``group``, is not read: a row may be in several.
    """

    # which of the rows that count are in each group
    member: NDArray[np.bool_]  # shape (n_groups, n_counted)

    def on(self, rows: TrainRows) -> "Distances":
        """Return the same distances on other rows, where some group may lack rows."""
        return _distances(rows, self.system, self.name, self.codes, self.tolerance)

    def per_row(self, of_group: Array) -> Array:
        """Return what one row adds to a weighted sum of the distances, shape (n_counted,)."""
        share: Array = self.weight * (self._spread(of_group) - of_group.sum() / self.weight.sum())
        return share

    def most_per_row(self, of_group: Array) -> Array:
        """Return a bound on the size of ``per_row`` for prices of any sign, at least 0."""
        size = np.abs(of_group)
        most: Array = self.weight * (self._spread(size) + size.sum() / self.weight.sum())
        return most

    def _spread(self, of_group: Array) -> Array:
        nothing = np.zeros_like(self.mass)
        each: Array = np.divide(of_group, self.mass, out=nothing, where=self.mass > 0)
        spread: Array = each @ self.member
        return spread

    def _means(self, values: Array) -> Array:
        weighed = self.weight * values
        unknown = np.full_like(self.mass, np.nan)
        means: Array = np.divide(
            self.member @ weighed, self.mass, out=unknown, where=self.mass > 0
        )
        overall = float(weighed.sum() / self.weight.sum())
        distances: Array = means - overall
        return distances


@dataclass(slots=True, kw_only=True)
class NearEverybody:
    """Every group pays for its distance from the rate of everybody, whichever way it lies."""

    rate: Distances  # what shall be near 0; distances within its tolerance cost nothing
    proxy: Proxy  # stands in for the rates in the descent
    # prices of lying above and below the rate of everybody, at least 0
    prices: Array  # shape (2, n_groups)
    curved: bool = True  # whether the hessian knows the constraint, by a positive majorant

    def add_derivatives(
        self, margin: Array, total: float, gradient: Array, hessian: Array
    ) -> None:
        """Add the derivatives of ``total * sum_g (above_g - below_g)(P_g - P)``, in place."""
        rate, price = self.rate, self.prices[0] - self.prices[1]
        lean = rate.lean(margin)
        gradient[rate.at] += total * rate.per_row(price) * rate.sign * self.proxy.slope(lean)
        if self.curved:
            hessian[rate.at] += total * rate.most_per_row(price) * self.proxy.curve(lean)

    def violations(self, margin: Array) -> Array:
        """Return the distance from the rate of everybody minus the tolerance, both ways."""
        apart = self.rate.rates(margin)
        both: Array = np.stack([apart, -apart]) - self.rate.tolerance
        return both

    def on(self, rows: TrainRows) -> Self:
        """Return the same constraint with the same prices on other rows."""
        return replace(self, rate=self.rate.on(rows))


def near_everybody(
    rows: TrainRows, targets: Sequence[Target], proxy: Proxy, *, curved: bool
) -> tuple[NearEverybody, ...]:
    """Return the constraints of targets against everybody or on groups that overlap.

    A bound on a sum over groups is shared out among them, and one on the largest difference
    between two groups is halved: either is then met.
    """
    return tuple(
        _near(rows, target, rate, proxy, curved)
        for target in targets
        for rate in target.metric.compared
    )


def _near(
    rows: TrainRows, target: Target, name: Rate, proxy: Proxy, curved: bool
) -> NearEverybody:
    everybody = np.arange(target.system.n_groups)
    rate = _distances(rows, target.system, name, everybody, 0.0)
    kept = everybody[rate.mass > 0]
    if len(kept) == 0:
        msg = (
            f"targets: no group of {target.system.name!r} has rows for {name} among the "
            f"{len(rows.y)} rows trained on; train on more rows"
        )
        raise DegenerateGroupError(msg)
    share = 1.0 if target.metric.to_overall else 0.5
    if target.metric.over_groups == "sum":
        share = 1.0 / len(kept)
    return NearEverybody(
        rate=_distances(rows, target.system, name, kept, share * target.limit),
        proxy=proxy,
        prices=np.zeros((2, len(kept))),
        curved=curved,
    )


def _distances(
    rows: TrainRows,
    system: GroupSystem,
    name: Rate,
    codes: NDArray[np.int64],
    tolerance: float,
) -> Distances:
    """Return the distances of the groups of these numbers; all rows count, or those of a group."""
    sign = events_of(name)[rows.y]
    counted = (sign != 0) & (rows.weight > 0)
    # Cell -1, of an unknown group, is the last column: it belongs to no group.
    inside = np.pad(system.member, ((0, 0), (0, 1)))[:, rows.cells]
    if not system.overlapping:
        counted &= inside.any(axis=0)
    at = np.flatnonzero(counted)
    member = inside[codes][:, at]
    return Distances(
        name=name,
        at=at,
        group=np.zeros(len(at), dtype=np.int64),
        sign=sign[at],
        weight=rows.weight[at],
        mass=member @ rows.weight[at],
        tolerance=tolerance,
        system=system,
        codes=codes,
        member=member,
    )
