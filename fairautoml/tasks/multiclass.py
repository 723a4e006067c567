"""Several classes: scores are their probabilities, a rule chooses one."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from fairautoml.metrics import ClassCounts
from fairautoml.tasks._base import NonFiniteScoresError, Task

SMALLEST_PROBABILITY = 1e-7
"""What the true class is given at the least inside the log loss."""


class Multiclass(Task):
    """Three classes or more."""

    name = "multiclass"

    def scores(self, estimator: Any, X: Any, n_classes: int) -> NDArray[np.floating]:
        """Return the probability of each class, shape (n_rows, n_classes)."""
        proba = np.asarray(estimator.predict_proba(X))
        if proba.shape != (X.shape[0], n_classes):
            expected = (X.shape[0], n_classes)
            msg = f"predict_proba returned shape {proba.shape}, expected {expected}"
            raise NonFiniteScoresError(msg)
        return proba

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
        shares: NDArray[np.float32] = (clipped / clipped.sum(axis=1, keepdims=True)).astype(
            np.float32
        )
        return shares

    def row_losses(self, y: NDArray[Any], scores: NDArray[np.floating]) -> NDArray[np.float64]:
        """Return the log loss of each row (natural logarithm), shape (n_rows,)."""
        given = scores[np.arange(len(y)), y].astype(np.float64)
        losses: NDArray[np.float64] = -np.log(np.maximum(given, SMALLEST_PROBABILITY))
        return losses

    def tally(
        self,
        cells: NDArray[np.integer],
        y: NDArray[Any],
        outcome: NDArray[np.floating],
        weight: NDArray[np.float64],
        *,
        n_groups: int,
    ) -> ClassCounts:
        """Return the counts by group, label and decision."""
        return ClassCounts.from_rows(cells, y, outcome, weight, n_groups=n_groups)

    def is_constant(self, table: NDArray[np.float64]) -> bool:
        """Whether all get the same class."""
        by_decision = table.sum(axis=(0, 1))
        return bool(np.isclose(by_decision.max(), by_decision.sum(), rtol=1e-12))

    def answers(self, outcome: NDArray[np.floating]) -> NDArray[np.int64]:
        """Return the most likely class, of equal ones the first."""
        chosen: NDArray[np.int64] = outcome.argmax(axis=1).astype(np.int64)
        return chosen

    def alike(
        self, y: NDArray[Any], weight: NDArray[np.float64], n_classes: int
    ) -> tuple[NDArray[np.float64], ...]:
        """Return each class for everybody."""
        return tuple(np.tile(one, (len(y), 1)) for one in np.eye(n_classes))


TASK = Multiclass()
