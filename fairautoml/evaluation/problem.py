"""The problem that is optimized: data, constraints, objective and mitigators."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from fairautoml.data.dataset import Dataset
from fairautoml.data.splits import stratified_folds
from fairautoml.metrics import METRICS, BoundConstraint, Metric
from fairautoml.mitigators import Goal, Mitigator

TOLERANCES = (0.0, 0.01, 0.02, 0.03, 0.04, 0.05, 0.06, 0.08, 0.1, 0.12, 0.15, 0.2)
"""Tolerances at which every trial is post-processed, in addition to the user's limit."""

LOOSER = (0.05, 0.1, 0.2)
"""Tolerances beyond the user's limit on a minimum; the others make it larger by ``TOLERANCES``."""

FACTORS = (0.0, 0.1, 0.25, 0.5, 0.75, 1.0, 1.5, 2.0, 3.0)
"""Tolerances as multiples of the user's limit, for gaps in units of the target."""


INNER_FOLDS, SEED = 3, 0
"""Folds within the scored rows of a trial that did not run all folds, and their seed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Training:
    """All rows of a fit with validation rows: models are trained on the others and score these."""

    dataset: Dataset  # the rows to train on, then the validation rows
    folds: NDArray[np.integer]  # shape (n_rows,): 0 = validation row, -1 = in no test part


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """Everything that scoring a rule needs, fixed for the whole run."""

    dataset: Dataset  # the search rows, which models are scored on
    folds: NDArray[np.integer]  # shape (n_rows,): fold of each row
    objective: Metric  # performance metric
    goal: Goal  # constraints on group systems, as post-processors see them
    mitigators: tuple[Mitigator, ...]  # post-processors that can serve the goal
    tolerances: tuple[float, ...]  # gaps on the first target that rules are fitted for, rising
    # random number of each row that randomized rules are evaluated with, the same as at
    # prediction; None if randomized rules are not allowed
    draws: NDArray[np.float64] | None = None  # shape (n_rows,)
    # cross-fitted P(cell, y | features), for post-processors that need it
    membership: NDArray[np.float32] | None = None  # shape (n_rows, n_cells, 2)
    entities: NDArray[np.integer] | None = None  # shape (n_rows,): group of related rows
    training: Training | None = None  # None = models of all folds but one are trained
    by_loss: bool = False  # whether the search compares configurations by their log loss

    @property
    def n_folds(self) -> int:
        """Number of folds, of which the rules of all but one are applied to that one."""
        return int(self.folds.max()) + 1

    @property
    def rows(self) -> Dataset:
        """All rows, also those that are only trained on."""
        return self.dataset if self.training is None else self.training.dataset

    @property
    def model_folds(self) -> NDArray[np.integer]:
        """Fold of each of ``rows``, scored by a model of all rows outside it; -1 = none."""
        return self.folds if self.training is None else self.training.folds

    @property
    def n_models(self) -> int:
        """Number of models of a configuration."""
        return int(self.model_folds.max()) + 1

    @property
    def n_train_rows(self) -> float:
        """Mean number of rows that a model is trained on."""
        return mean_train_rows(self.model_folds)

    @property
    def _near_the_limit(self) -> tuple[float, ...]:
        """The tolerances of the user's limit and of half of it, which the best rule needs."""
        if not self.goal.targets:
            return self.tolerances
        first = self.goal.targets[0]
        limit, middle = first.limit, (strictest(first) + first.limit) / 2
        half = max((t for t in self.tolerances if t <= middle), default=limit)
        return tuple(t for t in self.tolerances if t in (half, limit))

    def on_folds(self, n_folds: int) -> tuple[NDArray[np.bool_], "Problem"]:
        """Return the rows of the first folds, and the problem on them with folds of its own."""
        rows: NDArray[np.bool_] = self.folds < n_folds
        part = self.dataset.take(np.flatnonzero(rows))
        entities = None if self.entities is None else self.entities[rows]
        folds = stratified_folds(part.strata, part.cells, INNER_FOLDS, SEED)
        if entities is not None and len(np.unique(entities)) >= INNER_FOLDS:
            folds = (np.unique(entities, return_inverse=True)[1] % INNER_FOLDS).astype(np.int16)
        return rows, replace(
            self,
            dataset=part,
            folds=folds,
            tolerances=self._near_the_limit,
            mitigators=tuple(m for m in self.mitigators if m.name == "none" or not self.by_loss),
            draws=None if self.draws is None else self.draws[rows],
            membership=None if self.membership is None else self.membership[rows],
            entities=entities,
        )


def compares_loss(problem: Problem) -> bool:
    """Return whether configurations are compared by log loss, as only their scores matter.

    Thresholds by group make any model feasible. Its log loss on one fold predicts the accuracy
    that they leave on other folds better than that accuracy on the same fold does.
    """
    known = problem.objective.name in METRICS.names() and problem.objective.on == "decisions"
    served = any(mitigator.needs_sensitive_at_predict for mitigator in problem.mitigators)
    return known and problem.dataset.task != "regression" and (served or not problem.goal.targets)


def strictest(target: BoundConstraint) -> float:
    """Return the smallest tolerance of interest: 0, or a minimum that is larger by 0.2."""
    return max(0.0, target.limit - TOLERANCES[-1]) if target.metric.is_minimum else 0.0


def mean_train_rows(folds: NDArray[np.integer]) -> float:
    """Return the mean number of rows outside a fold; rows of fold -1 are outside all."""
    n_folds = int(folds.max()) + 1
    return (len(folds) * n_folds - int(np.count_nonzero(folds >= 0))) / n_folds


def tolerance_grid(targets: Sequence[BoundConstraint]) -> tuple[float, ...]:
    """Return the tolerances of the front: the standard grid and the user's own limit."""
    if not targets:
        return ()
    limit = targets[0].limit
    if targets[0].metric.is_minimum:
        near = {limit - t for t in TOLERANCES} | {limit + t for t in LOOSER}
        return tuple(sorted({min(max(t, 0.0), 1.0) for t in near}))
    if np.isinf(targets[0].metric.most):
        # The gap is in units of the target, so only the limit gives its scale.
        return tuple(sorted({factor * limit for factor in FACTORS}))
    return tuple(sorted({*TOLERANCES, limit}))
