"""Reductions to weighted classification, and their saddle point.

With one price per constraint the fair problem becomes weighted classification: the label of a row
is whether accepting it has a positive gain, its weight the size of the gain. Any learner fits.

Error and constraints are linear in the decisions, with coefficients that depend on cell and label.
A classifier is therefore represented by one number per cell and label, its *slot*.

Source: Agarwal, Beygelzimer, Dudik, Langford, Wallach, *A Reductions Approach to Fair
Classification*, ICML 2018, arXiv 1803.02453, section 2.2 (moments), equation 2, section 3.2 (the
reduction to cost-sensitive classification) and algorithm 1. Step sizes, the stopping rule and the
linear program over all members are those of fairlearn 0.15.
"""

import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linprog

from fairautoml.exceptions import DegenerateGroupError
from fairautoml.metrics._table import effective_rows
from fairautoml.mitigators._base import (
    FitBaseLearner,
    RateLimit,
    RateMetrics,
    ScoreModel,
    TrainRows,
    rate_limits,
    targets_or_default,
    too_few_groups,
)
from fairautoml.portable import Dump, Positions
from fairautoml.records import Floats

SERVES = RateMetrics(difference="linear")
"""Metrics that a reduction can bound."""

USUAL_METRIC, USUAL_LIMIT = "demographic_parity_difference", 0.05
"""Default constraint of a reduction without constraints."""

