"""FairGBM: gradient boosting with proxy constraints on rates.

A decision is a step of the margin (log-odds): nothing to descend on. Each proxy rises smoothly
and, at a margin of 0, is as high as the step or higher.

Source: Cruz et al., *FairGBM: Gradient Boosting with Fairness Constraints*, ICLR 2023,
arXiv 2209.07850, and its code (feedzai/fairgbm), which names the three.

Source of the constraint ``|rate_g - rate| <= t``: Gencoglu, *Cyberbullying Detection with Fairness
Constraints*, IEEE Internet Computing 2021, arXiv 2005.06625. Ours: its place in the objective of
FairGBM (Cruz et al., arXiv 2209.07850), with two prices for each group.

A round descends on the loss plus the priced constraints, written with a convex proxy of the
rates; then each price takes a step along its constraint, written with the rates as they are.

Source: Cruz et al., *FairGBM: Gradient Boosting with Fairness Constraints*, ICLR 2023,
arXiv 2209.07850, and its code. Ours: weights, several group systems, a hessian that knows the
constraints, and selection rates.
"""

import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol, Self

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit, logit

from fairautoml.data.dataset import GroupSystem
from fairautoml.exceptions import DegenerateGroupError, InputError
from fairautoml.metrics import GroupCounts, Metric, Undefined
from fairautoml.metrics._table import Rate
from fairautoml.metrics.rates import known_disparity
from fairautoml.mitigators._base import Target, TrainRows
from fairautoml.mitigators._training import groups_of_cells
from fairautoml.records import ParamValue
from fairautoml.registry import missing_library

Array = NDArray[np.float64]


class Proxy(Protocol):
    """A convex, rising stand-in for the step at 0."""

    def value(self, lean: Array) -> Array:
        """Return the height of the proxy."""
        ...

    def slope(self, lean: Array) -> Array:
        """Return the first derivative, at least 0."""
        ...

    def curve(self, lean: Array) -> Array:
        """Return the second derivative, at least 0."""
        ...


@dataclass(frozen=True, slots=True)
class CrossEntropy:
    """``log(1 + e^(lean + h))`` with ``h = log(e^margin - 1)``: ``margin`` at 0."""

    margin: float  # positive; from 1 on the proxy bounds the step

    @property
    def _shift(self) -> float:
        return math.log(math.expm1(self.margin))

    def value(self, lean: Array) -> Array:
        """Return the height of the proxy."""
        return np.logaddexp(0.0, lean + self._shift)

    def slope(self, lean: Array) -> Array:
        """Return the first derivative, in [0, 1]."""
        found: Array = expit(lean + self._shift)
        return found

    def curve(self, lean: Array) -> Array:
        """Return the second derivative, at most 1/4."""
        slope = self.slope(lean)
        return slope * (1 - slope)


@dataclass(frozen=True, slots=True)
class Hinge:
    """``max(0, lean + margin)``."""

    margin: float  # positive; from 1 on the proxy bounds the step

    def value(self, lean: Array) -> Array:
        """Return the height of the proxy."""
        return np.maximum(0.0, lean + self.margin)

    def slope(self, lean: Array) -> Array:
        """Return the first derivative, 0 or 1."""
        return (lean >= -self.margin).astype(np.float64)

    def curve(self, lean: Array) -> Array:
        """Return zeros: a hinge has no curvature."""
        return np.zeros_like(lean)


@dataclass(frozen=True, slots=True)
class Quadratic:
    """Half the square of ``max(0, lean + margin)``."""

    margin: float  # positive; from the root of 2 on the proxy bounds the step

    def value(self, lean: Array) -> Array:
        """Return the height of the proxy."""
        found: Array = 0.5 * np.square(self.slope(lean))
        return found

    def slope(self, lean: Array) -> Array:
        """Return the first derivative, at least 0."""
        return np.maximum(0.0, lean + self.margin)

    def curve(self, lean: Array) -> Array:
        """Return the second derivative, 0 or 1."""
        return (lean >= -self.margin).astype(np.float64)


PROXIES: Mapping[str, Callable[[float], Proxy]] = {
    "cross_entropy": CrossEntropy,
    "hinge": Hinge,
    "quadratic": Quadratic,
}
"""Proxy of a margin, by its published name."""


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
    all_groups = np.arange(system.n_groups)
    rate = _counted(rows, system, name, all_groups, tolerance)
    return _counted(rows, system, name, all_groups[rate.mass > 0], tolerance)


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
class NearOverall:
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


def near_overall(
    rows: TrainRows, targets: Sequence[Target], proxy: Proxy, *, curved: bool
) -> tuple[NearOverall, ...]:
    """Return the constraints of targets against everybody or on groups that overlap.

    A bound on a sum over groups is shared out among them, and one on the largest difference
    between two groups is halved: either is then met.
    """
    return tuple(
        _near(rows, target, rate, proxy, curved)
        for target in targets
        for rate in target.metric.compared
    )


