"""What an expert would write: constrained TPE over LightGBM, reweighing and thresholds.

One Optuna study searches LightGBM's parameters, how far the rows are reweighed (Kamiran, Calders
2012) and one threshold per group; gap minus limit is Optuna's constraint. Judged on a quarter of
the rows, or on folds where they are few; the models that were judged are served.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import optuna
import pandas as pd
from numpy.typing import NDArray

from fairautoml.bench.peers import Answer, Decide, Peer, Question
from fairautoml.threads import n_threads
from peers._boosted import (
    Clock,
    Codes,
    Parts,
    Shares,
    lightgbm_of,
    mean_of,
    parts_of,
)
from peers._offers import Candidate, Seen, answered, offer

UNDEFINED_EXCESS = 1.0
NEUTRAL = 0.5


def ask(question: Question) -> Answer:
    """Return the best feasible trial of a study."""
    clock = Clock(seconds=question.seconds, n_trials=question.n_trials)
    codes = Codes(question.X)
    parts = parts_of(question, codes)
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = optuna.create_study(
        direction="maximize", sampler=optuna.samplers.TPESampler(seed=question.seed)
    )
    offers: list[Candidate] = []
    for _ in clock.trials():
        trial = study.ask()
        params = _suggested(trial, question.groups.n_cells)
        models = [_fitted(codes, parts, rows, params, question.seed) for rows, _ in parts.splits]
        cells = parts.cells[parts.compared]
        seen = Seen(
            y=parts.y[parts.compared],
            cells=cells,
            decisions=_decided(parts.shares(models), params, cells),
        )
        decide = _served(question, codes, models, params)
        one = offer(question, seen, decide, learner="lightgbm", seconds=clock.now())
        limit = min(target.limit for target in question.targets)
        excess = UNDEFINED_EXCESS if one.gap is None else one.gap - limit
        trial.set_constraint("gap", excess)
        study.tell(trial, one.score)
        offers.append(one)
    return answered(question, offers, n_trials=len(offers))


def _suggested(trial: optuna.trial.Trial, n_cells: int) -> dict[str, Any]:
    return {
        "lightgbm": {
            "n_estimators": trial.suggest_int("n_estimators", 20, 400, log=True),
            "num_leaves": trial.suggest_int("num_leaves", 4, 64, log=True),
            "min_child_samples": trial.suggest_int("min_child_samples", 5, 100, log=True),
            "learning_rate": trial.suggest_float("learning_rate", 0.01, 0.3, log=True),
            "colsample_bytree": trial.suggest_float("colsample_bytree", 0.5, 1.0),
            "reg_lambda": trial.suggest_float("reg_lambda", 1e-3, 10.0, log=True),
        },
        "reweighing": trial.suggest_float("reweighing", 0.0, 1.0),
        "thresholds": [
            trial.suggest_float(f"threshold_{cell}", 0.2, 0.8) for cell in range(n_cells)
        ],
    }


def _fitted(
    codes: Codes, parts: Parts, rows: NDArray[np.int64], params: Mapping[str, Any], seed: int
) -> Shares:
    weight = 1.0 + params["reweighing"] * (_reweighed(parts.y[rows], parts.cells[rows]) - 1.0)
    model = lightgbm_of(codes, {**params["lightgbm"], "random_state": seed})
    booster = model.fit(parts.X[rows], parts.y[rows], sample_weight=weight).booster_

    def shares(X: NDArray[np.float64]) -> NDArray[np.floating]:
        return np.asarray(booster.predict(X, num_threads=n_threads()))

    return shares


def _reweighed(y: NDArray[np.int8], cells: NDArray[np.int32]) -> NDArray[np.float64]:
    """Return weights that make label and group independent, shape (n_rows,)."""
    table = pd.crosstab(cells, y, normalize="all")
    expected = np.outer(table.sum(axis=1), table.sum(axis=0))
    ratio = pd.DataFrame(expected / table.to_numpy(), index=table.index, columns=table.columns)
    at = ratio.index.get_indexer(pd.Index(cells)), ratio.columns.get_indexer(pd.Index(y))
    found: NDArray[np.float64] = ratio.to_numpy()[at]
    return found


def _decided(
    shares: NDArray[np.floating], params: Mapping[str, Any], cells: NDArray[np.int32]
) -> NDArray[np.int8]:
    cuts = np.array([*params["thresholds"], NEUTRAL])  # the last one is for unknown groups
    return np.asarray(shares >= cuts[cells]).astype(np.int8)


def _served(
    question: Question, codes: Codes, models: Sequence[Shares], params: Mapping[str, Any]
) -> Decide:
    def decide(X: pd.DataFrame) -> NDArray[np.integer]:
        return _decided(mean_of(models, codes.matrix(X)), params, question.cells_of(X))

    return decide


PEER = Peer(
    about="Optuna's constrained TPE over LightGBM, reweighing and thresholds",
    ask=ask,
    reads_groups=True,
)
