"""Group rates with prices: what one boosting round descends on, and how the prices rise.

A round descends on the loss plus the priced constraints, written with a convex proxy of the
rates; then each price takes a step along its constraint, written with the rates as they are.

Source: Cruz et al., *FairGBM: Gradient Boosting with Fairness Constraints*, ICLR 2023,
arXiv 2209.07850, and its code. Ours: weights, several group systems, a hessian that knows the
constraints, and selection rates.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit

from fairautoml.data.dataset import GroupSystem
from fairautoml.exceptions import DegenerateGroupError, InputError
from fairautoml.metrics._base import Rate
from fairautoml.mitigators._base import Target, TrainRows
from fairautoml.mitigators._fairgbm_proxies import Array, Proxy
from fairautoml.mitigators._pre import groups_of_cells

EVENTS: dict[Rate, tuple[float, float]] = {
    "selection": (1.0, 1.0),
    "fpr": (1.0, 0.0),
    "tpr": (0.0, -1.0),
}
"""For rows of label 0 and 1: 1 where acceptance is counted, -1 where refusal is, 0 = left out.

Equal true positive rates are equal false negative rates.
"""


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

PUBLISHED = frozenset({"fpr", "tpr"})
"""Rates among the rows of one label, which the paper is about."""


class DivergedError(ArithmeticError):
    """The prices grew until the gradients were no numbers any more."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class GroupRate:
    """One rate over the groups of one system that have rows for it.

    Parameters
    ----------
    name : {"selection", "tpr", "fpr"}
        Which rate, or its complement.
    at : ndarray of int64, shape (n_counted,)
        The rows that count.
    group : ndarray of int64, shape (n_counted,)
        Their groups, 0 .. n_groups - 1.
    sign : ndarray of float64, shape (n_counted,)
        1 where acceptance is the event, -1 where refusal is.
    weight : ndarray of float64, shape (n_counted,)
        Their weights.
    mass : ndarray of float64, shape (n_groups,)
        Weight of each group, positive.
    tolerance : float
        Largest difference that costs nothing.
    """

    name: Rate
    at: NDArray[np.int64]
    group: NDArray[np.int64]
    sign: Array
    weight: Array
    mass: Array
    tolerance: float

    def lean(self, margin: Array) -> Array:
        """Return how far the rows that count lean towards the event, shape (n_counted,)."""
        return self.sign * margin[self.at]

    def proxies(self, margin: Array, proxy: Proxy) -> Array:
        """Return the group means of the proxy, shape (n_groups,)."""
        return self._means(proxy.value(self.lean(margin)))

    def rates(self, margin: Array) -> Array:
        """Return the group rates of the decisions ``margin >= 0``, shape (n_groups,)."""
        return self._means(((margin[self.at] >= 0) == (self.sign > 0)).astype(np.float64))

    def per_row(self, of_group: Array) -> Array:
        """Return what one row adds to a weighted sum of the rates, shape (n_counted,)."""
        share: Array = self.weight * (of_group / self.mass)[self.group]
        return share

    def _means(self, values: Array) -> Array:
        sums = np.bincount(self.group, weights=self.weight * values, minlength=len(self.mass))
        means: Array = sums / self.mass
        return means


class Constraint(Protocol):
    """A rate with a price per group."""

    def add_derivatives(
        self, margin: Array, total: float, gradient: Array, hessian: Array
    ) -> None:
        """Add the priced proxy rates to gradient and hessian of the loss, in place.

        Parameters
        ----------
        margin, gradient, hessian : ndarray of float64, shape (n_rows,)
            Log-odds and derivatives of all rows.
        total : float
            Weight of all rows: constraints count like the loss of all rows, so that a step size
            means the same whatever their number.
        """
        ...

    def ascend(self, margin: Array, eta: float) -> None:
        """Move every price by ``eta`` times its violation under decisions ``margin >= 0``."""
        ...


