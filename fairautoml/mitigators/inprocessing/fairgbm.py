"""FairGBM: gradient boosting that penalises unequal rates during training.

Trains LightGBM, with the parameters of the configuration if its learner is LightGBM and with
LightGBM's defaults otherwise. Groups are used in training only.

A decision is a step function of the margin (log-odds) and has no useful gradient. Each proxy is
convex and increasing, and bounds the step for a large enough margin. A boosting round descends on
the loss plus the priced proxy constraints; each price then takes a gradient step on its
constraint, with exact rates.

Source: Cruz, Belem, Jesus, Bravo, Saleiro, Bizarro, *FairGBM: Gradient Boosting with Fairness
Constraints*, ICLR 2023, arXiv 2209.07850, and its code (feedzai/fairgbm), which names the three
proxies. Ours: weights, several group systems, a hessian that includes the constraints, selection
rates, and prices that follow the rates of held-out training rows (two datasets as in Cotter et
al., *Training Well-Generalizing Classifiers for Fairness Metrics and Other Data-Dependent
Constraints*, ICML 2019), which also choose the number of trees; then all training rows are boosted
with the same prices.

Source of the constraint ``|rate_g - rate| <= t``: Gencoglu, *Cyberbullying Detection with Fairness
Constraints*, IEEE Internet Computing 2021, arXiv 2005.06625. Ours: its use in the objective of
FairGBM, with two prices for each group.
"""

import math
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit, logit

from fairautoml.data.splits import holdout_split
from fairautoml.exceptions import DegenerateGroupError, InputError, ParameterError
from fairautoml.learners._lightgbm import dump_booster
from fairautoml.metrics import BoundConstraint, GroupCounts, Metric, Undefined
from fairautoml.metrics._table import Rate
from fairautoml.metrics.groups import GroupSystem
from fairautoml.metrics.rates import known_disparity
from fairautoml.mitigators._base import (
    FitBaseLearner,
    Mitigator,
    RateLimit,
    RateMetrics,
    ScoreModel,
    TrainRows,
    rate_limits,
    targets_or_default,
    too_few_groups,
)
from fairautoml.portable import Dump, Positions, Sums
from fairautoml.records import Floats, ParamValues
from fairautoml.registry import missing_library
from fairautoml.runtime._rules import groups_of
from fairautoml.threads import n_threads

try:
    import lightgbm
except (ImportError, OSError) as error:
    raise missing_library("mitigator 'fairgbm'", "lightgbm", "lightgbm", error) from error


@dataclass(frozen=True, slots=True)
class CrossEntropy:
    """``log(1 + e^(lean + h))`` with ``h = log(e^margin - 1)``: ``margin`` at 0."""

    margin: float  # positive; from 1 on the proxy bounds the step

    @property
    def _shift(self) -> float:
        return math.log(math.expm1(self.margin))

    def value(self, lean: Floats) -> Floats:
        return np.logaddexp(0.0, lean + self._shift)

    def slope(self, lean: Floats) -> Floats:
        return expit(lean + self._shift)

    def curve(self, lean: Floats) -> Floats:
        slope = self.slope(lean)
        return slope * (1 - slope)


@dataclass(frozen=True, slots=True)
class Hinge:
    """``max(0, lean + margin)``."""

    margin: float  # positive; from 1 on the proxy bounds the step

    def value(self, lean: Floats) -> Floats:
        return np.maximum(0.0, lean + self.margin)

    def slope(self, lean: Floats) -> Floats:
        return (lean >= -self.margin).astype(np.float64)

    def curve(self, lean: Floats) -> Floats:
        return np.zeros_like(lean)


@dataclass(frozen=True, slots=True)
class Quadratic:
    """Half the square of ``max(0, lean + margin)``."""

    margin: float  # positive; from the root of 2 on the proxy bounds the step

    def value(self, lean: Floats) -> Floats:
        return 0.5 * np.square(self.slope(lean))

    def slope(self, lean: Floats) -> Floats:
        return np.maximum(0.0, lean + self.margin)

    def curve(self, lean: Floats) -> Floats:
        return (lean >= -self.margin).astype(np.float64)


