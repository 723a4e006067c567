"""Two classes: scores are P(y = 1), a rule accepts or refuses."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from fairautoml.metrics import GroupCounts
from fairautoml.tasks._base import NonFiniteScoresError, Task

SMALLEST_PROBABILITY = 1e-7
"""Scores are clipped to [1e-7, 1 - 1e-7] inside the log loss."""


class Binary(Task):
    """Two classes."""

    name = "binary"

    def scores(self, estimator: Any, X: Any, n_classes: int) -> NDArray[np.floating]:
        """Return P(y = 1), shape (n_rows,)."""
        del n_classes
        proba = np.asarray(estimator.predict_proba(X))
        if proba.shape != (X.shape[0], 2):
            msg = f"predict_proba returned shape {proba.shape}, expected ({X.shape[0]}, 2)"
            raise NonFiniteScoresError(msg)
        positive: NDArray[np.floating] = proba[:, 1]
        return positive

    def checked(self, scores: NDArray[np.floating]) -> NDArray[np.float32]:
        """Return float32 scores in [0, 1]."""
        wrong = ~(np.isfinite(scores) & (scores >= -1e-6) & (scores <= 1 + 1e-6))
        if wrong.any():
            msg = f"{int(wrong.sum())} of {len(scores)} scores are not probabilities"
            raise NonFiniteScoresError(msg)
        inside: NDArray[np.float32] = np.clip(scores, 0.0, 1.0).astype(np.float32)
        return inside

    def row_losses(self, y: NDArray[Any], scores: NDArray[np.floating]) -> NDArray[np.float64]:
        """Return the log loss of each row (natural logarithm), shape (n_rows,)."""
        p = np.clip(scores.astype(np.float64), SMALLEST_PROBABILITY, 1 - SMALLEST_PROBABILITY)
        return -np.where(y == 1, np.log(p), np.log1p(-p))

    def tally(
        self,
        cells: NDArray[np.integer],
        y: NDArray[Any],
        outcome: NDArray[np.floating],
        weight: NDArray[np.float64],
        *,
        n_groups: int,
    ) -> GroupCounts:
        """Return the counts by group, label and decision."""
        return GroupCounts.from_rows(cells, y, outcome, weight, n_groups=n_groups)

    def is_constant(self, table: NDArray[np.float64]) -> bool:
        """Whether all are accepted or all refused."""
        accepted, total = table[:, :, 1].sum(), table.sum()
        return bool(accepted == 0 or np.isclose(accepted, total, rtol=1e-12))

    def answers(self, outcome: NDArray[np.floating]) -> NDArray[np.int64]:
        """Return 1 where acceptance is at least as likely as not."""
        return (outcome >= 0.5).astype(np.int64)

    def alike(
        self, y: NDArray[Any], weight: NDArray[np.float64], n_classes: int
    ) -> tuple[NDArray[np.float64], ...]:
        """Return "nobody" and "everybody"."""
        return tuple(np.full(len(y), decision) for decision in (0.0, 1.0))


TASK = Binary()
