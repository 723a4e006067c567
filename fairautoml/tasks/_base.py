"""What a kind of target must answer."""

from abc import ABC, abstractmethod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fairautoml.metrics import Tally, TaskName


class NonFiniteScoresError(ArithmeticError):
    """A model predicted NaN, infinity or something that is no probability."""


class Task(ABC):
    """A kind of target: what models return, what rules decide, how both are judged.

    Scores are P(y = 1), shape (n_rows,), of two classes; the probability of each class, shape
    (n_rows, n_classes), of several; predicted numbers, shape (n_rows,), in regression. A rule
    turns them into outcomes: the probability of acceptance, the probability of each class, or
    the numbers that are answered, of the same shape.
    """

    name: TaskName

    @abstractmethod
    def scores(self, estimator: Any, X: Any, n_classes: int) -> NDArray[np.floating]:
        """Return what a fitted estimator says about rows."""

    @abstractmethod
    def checked(self, scores: NDArray[np.floating]) -> NDArray[np.float32]:
        """Return scores as they are kept."""

    @abstractmethod
    def row_losses(self, y: NDArray[Any], scores: NDArray[np.floating]) -> NDArray[np.float64]:
        """Return what a model is searched by: the loss of each row, shape (n_rows,)."""

    @abstractmethod
    def tally(
        self,
        cells: NDArray[np.integer],
        y: NDArray[Any],
        outcome: NDArray[np.floating],
        weight: NDArray[np.float64],
        *,
        n_groups: int,
    ) -> Tally:
        """Return what metrics on decisions read."""

    @abstractmethod
    def is_constant(self, table: NDArray[np.float64]) -> bool:
        """Whether everybody gets the same answer, by the table of a tally."""

    @abstractmethod
    def answers(self, outcome: NDArray[np.floating]) -> NDArray[Any]:
        """Return the answer to each row: position of the class, or number; shape (n_rows,)."""

    @abstractmethod
    def alike(
        self, y: NDArray[Any], weight: NDArray[np.float64], n_classes: int
    ) -> tuple[NDArray[np.float64], ...]:
        """Return the outcomes that are the same for everybody and worth comparing with."""
