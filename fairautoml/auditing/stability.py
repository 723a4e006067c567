"""Train a pipeline again, on flipped labels, and measure how much gap and accuracy change."""

import copy
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import product
from typing import Any, Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.special import expit
from sklearn.base import clone
from sklearn.linear_model import LogisticRegression

from fairautoml.auditing.leakage import Features
from fairautoml.auditing.rates import Tables
from fairautoml.auditing.result import Section
from fairautoml.auditing.rows import AuditRows
from fairautoml.data.dataset import Dataset
from fairautoml.data.encoders import fit_design
from fairautoml.data.read import build_dataset
from fairautoml.estimator import Estimator
from fairautoml.evaluation.evaluate import OofScores
from fairautoml.evaluation.fitting import CVEnsemble, FoldData, Part, fit_config
from fairautoml.evaluation.membership import learn
from fairautoml.evaluation.problem import Problem
from fairautoml.exceptions import InputError
from fairautoml.inference.predictor import Predictor
from fairautoml.learners import LEARNERS
from fairautoml.metrics import Metric, Undefined
from fairautoml.metrics.groups import GroupSystem
from fairautoml.mitigators import MITIGATORS, ScoreRows
from fairautoml.parameters import check_number
from fairautoml.plan import apply_group_policy, define_problem, read_options_of
from fairautoml.records import Config, Entry, seed_of
from fairautoml.selection.ensemble import models_of
from fairautoml.settings import DEFAULT_FOLDS


