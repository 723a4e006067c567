"""fairlearn's ExponentiatedGradient over LightGBM with random parameters and bounds.

Agarwal, Beygelzimer, Dudik, Langford, Wallach, *A Reductions Approach to Fair Classification*,
ICML 2018. The best feasible mixture on a quarter of the rows is trained once more on all.
"""

from typing import Any

import numpy as np
from fairlearn.reductions import ExponentiatedGradient
from lightgbm import LGBMClassifier
from numpy.typing import NDArray

from fairautoml.bench.peers import PARITY_OR_ODDS, Answer, Peer, Question
from fairautoml.bench.peers._arsenal._fairlearn import without_warnings
from fairautoml.bench.peers._arsenal.fairlearn_exponentiated_gradient import CONSTRAINTS
from fairautoml.bench.peers._boosted import Parts, Predict, lightgbm_params, random_search

ROUNDS = 20
"""Rounds at the most; fairlearn's own 50 leave no time for a second trial."""
BOUNDS = (0.1, 1.0)
"""Bounds that are tried, in units of the limit."""


def ask(question: Question) -> Answer:
    """Return the best mixture of a random search.

    Parameters
    ----------
    question : Question
        Table, one constraint, budget.
    """
    constraint = question.constraints[0]

    def train(parts: Parts, rows: NDArray[np.int64], rng: np.random.Generator) -> list[Predict]:
        learner = LGBMClassifier(**lightgbm_params(rng), n_jobs=1, verbose=-1)
        bound = constraint.limit * float(rng.uniform(*BOUNDS))
        moment = CONSTRAINTS[constraint.metric.name](difference_bound=bound)
        model = ExponentiatedGradient(learner, moment, eps=bound, max_iter=ROUNDS)
        with without_warnings():
            model.fit(parts.X[rows], parts.y[rows], sensitive_features=parts.cells[rows])
        return [_decided(model, question.seed)]

    return random_search(question, train, learner="exponentiated_gradient(lightgbm)")


def _decided(model: Any, seed: int) -> Predict:
    def decide(X: NDArray[np.float64]) -> NDArray[np.integer]:
        with without_warnings():
            return np.asarray(model.predict(X, random_state=seed))

    return decide


PEER = Peer(
    about="fairlearn's ExponentiatedGradient over LightGBM, random search",
    ask=ask,
    randomized=True,
    metrics=PARITY_OR_ODDS,
)