SIGN = np.array([-1.0, 1.0])
"""Sign of the gain of accepting a row of label 0 or 1."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Moments:
    """Error and constraints as linear functions of the decisions."""

    slot: NDArray[np.int64]  # shape (n_rows,): twice the cell plus the label of each row
    weight: Floats  # shape (n_rows,): row weights, 1 in total
    mass: Floats  # shape (n_slots,): weight per slot
    # with ``offset``: group rate minus overall rate, from the weight accepted per slot
    slope: Floats  # shape (n_moments, n_slots)
    offset: Floats  # shape (n_moments,): the same when all rows are rejected
    limit: Floats  # shape (n_moments,): largest allowed gap between two groups
    # one per rate and group system, in the order of the moments: share of each group in the rows
    # of that rate
    shares: tuple[Floats, ...]
    n_effective: float  # effective sample size

    def accepted(self, decision: NDArray[np.bool_]) -> Floats:
        """Return the weight accepted per slot, shape (n_slots,)."""
        return _per_slot(self.slot, self.weight * decision, len(self.mass))

    def error(self, accepted: Floats) -> float:
        """Return the weighted error rate, in [0, 1]."""
        wrong = self.mass[1::2].sum() - np.tile(SIGN, len(self.mass) // 2) @ accepted
        return float(np.clip(wrong, 0.0, 1.0))

    def gamma(self, accepted: Floats) -> Floats:
        """Return the distances above and then below the overall rate, shape (2 * n_moments,)."""
        apart = self.slope @ accepted + self.offset
        return np.concatenate([apart, -apart])

    def gains(self, multipliers: Floats) -> Floats:
        """Return the gain of accepting a row of each slot, in error and priced violations."""
        above, below = np.split(multipliers, 2)
        return np.tile(SIGN, len(self.mass) // 2) - ((above - below) @ self.slope)

    def projected(self, multipliers: Floats) -> Floats:
        """Return the multipliers of smallest sum with the same price for every classifier.

        Within a block the distances, weighted by the group shares, add up to 0. A multiple of the
        shares can therefore be subtracted; the weighted median subtracts most.
        """
        above, below = np.split(multipliers, 2)
        signed = above - below
        start = 0
        for share in self.shares:
            part = slice(start, start + len(share))
            ratio = signed[part] / share
            order = np.argsort(ratio, kind="stable")
            median = np.searchsorted(share[order].cumsum(), share.sum() / 2)
            signed[part] -= share * ratio[order[min(median, len(share) - 1)]]
            start = part.stop
        return np.concatenate([signed.clip(min=0), (-signed).clip(min=0)])


def moments_of(rows: TrainRows) -> Moments:
    """Return the moments of rows and targets; a group without rows of a rate is left out."""
    total = rows.weight.sum()
    if not (np.isfinite(total) and total > 0):
        msg = f"weight: the sum over {len(rows.y)} rows is {total}; it must be positive and finite"
        raise DegenerateGroupError(msg)
    targets = targets_or_default(rows, "a reduction", USUAL_METRIC, USUAL_LIMIT)
    limited = rate_limits(targets, [target.limit for target in targets])
    n_cells = len(limited[0].system.of_cell)
    slot = 2 * np.where(rows.cells >= 0, rows.cells, n_cells).astype(np.int64) + rows.y
    weight = rows.weight / total
    mass = _per_slot(slot, weight, 2 * n_cells + 2)
    found = (_block(mass, rate_limit) for rate_limit in limited)
    blocks = [block for block in found if block is not None]
    if not blocks:
        raise too_few_groups(limited, rows)
    slope, offset, limit, shares = zip(*blocks, strict=True)
    return Moments(
        slot=slot,
        weight=weight,
        mass=mass,
        slope=np.concatenate(slope),
        offset=np.concatenate(offset),
        limit=np.concatenate(limit),
        shares=shares,
        n_effective=float(effective_rows(np.zeros_like(slot), rows.weight, 1)[0]),
    )


def _per_slot(slot: NDArray[np.int64], weight: Floats, n_slots: int) -> Floats:
    return np.bincount(slot, weights=weight, minlength=n_slots).astype(np.float64, copy=False)


def _block(mass: Floats, rate_limit: RateLimit) -> tuple[Floats, ...] | None:
    """Return slope, offset, limit and share of each group; None if fewer than two have rows."""
    counts, per_accepted, per_refused = rate_limit.rate.linear()
    # The last cell holds the rows without a cell.
    group = np.append(rate_limit.system.of_cell, -1)
    member = (group == np.arange(rate_limit.system.n_groups)[:, None]).astype(np.float64)
    table = mass.reshape(-1, 2)
    size = member @ (table @ counts)
    kept = size > 0
    if np.count_nonzero(kept) < 2:
        return None
    member, size = member[kept], size[kept]
    # Group mean minus overall mean, as weights of the cells.
    mean = member / size[:, None] - member.sum(axis=0) / size.sum()
    slope = np.stack([mean * per_accepted[0], mean * per_accepted[1]], axis=2)
    limit = np.full(len(size), rate_limit.limit)
    return slope.reshape(len(size), -1), mean @ (table @ per_refused), limit, size / size.sum()


HALF = 0.5
"""Score from which a member accepts a row."""

DIGITS = 10
"""Digits in which the gains of two training problems that share a model agree."""

PRECISION = 1e-8
"""Smallest improvement that is not rounding."""


@dataclass(frozen=True, slots=True)
class Constant:
    """A constant score: the best response when one label has the gain in every cell."""

    score: float

    def scores(self, X: Any, cells: NDArray[np.integer]) -> NDArray[np.float32]:
        return np.full(X.shape[0], self.score, dtype=np.float32)

    def dump(self, out: Dump, columns: Positions) -> int:
        return out.node("probability", {"of": out.node("constant", {"value": self.score})})


@dataclass(frozen=True, slots=True, kw_only=True)
class Mixture:
    """A randomised model that draws one of several models for each row."""

    models: tuple[ScoreModel, ...]  # models with a positive share
    shares: tuple[float, ...]  # their probabilities, 1 in total

    def scores(self, X: Any, cells: NDArray[np.integer]) -> NDArray[np.float32]:
        found = np.zeros(X.shape[0])
        for model, share in zip(self.models, self.shares, strict=True):
            found += share * model.scores(X, cells)
        return found.astype(np.float32)

    def dump(self, out: Dump, columns: Positions) -> int:
        of = [out.model(model, columns) for model in self.models]
        return out.node("weighted", {"of": of, "shares": self.shares})


def mixture_of(models: Sequence[ScoreModel], shares: Floats) -> Mixture:
    """Return the mixture of the models with a positive share."""
    kept = shares > PRECISION
    return Mixture(
        models=tuple(model for model, keep in zip(models, kept, strict=True) if keep),
        shares=tuple(float(share) for share in shares[kept] / shares[kept].sum()),
    )


def bounded_prices(theta: Floats, most: float) -> Floats:
    """Return prices proportional to ``exp(theta)`` whose sum is below ``most``."""
    top = max(float(theta.max()), 0.0)
    grown = np.exp(theta - top)
    return most * grown / (np.exp(-top) + grown.sum())


@dataclass(slots=True, kw_only=True)
class Members:
    """All models trained so far, with their errors and violations."""

    rows: TrainRows  # training rows with observed labels
    moments: Moments  # error and constraints of those rows
    fit_base: FitBaseLearner  # trains the learner
    models: list[ScoreModel] = field(default_factory=list)
    errors: list[float] = field(default_factory=list)
    gammas: list[Floats] = field(default_factory=list)
    out_of_time: bool = False
    _seen: set[bytes] = field(default_factory=set)
    _seconds: list[float] = field(default_factory=list)

    def respond(self, multipliers: Floats) -> int:
        """Return the best member under the multipliers, after training one for them if in time."""
        self._train(multipliers, only_better=True)
        return int(self._values(multipliers).argmin())

    def add(self, multipliers: Floats) -> None:
        """Train and store a member for the multipliers, unless one exists or no time is left."""
        self._train(multipliers, only_better=False)

    def _values(self, multipliers: Floats) -> Floats:
        """Return error plus priced violations of every member, shape (n_members,)."""
        return np.array(self.errors) + np.array(self.gammas) @ multipliers

    def _train(self, multipliers: Floats, *, only_better: bool) -> None:
        gains = self.moments.gains(multipliers)
        signed = self.moments.weight * gains[self.moments.slot]
        size = np.abs(signed).sum()
        # Rounded, because the direction of the gains identifies the training problem.
        digest = np.round(gains / max(size, PRECISION), DIGITS).tobytes()
        if digest in self._seen or not self._in_time():
            return
        start = time.perf_counter()
        model = self._fit(signed, size)
        accepted = self.moments.accepted(model.scores(self.rows.X, self.rows.cells) >= HALF)
        if not isinstance(model, Constant):
            self._seconds.append(time.perf_counter() - start)
        error, gamma = self.moments.error(accepted), self.moments.gamma(accepted)
        value = error + gamma @ multipliers
        self._seen.add(digest)
        if only_better and self.models and value >= self._values(multipliers).min() - PRECISION:
            return
        self.models.append(model)
        self.errors.append(error)
        self.gammas.append(gamma)

    def _fit(self, signed: Floats, size: float) -> ScoreModel:
        """Train on the labels of positive gain, weighted by the size of the gain."""
        y = (signed > 0).astype(np.int8)
        positive = signed != 0
        if not positive.any() or (y[positive] == y[positive][0]).all():
            return Constant(float(y.max()))
        # The total weight is preserved, so that regularisation has the same strength in every fit.
        weight = np.abs(signed) * (self.rows.weight.sum() / size)
        return self.fit_base(replace(self.rows, y=y, weight=weight))

    def _in_time(self) -> bool:
        """Return whether one more training fits into the time left; the first one always does."""
        left = self.fit_base.seconds_left()
        if left is not None and self._seconds:
            self.out_of_time = self.out_of_time or left < float(np.mean(self._seconds))
        return not self.out_of_time


SCALES = (1.0, 2.0, 5.0, 10.0)
"""Multiples of the multipliers for which a better response is sought."""

LEAST_ROUNDS = 5
"""Rounds before the gap is used for stopping."""

FIRST_CHECK, CHECK_GROWTH, SHRINK = 5, 1.6, 0.8
"""Schedule of the step size, which shrinks unless the gap fell to 0.8 of its last value."""


@dataclass(slots=True, kw_only=True)
class _Pace:
    """The step size."""

    eta: float
    best: float = np.inf
    checked: int = FIRST_CHECK
    at_check: float = np.inf

    def step(self, t: int, gap: float) -> float:
        """Return the step size after round ``t``, given the gap of the averaged play."""
        self.best = min(self.best, gap)
        if t >= self.checked * CHECK_GROWTH:
            if self.best > self.at_check * SHRINK:
                self.eta *= SHRINK
            self.checked, self.at_check = t, self.best
        return self.eta


@dataclass(frozen=True, slots=True, kw_only=True)
class Play:
    """A mixture and its distance from the saddle point."""

    shares: Floats  # shape (n_members at that time,): probability of each member
    gap: float  # largest gain by which either player could still improve


@dataclass(slots=True, kw_only=True)
class Game:
    """The game of the learner against the prices of its violations."""

    members: Members  # trains responses
    # largest distance of a group's rate from the overall rate
    bound: Floats  # shape (2 * n_moments,)
    price: float  # largest sum of the multipliers (B in the paper), positive
    max_iter: int  # rounds, at least 1
    eta: float  # first step size in units of 1 / ``price``, positive
    _nu: float = 0.0
    _solved: tuple[int, Play] | None = None

    def run(self) -> Floats:
        """Play until the gap is below sampling error, or the rounds or the time are used up."""
        theta = np.zeros(len(self.bound))
        total = np.zeros(len(self.bound))
        turns: list[int] = []
        plays: list[Play] = []
        pace = _Pace(eta=self.eta / self.price)
        for t in range(self.max_iter):
            multipliers = bounded_prices(theta, self.price)
            total += multipliers
            turns.append(self.members.respond(multipliers))
            if t == 0:
                self._nu = self._statistical_error()
            averaged = self._judged(self._counted(turns), total / (t + 1))
            plays.append(self._best_of_both(averaged, t))
            if self.members.out_of_time:
                return self._program()[0]
            if plays[-1].gap < self._nu and t >= LEAST_ROUNDS:
                break
            theta += pace.step(t, averaged.gap) * (self.members.gammas[turns[-1]] - self.bound)
        least = min(play.gap for play in plays) + PRECISION
        shares = [play.shares for play in plays if play.gap <= least][-1]
        return np.pad(shares, (0, len(self.members.models) - len(shares)))

    def deterministic(self) -> ScoreModel:
        """Return the best single member by error plus its largest excess at full price."""
        excess = (np.array(self.members.gammas) - self.bound).max(axis=1).clip(min=0)
        values = np.array(self.members.errors) + self.price * excess
        return self.members.models[int(values.argmin())]

    def _statistical_error(self) -> float:
        """Return half the standard error of the first member's error."""
        error = self.members.errors[0]
        n = self.members.moments.n_effective
        return 0.5 * float(np.sqrt(error * (1 - error) / max(n - 1, 1.0)))

    def _counted(self, turns: list[int]) -> Floats:
        """Return how often each member was played, as shares."""
        count = np.bincount(turns, minlength=len(self.members.models))
        return count / len(turns)

    def _judged(self, shares: Floats, multipliers: Floats) -> Play:
        """Return a mixture with its gap; the search for a better response may add members."""
        fair = self.members.moments.projected(multipliers)
        error, gamma = self._cost(shares)
        value = error + fair @ (gamma - self.bound)
        highest = error + self.price * max(float((gamma - self.bound).max()), 0.0)
        lowest = value
        for scale in SCALES:
            at = self.members.respond(scale * multipliers)
            other = self.members.errors[at] + fair @ (self.members.gammas[at] - self.bound)
            lowest = min(lowest, other)
            gap = float(max(value - lowest, highest - value))
            if gap > self._nu + PRECISION:
                break
        return Play(shares=shares, gap=gap)

    def _cost(self, shares: Floats) -> tuple[float, Floats]:
        """Return error and violations of a mixture of the first ``len(shares)`` members."""
        n = len(shares)
        gamma: Floats = shares @ np.array(self.members.gammas[:n])
        return float(shares @ np.array(self.members.errors[:n])), gamma

    def _best_of_both(self, averaged: Play, t: int) -> Play:
        """Return the averaged play or the solution of the program, by the smaller gap."""
        if t == 0:
            return averaged
        n = len(self.members.models)
        if self._solved is None or self._solved[0] != n:
            self._solved = (n, self._judged(*self._program()))
        solved = self._solved[1]
        return averaged if averaged.gap < solved.gap else solved

    def _program(self) -> tuple[Floats, Floats]:
        """Return the mixture of least error plus priced excess, and its dual multipliers."""
        excess = (np.array(self.members.gammas) - self.bound).T
        found = linprog(
            np.append(self.members.errors, self.price),
            A_ub=np.column_stack([excess, -np.ones(len(self.bound))]),
            b_ub=np.zeros(len(self.bound)),
            A_eq=np.append(np.ones(excess.shape[1]), 0.0)[None],
            b_eq=np.ones(1),
            method="highs-ds",
        )
        return found.x[:-1], -found.ineqlin.marginals