Proxy = CrossEntropy | Hinge | Quadratic
"""Convex, increasing proxy of the step at 0; slope and curve are its first two derivatives."""

PROXIES: Mapping[str, Callable[[float], Proxy]] = {
    "cross_entropy": CrossEntropy,
    "hinge": Hinge,
    "quadratic": Quadratic,
}
"""Proxy class by its published name."""


def events_of(rate: Rate) -> Floats:
    """Return the event of label 0 and 1: 1 = acceptance, -1 = rejection, 0 = neither."""
    counts, _, _ = rate.linear()
    # Equal true positive rates are equal false negative rates, whose events are errors.
    return -counts if rate.label == 1 else counts


class GroupRate:
    """One rate over the groups of one system that have rows for it.

    ``codes`` are the codes of those groups in the system, ``tolerance`` the largest difference
    without a penalty.
    """

    def __init__(
        self,
        rows: TrainRows,
        system: GroupSystem,
        name: Rate,
        codes: NDArray[np.int64],
        tolerance: float,
    ) -> None:
        self.system, self.name, self.codes, self.tolerance = system, name, codes, tolerance
        self._count(rows, events_of(name)[rows.y])

    def _count(self, rows: TrainRows, sign: Floats) -> None:
        position = np.full(self.system.n_groups + 1, -1)
        position[self.codes] = np.arange(len(self.codes))
        group = position[groups_of(self.system.of_cell, rows.cells)]
        self.at = np.flatnonzero((sign != 0) & (group >= 0))  # positions of the rows that count
        self.group = group[self.at]  # their groups, 0 .. n_groups - 1
        self.sign = sign[self.at]  # 1 where acceptance is the event, -1 where rejection is
        self.weight = rows.weight[self.at]
        mass = np.bincount(self.group, weights=self.weight, minlength=len(self.codes))
        self.mass = mass.astype(np.float64, copy=False)  # weight of each group

    def on(self, rows: TrainRows) -> Self:
        """Return the same rate on other rows, on which some groups may have no rows."""
        return type(self)(rows, self.system, self.name, self.codes, self.tolerance)

    def lean(self, margin: Floats) -> Floats:
        """Return the signed margin of the counted rows towards the event, shape (n_counted,)."""
        return self.sign * margin[self.at]

    def proxies(self, margin: Floats, proxy: Proxy) -> Floats:
        """Return the group means of the proxy, shape (n_groups,); NaN without rows."""
        return self._means(proxy.value(self.lean(margin)))

    def rates(self, margin: Floats) -> Floats:
        """Return the group rates of ``margin >= 0``, shape (n_groups,); NaN without rows."""
        return self._means(((margin[self.at] >= 0) == (self.sign > 0)).astype(np.float64))

    def per_row(self, of_group: Floats) -> Floats:
        """Return the derivative of a weighted sum of the rates by row, shape (n_counted,)."""
        nothing = np.zeros_like(self.mass)
        per_weight = np.divide(of_group, self.mass, out=nothing, where=self.mass > 0)
        return self.weight * per_weight[self.group]

    def _means(self, values: Floats) -> Floats:
        sums = np.bincount(self.group, weights=self.weight * values, minlength=len(self.mass))
        unknown = np.full_like(self.mass, np.nan)
        return np.divide(sums, self.mass, out=unknown, where=self.mass > 0)


def group_rates(rows: TrainRows, targets: Sequence[BoundConstraint]) -> tuple[GroupRate, ...]:
    """Return every rate of the targets once, over the groups that have its rows."""
    limited = rate_limits(targets, [target.limit for target in targets])
    found = [_group_rate(rows, one) for one in limited]
    kept = tuple(rate for rate in found if len(rate.mass) >= 2)
    if not kept:
        raise too_few_groups(limited, rows)
    return kept


def _group_rate(rows: TrainRows, limited: RateLimit) -> GroupRate:
    every = np.arange(limited.system.n_groups)
    rate = GroupRate(rows, limited.system, limited.rate, every, limited.limit)
    return GroupRate(rows, limited.system, limited.rate, every[rate.mass > 0], limited.limit)


