"""fairlearn's GridSearch over LightGBM with random parameters.

Agarwal, Beygelzimer, Dudik, Langford, Wallach, *A Reductions Approach to Fair Classification*,
ICML 2018, section 3.2. All models of a grid are compared on a quarter of the rows.
"""

from typing import Any

import numpy as np
from fairlearn.reductions import GridSearch
from lightgbm import LGBMClassifier
from numpy.typing import NDArray

from fairautoml.bench.peers import PARITY_OR_ODDS, Answer, Peer, Question
from fairautoml.bench.peers._arsenal._fairlearn import without_warnings
from fairautoml.bench.peers._arsenal.fairlearn_exponentiated_gradient import CONSTRAINTS
from fairautoml.bench.peers._boosted import Parts, Predict, lightgbm_params, random_search

GRID = 10
"""Models of one grid, fairlearn's own default."""


def ask(question: Question) -> Answer:
    """Return the best model of all grids of a random search.

    Parameters
    ----------
    question : Question
        Table, one constraint, budget.
    """
    constraint = question.constraints[0]

    def train(parts: Parts, rows: NDArray[np.int64], rng: np.random.Generator) -> list[Predict]:
        learner = LGBMClassifier(**lightgbm_params(rng), n_jobs=1, verbose=-1)
        moment = CONSTRAINTS[constraint.metric.name](difference_bound=constraint.limit)
        model = GridSearch(learner, moment, grid_size=GRID)
        with without_warnings():
            model.fit(parts.X[rows], parts.y[rows], sensitive_features=parts.cells[rows])
        return [_decided(one) for one in model.predictors_]

    return random_search(question, train, learner="grid_search(lightgbm)")


def _decided(model: Any) -> Predict:
    def decide(X: NDArray[np.float64]) -> NDArray[np.integer]:
        with without_warnings():
            return np.asarray(model.predict(X))

    return decide


PEER = Peer(
    about="fairlearn's GridSearch over LightGBM, random search",
    ask=ask,
    metrics=PARITY_OR_ODDS,
)