@dataclass(slots=True, kw_only=True)
class WorstFirst:
    """The published form: every group pays until it is as badly off as the worst one.

    Parameters
    ----------
    rate : GroupRate
        What shall be equal.
    proxy : Proxy
        Stands in for it in the descent.
    multipliers : ndarray of float64, shape (n_groups,)
        Price of each group, at least 0.
    curved : bool
        Whether the hessian knows the constraint, by a positive majorant: the constraint bends
        down where a rate is to rise. Without, all is as in the published code, which also takes
        the gradient of the worst group once per other group.
    """

    rate: GroupRate
    proxy: Proxy
    multipliers: Array
    curved: bool = True

    def add_derivatives(
        self, margin: Array, total: float, gradient: Array, hessian: Array
    ) -> None:
        """Add the derivatives of ``total * sum_k multiplier_k (max_j P_j - P_k)``, in place."""
        rate = self.rate
        per_row = total * rate.per_row(self._prices(margin))
        lean = rate.lean(margin)
        gradient[rate.at] += per_row * rate.sign * self.proxy.slope(lean)
        if self.curved:
            hessian[rate.at] += np.abs(per_row) * self.proxy.curve(lean)

    def ascend(self, margin: Array, eta: float) -> None:
        """Step along ``max_j rate_j - rate_k - tolerance``."""
        rates = self.rate.rates(margin)
        violation = rates.max() - rates - self.rate.tolerance
        self.multipliers = np.maximum(0.0, self.multipliers + eta * violation)

    def _prices(self, margin: Array) -> Array:
        """Return what each group's proxy rate costs: positive for the worst one only."""
        price: Array = -self.multipliers
        worst = int(self.rate.proxies(margin, self.proxy).argmax())
        price[worst] = 0.0
        # An exact sum: the numbers of the groups must not show in the last bit.
        price[worst] = -math.fsum(price)
        if not self.curved:
            price[worst] *= len(price) - 1
        return price


@dataclass(slots=True, kw_only=True)
class NearTheMean:
    """For selection rates: every group pays for its distance from the rate of all.

    The published form does not serve them. To raise a rate it pushes those up most who are
    accepted already, without end once the price outweighs the loss. Here the share refused is
    lowered instead, by a proxy of its own; both halves are convex. And a price falls again as
    soon as the rate has passed the mean.

    Parameters
    ----------
    rate : GroupRate
        What shall be equal; two groups within half its tolerance of the mean are equal enough.
    proxy : Proxy
        Stands in for the rate, or for its complement, in the descent.
    above, below : ndarray of float64, shape (n_groups,)
        Prices of lying above and below the mean, at least 0.
    """

    rate: GroupRate
    proxy: Proxy
    above: Array
    below: Array

    def add_derivatives(
        self, margin: Array, total: float, gradient: Array, hessian: Array
    ) -> None:
        """Add the derivatives of ``total * sum_k (above_k - below_k)(P_k - P)``, in place."""
        rate = self.rate
        price = self.above - self.below
        price = price - self._shares() * math.fsum(price)
        per_row = total * rate.per_row(price)
        # +1: the event shall become rarer; -1: its complement shall.
        way = np.where(per_row < 0, -1.0, 1.0)
        lean = way * rate.lean(margin)
        gradient[rate.at] += np.abs(per_row) * way * rate.sign * self.proxy.slope(lean)
        hessian[rate.at] += np.abs(per_row) * self.proxy.curve(lean)

    def ascend(self, margin: Array, eta: float) -> None:
        """Step along the distance from the rate of all, minus half the tolerance."""
        rates = self.rate.rates(margin)
        apart = rates - math.fsum(self._shares() * rates)
        slack = self.rate.tolerance / 2
        self.above = np.maximum(0.0, self.above + eta * (apart - slack))
        self.below = np.maximum(0.0, self.below + eta * (-apart - slack))

    def _shares(self) -> Array:
        shares: Array = self.rate.mass / math.fsum(self.rate.mass)
        return shares


