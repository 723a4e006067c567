"""LightGBM boosted on a game: prices learned on held-out rows, and the round to stop at."""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit, logit

from fairautoml.metrics import GroupCounts, Metric, Undefined
from fairautoml.metrics.rates import known_disparity
from fairautoml.mitigators._base import Target, TrainRows
from fairautoml.mitigators._fairgbm_game import Game
from fairautoml.mitigators._fairgbm_proxies import Array
from fairautoml.registry import missing_library
from fairautoml.trials import ParamValue

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
            categorical_feature=list(rows.layout.native),
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
