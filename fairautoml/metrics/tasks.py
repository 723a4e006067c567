"""Task-specific evaluation: binary and multiclass classification, regression."""

from abc import ABC, abstractmethod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fairautoml.metrics import ClassCounts, GroupCounts, GroupValues, Tally, TaskName
from fairautoml.metrics._table import FIRST_BIN, MASS, SQUARES, SUM
from fairautoml.records import Floats
from fairautoml.registry import Registry


class NonFiniteScoresError(ArithmeticError):
    """A model predicted NaN, infinity or values that are not probabilities."""


class Task(ABC):
    """Evaluation of models and rules for one kind of target.

    Scores are P(y = 1), shape (n_rows,), of two classes; the probability of each class, shape
    (n_rows, n_classes), of several; predicted numbers, shape (n_rows,), in regression. A rule
    turns them into outcomes: the probability of acceptance, the probability of each class, or
    the predicted numbers, of the same shape.
    """

    name: TaskName
    checks: str  # operation of the runtime that validates scores as ``checked`` does
    # sums that metrics on decisions are computed from
    counts: type[GroupCounts] | type[ClassCounts] | type[GroupValues]

    @abstractmethod
    def scores(self, estimator: Any, X: Any, n_classes: int) -> NDArray[np.floating]:
        """Return the scores that a fitted estimator predicts."""

    @abstractmethod
    def checked(self, scores: NDArray[np.floating]) -> NDArray[np.float32]:
        """Return validated scores as float32."""

    @abstractmethod
    def row_losses(self, y: NDArray[Any], scores: NDArray[np.floating]) -> Floats:
        """Return the loss of each row, which the search minimizes, shape (n_rows,)."""

    def tally(
        self,
        cells: NDArray[np.integer],
        y: NDArray[Any],
        outcome: NDArray[np.floating],
        weight: Floats,
        *,
        n_groups: int,
    ) -> Tally:
        return self.counts.from_rows(cells, y, outcome, weight, n_groups=n_groups)

    @abstractmethod
    def is_constant(self, table: Floats) -> bool:
        """Return whether a table comes from a constant predictor."""

    @abstractmethod
    def answers(self, outcome: NDArray[np.floating]) -> NDArray[Any]:
        """Return the prediction of each row: index of the class, or number; shape (n_rows,)."""

    @abstractmethod
    def constant_predictions(
        self, y: NDArray[Any], weight: Floats, n_classes: int
    ) -> tuple[Floats, ...]:
        """Return the outcomes of the constant predictors that serve as baselines."""


def _proba(estimator: Any, X: Any, n_classes: int) -> NDArray[np.floating]:
    proba = np.asarray(estimator.predict_proba(X))
    expected = (X.shape[0], n_classes)
    if proba.shape != expected:
        msg = f"predict_proba returned shape {proba.shape}, expected {expected}"
        raise NonFiniteScoresError(msg)
    return proba


SMALLEST_PROBABILITY = 1e-7
"""Scores are clipped to [1e-7, 1 - 1e-7] inside the log loss."""


class Binary(Task):
    """Two classes."""

    name = "binary"
    checks = "probability"
    counts = GroupCounts

    def scores(self, estimator: Any, X: Any, n_classes: int) -> NDArray[np.floating]:
        return _proba(estimator, X, 2)[:, 1]

    def checked(self, scores: NDArray[np.floating]) -> NDArray[np.float32]:
        """Return float32 scores in [0, 1]."""
        wrong = ~(np.isfinite(scores) & (scores >= -1e-6) & (scores <= 1 + 1e-6))
        if wrong.any():
            msg = f"{int(wrong.sum())} of {len(scores)} scores are not probabilities"
            raise NonFiniteScoresError(msg)
        return np.clip(scores, 0.0, 1.0).astype(np.float32)

    def row_losses(self, y: NDArray[Any], scores: NDArray[np.floating]) -> Floats:
        """Return the log loss of each row (natural logarithm), shape (n_rows,)."""
        p = np.clip(scores.astype(np.float64), SMALLEST_PROBABILITY, 1 - SMALLEST_PROBABILITY)
        return -np.where(y == 1, np.log(p), np.log1p(-p))

    def is_constant(self, table: Floats) -> bool:
        """Return whether all rows are predicted positive, or all negative."""
        accepted, total = table[:, :, 1].sum(), table.sum()
        return bool(accepted == 0 or abs(total - accepted) <= 1e-8 + 1e-12 * total)

    def answers(self, outcome: NDArray[np.floating]) -> NDArray[np.int64]:
        """Return 1 where the probability of acceptance is at least 0.5."""
        return (outcome >= 0.5).astype(np.int64)

    def constant_predictions(
        self, y: NDArray[Any], weight: Floats, n_classes: int
    ) -> tuple[Floats, ...]:
        """Return the predictors that reject and that accept all rows."""
        return tuple(np.full(len(y), decision) for decision in (0.0, 1.0))


