"""fairlearn's GridSearch over LightGBM with random parameters.

Agarwal, Beygelzimer, Dudik, Langford, Wallach, *A Reductions Approach to Fair Classification*,
ICML 2018, section 3.2. All models of a grid are compared on a quarter of the rows: five folds
would leave no time for a second grid.
"""

from typing import Any

import numpy as np
from fairlearn.reductions import GridSearch
from numpy.typing import NDArray

from fairautoml.bench.peers import Answer, Peer, Question
from peers._arsenal._fairlearn import without_warnings
from peers._arsenal.fairlearn_exponentiated_gradient import CONSTRAINTS
from peers._boosted import (
    Codes,
    Parts,
    Shares,
    lightgbm_of,
    lightgbm_params,
    random_search,
)
from peers._offers import PARITY_OR_ODDS

GRID = 10
"""Models of one grid, fairlearn's own default."""


def ask(question: Question) -> Answer:
    """Return the best model of all grids of a random search."""
    constraint = question.constraints[0]

    codes = Codes(question.features)

    def train(parts: Parts, rows: NDArray[np.int64], rng: np.random.Generator) -> list[Shares]:
        learner = lightgbm_of(codes, lightgbm_params(rng))
        moment = CONSTRAINTS[constraint.metric.name](difference_bound=constraint.limit)
        model = GridSearch(learner, moment, grid_size=GRID)
        with without_warnings():
            model.fit(parts.X[rows], parts.y[rows], sensitive_features=parts.cells[rows])
        return [_shares(one) for one in model.predictors_]

    name = "grid_search(lightgbm)"
    return random_search(question, codes, train, learner=name, folds=False)


def _shares(model: Any) -> Shares:
    def shares(X: NDArray[np.float64]) -> NDArray[np.floating]:
        with without_warnings():
            return np.asarray(model.predict(X), dtype=np.float64)

    return shares


PEER = Peer(
    about="fairlearn's GridSearch over LightGBM, random search",
    ask=ask,
    metrics=PARITY_OR_ODDS,
    blind=True,
)