def retrained(model: Any, X: Any, y: Any, sensitive: Any) -> Any:
    """Return the model trained again on other rows.

    Of a ``FairAutoML`` the selected configuration and its post-processor are trained, without a
    search; other models are cloned as in scikit-learn.
    """
    if not isinstance(model, Estimator):
        if not hasattr(model, "fit"):
            raise InputError(
                f"stability= trains the model again, but model is of type {type(model).__name__} "
                "without fit. Pass the estimator itself."
            )
        return clone(model).fit(X, y)
    pool = getattr(model, "pool_", None)
    if pool is None:
        msg = "stability= needs the fitted estimator or its run (load_run), not a model file."
        raise InputError(msg)
    settings, taken = model.check_parameters(), pool.groups and pool.groups.sensitive_from_X
    if not isinstance(settings.cv, int):
        # The user's splitter may need the entities, or list rows of ``fit``.
        settings = replace(settings, cv=DEFAULT_FOLDS)
    names = () if pool.groups is None else pool.groups.columns
    if isinstance(sensitive, pd.DataFrame) and set(names) <= set(sensitive.columns):
        sensitive = sensitive[list(names)]
    with warnings.catch_warnings(), LEARNERS.adding(settings.own_learners):
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
        raise InputError(
            f"stability= cannot train the selected mixture {entry.name!r} again. Choose another "
            "entry with select(), or fit with ensemble=0."
        )
    mitigator, membership = MITIGATORS.get(entry.mitigator), None
    rows = FoldData(
        dataset=dataset, folds=problem.folds, root_seed=model.seed_, targets=problem.goal.targets
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
        n_cells=dataset.n_cells,
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


RIDGE = 1e-3
"""L2 penalty of the surrogate, per row."""

Flips = Literal["none", "random", "influence"]
Retrain = Callable[[NDArray[np.int64], NDArray[np.int8], NDArray[np.int64]], NDArray[np.int8]]
"""Trains the pipeline on rows with labels 0 or 1, and returns its decisions on other rows."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StabilityRow:
    """Accuracy and one gap of the pipeline after training on flipped labels."""

    flips: Flips  # which labels were flipped
    share: float  # share of the training labels that were flipped
    n_flipped: int
    accuracy: float  # on the rows that were not trained on
    system: str  # sensitive column or intersection
    metric: str  # registered name
    value: float | None  # on the rows that were not trained on; None if undefined


def stability_rows(
    rows: AuditRows,
    features: Features,
    metrics: Sequence[Metric],
    systems: Sequence[GroupSystem],
    retrain: Retrain,
    *,
    shares: Sequence[float],
    seed: int,
) -> tuple[StabilityRow, ...]:
    """Return accuracy and gaps after flipping shares of the labels at random and by influence.

    Half of the rows train the pipeline and the other half measure it. By influence, the labels
    are flipped that raise the gap of a logistic surrogate most, to first order.

    References
    ----------
    Liu, Wang, Wu, Zhang, Li, Su, Gao, "Towards poisoning fair representations", ICLR 2024
    (arXiv 2309.16487); influence: Koh, Liang, "Understanding black-box predictions via influence
    functions", ICML 2017.
    """
    if rows.y is None:
        raise InputError("stability= needs the true labels of the rows. Give y_true (--y-true).")
    for share in shares:
        wanted = "shares of labels above 0 and below 0.5, such as [0.01, 0.05]"
        check_number("stability", share, wanted, lambda flipped: 0 < flipped < 0.5)
    compared = [system for system in systems if system.n_groups >= 2]
    if not compared:
        raise InputError("stability= needs two groups or more with enough rows to compare.")
    order = np.random.default_rng(seed).permutation(len(rows.decision))
    half = len(order) // 2
    train, test = np.sort(order[:half]), np.sort(order[half:])
    y = rows.y[train]
    by_random = np.random.default_rng((seed, 1)).permutation(half)
    by_influence = np.argsort(-_influence(rows, features, compared[0], train, y), kind="stable")
    orders: tuple[tuple[Flips, NDArray[np.int64]], ...] = (
        ("random", by_random), ("influence", by_influence),
    )  # fmt: skip
    plans = [("none", 0.0, by_random), *((f, s, at) for s in shares for f, at in orders)]
    found = []
    for flips, share, at in plans:
        flipped, n_flipped = y.copy(), round(share * half)
        flipped[at[:n_flipped]] = 1 - flipped[at[:n_flipped]]
        decision = retrain(train, flipped, test)
        accuracy = float((decision == rows.y[test]).mean())
        tables = Tables.count(_part(rows, test, decision))
        for system, metric in product(compared, metrics):
            value = metric.value(tables.merged(system).weights)
            found.append(
                StabilityRow(
                    flips=flips,
                    share=share,
                    n_flipped=n_flipped,
                    accuracy=accuracy,
                    system=system.name,
                    metric=metric.name,
                    value=None if isinstance(value, Undefined) else value,
                )
            )
    return tuple(found)


def stability_section(rows: tuple[StabilityRow, ...]) -> Section:
    """Return the section of an audit on flipped labels."""
    return Section(
        name="stability",
        title="The pipeline trained again on flipped labels (one half trains, the other measures)",
        rows=rows,
        columns={
            "flips": "flips", "share": "share", "n_flipped": "labels flipped",
            "accuracy": "accuracy", "system": "groups", "metric": "metric", "value": "value",
        },
        sentences=tuple(_sentence(row) for row in rows if row.value is not None),
    )  # fmt: skip


def _sentence(row: StabilityRow) -> str:
    how = {
        "none": "Without flipped labels",
        "random": f"With {100 * row.share:g} % of the labels flipped at random",
        "influence": f"With the {100 * row.share:g} % of the labels flipped that raise the gap of "
        "a logistic model most",
    }[row.flips]
    return f"{how}, {row.metric} of {row.system} is {row.value:.3f}, accuracy {row.accuracy:.3f}."


def _part(rows: AuditRows, at: NDArray[np.int64], decision: NDArray[np.int8]) -> AuditRows:
    return replace(
        rows,
        y=np.asarray(rows.y)[at],
        decision=decision,
        baseline=None,
        score=None,
        weight=None if rows.weight is None else rows.weight[at],
        cells=rows.cells[at],
    )


def _influence(
    rows: AuditRows,
    features: Features,
    system: GroupSystem,
    train: NDArray[np.int64],
    y: NDArray[np.int8],
) -> NDArray[np.float64]:
    """Return how much flipping each label raises the gap of the surrogate's mean scores."""
    matrix = features.matrix[train].astype(np.float64)
    design = fit_design(matrix, features.feature_schema).matrix(matrix)
    x = np.column_stack([design, np.ones(len(design))])
    n = len(x)
    surrogate = LogisticRegression(C=1 / (RIDGE * n), fit_intercept=False, max_iter=1_000)
    theta = surrogate.fit(x, y).coef_[0]
    p = expit(x @ theta)
    slope = (p * (1 - p))[:, None] * x
    hessian = slope.T @ x / n + RIDGE * np.eye(x.shape[1])
    codes = rows.codes(system)[train]
    member = [codes == group for group in np.unique(codes[codes >= 0])]
    means = np.array([p[here].mean() for here in member])
    high, low = member[int(means.argmax())], member[int(means.argmin())]
    gradient = slope[high].mean(axis=0) - slope[low].mean(axis=0)
    by_row = x @ -np.linalg.solve(hessian, gradient) / n
    return np.asarray(np.sign(np.ptp(means)) * (2.0 * y - 1) * by_row)
