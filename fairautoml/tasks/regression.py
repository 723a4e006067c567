"""Numbers: scores are predictions, a rule moves them."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from fairautoml.metrics import GroupValues
from fairautoml.metrics._table import FIRST_BIN, MASS, SQUARES, SUM
from fairautoml.tasks._base import NonFiniteScoresError, Task

SPREAD = 1e-6
"""Share of the size of the predictions below which their spread is rounding."""


class Regression(Task):
    """A numeric target."""

    name = "regression"

    def scores(self, estimator: Any, X: Any, n_classes: int) -> NDArray[np.floating]:
        """Return the predicted numbers, shape (n_rows,)."""
        del n_classes
        found = np.asarray(estimator.predict(X))
        if found.shape != (X.shape[0],):
            msg = f"predict returned shape {found.shape}, expected ({X.shape[0]},)"
            raise NonFiniteScoresError(msg)
        return found

    def checked(self, scores: NDArray[np.floating]) -> NDArray[np.float32]:
        """Return float32 numbers."""
        with np.errstate(over="ignore"):
            kept: NDArray[np.float32] = scores.astype(np.float32)
        wrong = int((~np.isfinite(kept)).sum())
        if wrong:
            msg = f"{wrong} of {len(scores)} predictions are no finite numbers"
            raise NonFiniteScoresError(msg)
        return kept

    def row_losses(self, y: NDArray[Any], scores: NDArray[np.floating]) -> NDArray[np.float64]:
        """Return the squared error of each row, shape (n_rows,)."""
        found: NDArray[np.float64] = np.square(y - scores.astype(np.float64))
        return found

    def tally(
        self,
        cells: NDArray[np.integer],
        y: NDArray[Any],
        outcome: NDArray[np.floating],
        weight: NDArray[np.float64],
        *,
        n_groups: int,
    ) -> GroupValues:
        """Return predictions and true values by group."""
        return GroupValues.from_rows(cells, y, outcome, weight, n_groups=n_groups)

    def is_constant(self, table: NDArray[np.float64]) -> bool:
        """Whether all get the same number."""
        if np.count_nonzero(table[:, FIRST_BIN:].sum(axis=0)) > 1:
            return False
        mass, total, squares = (table[:, at].sum() for at in (MASS, SUM, SQUARES))
        mean, spread = total / mass, squares / mass - (total / mass) ** 2
        return bool(spread <= (SPREAD * max(abs(mean), 1e-12)) ** 2)

    def answers(self, outcome: NDArray[np.floating]) -> NDArray[np.float64]:
        """Return the numbers themselves."""
        return np.asarray(outcome, dtype=np.float64)

    def alike(
        self, y: NDArray[Any], weight: NDArray[np.float64], n_classes: int
    ) -> tuple[NDArray[np.float64], ...]:
        """Return the mean for everybody."""
        return (np.full(len(y), np.average(y, weights=weight)),)


TASK = Regression()
