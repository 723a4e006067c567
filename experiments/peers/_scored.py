"""FLAML's most accurate model with its scores of rows that it was not trained on."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from peers._flaml import Searched


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ScoredModel:
    """A model and its validation scores."""

    y: NDArray[np.integer]  # shape (n_rows,): labels and finest cells of the validation rows
    cells: NDArray[np.integer]  # shape (n_rows,)
    scores: NDArray[np.floating]  # shape (n_rows,): P(y = 1) of those rows
    learner: str  # kind of the model
    seconds: float  # when it was found
    score: Callable[[pd.DataFrame], NDArray[np.floating]]  # from a table to P(y = 1)


def scored_best(found: Searched) -> ScoredModel:
    """Return FLAML's model of the smallest loss."""
    best = min(found.lines, key=lambda line: line.loss)
    rows = found.trials[best.trial]

    def score(X: pd.DataFrame) -> NDArray[np.floating]:
        predicted: Any = found.model.predict_proba(X)
        return np.asarray(predicted)[:, 1]

    return ScoredModel(
        y=np.concatenate(rows.y),
        cells=np.concatenate(rows.cells),
        scores=np.concatenate(rows.scores),
        learner=best.learner,
        seconds=best.seconds,
        score=score,
    )
