"""Group probability model, for group-unaware rules.

P(group, y | features) is estimated by one small booster per group and label, cross-fitted on the
folds of the search and trained once per run.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fairautoml.evaluation.fitting import BaseFit, Encoded, FittedModel, FoldData, Part, fold_seed
from fairautoml.evaluation.problem import Problem, mean_train_rows
from fairautoml.exceptions import DegradedWarning, warn
from fairautoml.inference.restore import read_models
from fairautoml.mitigators import GroupProbabilityModel, TrainRows
from fairautoml.portable import Dump, Positions
from fairautoml.records import Config, Fidelity, RunTrial, Trial, TrialState
from fairautoml.storage.artifacts import Artifacts

MEMBERSHIP = Config(learner="group_membership")
"""Pseudo-learner of the group probability model; no registered learner has this name."""

MEMBERSHIP_KEY = Trial(number=-1, config=MEMBERSHIP, fidelity=Fidelity()).key
"""Storage key of its models and probabilities; -1, as it is not a trial of the search."""

BOOSTER = Config(
    learner="lightgbm", params={"n_estimators": 60, "num_leaves": 12, "learning_rate": 0.1}
)

SHORT_BOOSTER = Config(
    learner="lightgbm", params={"n_estimators": 30, "num_leaves": 12, "learning_rate": 0.2}
)
"""Booster with half the trees, used before the number of rows is reduced."""

MOST_ROWS = 20_000
"""Most training rows per fold."""

FEWEST_ROWS_OF_MODEL = 2_000
"""Fewest training rows per fold."""

SECONDS, SCORED = 5e-6, 2e-6
"""Approximate seconds per row and booster for few columns: to train, and to score."""

MOST_CELLS = 30
"""Most finest groups; beyond that there would be too many models."""

SHARE_OF_TIME = 0.15
"""Largest share of the time left that each of two attempts may take."""

EXPECTED_SHARE = 0.08
"""Expected share of the time left."""

SMALLEST = 1 / 64
"""Smallest share of the full effort."""

LESS_EFFORT = 0.25
"""Factor on the effort after a timeout."""


@dataclass(frozen=True, slots=True)
class FoldMembership:
    """Group probability models of one fold."""

    # number of the class, ``2 * cell + y``, and its model against all others
    models: tuple[tuple[int, FittedModel], ...]
    n_cells: int  # number of finest cells

    def membership(self, X: Any) -> NDArray[np.float32]:
        """Return P(cell, y | features) of encoded rows, shape (n_rows, n_cells, 2)."""
        nowhere = np.full(X.shape[0], -1, dtype=np.int32)
        found = np.zeros((X.shape[0], 2 * self.n_cells))
        for at, model in self.models:
            found[:, at] = model.scores(X, nowhere)
        total = found.sum(axis=1, keepdims=True)
        even = np.full_like(found, 1.0 / found.shape[1])
        shares = np.divide(found, total, out=even, where=total > 0)
        return shares.reshape(-1, self.n_cells, 2).astype(np.float32)

    def dump(self, out: Dump, columns: Positions) -> int:
        """Write the portable form and return its node."""
        content = {
            "of": [out.model(model, columns) for _, model in self.models],
            "classes": [at for at, _ in self.models],
            "n_cells": self.n_cells,
        }
        return out.node("membership", content)


@dataclass(frozen=True, slots=True)
class GroupProbabilities:
    """Mean over the models of the folds; this is deployed."""

    folds: tuple[FoldMembership, ...]

    def membership(self, X: Any) -> NDArray[np.float32]:
        """Return P(cell, y | features) of encoded rows, shape (n_rows, n_cells, 2)."""
        return np.mean([f.membership(X) for f in self.folds], axis=0)

    def dump(self, out: Dump, columns: Positions) -> int:
        """Write the portable form and return its node."""
        return out.node("even", {"of": [out.model(fold, columns) for fold in self.folds]})


def learn(
    rows: FoldData, effort: float, check_time: Callable[[int], None]
) -> tuple[NDArray[np.float32], GroupProbabilities]:
    """Train the models of all folds."""
    data = rows.dataset
    n_cells, n_folds = data.n_cells, rows.n_folds
    booster, fraction = _training(mean_train_rows(rows.folds), effort)
    found = np.zeros((data.n_rows, n_cells, 2), dtype=np.float32)
    models = []
    for fold in range(n_folds):
        check_time(fold)
        part = Part(fold=fold, fraction=fraction)
        fit = BaseFit(config=booster, seed=fold_seed(rows.root_seed, fold), deadline=None)
        model = _fit_fold(rows.train(part, "codes"), n_cells, fit)
        held_out = rows.held_out(part, "codes")
        found[held_out.rows] = model.membership(held_out.X)
        models.append(model)
    return found, GroupProbabilities(tuple(models))


def _training(outside: float, effort: float) -> tuple[Config, float]:
    """Return the booster and the share of the rows outside a fold that it trains on."""
    wanted = max(FEWEST_ROWS_OF_MODEL, min(1.0, 2.0 * effort) * min(outside, MOST_ROWS))
    return (BOOSTER if effort > 0.5 else SHORT_BOOSTER), min(1.0, wanted / outside)


def _fit_fold(rows: Encoded, n_cells: int, fit: BaseFit) -> FoldMembership:
    known = _in_groups(rows.train)
    label = known.cells.astype(np.int64) * 2 + known.y
    models = [
        (int(at), FittedModel(rows.encoder, fit(replace(known, y=(label == at).astype(np.int8)))))
        for at in np.unique(label)
    ]
    return FoldMembership(tuple(models), n_cells)


def _in_groups(rows: TrainRows) -> TrainRows:
    """Return the rows that belong to a group."""
    known = rows.cells >= 0
    if known.all():
        return rows
    at = np.flatnonzero(known)
    return replace(rows, X=rows.X[at], y=rows.y[at], weight=rows.weight[at], cells=rows.cells[at])


def with_membership(
    problem: Problem,
    artifacts: Artifacts,
    run: RunTrial,
    seconds_left: Callable[[], float | None] = lambda: None,
) -> Problem:
    """Return the problem with group probabilities, or without the rules that need them."""
    if not any(mitigator.needs_membership for mitigator in problem.mitigators):
        return problem
    reason = _too_many(problem)
    if not reason and not _is_learned(problem, artifacts):
        reason = _learned(problem, run, seconds_left)
    if not reason:
        return replace(problem, membership=np.asarray(artifacts.scores(MEMBERSHIP_KEY)))
    names = ", ".join(m.name for m in problem.mitigators if m.needs_membership)
    msg = (
        f"Dropped {names}: the group probability model could not be trained ({reason}). Increase "
        "time_budget."
    )
    warn(msg, DegradedWarning)
    return without_membership(problem)


def _is_learned(problem: Problem, artifacts: Artifacts) -> bool:
    """Return whether the probabilities and their models are stored."""
    shape = (problem.dataset.n_rows, problem.dataset.n_cells, 2)
    known = artifacts.has_models(MEMBERSHIP_KEY)
    return known and artifacts.has_all_scores(MEMBERSHIP_KEY, shape)


def _learned(problem: Problem, run: RunTrial, seconds_left: Callable[[], float | None]) -> str:
    """Return why training failed, or an empty string; retry with less effort on a timeout."""
    trial = _trial(problem, seconds_left(), 1.0)
    result = run(trial)
    if result.status is TrialState.TIMEOUT:
        again = _trial(problem, seconds_left(), LESS_EFFORT)
        outside = problem.n_train_rows
        first, second = (_training(outside, t.fidelity.rows) for t in (trial, again))
        if first != second:
            result = run(again)
    return "" if result.status is TrialState.SUCCESS else f"{result.status}: {result.error}"


def _trial(problem: Problem, seconds_left: float | None, share: float) -> Trial:
    """Return the trial that trains the model in the time left; its fraction is the effort."""
    if seconds_left is None:
        seconds, rows_share = None, 1.0
    else:
        data = problem.dataset
        n_classes = 2 * data.n_cells
        trained = min(MOST_ROWS, problem.rows.n_rows) * problem.n_models
        rows = SECONDS * trained + SCORED * data.n_rows
        most = EXPECTED_SHARE * seconds_left / (rows * n_classes * data.row_cost)
        # Powers of 1/2 make the effort robust to small changes of the time left.
        effort = 0.5 ** max(0, math.ceil(-math.log2(max(most, SMALLEST))))
        seconds, rows_share = SHARE_OF_TIME * seconds_left, share * effort
    fidelity = Fidelity(rows=rows_share, folds=problem.n_models)
    return Trial(number=-1, config=MEMBERSHIP, fidelity=fidelity, max_seconds=seconds)


def without_membership(problem: Problem) -> Problem:
    """Return the problem without the post-processors that need P(cell, y | features)."""
    mitigators = tuple(m for m in problem.mitigators if not m.needs_membership)
    return replace(problem, mitigators=mitigators)


def _too_many(problem: Problem) -> str:
    n_cells = problem.dataset.n_cells
    if n_cells <= MOST_CELLS:
        return ""
    return f"{n_cells} intersectional groups, at most {MOST_CELLS} are supported"


def learned_membership(problem: Problem, artifacts: Artifacts) -> Problem:
    """Return the problem with the stored probabilities, or without what needs them."""
    if not _is_learned(problem, artifacts):
        return without_membership(problem)
    return replace(problem, membership=np.asarray(artifacts.scores(MEMBERSHIP_KEY)))


def kept_membership(
    artifacts: Artifacts, rules_read_it: Sequence[bool]
) -> GroupProbabilityModel | None:
    """Return the trained models if a rule reads them."""
    if not any(rules_read_it):
        return None
    if not artifacts.has_native(MEMBERSHIP_KEY):
        return read_models(artifacts.portable(MEMBERSHIP_KEY))
    return artifacts.models(MEMBERSHIP_KEY)
