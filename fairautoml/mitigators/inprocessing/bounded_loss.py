"""Bounded group loss: limits the squared error of every group, by weighted training.

With one price per group the constrained problem becomes least squares with weights
``1 + price of the group / its share``, which any learner can fit. Prices grow exponentially with
the violations. The result is the weighted mean of members with the smallest error within the
bounds; squared error is convex, so this error is no larger than that of drawing members by the
shares of the paper's linear program, from which the search for shares starts.

Source: Agarwal, Dudik, Wu, *Fair Regression: Quantitative Definitions and Reduction-based
Algorithms*, ICML 2019, arXiv 1905.12843, section 4 and algorithm 1 (prices as in Agarwal et al.,
arXiv 1803.02453). Ours: prices and shares follow the errors on held-out training rows (two
datasets as in Cotter et al., *Training Well-Generalizing Classifiers for Fairness Metrics and
Other Data-Dependent Constraints*, ICML 2019), because an overfitted model meets every bound on
its training rows; the members are then trained on all rows at the same prices.
"""

import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linprog, minimize

from fairautoml.data.dataset import strata_of
from fairautoml.data.splits import holdout_split
from fairautoml.exceptions import InputError
from fairautoml.mitigators._base import FitBaseLearner, Mitigator, ScoreModel, TrainRows
from fairautoml.mitigators.inprocessing._reductions import (
    PRECISION,
    Mixture,
    bounded_prices,
    mixture_of,
)
from fairautoml.records import Floats, ParamValues

METRIC = "bounded_group_loss"

MOST_PRICE = 20.0
"""Largest sum of the prices, in units of the error (B in the paper)."""

TOO_MUCH = 1000.0
"""Cost of a unit of error above the bound in the linear program."""

HELD_SHARE = 0.25
"""Share of the training rows that are held out to set prices and shares."""

LAST_MEMBERS = 2
"""Number of final trainings on all rows for which time is reserved."""


@dataclass(slots=True, kw_only=True)
class _Members:
    """The models trained so far, with the error of every group on held-out rows."""

    rows: TrainRows
    groups: tuple[NDArray[np.bool_], ...]
    learned: NDArray[np.int64]
    fit_base: FitBaseLearner
    # rows that evaluate the overall error and each group's error
    judged: tuple[NDArray[np.bool_], ...] = field(init=False)
    prices: list[Floats] = field(default_factory=list)
    models: list[ScoreModel] = field(default_factory=list)
    overall: list[float] = field(default_factory=list)
    by_group: list[Floats] = field(default_factory=list)
    residuals: list[Floats] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)

    def __post_init__(self) -> None:
        held = np.ones(len(self.rows.y), dtype=bool)
        held[self.learned] = False
        all_rows = np.ones_like(held)
        # A group without held-out rows of positive weight is evaluated on all of its rows.
        self.judged = tuple(
            inside & held if self.rows.weight[inside & held].any() else inside
            for inside in (all_rows, *self.groups)
        )

    def add(self, prices: Floats) -> None:
        """Train the best response to the prices."""
        start = time.perf_counter()
        rows = self.rows
        model = self._trained(prices, self.learned)
        residual = rows.y - model.scores(rows.X, rows.cells).astype(np.float64)
        overall, *by_group = (
            float(np.average(np.square(residual[at]), weights=rows.weight[at]))
            for at in self.judged
        )
        self.prices.append(prices)
        self.residuals.append(residual)
        self.models.append(model)
        self.overall.append(overall)
        self.by_group.append(np.array(by_group))
        self.seconds.append(time.perf_counter() - start)

    def _trained(self, prices: Floats, at: NDArray[np.int64]) -> ScoreModel:
        rows = self.rows.take(at)
        total = rows.weight.sum()
        factor = np.ones(len(at))
        for inside, price in zip(self.groups, prices, strict=True):
            mass = rows.weight[inside[at]].sum()
            if mass > 0:
                factor[inside[at]] += price * total / mass
        weight = rows.weight * factor
        return self.fit_base(replace(rows, weight=weight * (total / weight.sum())))

    def in_time(self, n_trainings: int) -> bool:
        """Return whether so many more trainings fit into the time left."""
        left = self.fit_base.seconds_left()
        return left is None or left >= n_trainings * float(np.mean(self.seconds))

    def on_all_rows(self, bounds: Floats) -> Mixture:
        """Return the best mean, with members trained on all rows if there is time."""
        shares = self.best_shares(bounds)
        kept = np.flatnonzero(shares > PRECISION)
        models = [self.models[at] for at in kept]
        # A training on all rows takes longer in proportion to the held-out share.
        if self.in_time(int(np.ceil(len(kept) / (1.0 - HELD_SHARE)))):
            everything = np.arange(len(self.rows.y))
            models = [self._trained(self.prices[at], everything) for at in kept]
        return mixture_of(models, shares[kept])

    def best_shares(self, bounds: Floats) -> Floats:
        """Return the shares of smallest error within the bounds, or of the least excess."""
        n_models, n_groups = len(self.models), len(bounds)
        # Errors are scaled to be unitless, like the solver's tolerances.
        unit = max(float(np.mean(self.overall)), float(np.finfo(np.float64).tiny))
        excess = np.concatenate(
            [np.array(self.by_group).T / unit, -np.ones((n_groups, 1))], axis=1
        )
        cost = np.concatenate([np.array(self.overall) / unit, [TOO_MUCH]])
        sums = np.append(np.ones(n_models), 0.0)[None]
        solved = linprog(
            cost, A_ub=excess, b_ub=bounds / unit, A_eq=sums, b_eq=[1.0], bounds=(0.0, None)
        )
        return self._improved(solved.x[:n_models], bounds)

    def _improved(self, start: Floats, bounds: Floats) -> Floats:
        """Return shares whose mean has a smaller error within the bounds, or the start."""
        residuals, weight = np.stack(self.residuals, axis=1), self.rows.weight
        products = [
            (residuals[at] * weight[at, None]).T @ residuals[at] / weight[at].sum()
            for at in self.judged
        ]
        # Infeasible bounds are relaxed to the worst excess of the start.
        least = max(
            0.0, *(start @ p @ start - b for p, b in zip(products[1:], bounds, strict=True))
        )
        limits = bounds + least
        unit = max(float(start @ products[0] @ start), float(np.finfo(np.float64).tiny))
        found = minimize(
            lambda s: float(s @ products[0] @ s) / unit,
            start,
            jac=lambda s: 2 * products[0] @ s / unit,
            bounds=[(0.0, 1.0)] * len(start),
            constraints=[
                {"type": "eq", "fun": lambda s: s.sum() - 1.0},
                {
                    "type": "ineq",
                    "fun": lambda s: (limits - [s @ p @ s for p in products[1:]]) / unit,
                },
            ],
            method="SLSQP",
        ).x
        found = np.clip(found, 0.0, None)
        shares: Floats = found / found.sum()
        kept = all(
            shares @ p @ shares <= limit * (1 + 1e-6)
            for p, limit in zip(products[1:], limits, strict=True)
        )
        better = shares @ products[0] @ shares < start @ products[0] @ start
        return shares if kept and better else start


