"""Group rates with prices: what one boosting round descends on, and how the prices rise.

A round descends on the loss plus the priced constraints, written with a convex proxy of the
rates; then each price takes a step along its constraint, written with the rates as they are.

Source: Cruz et al., *FairGBM: Gradient Boosting with Fairness Constraints*, ICLR 2023,
arXiv 2209.07850, and its code. Ours: weights, several group systems, a hessian that knows the
constraints, and selection rates.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Protocol, Self

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit

from fairautoml.mitigators._base import TrainRows
from fairautoml.mitigators._fairgbm_proxies import Array, Proxy
from fairautoml.mitigators._fairgbm_rates import GroupRate


class DivergedError(ArithmeticError):
    """The prices grew until the gradients were no numbers any more."""


class Constraint(Protocol):
    """A rate with a price per group."""

    def add_derivatives(
        self, margin: Array, total: float, gradient: Array, hessian: Array
    ) -> None:
        """Add the priced proxy rates to gradient and hessian of the loss, in place."""
        ...

    prices: Array
    """All that is remembered from round to round; never changed in place."""

    def violations(self, margin: Array) -> Array:
        """Return what each price moves along under decisions ``margin >= 0``.

        Like ``prices``; NaN where there are no rows to tell.
        """
        ...

    def on(self, rows: TrainRows) -> Self:
        """Return the same constraint with the same prices on other rows."""
        ...


@dataclass(slots=True, kw_only=True)
class WorstFirst:
    """The published form: every group pays until it is as badly off as the worst one."""

    rate: GroupRate  # what shall be equal
    proxy: Proxy  # stands in for it in the descent
    multipliers: Array  # shape (n_groups,): price of each group, at least 0
    # whether the hessian knows the constraint, by a positive majorant: the constraint bends down
    # where a rate is to rise. Without, all is as in the published code, which also takes the
    # gradient of the worst group once per other group
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

    @property
    def prices(self) -> Array:
        """The multipliers, shape (n_groups,)."""
        return self.multipliers

    @prices.setter
    def prices(self, prices: Array) -> None:
        self.multipliers = prices

    def violations(self, margin: Array) -> Array:
        """Return ``max_j rate_j - rate_k - tolerance``, shape (n_groups,)."""
        rates = self.rate.rates(margin)
        highest = rates.max(where=np.isfinite(rates), initial=0.0)
        violations: Array = highest - rates - self.rate.tolerance
        return violations

    def on(self, rows: TrainRows) -> Self:
        """Return the same constraint with the same prices on other rows."""
        return replace(self, rate=self.rate.on(rows))

    def _prices(self, margin: Array) -> Array:
        """Return what each group's proxy rate costs: positive for the worst one only."""
        price: Array = -self.multipliers
        proxies = self.rate.proxies(margin, self.proxy)
        worst = int(np.where(np.isnan(proxies), -np.inf, proxies).argmax())
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
    """

    rate: GroupRate  # what shall be equal
    proxy: Proxy  # stands in for the rate, or for its complement, in the descent
    above: Array  # shape (n_groups,): prices of lying above and below the mean, at least 0
    below: Array  # shape (n_groups,)

    def add_derivatives(
        self, margin: Array, total: float, gradient: Array, hessian: Array
    ) -> None:
        """Add the derivatives of ``total * sum_k (above_k - below_k)(P_k - P)``, in place."""
        rate = self.rate
        price = self.above - self.below
        price = price - _shares(rate) * math.fsum(price)
        per_row = total * rate.per_row(price)
        # +1: the event shall become rarer; -1: its complement shall.
        way = np.where(per_row < 0, -1.0, 1.0)
        lean = way * rate.lean(margin)
        gradient[rate.at] += np.abs(per_row) * way * rate.sign * self.proxy.slope(lean)
        hessian[rate.at] += np.abs(per_row) * self.proxy.curve(lean)

    @property
    def prices(self) -> Array:
        """The prices of lying above and below the mean, shape (2, n_groups)."""
        return np.stack([self.above, self.below])

    @prices.setter
    def prices(self, prices: Array) -> None:
        self.above, self.below = prices

    def violations(self, margin: Array) -> Array:
        """Return the distance from the rate of all minus half the tolerance, both ways."""
        rates = self.rate.rates(margin)
        apart = rates - math.fsum(_shares(self.rate) * np.nan_to_num(rates))
        return np.stack([apart, -apart]) - self.rate.tolerance / 2

    def on(self, rows: TrainRows) -> Self:
        """Return the same constraint with the same prices on other rows."""
        return replace(self, rate=self.rate.on(rows))


def _shares(rate: GroupRate) -> Array:
    """Return each group's share of the weight that counts, shape (n_groups,)."""
    shares: Array = rate.mass / math.fsum(rate.mass)
    return shares


@dataclass(frozen=True, slots=True, kw_only=True)
class Game:
    """The proxy Lagrangian of some rows, and the prices, which remember."""

    y: NDArray[np.int8]  # shape (n_rows,): labels 0 or 1
    weight: Array  # shape (n_rows,): row weights
    constraints: tuple[Constraint, ...]  # what is to be equal
    eta: float  # step size of the prices, at least 0

    @property
    def prices(self) -> tuple[Array, ...]:
        """The prices of every constraint as they are now."""
        return tuple(constraint.prices for constraint in self.constraints)

    def restore(self, prices: Sequence[Array]) -> None:
        """Set the prices to what they were."""
        for constraint, known in zip(self.constraints, prices, strict=True):
            constraint.prices = known

    def on(self, rows: TrainRows) -> "Game":
        """Return the game of other rows: the same constraints and prices."""
        constraints = tuple(constraint.on(rows) for constraint in self.constraints)
        return replace(self, y=rows.y, weight=rows.weight, constraints=constraints)

    def ascend(self, margin: Array, seen: "Game | None" = None) -> None:
        """Move every price by its violation under the decisions of these margins."""
        judges = (self if seen is None else seen).constraints
        for constraint, judge in zip(self.constraints, judges, strict=True):
            violations = judge.violations(margin)
            moved = np.maximum(0.0, constraint.prices + self.eta * violations)
            # A group without rows there keeps its price.
            constraint.prices = np.where(np.isnan(violations), constraint.prices, moved)

    def derivatives(self, margin: Array) -> tuple[Array, Array]:
        """Return gradient and hessian of the Lagrangian, each of shape (n_rows,)."""
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
    """Return the constraint on a rate with all prices 0: the published one where there is one."""
    n_groups = len(rate.mass)
    # The paper is about rates among the rows of one label.
    if rate.name.label is not None:
        return WorstFirst(rate=rate, proxy=proxy, multipliers=np.zeros(n_groups), curved=curved)
    return NearTheMean(rate=rate, proxy=proxy, above=np.zeros(n_groups), below=np.zeros(n_groups))