class Distances(GroupRate):
    """One rate of groups that may overlap: each group's rate minus the overall rate."""

    def _count(self, rows: TrainRows, sign: Floats) -> None:
        counted = (sign != 0) & (rows.weight > 0) & (rows.cells >= 0)
        # Cell -1 (unknown group) is the last column, which belongs to no group.
        inside = np.pad(self.system.member, ((0, 0), (0, 1)))[:, rows.cells]
        if not self.system.overlapping:
            counted &= inside.any(axis=0)
        self.at = np.flatnonzero(counted)
        # Membership of the counted rows in each group.
        self.member = inside[self.codes][:, self.at]
        self.sign, self.weight = sign[self.at], rows.weight[self.at]
        self.mass = self.member @ self.weight

    def per_row(self, of_group: Floats) -> Floats:
        """Return the derivative of a weighted sum of distances by row, shape (n_counted,)."""
        return self.weight * (self._spread(of_group) - of_group.sum() / self.weight.sum())

    def most_per_row(self, of_group: Floats) -> Floats:
        """Return an upper bound on the size of ``per_row`` for prices of any sign."""
        size = np.abs(of_group)
        return self.weight * (self._spread(size) + size.sum() / self.weight.sum())

    def _spread(self, of_group: Floats) -> Floats:
        nothing = np.zeros_like(self.mass)
        return np.divide(of_group, self.mass, out=nothing, where=self.mass > 0) @ self.member

    def _means(self, values: Floats) -> Floats:
        weighed = self.weight * values
        unknown = np.full_like(self.mass, np.nan)
        means = np.divide(self.member @ weighed, self.mass, out=unknown, where=self.mass > 0)
        return means - float(weighed.sum() / self.weight.sum())


@dataclass(slots=True, kw_only=True)
class PricedRate(ABC):
    """A rate to be equalised, with prices of the groups."""

    rate: GroupRate
    proxy: Proxy  # proxy of the rate in the descent
    prices: Floats  # at least 0; replaced in each round, never modified in place

    @abstractmethod
    def add_derivatives(
        self, margin: Floats, total: float, gradient: Floats, hessian: Floats
    ) -> None:
        """Add the priced proxy rates to gradient and hessian of the loss, in place."""

    @abstractmethod
    def violations(self, margin: Floats) -> Floats:
        """Return the update of each price for decisions ``margin >= 0``; NaN without rows."""

    def on(self, rows: TrainRows) -> Self:
        """Return the same constraint with the same prices on other rows."""
        return replace(self, rate=self.rate.on(rows))


@dataclass(slots=True, kw_only=True)
class NearOverall(PricedRate):
    """Every group pays for its distance from the overall rate, in both directions.

    The prices of lying above and below it have the shape (2, n_groups).
    """

    rate: Distances  # distances to be kept within the tolerance
    curved: bool = True  # whether the hessian includes the constraint, by a positive majorant

    def add_derivatives(
        self, margin: Floats, total: float, gradient: Floats, hessian: Floats
    ) -> None:
        """Add the derivatives of ``total * sum_g (above_g - below_g)(P_g - P)``, in place."""
        rate, price = self.rate, self.prices[0] - self.prices[1]
        lean = rate.lean(margin)
        gradient[rate.at] += total * rate.per_row(price) * rate.sign * self.proxy.slope(lean)
        if self.curved:
            hessian[rate.at] += total * rate.most_per_row(price) * self.proxy.curve(lean)

    def violations(self, margin: Floats) -> Floats:
        """Return the distance from the overall rate minus the tolerance, in both directions."""
        apart = self.rate.rates(margin)
        return np.stack([apart, -apart]) - self.rate.tolerance


def near_overall(
    rows: TrainRows, targets: Sequence[BoundConstraint], proxy: Proxy, *, curved: bool
) -> tuple[NearOverall, ...]:
    """Return the constraints that compare with the overall rate or have overlapping groups.

    A bound on a sum over groups is divided among them, and a bound on the largest difference
    between two groups is halved; each is sufficient for the original bound.
    """
    return tuple(
        _near(rows, target, rate, proxy, curved)
        for target in targets
        for rate in target.metric.compared
    )


