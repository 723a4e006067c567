"""Best responses of a learner to priced constraints, and mixtures of them.

A price per constraint turns "accurate and fair" into weighted classification: a row's label
becomes whether accepting it is worth while, its weight how much. Any learner answers that.

Source: Agarwal et al., *A Reductions Approach to Fair Classification*, arXiv 1803.02453,
section 3.2 (the reduction to cost-sensitive classification).
"""

import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fairautoml.mitigators._base import FitBase, ScoreModel, TrainRows
from fairautoml.mitigators._moments import Moments

HALF = 0.5
"""A member accepts when its probability reaches one half."""

DIGITS = 10
"""Gains that agree in so many digits ask for the same model."""

PRECISION = 1e-8
"""Smaller improvements are rounding."""


@dataclass(frozen=True, slots=True)
class Constant:
    """The same score for everybody: the answer when one label is worth while in every cell."""

    score: float

    def scores(self, X: Any, cells: NDArray[np.integer]) -> NDArray[np.float32]:
        """Return the score of each row, shape (n_rows,)."""
        del cells
        return np.full(X.shape[0], self.score, dtype=np.float32)


@dataclass(frozen=True, slots=True, kw_only=True)
class Mixture:
    """A model that is drawn for each row from several."""

    models: tuple[ScoreModel, ...]  # those with a positive share
    shares: tuple[float, ...]  # their probabilities, 1 in total

    def scores(self, X: Any, cells: NDArray[np.integer]) -> NDArray[np.float32]:
        """Return the expected score of each row, shape (n_rows,)."""
        found = np.zeros(X.shape[0])
        for model, share in zip(self.models, self.shares, strict=True):
            found += share * model.scores(X, cells)
        return found.astype(np.float32)

    def acceptance(self, X: Any, cells: NDArray[np.integer]) -> NDArray[np.float64]:
        """Return the probability that the drawn model accepts the row, shape (n_rows,).

        It is these decisions that the reduction's guarantee speaks about.
        """
        found = np.zeros(X.shape[0])
        for model, share in zip(self.models, self.shares, strict=True):
            found += share * (model.scores(X, cells) >= HALF)
        return found


def mixture_of(models: Sequence[ScoreModel], shares: NDArray[np.float64]) -> Mixture:
    """Return the mixture of those models that have a share."""
    kept = shares > PRECISION
    return Mixture(
        models=tuple(model for model, keep in zip(models, kept, strict=True) if keep),
        shares=tuple(float(share) for share in shares[kept] / shares[kept].sum()),
    )


@dataclass(slots=True, kw_only=True)
class Members:
    """All models trained so far, with what they cost and violate."""

    rows: TrainRows  # rows with their real labels
    moments: Moments  # error and constraints of those rows
    fit_base: FitBase  # trains the learner
    models: list[ScoreModel] = field(default_factory=list)
    errors: list[float] = field(default_factory=list)
    gammas: list[NDArray[np.float64]] = field(default_factory=list)
    out_of_time: bool = False
    _asked: set[bytes] = field(default_factory=set)
    _seconds: list[float] = field(default_factory=list)

    def respond(self, multipliers: NDArray[np.float64]) -> int:
        """Return the best member under the multipliers, after training one for them.

        Nothing is trained twice for the same gains, nor when the time left is too short; then the
        best of the known members answers.
        """
        self._train(multipliers, only_better=True)
        return int(self._values(multipliers).argmin())

    def add(self, multipliers: NDArray[np.float64]) -> None:
        """Train a member for the multipliers and keep it, unless there is one or no time left."""
        self._train(multipliers, only_better=False)

    def _values(self, multipliers: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return error plus priced violations of every member, shape (n_members,)."""
        values: NDArray[np.float64] = np.array(self.errors) + np.array(self.gammas) @ multipliers
        return values

    def _train(self, multipliers: NDArray[np.float64], *, only_better: bool) -> None:
        gains = self.moments.gains(multipliers)
        signed = self.moments.weight * gains[self.moments.slot]
        size = np.abs(signed).sum()
        # The direction of the gains decides what is trained; rounding must not.
        asked = np.round(gains / max(size, PRECISION), DIGITS).tobytes()
        if asked in self._asked or not self._in_time():
            return
        start = time.perf_counter()
        model = self._fit(signed, size)
        accepted = self.moments.accepted(model.scores(self.rows.X, self.rows.cells) >= HALF)
        if not isinstance(model, Constant):
            self._seconds.append(time.perf_counter() - start)
        error, gamma = self.moments.error(accepted), self.moments.gamma(accepted)
        value = error + gamma @ multipliers
        self._asked.add(asked)
        if only_better and self.models and value >= self._values(multipliers).min() - PRECISION:
            return
        self.models.append(model)
        self.errors.append(error)
        self.gammas.append(gamma)

    def _fit(self, signed: NDArray[np.float64], size: float) -> ScoreModel:
        """Train on the labels that are worth while, weighted by their worth."""
        y = (signed > 0).astype(np.int8)
        positive = signed != 0
        if not positive.any() or (y[positive] == y[positive][0]).all():
            return Constant(float(y.max()))
        # The weights keep their total, so that regularisation means the same in every fit.
        weight = np.abs(signed) * (self.rows.weight.sum() / size)
        return self.fit_base(replace(self.rows, y=y, weight=weight))

    def _in_time(self) -> bool:
        """Whether one more training fits into the time left; the first one always does."""
        left = self.fit_base.seconds_left()
        if left is not None and self._seconds:
            self.out_of_time = self.out_of_time or left < float(np.mean(self._seconds))
        return not self.out_of_time
