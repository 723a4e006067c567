"""FairGBM: gradient boosting that penalises unequal rates during training.

Trains LightGBM, with the parameters of the configuration if its learner is LightGBM and with
LightGBM's defaults otherwise. Groups are used in training only.

Source: Cruz, Belem, Jesus, Bravo, Saleiro, Bizarro, *FairGBM: Gradient Boosting with Fairness
Constraints*, ICLR 2023, arXiv 2209.07850; code feedzai/fairgbm. Ours: a hessian that includes the
constraints, demographic parity, weights, and prices that follow the rates of held-out training
rows (two datasets as in Cotter et al., *Training Well-Generalizing Classifiers for Fairness
Metrics and Other Data-Dependent Constraints*, ICML 2019), which also choose the number of trees;
then all training rows are boosted with the same prices.
"""

from collections.abc import Collection, Sequence
from dataclasses import replace

from fairautoml.data.splits import holdout_split
from fairautoml.exceptions import InputError, ParameterError
from fairautoml.metrics import BoundConstraint
from fairautoml.mitigators._base import (
    FitBaseLearner,
    Mitigator,
    RateMetrics,
    ScoreModel,
    TrainRows,
    targets_or_default,
)
from fairautoml.mitigators.inprocessing._fairgbm import (
    PROXIES,
    Boosting,
    Game,
    constraint_of,
    group_rates,
    near_overall,
)
from fairautoml.records import ParamValues

HELD_SHARE = 0.25
"""Share of the training rows held out to set the prices and the number of trees."""

USUAL_METRIC, USUAL_LIMIT = "equalized_odds_difference", 0.05
"""Default constraint of the published code, used without constraints."""


def train(rows: TrainRows, fit_base: FitBaseLearner, params: ParamValues, seed: int) -> ScoreModel:
    """Boost trees on the proxy Lagrangian of the targets.

    Ends early when one more tree would exceed the time left.
    """
    targets = targets_or_default(rows, "fairgbm", USUAL_METRIC, USUAL_LIMIT)
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