BINARY = Binary()


class Multiclass(Task):
    """Three classes or more."""

    name = "multiclass"
    checks = "shares"
    counts = ClassCounts

    def scores(self, estimator: Any, X: Any, n_classes: int) -> NDArray[np.floating]:
        return _proba(estimator, X, n_classes)

    def checked(self, scores: NDArray[np.floating]) -> NDArray[np.float32]:
        """Return float32 probabilities; each row sums to 1."""
        wide = scores.astype(np.float64)
        with np.errstate(invalid="ignore"):
            inside = np.isfinite(wide) & (wide >= -1e-6) & (wide <= 1 + 1e-6)
            sound = inside.all(axis=1) & (np.abs(wide.sum(axis=1) - 1.0) <= 1e-3)
        if not sound.all():
            wrong = int((~sound).sum())
            msg = f"{wrong} of {len(scores)} rows of scores are not probabilities"
            raise NonFiniteScoresError(msg)
        clipped = np.clip(wide, 0.0, 1.0)
        return (clipped / clipped.sum(axis=1, keepdims=True)).astype(np.float32)

    def row_losses(self, y: NDArray[Any], scores: NDArray[np.floating]) -> Floats:
        """Return the log loss of each row (natural logarithm), shape (n_rows,)."""
        given = scores[np.arange(len(y)), y].astype(np.float64)
        return -np.log(np.maximum(given, SMALLEST_PROBABILITY))

    def is_constant(self, table: Floats) -> bool:
        """Return whether all rows get the same class."""
        by_decision = table.sum(axis=(0, 1))
        total = by_decision.sum()
        return bool(abs(total - by_decision.max()) <= 1e-8 + 1e-12 * total)

    def answers(self, outcome: NDArray[np.floating]) -> NDArray[np.int64]:
        """Return the most likely class; the first one in case of ties."""
        return outcome.argmax(axis=1).astype(np.int64)

    def constant_predictions(
        self, y: NDArray[Any], weight: Floats, n_classes: int
    ) -> tuple[Floats, ...]:
        """Return one predictor per class that predicts it for all rows."""
        return tuple(np.tile(one, (len(y), 1)) for one in np.eye(n_classes))


MULTICLASS = Multiclass()

SPREAD = 1e-6
"""Relative spread of predictions below which they are equal up to rounding."""


class Regression(Task):
    """A numeric target."""

    name = "regression"
    checks = "number"
    counts = GroupValues

    def scores(self, estimator: Any, X: Any, n_classes: int) -> NDArray[np.floating]:
        found = np.asarray(estimator.predict(X))
        if found.shape != (X.shape[0],):
            msg = f"predict returned shape {found.shape}, expected ({X.shape[0]},)"
            raise NonFiniteScoresError(msg)
        return found

    def checked(self, scores: NDArray[np.floating]) -> NDArray[np.float32]:
        with np.errstate(over="ignore"):
            kept: NDArray[np.float32] = scores.astype(np.float32)
        wrong = int((~np.isfinite(kept)).sum())
        if wrong:
            msg = f"{wrong} of {len(scores)} predictions are not finite"
            raise NonFiniteScoresError(msg)
        return kept

    def row_losses(self, y: NDArray[Any], scores: NDArray[np.floating]) -> Floats:
        """Return the squared error of each row, shape (n_rows,)."""
        return np.square(y - scores.astype(np.float64))

    def is_constant(self, table: Floats) -> bool:
        """Return whether all rows get the same number."""
        if np.count_nonzero(table[:, FIRST_BIN:].sum(axis=0)) > 1:
            return False
        mass, total, squares = (table[:, at].sum() for at in (MASS, SUM, SQUARES))
        mean, spread = total / mass, squares / mass - (total / mass) ** 2
        return bool(spread <= (SPREAD * max(abs(mean), 1e-12)) ** 2)

    def answers(self, outcome: NDArray[np.floating]) -> Floats:
        return np.asarray(outcome, dtype=np.float64)

    def constant_predictions(
        self, y: NDArray[Any], weight: Floats, n_classes: int
    ) -> tuple[Floats, ...]:
        """Return the predictor of the mean."""
        return (np.full(len(y), np.average(y, weights=weight)),)


REGRESSION = Regression()

TASKS: Registry[Task] = Registry(
    "fairautoml.tasks",
    kind="task",
    rows={"binary": BINARY, "multiclass": MULTICLASS, "regression": REGRESSION},
)