@dataclass(frozen=True, slots=True, kw_only=True)
class Game:
    """The proxy Lagrangian of some rows, and the prices, which remember.

    Parameters
    ----------
    y : ndarray of int8, shape (n_rows,)
        Labels 0 or 1.
    weight : ndarray of float64, shape (n_rows,)
        Row weights.
    constraints : tuple of Constraint
        What is to be equal.
    eta : float
        Step size of the prices, at least 0.
    """

    y: NDArray[np.int8]
    weight: Array
    constraints: tuple[Constraint, ...]
    eta: float

    def ascend(self, margin: Array) -> None:
        """Move every price by its violation under the decisions of these margins.

        Parameters
        ----------
        margin : ndarray of float64, shape (n_rows,)
            Log-odds of the rows.
        """
        for constraint in self.constraints:
            constraint.ascend(margin, self.eta)

    def derivatives(self, margin: Array) -> tuple[Array, Array]:
        """Return gradient and hessian of the Lagrangian, each of shape (n_rows,).

        Parameters
        ----------
        margin : ndarray of float64, shape (n_rows,)
            Log-odds of the rows.

        Raises
        ------
        DivergedError
            A gradient is infinite or NaN.
        """
        p = expit(margin)
        gradient: Array = self.weight * (p - self.y)
        hessian: Array = self.weight * p * (1 - p)
        total = float(self.weight.sum())
        for constraint in self.constraints:
            constraint.add_derivatives(margin, total, gradient, hessian)
        if not np.isfinite(gradient).all():
            msg = (
                f"fairgbm: a gradient is not finite; eta={self.eta} is too large for these rows, "
                "try a tenth of it"
            )
            raise DivergedError(msg)
        return gradient, hessian


def constraint_of(rate: GroupRate, proxy: Proxy, *, curved: bool) -> Constraint:
    """Return the constraint on a rate with all prices 0: the published one where there is one.

    Parameters
    ----------
    rate : GroupRate
        What shall be equal.
    proxy : Proxy
        Stands in for it.
    curved : bool
        Whether the hessian of a published constraint knows it.
    """
    n_groups = len(rate.mass)
    if rate.name in PUBLISHED:
        return WorstFirst(rate=rate, proxy=proxy, multipliers=np.zeros(n_groups), curved=curved)
    return NearTheMean(rate=rate, proxy=proxy, above=np.zeros(n_groups), below=np.zeros(n_groups))


def group_rates(rows: TrainRows, targets: Sequence[Target]) -> tuple[GroupRate, ...]:
    """Return every rate of every group system that the targets speak of, once.

    A group that lacks the rows of a rate is left out of that rate, as the post-processors do.

    Parameters
    ----------
    rows : TrainRows
        Training rows.
    targets : sequence of Target
        What shall be equal; the limit is the tolerance. A rate named twice takes the smaller one.

    Raises
    ------
    InputError
        A target is no difference of rates.
    DegenerateGroupError
        No rate exists in two groups.
    """
    limits: dict[tuple[str, Rate], tuple[GroupSystem, float]] = {}
    for target in targets:
        if target.metric.name not in SERVES:
            allowed = ", ".join(sorted(SERVES))
            msg = f"targets: fairgbm cannot bound {target.metric.name!r}; it can bound {allowed}"
            raise InputError(msg)
        for name in target.metric.rates:
            _, known = limits.get((target.system.name, name), (target.system, target.limit))
            smaller = min(known, target.limit)
            limits[target.system.name, name] = (target.system, smaller)
    found = [
        _group_rate(rows, system, name, limit) for (_, name), (system, limit) in limits.items()
    ]
    kept = tuple(rate for rate in found if len(rate.mass) >= 2)
    if not kept:
        names = ", ".join(f"{name} on {system!r}" for system, name in limits)
        msg = (
            f"targets: fewer than two groups have rows for {names} among the {len(rows.y)} rows "
            "trained on; merge small groups or train on more rows"
        )
        raise DegenerateGroupError(msg)
    return kept


def _group_rate(rows: TrainRows, system: GroupSystem, name: Rate, tolerance: float) -> GroupRate:
    sign = np.array(EVENTS[name])[rows.y]
    group = groups_of_cells(system.of_cell, rows.cells)
    counts = (sign != 0) & (group >= 0)
    mass = np.bincount(group[counts], weights=rows.weight[counts], minlength=system.n_groups)
    there = mass > 0
    at = np.flatnonzero(counts & there[group])
    code = there.cumsum() - 1
    return GroupRate(
        name=name,
        at=at,
        group=code[group[at]],
        sign=sign[at],
        weight=rows.weight[at],
        mass=mass[there].astype(np.float64, copy=False),
        tolerance=tolerance,
    )
