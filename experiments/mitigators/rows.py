"""The rows of one table and seed, and the plain model of them, shared by all methods."""

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from fairautoml.automl import FairAutoML
from fairautoml.cli.tables import hold_out, open_source
from fairautoml.data.dataset import Dataset
from fairautoml.data.groups import GroupSchema
from fairautoml.data.read import ReadOptions, build_dataset, read_new_rows
from fairautoml.data.schema import Roles
from fairautoml.evaluation.evaluate import TrialEvaluator
from fairautoml.evaluation.fitting import CVEnsemble
from fairautoml.evaluation.membership import MEMBERSHIP_KEY, GroupProbabilities, with_membership
from fairautoml.evaluation.problem import Problem
from fairautoml.exceptions import InputError, NoModelError
from fairautoml.metrics import Constraint
from fairautoml.mitigators import MITIGATORS
from fairautoml.plan import apply_group_policy, define_problem
from fairautoml.records import Config, Fidelity, Trial, TrialResult, TrialState
from fairautoml.settings import Settings
from fairautoml.storage.artifacts import Artifacts
from mitigators.plan import PLAIN, Arsenal, Table

Value = TypeVar("Value")


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Held:
    """Rows that nothing is fitted on."""

    X: Any  # shape (n_rows, n_features): encoded as the training rows are
    y: NDArray[np.int8]  # shape (n_rows,): labels 0 or 1
    cells: NDArray[np.int32]  # shape (n_rows,): finest group cells


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Trained:
    """A candidate's out-of-fold scores and fold models."""

    result: TrialResult  # status SUCCESS
    scores: NDArray[np.float32]  # shape (n_rows,): out of fold
    bag: CVEnsemble  # what is deployed
    cpu_seconds: float  # of the training


@dataclass(frozen=True, kw_only=True, eq=False)
class Bench:
    """Everything that the methods of one table and seed share."""

    plan: Arsenal  # the comparison
    dataset: Dataset  # training rows; the sensitive column is no feature
    held: Held  # held-out rows
    constraints: tuple[Constraint, ...]  # what is to be equal
    seed: int  # of split, folds, training and draws
    artifacts: Artifacts  # where scores and fold models go

    @property
    def groups(self) -> GroupSchema:
        """The group systems."""
        if self.dataset.groups is None:
            raise InputError("the table of a comparison must have groups")
        return self.dataset.groups

    @property
    def config(self) -> Config:
        """The learner without mitigation."""
        return Config(learner=self.plan.learner, params=self.plan.params)

    @cached_property
    def plain(self) -> Trained:
        """The plain model."""
        return self.train(self.config, self.problem(self.constraints[0], PLAIN))

    @cached_property
    def membership(self) -> tuple[GroupProbabilities, NDArray[np.float32], float]:
        """The model of groups and labels, its out-of-fold answers, and its CPU seconds."""
        readers = (n for n in MITIGATORS.names() if MITIGATORS.get(n).needs_membership)
        problem = self.problem(self.constraints[0], next(readers))
        objective = self._objective(problem, self.dataset)
        learned, seconds = timed(lambda: with_membership(problem, self.artifacts, objective))
        if learned.membership is None:
            raise NoModelError("the model of groups and labels could not be trained")
        return self.artifacts.models(MEMBERSHIP_KEY), learned.membership, seconds

    def problem(
        self, constraint: Constraint, mitigator: str, *, randomized: bool = False
    ) -> Problem:
        """Return the problem of one constraint and one post-processor, as ``fit`` poses it."""
        settings = replace(self._settings(constraint, mitigator), randomized=randomized)
        return define_problem(apply_group_policy(self.dataset, settings), settings)

    def train(
        self,
        config: Config,
        problem: Problem,
        *,
        rows: Dataset | None = None,
        most_rows: int | None = None,
    ) -> Trained:
        """Train a candidate fold by fold, as a trial of a search."""
        objective = self._objective(problem, self.dataset if rows is None else rows)
        folds = problem.n_folds
        of_fold = self.dataset.n_rows * (folds - 1) / folds
        share = 1.0 if most_rows is None else min(1.0, most_rows / of_fold)
        fidelity = Fidelity(folds=folds, rows=share)
        trial = Trial(number=0, config=config, fidelity=fidelity)
        result, seconds = timed(lambda: objective(trial))
        if result.status is not TrialState.SUCCESS:
            raise NoModelError(f"{result.status}: {result.error}")
        return Trained(
            result=result,
            scores=np.array(self.artifacts.scores(trial.key)),
            bag=CVEnsemble(self.artifacts.models(trial.key)),
            cpu_seconds=seconds,
        )

    def _settings(self, constraint: Constraint, mitigator: str) -> Settings:
        return FairAutoML(
            constraint=constraint.label,
            mitigators=[mitigator],
            cv=self.plan.folds,
            random_state=self.seed,
        ).check_parameters()

    def _objective(self, problem: Problem, rows: Dataset) -> TrialEvaluator:
        return TrialEvaluator(
            data=rows,
            folds=problem.folds,
            artifacts=self.artifacts,
            root_seed=self.seed,
            targets=problem.goal.targets,
        )


def open_bench(plan: Arsenal, table: Table, seed: int, artifacts: Artifacts) -> Bench:
    """Read, split and encode a table."""
    roles = Roles(
        target=table.target,
        sensitive=(table.sensitive,),
        drop=table.drop,
        derive=table.derive,
        keep=table.keep,
    )
    source = open_source(table.dataset, roles)
    if table.rows is not None:
        source = source.draw(table.rows, seed)
    search, held = hold_out(source, plan.holdout, seed)
    search, held = search.draw(plan.train_rows, seed), held.draw(plan.held_rows, seed)
    options = ReadOptions(pos_label=source.positive_label, sensitive_in_X="drop")
    dataset = build_dataset(search.X, search.y, search.sensitive, options=options)
    matrix, cells = read_new_rows(
        held.X, held.sensitive, schema=dataset.schema, groups=dataset.groups, unseen="base_model"
    )
    return Bench(
        plan=plan,
        dataset=dataset,
        held=Held(X=matrix, y=(held.y == dataset.classes[1]).to_numpy(np.int8), cells=cells),
        constraints=tuple(Constraint.parse(text) for text in plan.constraints),
        seed=seed,
        artifacts=artifacts,
    )


def timed(make: Callable[[], Value]) -> tuple[Value, float]:
    """Return what is made, and the CPU seconds of this process that it took."""
    start = time.process_time()
    made = make()
    return made, time.process_time() - start