def _near(
    rows: TrainRows, target: BoundConstraint, name: Rate, proxy: Proxy, curved: bool
) -> NearOverall:
    all_groups = np.arange(target.system.n_groups)
    rate = Distances(rows, target.system, name, all_groups, 0.0)
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
        rate=Distances(rows, target.system, name, kept, share * target.limit),
        proxy=proxy,
        prices=np.zeros((2, len(kept))),
        curved=curved,
    )


class DivergedError(ArithmeticError):
    """The prices grew until the gradients overflowed."""


@dataclass(slots=True, kw_only=True)
class WorstFirst(PricedRate):
    """The published constraint: every group is compared with the worst group.

    Each group has one price.
    """

    # whether the hessian includes the constraint, by a positive majorant (it is concave in the
    # rates that must rise); False reproduces the published code, which also counts the gradient
    # of the worst group once per other group
    curved: bool = True

    def add_derivatives(
        self, margin: Floats, total: float, gradient: Floats, hessian: Floats
    ) -> None:
        """Add the derivatives of ``total * sum_k multiplier_k (max_j P_j - P_k)``, in place."""
        rate = self.rate
        per_row = total * rate.per_row(self._prices(margin))
        lean = rate.lean(margin)
        gradient[rate.at] += per_row * rate.sign * self.proxy.slope(lean)
        if self.curved:
            hessian[rate.at] += np.abs(per_row) * self.proxy.curve(lean)

    def violations(self, margin: Floats) -> Floats:
        """Return ``max_j rate_j - rate_k - tolerance``, shape (n_groups,)."""
        rates = self.rate.rates(margin)
        highest = rates.max(where=np.isfinite(rates), initial=0.0)
        return highest - rates - self.rate.tolerance

    def _prices(self, margin: Floats) -> Floats:
        """Return the price of each group's proxy rate; only the worst group's is positive."""
        price: Floats = -self.prices
        proxies = self.rate.proxies(margin, self.proxy)
        worst = int(np.where(np.isnan(proxies), -np.inf, proxies).argmax())
        price[worst] = 0.0
        # An exact sum does not depend on the order of the groups.
        price[worst] = -math.fsum(price)
        if not self.curved:
            price[worst] *= len(price) - 1
        return price


@dataclass(slots=True, kw_only=True)
class NearTheMean(PricedRate):
    """For selection rates: every group pays for its distance from the overall rate.

    The published form does not work for selection rates: to raise a rate it mostly pushes rows
    that are already accepted, without bound once the price outweighs the loss. This form lowers
    the rejection rate by its own convex proxy instead, and a price decreases again once the rate
    has passed the mean. The prices of lying above and below it have the shape (2, n_groups).
    """

    def add_derivatives(
        self, margin: Floats, total: float, gradient: Floats, hessian: Floats
    ) -> None:
        """Add the derivatives of ``total * sum_k (above_k - below_k)(P_k - P)``, in place."""
        rate = self.rate
        price = self.prices[0] - self.prices[1]
        price = price - _shares(rate) * math.fsum(price)
        per_row = total * rate.per_row(price)
        # +1: the event should become rarer; -1: its complement should.
        way = np.where(per_row < 0, -1.0, 1.0)
        lean = way * rate.lean(margin)
        gradient[rate.at] += np.abs(per_row) * way * rate.sign * self.proxy.slope(lean)
        hessian[rate.at] += np.abs(per_row) * self.proxy.curve(lean)

    def violations(self, margin: Floats) -> Floats:
        """Return the distance from the overall rate minus half the tolerance, both ways."""
        rates = self.rate.rates(margin)
        apart = rates - math.fsum(_shares(self.rate) * np.nan_to_num(rates))
        return np.stack([apart, -apart]) - self.rate.tolerance / 2


def _shares(rate: GroupRate) -> Floats:
    """Return each group's share of the counted weight, shape (n_groups,)."""
    return rate.mass / math.fsum(rate.mass)