def _near(rows: TrainRows, target: Target, name: Rate, proxy: Proxy, curved: bool) -> NearOverall:
    all_groups = np.arange(target.system.n_groups)
    rate = _distances(rows, target.system, name, all_groups, 0.0)
    kept = all_groups[rate.mass > 0]
    if len(kept) == 0:
        msg = (
            f"targets: no group of {target.system.name!r} has rows for {name} among the "
            f"{len(rows.y)} rows trained on; train on more rows"
        )
        raise DegenerateGroupError(msg)
    share = 1.0 if target.metric.to_overall else 0.5
    if target.metric.over_groups == "sum":
        share = 1.0 / len(kept)
    return NearOverall(
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


try:
    import lightgbm
except (ImportError, OSError) as error:
    raise missing_library("mitigator 'fairgbm'", "lightgbm", "lightgbm", error) from error

FIRST_LOOK, LOOK_EVERY = 10, 5
"""The held-out rows are looked at after 10, 15, 20, ... rounds, and after the last."""

Prices = tuple[Array, ...]
"""Of every constraint, in one round."""

USUAL_ROUNDS = 100
"""LightGBM's own number of rounds."""

NOT_FOR_TREES = frozenset({"early_stopping_rounds", "n_estimators"})
"""Of a candidate's parameters, those that say when to stop."""

FIXED = {
    "objective": "none",
    "metric": "none",
    "num_threads": 1,
    "verbosity": -1,
    "deterministic": True,
    # As the plain learner is trained; else the sums differ in the last bits between machines.
    "force_col_wise": True,
    "feature_pre_filter": False,
    "data_random_seed": 1,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Boosted:
    """Boosted trees on top of the log-odds they started from."""

    booster: Any  # the trees
    start: float  # log-odds of label 1 in the training rows

    def margins(self, X: Any) -> Array:
        """Return the log-odds of label 1, shape (n_rows,)."""
        return self.start + _added(self.booster, X, 0, self.booster.current_iteration())

    def scores(self, X: Any, cells: NDArray[np.integer]) -> NDArray[np.float32]:
        """Return P(y = 1), shape (n_rows,)."""
        del cells
        p: NDArray[np.float32] = expit(self.margins(X)).astype(np.float32)
        return p


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """How the held-out rows fared after some rounds."""

    rounds: int  # number of trees
    excess: float  # largest gap beyond its limit, 0 when all limits are kept
    loss: float  # log loss, natural logarithm, weighted sum over the rows


def best_look(looks: Sequence[Look]) -> Look:
    """Return the best loss within the limits, else the smallest excess; ties to the earliest."""
    return min(looks, key=lambda look: (look.excess, look.loss))


def look(held: TrainRows, targets: Sequence[Target], margin: Array, rounds: int) -> Look:
    """Return what margins are worth on rows that were not trained on.

    Groups that lack the rows of a rate are left out of it, as where prices are set; a target that
    these rows say nothing about is passed over.
    """
    losses = np.logaddexp(0.0, np.where(held.y == 1, -margin, margin))
    decision = (margin >= 0).astype(np.float64)
    excess = 0.0
    for target in targets:
        system = target.system
        n_cells = system.member.shape[1]
        counts = GroupCounts.from_rows(
            held.cells, held.y, decision, held.weight, n_groups=n_cells
        ).merged(system.of_cell, system.n_groups, system.masks)
        value = _value(target.metric, counts)
        if value is not None:
            excess = max(excess, target.metric.gap(value) - target.limit)
    return Look(rounds=rounds, excess=excess, loss=float(held.weight @ losses))


def _value(metric: Metric, counts: GroupCounts) -> float | None:
    if metric.rates and not metric.to_overall:
        return known_disparity(counts, metric.rates, metric.form)
    value = metric.value(counts)
    return None if isinstance(value, Undefined) else value


@dataclass(frozen=True, slots=True, kw_only=True)
class Boosting:
    """How trees are grown, and for how long."""

    params: Mapping[str, ParamValue]  # parameters of the candidate, in LightGBM's own names
    seed: int  # seed of all that is random in it, non-negative
    # seconds until it should be done, None without a limit
    seconds_left: Callable[[], float | None]

    @property
    def rounds(self) -> int:
        """Largest number of trees."""
        return int(self.params.get("n_estimators", USUAL_ROUNDS))

    def boost(self, rows: TrainRows, game: Game) -> Boosted:
        """Return the model after the last round: the published one."""

        def before(done: int, margin: Array) -> None:
            # Only now do the margins hold the last tree, and there is none before the first round.
            if done > 1:
                game.ascend(margin)

        booster, start = self._begin(rows)
        self._grow(_Course(booster=booster, game=game, rounds=self.rounds, before=before))
        return Boosted(booster=_stored(booster, booster.current_iteration()), start=start)

    def learn_prices(
        self, rows: TrainRows, held: TrainRows, game: Game, targets: Sequence[Target]
    ) -> tuple[Prices, ...]:
        """Return the prices of every round, up to the round that is best on held-out rows.

        Trees follow the rows that they are trained on so closely that the rates of those rows say
        little about new people; the prices go by the rates of the held-out rows instead. They
        swing by design, going on rising as long as a rate is too low, so the last round is seldom
        the best.
        """
        booster, start = self._begin(rows)
        learned, seen = game.on(rows), game.on(held)
        margin, looks, path = np.full(len(held.y), start), list[Look](), list[Prices]()
        n_trees = 0

        def before(done: int, _: Array) -> None:
            if done > 1:
                learned.ascend(margin, seen)
            path.append(learned.prices)

        def after(done: int, *, last: bool) -> None:
            nonlocal margin, n_trees
            # A round without a split leaves no tree behind.
            grown = booster.current_iteration() - n_trees
            margin = margin + _added(booster, held.X, n_trees, grown)
            n_trees += grown
            if last or (done >= FIRST_LOOK and (done - FIRST_LOOK) % LOOK_EVERY == 0):
                looks.append(look(held, targets, margin, done))

        # The same number of rounds will follow on all rows.
        again = (len(rows.y) + len(held.y)) / len(rows.y)
        course = _Course(
            booster=booster, game=learned, rounds=self.rounds, before=before, after=after,
            again=again,
        )  # fmt: skip
        self._grow(course)
        return tuple(path[: best_look(looks).rounds])

    def boost_along(self, rows: TrainRows, game: Game, path: Sequence[Prices]) -> Boosted:
        """Return the model of all rows that pays known prices round by round."""
        booster, start = self._begin(rows)
        course = _Course(
            booster=booster,
            game=game,
            rounds=len(path),
            before=lambda done, _: game.restore(path[done - 1]),
        )
        self._grow(course)
        return Boosted(booster=_stored(booster, booster.current_iteration()), start=start)

    def _begin(self, rows: TrainRows) -> tuple[lightgbm.Booster, float]:
        given = {key: at for key, at in self.params.items() if key not in NOT_FOR_TREES}
        params = {**given, **FIXED, "seed": self.seed}
        start = float(logit(np.average(rows.y, weights=rows.weight)))
        binned = lightgbm.Dataset(
            rows.X,
            label=rows.y,
            init_score=np.full(len(rows.y), start),
            categorical_feature=list(rows.feature_schema.native),
            params=params,
        )
        return lightgbm.Booster(params, binned), start

    def _grow(self, course: "_Course") -> None:
        """Grow tree after tree until all are there or the time is up; the first one always is."""
        begin = time.perf_counter()

        def objective(margin: Array, _: lightgbm.Dataset) -> tuple[Array, Array]:
            course.before(done, margin)
            return course.game.derivatives(margin)

        for done in range(1, course.rounds + 1):
            course.booster.update(fobj=objective)
            per_round = (time.perf_counter() - begin) / done
            left = self.seconds_left()
            needed = per_round * (1 + course.again * (done + 1))
            last = done == course.rounds or (left is not None and left < needed)
            course.after(done, last=last)
            if last:
                return


class _After(Protocol):
    """Called after each round."""

    def __call__(self, done: int, *, last: bool) -> None: ...


def _nothing(done: int, *, last: bool) -> None:
    """Look at nothing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Course:
    """What happens around the trees."""

    booster: lightgbm.Booster  # grows
    game: Game  # what it descends on
    rounds: int  # trees at the most
    # called before each tree with its number, from 1, and the margins so far: sets the prices
    before: Callable[[int, Array], None]
    after: _After = _nothing  # called after it with its number and whether it was the last
    again: float = 0.0  # rounds that each round costs later, in time of one of these


def _added(booster: lightgbm.Booster, X: Any, first: int, count: int) -> Array:
    """Return what some of the trees add to the margins, shape (n_rows,)."""
    if count == 0:
        return np.zeros(X.shape[0])
    added = booster.predict(
        X, start_iteration=first, num_iteration=count, raw_score=True, num_threads=1
    )
    return np.asarray(added, dtype=np.float64)


def _stored(booster: lightgbm.Booster, rounds: int) -> lightgbm.Booster:
    """Return a booster of the first trees only, without the training rows."""
    text = booster.model_to_string(num_iteration=rounds)
    return lightgbm.Booster(model_str=text)