def train(rows: TrainRows, fit_base: FitBaseLearner, params: ParamValues, seed: int) -> ScoreModel:
    """Return the weighted mean of the members.

    Ends early when the plain model meets every bound, or when no more trainings fit into the time
    left; the plain model is always trained. Without time for the final trainings on all rows the
    members trained without the held-out rows are returned.
    """
    groups, limits = _bounded(rows)
    if not groups:
        msg = (
            f"mitigator 'bounded_loss' needs a constraint on {METRIC!r} and rows of the groups; "
            f"give for example constraint='{METRIC} <= 1.0'"
        )
        raise InputError(msg)
    bounds = float(params["eps"]) * np.array(limits)
    learned, _ = holdout_split(strata_of(rows.y), rows.cells, HELD_SHARE, seed)
    members = _Members(rows=rows, groups=tuple(groups), learned=learned, fit_base=fit_base)
    members.add(np.zeros(len(bounds)))
    unit = max(members.overall[0], float(np.finfo(np.float64).tiny))
    theta = np.zeros(len(bounds))
    for _ in range(int(params["max_iter"]) - 1):
        mean = np.mean(members.by_group, axis=0)
        if (mean <= bounds).all() or not members.in_time(1 + LAST_MEMBERS):
            break
        theta += float(params["eta"]) * (members.by_group[-1] - bounds) / unit
        members.add(bounded_prices(theta, MOST_PRICE))
    return members.on_all_rows(bounds)


def _bounded(rows: TrainRows) -> tuple[Sequence[NDArray[np.bool_]], list[float]]:
    """Return the rows of each bounded group, and its bound."""
    found, limits = [], []
    for target in rows.targets:
        if target.metric.name != METRIC:
            continue
        for member in target.system.member:
            # Index -1 selects the last element.
            inside = np.append(member, False)[rows.cells]
            if rows.weight[inside].any():
                found.append(inside)
                limits.append(target.limit)
    return found, limits


MITIGATOR = Mitigator(
    name="bounded_loss",
    stage="in",
    needs_sensitive_at_predict=False,
    serves=frozenset({METRIC}),
    cost="costly",
    ratio=10.0,
    tasks=frozenset({"regression"}),
    overlapping=True,
    train=train,
)