@dataclass(frozen=True, slots=True, kw_only=True)
class Game:
    """The proxy Lagrangian of some rows, with the current prices."""

    y: NDArray[np.int8]  # shape (n_rows,): labels 0 or 1
    weight: Floats  # shape (n_rows,): row weights
    constraints: tuple[PricedRate, ...]  # rates to be equalised
    eta: float  # step size of the prices, at least 0

    @property
    def prices(self) -> tuple[Floats, ...]:
        return tuple(constraint.prices for constraint in self.constraints)

    def restore(self, prices: Sequence[Floats]) -> None:
        for constraint, known in zip(self.constraints, prices, strict=True):
            constraint.prices = known

    def on(self, rows: TrainRows) -> "Game":
        """Return the game on other rows, with the same constraints and prices."""
        constraints = tuple(constraint.on(rows) for constraint in self.constraints)
        return replace(self, y=rows.y, weight=rows.weight, constraints=constraints)

    def ascend(self, margin: Floats, seen: "Game | None" = None) -> None:
        """Update every price by its violation under the decisions of these margins."""
        judges = (self if seen is None else seen).constraints
        for constraint, judge in zip(self.constraints, judges, strict=True):
            violations = judge.violations(margin)
            moved = np.maximum(0.0, constraint.prices + self.eta * violations)
            # The price of a group without rows does not change.
            constraint.prices = np.where(np.isnan(violations), constraint.prices, moved)

    def derivatives(self, margin: Floats) -> tuple[Floats, Floats]:
        """Return gradient and hessian of the Lagrangian, each of shape (n_rows,)."""
        p = expit(margin)
        gradient: Floats = self.weight * (p - self.y)
        hessian: Floats = self.weight * p * (1 - p)
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


def constraint_of(rate: GroupRate, proxy: Proxy, *, curved: bool) -> PricedRate:
    """Return the constraint on a rate with all prices 0, in the published form if there is one."""
    n_groups = len(rate.mass)
    # The paper covers rates among the rows of one label.
    if rate.name.label is not None:
        return WorstFirst(rate=rate, proxy=proxy, prices=np.zeros(n_groups), curved=curved)
    return NearTheMean(rate=rate, proxy=proxy, prices=np.zeros((2, n_groups)))


FIRST_LOOK, LOOK_EVERY = 10, 5
"""Held-out rows are evaluated after 10, 15, 20, ... rounds, and after the last."""

Prices = tuple[Floats, ...]
"""Prices of every constraint in one round."""

USUAL_ROUNDS = 100
"""LightGBM's default number of rounds."""

NOT_FOR_TREES = frozenset({"early_stopping_rounds", "n_estimators"})
"""Parameters of a configuration that set the number of rounds."""

