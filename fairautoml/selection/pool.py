"""Deployable models of a fit: the selected one and the others on the Pareto front."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fairautoml.data.dataset import Dataset
from fairautoml.data.groups import GroupSchema
from fairautoml.data.read import read_new_rows
from fairautoml.data.schema import TableSchema
from fairautoml.data.target import known_labels, plain_numbers
from fairautoml.evaluation.fitting import CVEnsemble
from fairautoml.evaluation.membership import kept_membership
from fairautoml.evaluation.problem import Problem
from fairautoml.exceptions import DegradedWarning, InputError, warn
from fairautoml.inference.predictor import Predictor
from fairautoml.inference.restore import StoredModels, read_models
from fairautoml.learners._base import count_trees
from fairautoml.metrics import (
    BoundConstraint,
    ClassCounts,
    Constraint,
    GroupCounts,
    TaskName,
    bind_constraints,
)
from fairautoml.metrics._table import effective_rows
from fairautoml.mitigators import MITIGATORS, GroupProbabilityModel, ScoreModel
from fairautoml.records import Entry, GroupUnawareRule, best_of
from fairautoml.selection.choice import FinalChoice, SelectionOptions
from fairautoml.selection.ensemble import models_of
from fairautoml.selection.leaderboard import Leaderboard
from fairautoml.storage.artifacts import Artifacts

N_TIMED = 9
"""Predictions of one row whose median time counts."""


@dataclass(frozen=True, kw_only=True)
class Pool:
    """Entries, and everything needed to predict with those on the Pareto front."""

    board: Leaderboard  # all entries
    best: Entry  # selected entry
    # fold models by trial key, of every trial that an entry on the front uses
    bags: Mapping[str, ScoreModel]
    schema: TableSchema  # how new rows are read, as in ``Dataset``
    groups: GroupSchema | None
    classes: NDArray[Any]
    seed: int  # root seed, salt of randomised rules
    membership: GroupProbabilityModel | None = None  # for rules that read group probabilities
    task: TaskName = "binary"  # kind of target
    # individuals with a positive weight by finest group and label; None without two classes
    rows_by_label: NDArray[np.int64] | None = None  # shape (n_cells, 2)
    refitted: frozenset[str] = frozenset()  # trials whose model was trained on all rows instead
    # after ``reselected`` the groups with what was found out about the bounds of the fit
    fitted_groups: GroupSchema | None = None

    def classifier(self, entry: Entry) -> Predictor:
        """Return the predictor of an entry without training."""
        return Predictor(
            models=models_of(entry, self.bags),
            rule=entry.rule,
            schema=self.schema,
            groups=self.groups,
            classes=self.classes,
            needs_sensitive=bool(self.board.asks_groups(entry)),
            salt=self.seed,
            membership=self.membership if isinstance(entry.rule, GroupUnawareRule) else None,
            task=self.task,
            constrained=bool(entry.measures),
        )

    def groups_of(self, X: Any, sensitive: Any) -> NDArray[np.int32]:
        """Return the true finest group of each new row, -1 = unknown, to measure gaps."""
        return read_new_rows(
            X, sensitive, schema=self.schema, groups=self.groups, unseen="base_model", judged=True
        )[1]

    def labels_of(self, y: Any) -> NDArray[Any]:
        """Return the target of new rows as the models predict it."""
        return plain_numbers(y) if self.task == "regression" else known_labels(y, self.classes)

    def n_models(self, key: str) -> int | None:
        """Return the number of fold models of a trial, None if it has no folds."""
        bag = self.bags.get(key)
        if key in self.refitted or not isinstance(bag, CVEnsemble | StoredModels):
            return None
        return len(bag)

    @property
    def n_trees(self) -> int:
        """Number of trees of the selected model."""
        return count_trees(models_of(self.best, self.bags))

    @property
    def headlines(self) -> tuple[str, ...]:
        """Bounds that cannot be judged, and groups excluded from a bound."""
        return () if self.groups is None else self.groups.headlines

    def serving(self, entry: Entry) -> "Pool":
        """Return the pool with another selected entry, which the leaderboard puts first."""
        return replace(self, board=replace(self.board, served=entry), best=entry)

    def reselected(self, constraints: Sequence[Constraint]) -> "Pool":
        """Return the pool under other constraints, with its best entry of stored models."""
        if self.task == "regression" or self.groups is None:
            msg = "reselect needs a classification fitted with groups; fit with the constraint"
            raise InputError(msg)
        for one in constraints:
            if self.task not in one.metric.tasks:
                msg = (
                    f"reselect: constraint={one.label!r} is not for a {self.task} target; use for "
                    "example 'demographic_parity_difference <= 0.05'"
                )
                raise InputError(msg)
        whole = self.groups if self.fitted_groups is None else self.fitted_groups
        targets = bind_constraints(constraints, self.board.systems, whole.small_groups)
        tally = GroupCounts if self.task == "binary" else ClassCounts
        entries = tuple(
            replace(
                entry,
                measures=tuple(target.result(tally(entry.counts)) for target in targets),
                assessment=None,
            )
            for entry in self.board.entries
        )
        best = best_of([entry for entry in entries if set(entry.sources) <= set(self.bags)])
        if best is None:
            raise InputError("reselect: no model is stored; fit again")
        groups = _bounded_by(whole, targets)
        board = replace(self.board, entries=entries, served=best, small_groups=groups.small_groups)
        return replace(self, board=board, best=best, groups=groups, fitted_groups=whole)

    def select(self, *, max_gap: float | None, min_score: float | None) -> Entry:
        """Return the best matching entry among those whose models are stored."""
        entry = self.board.select(max_gap=max_gap, min_score=min_score, trials=set(self.bags))
        if entry is None:
            front = self.board.pareto_front()
            ends = " to ".join(
                f"{self.board.objective} {e.score:.4f} at gap {e.gap:.4f}"
                for e in (front[0], front[-1])
            )
            below = max_gap is not None and any(e.below_minimum for e in self.board.entries)
            msg = (
                f"select(max_gap={max_gap}, min_score={min_score}): no entry fits"
                f"{' and reaches every minimum' if below else ''}; the front goes from {ends}"
            )
            raise InputError(msg)
        return entry


def _bounded_by(groups: GroupSchema, targets: Sequence[BoundConstraint]) -> GroupSchema:
    """Return the groups with what was found out before the search about these bounds only."""
    bounds = {(t.metric.name, t.system.name): t.metric.gap(t.limit) for t in targets}
    return replace(
        groups,
        small_groups=tuple(g for g in groups.small_groups if (g.metric, g.system) in bounds),
        judgeability=tuple(
            one for one in groups.judgeability if bounds.get((one.metric, one.system)) == one.bound
        ),
    )


def make_pool(
    choice: FinalChoice,
    problem: Problem,
    artifacts: Artifacts,
    refitted: Mapping[str, ScoreModel],
    options: SelectionOptions,
) -> Pool:
    """Load the deployable models and release all training rows."""
    dataset, best = problem.dataset, choice.best
    board = Leaderboard(
        entries=choice.entries,
        systems=dataset.systems,
        small_groups=dataset.small_groups,
        objective=problem.objective.name,
        n_rows=effective_rows(dataset.cells, dataset.weight, dataset.n_cells, problem.entities),
        served=best,
        readers=_readers(choice.entries),
        sensitive_features=dataset.sensitive_features,
    )
    keys = {key for entry in (*board.pareto_front(), best) for key in entry.sources}
    models = {key: _models(artifacts, key) for key in sorted(keys - set(refitted))}
    n_models = _allowed_folds(best, models, dataset, options)
    bags: dict[str, ScoreModel] = {key: found.first(n_models) for key, found in models.items()}
    bags |= {key: refitted[key] for key in keys & set(refitted)}
    return Pool(
        board=board,
        best=best,
        bags=bags,
        schema=dataset.schema,
        groups=dataset.groups,
        classes=dataset.classes,
        task=dataset.task,
        seed=options.seed,
        membership=kept_membership(
            artifacts, [isinstance(entry.rule, GroupUnawareRule) for entry in board.entries]
        ),
        rows_by_label=_individuals_by_label(problem),
        refitted=frozenset(refitted),
    )


def _models(artifacts: Artifacts, key: str) -> CVEnsemble | StoredModels:
    if artifacts.has_native(key):
        return CVEnsemble(artifacts.models(key))
    return read_models(artifacts.portable(key))


def _allowed_folds(
    best: Entry,
    models: Mapping[str, CVEnsemble | StoredModels],
    dataset: Dataset,
    options: SelectionOptions,
) -> int:
    """Return how many fold models of each trial keep the selected entry within its limits.

    Out-of-fold scores are those of one fold model each, so the rule and its figures stay.
    """
    found = [models[key] for key in best.sources if key in models]
    n_models = max(map(len, models.values()), default=1)

    def fits(count: int) -> bool:
        return count_trees([one.first(count) for one in found]) <= options.max_trees

    while found and n_models > 1 and not fits(n_models):
        n_models -= 1
    if not found or not np.isfinite(options.max_ms):
        return n_models

    def took(count: int) -> float:
        return sum(milliseconds(one.first(count), dataset) for one in found)

    while (ms := took(n_models)) > options.max_ms and n_models > 1:
        n_models -= 1
    if ms > options.max_ms:
        msg = (
            f"One row takes {ms:.1f} ms, more than predict_latency_ms={options.max_ms:g}; give "
            "faster learners, such as learners=['lightgbm', 'logistic_regression']"
        )
        warn(msg, DegradedWarning)
    return n_models


def milliseconds(model: ScoreModel, dataset: Dataset) -> float:
    """Return the median time that a model takes for one row."""
    times = []
    for _ in range(N_TIMED):
        start = time.perf_counter()
        model.scores(dataset.X[:1], dataset.cells[:1])
        times.append(1e3 * (time.perf_counter() - start))
    return float(np.median(times))


def _readers(entries: tuple[Entry, ...]) -> frozenset[str]:
    """Return the trials whose training-time mitigation needs the groups of new rows."""
    found = {entry.trial_key: entry.config.mitigation for entry in entries if not entry.members}
    return frozenset(
        key
        for key, name in found.items()
        if name != "none" and MITIGATORS.get(name).needs_sensitive_at_predict
    )


def _individuals_by_label(problem: Problem) -> NDArray[np.int64] | None:
    """Return the number of individuals by group, that of the first row, and label."""
    dataset = problem.dataset
    if dataset.task != "binary":
        return None
    counted = np.flatnonzero(dataset.weight > 0)
    if problem.entities is not None:
        whose = np.c_[problem.entities[counted], dataset.y[counted]]
        counted = counted[np.unique(whose, axis=0, return_index=True)[1]]
    at = 2 * dataset.cells[counted].astype(np.int64) + dataset.y[counted]
    return np.bincount(at, minlength=2 * dataset.n_cells).reshape(-1, 2)
