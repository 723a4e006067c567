"""What an ensemble or a mixture serves: weighted means of several models."""

from collections.abc import Hashable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fairautoml.assembly.mixture import PoolRule
from fairautoml.mitigators import ScoreModel
from fairautoml.trials import Entry


@dataclass(frozen=True, slots=True)
class Blend:
    """Models and their shares."""

    members: tuple[tuple[ScoreModel, float], ...]  # at least one model; the shares sum to 1

    def scores(self, X: Any, cells: NDArray[np.integer]) -> NDArray[np.float32]:
        """Return the weighted mean of P(y = 1), shape (n_rows,)."""
        return _mean([(model.scores(X, cells), share) for model, share in self.members])


@dataclass(frozen=True, slots=True, kw_only=True)
class Columns:
    """Several weighted means of the same models."""

    models: Mapping[str, ScoreModel]  # by trial
    # per column the trials and their shares, which sum to 1
    columns: tuple[tuple[tuple[str, float], ...], ...]

    def scores(self, X: Any, cells: NDArray[np.integer]) -> NDArray[np.float32]:
        """Return P(y = 1) by each column, shape (n_rows, n_columns)."""
        known = {key: model.scores(X, cells) for key, model in self.models.items()}
        means = [_mean([(known[key], share) for key, share in each]) for each in self.columns]
        return np.stack(means, axis=1)


def _mean(parts: list[tuple[NDArray[np.float32], float]]) -> NDArray[np.float32]:
    total = np.zeros(parts[0][0].shape)
    for scores, share in parts:
        total += share * scores
    return total.astype(np.float32)


def models_of(entry: Entry, bags: Mapping[str, ScoreModel]) -> ScoreModel:
    """Return what scores new rows for the rule of an entry."""
    if isinstance(entry.rule, PoolRule):
        models = {key: bags[key] for key in entry.sources}
        return Columns(models=models, columns=entry.rule.columns)
    if entry.members:
        return Blend(tuple((bags[key], share) for key, share in entry.members))
    return bags[entry.trial_key]


def scored_by(entry: Entry) -> Hashable:
    """Return what entries have in common whose ``models_of`` score rows alike, in one shape.

    The trials and their shares do not tell an ensemble, which has one score per row, from a
    mixture that reads the mean of the same trials as its only column.
    """
    if isinstance(entry.rule, PoolRule):
        return entry.rule.columns
    return entry.members if entry.members else entry.trial_key