FIXED = {
    "objective": "none",
    "metric": "none",
    "verbosity": -1,
    "deterministic": True,
    # Same settings as the plain learner, for bitwise equal sums on all machines.
    "force_col_wise": True,
    "feature_pre_filter": False,
    "data_random_seed": 1,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Boosted:
    """Boosted trees on top of an initial log-odds."""

    booster: Any  # the trees
    start: float  # log-odds of label 1 in the training rows

    @property
    def n_trees_(self) -> int:
        return int(self.booster.num_trees())

    def margins(self, X: Any) -> Floats:
        """Return the log-odds of label 1, shape (n_rows,)."""
        return self.start + _added(self.booster, X, 0, self.booster.current_iteration())

    def scores(self, X: Any, cells: NDArray[np.integer]) -> NDArray[np.float32]:
        return expit(self.margins(X)).astype(np.float32)

    def dump(self, out: Dump, columns: Positions) -> int:
        sums = Sums(link="logistic", after=self.start)
        return out.node("probability", {"of": dump_booster(self.booster, out, columns, sums)})


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """Evaluation of the held-out rows after some rounds."""

    rounds: int  # number of trees
    excess: float  # largest gap beyond its limit, 0 when all limits hold
    loss: float  # log loss, natural logarithm, weighted sum over the rows


def best_look(looks: Sequence[Look]) -> Look:
    """Return the best loss within the limits, else the smallest excess; first of ties."""
    return min(looks, key=lambda look: (look.excess, look.loss))


def look(held: TrainRows, targets: Sequence[BoundConstraint], margin: Floats, rounds: int) -> Look:
    """Return the evaluation of margins on held-out rows, over the groups that have the rates."""
    losses = np.logaddexp(0.0, np.where(held.y == 1, -margin, margin))
    decision = (margin >= 0).astype(np.float64)
    excess = 0.0
    for target in targets:
        n_cells = target.system.member.shape[1]
        counts = GroupCounts.from_rows(held.cells, held.y, decision, held.weight, n_groups=n_cells)
        value = _value(target.metric, target.merged(counts))
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
    """Settings of the boosting, and its deadline."""

    params: ParamValues  # parameters of the configuration, in LightGBM's names
    seed: int  # random seed, non-negative
    # seconds until the deadline, None without a limit
    seconds_left: Callable[[], float | None]

    @property
    def rounds(self) -> int:
        return int(self.params.get("n_estimators", USUAL_ROUNDS))

    def boost(self, rows: TrainRows, game: Game) -> Boosted:
        """Return the published model, which is the one after the last round."""

        def before(done: int, margin: Floats) -> None:
            # Margins include the last tree only now; there is no tree before the first round.
            if done > 1:
                game.ascend(margin)

        return self._boosted(rows, game, self.rounds, before)

    def learn_prices(
        self, rows: TrainRows, held: TrainRows, game: Game, targets: Sequence[BoundConstraint]
    ) -> tuple[Prices, ...]:
        """Return the prices of every round, up to the best round on held-out rows.

        Trees overfit the training rows, so that their rates are poor estimates for new rows; the
        prices therefore follow the rates of the held-out rows. Prices oscillate, because they rise
        as long as a rate is too low, so the last round is rarely the best.
        """
        booster, start = self._begin(rows)
        learned, seen = game.on(rows), game.on(held)
        margin, looks, path = np.full(len(held.y), start), list[Look](), list[Prices]()
        n_trees = 0

        def before(done: int, _: Floats) -> None:
            if done > 1:
                learned.ascend(margin, seen)
            path.append(learned.prices)

        def after(done: int, last: bool) -> None:
            nonlocal margin, n_trees
            # A round without a split adds no tree.
            grown = booster.current_iteration() - n_trees
            margin = margin + _added(booster, held.X, n_trees, grown)
            n_trees += grown
            if last or (done >= FIRST_LOOK and (done - FIRST_LOOK) % LOOK_EVERY == 0):
                looks.append(look(held, targets, margin, done))

        # The same number of rounds follows on all rows.
        again = (len(rows.y) + len(held.y)) / len(rows.y)
        self._grow(booster, learned, self.rounds, before, after, again)
        return tuple(path[: best_look(looks).rounds])

    def boost_along(self, rows: TrainRows, game: Game, path: Sequence[Prices]) -> Boosted:
        """Return the model of all rows that uses given prices, round by round."""
        return self._boosted(rows, game, len(path), lambda done, _: game.restore(path[done - 1]))

    def _boosted(
        self, rows: TrainRows, game: Game, rounds: int, before: Callable[[int, Floats], None]
    ) -> Boosted:
        booster, start = self._begin(rows)
        self._grow(booster, game, rounds, before)
        # A copy without the training rows.
        text = booster.model_to_string(num_iteration=booster.current_iteration())
        return Boosted(booster=lightgbm.Booster(model_str=text), start=start)

    def _begin(self, rows: TrainRows) -> tuple[lightgbm.Booster, float]:
        given = {key: at for key, at in self.params.items() if key not in NOT_FOR_TREES}
        params = {**given, **FIXED, "seed": self.seed, "num_threads": n_threads()}
        start = float(logit(np.average(rows.y, weights=rows.weight)))
        binned = lightgbm.Dataset(
            rows.X,
            label=rows.y,
            init_score=np.full(len(rows.y), start),
            categorical_feature=list(rows.feature_schema.native),
            params=params,
        )
        return lightgbm.Booster(params, binned), start

    def _grow(
        self,
        booster: lightgbm.Booster,
        game: Game,
        rounds: int,
        before: Callable[[int, Floats], None],
        after: Callable[[int, bool], None] | None = None,
        again: float = 0.0,
    ) -> None:
        """Grow trees until the number or the deadline is reached, but at least one.

        ``before`` sets the prices, given the number of the tree, from 1, and the margins so far;
        ``after`` gets the number and whether it was the last. Each round is followed later by
        work that takes ``again`` times as long.
        """
        begin = time.perf_counter()

        def objective(margin: Floats, _: lightgbm.Dataset) -> tuple[Floats, Floats]:
            before(done, margin)
            return game.derivatives(margin)

        for done in range(1, rounds + 1):
            booster.update(fobj=objective)
            per_round = (time.perf_counter() - begin) / done
            left = self.seconds_left()
            needed = per_round * (1 + again * (done + 1))
            last = done == rounds or (left is not None and left < needed)
            if after is not None:
                after(done, last)
            if last:
                return


def _added(booster: lightgbm.Booster, X: Any, first: int, count: int) -> Floats:
    """Return the contribution of some of the trees to the margins, shape (n_rows,)."""
    if count == 0:
        return np.zeros(X.shape[0])
    added = booster.predict(
        X, start_iteration=first, num_iteration=count, raw_score=True, num_threads=n_threads()
    )
    return np.asarray(added, dtype=np.float64)


HELD_SHARE = 0.25
"""Share of the training rows held out to set the prices and the number of trees."""

USUAL_METRIC, USUAL_LIMIT = "equalized_odds_difference", 0.05
"""Default constraint of the published code, used without constraints."""


def train(rows: TrainRows, fit_base: FitBaseLearner, params: ParamValues, seed: int) -> ScoreModel:
    """Boost trees on the proxy Lagrangian of the targets.

    Ends early when one more tree would exceed the time left.
    """
    targets = targets_or_default(rows, "fairgbm", USUAL_METRIC, USUAL_LIMIT)
    if not rows.weight.all():
        # Bins and leaves would count rows of weight 0.
        rows = rows.take(np.flatnonzero(rows.weight))
    own = fit_base.config
    boosting = Boosting(
        params=own.params if own.learner == "lightgbm" else {},
        seed=seed,
        seconds_left=fit_base.seconds_left,
    )
    game = _game(rows, targets, params)
    if _one_of(params, "iterate", ("chosen", "last")) == "last":
        return boosting.boost(rows, game)
    parts = holdout_split(rows.y, rows.cells, HELD_SHARE, seed)
    learned, held = (rows.take(part) for part in parts)
    _check_labels(learned)
    path = boosting.learn_prices(learned, held, game, targets)
    return boosting.boost_along(rows, game, path)


def _game(rows: TrainRows, targets: Sequence[BoundConstraint], params: ParamValues) -> Game:
    _check_labels(rows)
    proxy = PROXIES[_one_of(params, "proxy", PROXIES)](float(params["margin"]))
    curved = _one_of(params, "hessian", ("constraint", "plain")) == "constraint"
    share = float(params["tolerance"])
    stricter = [replace(target, limit=share * target.limit) for target in targets]
    anchored = [t for t in stricter if t.to_overall]
    apart = [t for t in stricter if not t.to_overall]
    rates = group_rates(rows, apart) if apart else ()
    return Game(
        y=rows.y,
        weight=rows.weight,
        constraints=(
            *(constraint_of(rate, proxy, curved=curved) for rate in rates),
            *near_overall(rows, anchored, proxy, curved=curved),
        ),
        eta=float(params["eta"]),
    )


def _one_of(params: ParamValues, name: str, allowed: Collection[str]) -> str:
    value = str(params[name])
    if value not in allowed:
        msg = f"fairgbm: {name} is {value!r}; it can be {', '.join(allowed)}"
        raise ParameterError(msg)
    return value


def _check_labels(rows: TrainRows) -> None:
    for label in (0, 1):
        if not rows.weight[rows.y == label].sum() > 0:
            msg = (
                f"y: no training row of label {label} has weight; fairgbm needs both labels, "
                "found weight on one only. Train on more rows or leave this mitigator out"
            )
            raise InputError(msg)


MITIGATOR = Mitigator(
    name="fairgbm",
    stage="in",
    needs_sensitive_at_predict=False,
    serves=RateMetrics(difference="monotone", to_overall="monotone"),
    overlapping=True,
    cost="cheap",
    opt_in=True,
    ratio=2.5,
    train=train,
)
