"""Train a fitted pipeline again on other rows or labels, without a search."""

import copy
import warnings
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.base import clone

from fairautoml.data.dataset import Dataset
from fairautoml.data.read import build_dataset
from fairautoml.estimator import Estimator
from fairautoml.evaluation.evaluate import OofScores
from fairautoml.evaluation.fitting import CVEnsemble, FoldData, Part, fit_config
from fairautoml.evaluation.membership import learn
from fairautoml.evaluation.problem import Problem
from fairautoml.exceptions import InputError
from fairautoml.inference.predictor import Predictor
from fairautoml.mitigators import MITIGATORS, ScoreRows
from fairautoml.plan import apply_group_policy, define_problem, read_options_of
from fairautoml.records import Config, Entry, seed_of
from fairautoml.selection.ensemble import models_of


def retrained(model: Any, X: Any, y: Any, sensitive: Any) -> Any:
    """Return the model trained again on other rows.

    Of a ``FairAutoML`` the selected configuration and its post-processor are trained, without a
    search; other models are cloned as in scikit-learn.
    """
    if not isinstance(model, Estimator):
        if not hasattr(model, "fit"):
            msg = (
                f"stability= trains the model again, but model is of type {type(model).__name__} "
                "without fit. Pass the estimator itself."
            )
            raise InputError(msg)
        return clone(model).fit(X, y)
    pool = getattr(model, "pool_", None)
    if pool is None:
        msg = "stability= needs the fitted estimator or its run (load_run), not a model file."
        raise InputError(msg)
    settings, taken = model.check_parameters(), pool.groups and pool.groups.sensitive_from_X
    names = () if pool.groups is None else pool.groups.columns
    if isinstance(sensitive, pd.DataFrame) and set(names) <= set(sensitive.columns):
        sensitive = sensitive[list(names)]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        dataset = build_dataset(
            X,
            y,
            list(taken) if taken else sensitive,
            options=replace(read_options_of(settings), columns=pool.schema.options),
        )
        problem = define_problem(apply_group_policy(dataset, settings), settings)
        found = copy.copy(model)
        found.model_ = _predictor(model, problem)
    return found


def _predictor(model: Estimator, problem: Problem) -> Predictor:
    entry, dataset = model.best_entry_, problem.dataset
    if entry.mitigator not in MITIGATORS.names():
        msg = (
            f"stability= cannot train the selected mixture {entry.name!r} again. Choose another "
            "entry with select(), or fit with ensemble=0."
        )
        raise InputError(msg)
    mitigator, membership = MITIGATORS.get(entry.mitigator), None
    rows = FoldData(
        dataset=dataset,
        folds=problem.folds,
        root_seed=model.seed_,
        targets=problem.goal.targets,
    )
    shares = None
    if mitigator.needs_membership:
        shares, membership = learn(rows, 1.0, lambda _: None)
    bags, scores = _trained(model, entry, rows)
    score_rows = ScoreRows(
        scores=scores,
        y=dataset.y,
        weight=dataset.weight,
        cells=dataset.cells,
        n_cells=1 if dataset.groups is None else dataset.groups.n_cells,
        membership=shares,
    )
    tolerances = problem.tolerances if entry.tolerance is None else (entry.tolerance,)
    fit: Any = mitigator.fit_rules
    rule = next((rule for _, rule in fit(score_rows, problem.goal, tolerances)), None)
    if rule is None:
        msg = f"stability=: {entry.mitigator!r} has no rule on these rows. Give more rows."
        raise InputError(msg)
    return Predictor(
        models=models_of(entry, bags),
        rule=rule,
        schema=dataset.schema,
        groups=dataset.groups,
        classes=dataset.classes,
        needs_sensitive=model.model_.needs_sensitive,
        salt=model.seed_,
        membership=membership,
        task=dataset.task,
        constrained=model.model_.constrained,
    )


def _trained(
    model: Estimator, entry: Entry, rows: FoldData
) -> tuple[dict[str, CVEnsemble], NDArray[np.float32]]:
    """Return the fold models by trial key, and the out-of-fold scores of the entry."""
    entries = model.pool_.board.entries
    configs = {one.trial_key: one.config for one in entries if not one.members}
    members = entry.members if entry.members else ((entry.trial_key, 1.0),)
    bags, total = {}, np.zeros(rows.dataset.score_shape, dtype=np.float64)
    for key, share in members:
        bags[key], scores = _cross_fitted(configs[key], rows, rows.dataset)
        total += share * scores
    return bags, total.astype(np.float32)


def _cross_fitted(
    config: Config, rows: FoldData, dataset: Dataset
) -> tuple[CVEnsemble, NDArray[np.float32]]:
    known = OofScores.of(dataset, rows.folds)
    for fold in range(rows.n_folds):
        part, seed = Part(fold=fold, fraction=1.0), seed_of(rows.root_seed, config) + fold
        fitted = fit_config(config, rows.train(part, config.encoding), seed)
        held_out = rows.held_out(part, config.encoding)
        known.scores[held_out.rows] = fitted.scores_encoded(held_out.X, held_out.cells)
        known.models.append(fitted)
    return CVEnsemble(tuple(known.models)), known.scores
