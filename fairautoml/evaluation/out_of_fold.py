"""The score of every row by the models that have not seen it."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fairautoml.data.dataset import Dataset
from fairautoml.tasks import TASKS


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class OutOfFold:
    """Scores as they come in, model by model."""

    dataset: Dataset  # the search rows
    total: NDArray[np.float32]  # sum of the scores of each row
    count: NDArray[np.float32]  # shape (n_rows,): models that have scored it

    @classmethod
    def of(cls, dataset: Dataset) -> "OutOfFold":
        """Return what is known before any model: no row has a score."""
        total = np.zeros(dataset.score_shape, dtype=np.float32)
        return cls(dataset=dataset, total=total, count=np.zeros(len(total), dtype=np.float32))

    def add(self, rows: NDArray[np.int64], found: NDArray[np.float32]) -> None:
        """Take in the scores of a model."""
        self.total[rows] += found
        self.count[rows] += 1

    def scores(self) -> NDArray[np.float32]:
        """Return the mean score of each row; NaN where there is none."""
        count = np.where(self.count == 0, np.nan, self.count).astype(np.float32)
        return self.total / (count if self.total.ndim == 1 else count[:, None])

    def losses(self) -> NDArray[np.float64]:
        """Return the log loss (or squared error) of each row; NaN where there is no score."""
        losses = np.full(len(self.count), np.nan)
        known = self.count > 0
        found = TASKS.get(self.dataset.task).row_losses(
            self.dataset.y[known], self.scores()[known]
        )
        losses[known] = found
        return losses
