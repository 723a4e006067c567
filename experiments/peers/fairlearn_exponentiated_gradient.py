"""fairlearn's ExponentiatedGradient over LightGBM with random parameters and bounds.

Agarwal, Beygelzimer, Dudik, Langford, Wallach, *A Reductions Approach to Fair Classification*,
ICML 2018. Mixtures are compared on a quarter of the rows: five folds would leave no time for a
second one.
"""

from typing import Any

import numpy as np
from fairlearn.reductions import ExponentiatedGradient
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

ROUNDS = 20
"""Rounds at the most; fairlearn's own 50 leave no time for a second trial."""
BOUNDS = (0.1, 1.0)
"""Bounds that are tried, in units of the limit."""


def ask(question: Question) -> Answer:
    """Return the best mixture of a random search."""
    constraint = question.constraints[0]

    codes = Codes(question.features)

    def train(parts: Parts, rows: NDArray[np.int64], rng: np.random.Generator) -> list[Shares]:
        learner = lightgbm_of(codes, lightgbm_params(rng))
        bound = constraint.limit * float(rng.uniform(*BOUNDS))
        moment = CONSTRAINTS[constraint.metric.name](difference_bound=bound)
        model = ExponentiatedGradient(learner, moment, eps=bound, max_iter=ROUNDS)
        with without_warnings():
            model.fit(parts.X[rows], parts.y[rows], sensitive_features=parts.cells[rows])
        return [_shares(model)]

    def drawn(shares: NDArray[np.float64]) -> NDArray[np.integer]:
        # As its own predict draws.
        return (shares >= np.random.default_rng(question.seed).random(len(shares))).astype(np.int8)

    name = "exponentiated_gradient(lightgbm)"
    return random_search(question, codes, train, learner=name, cut=drawn, folds=False)


def _shares(model: Any) -> Shares:
    def shares(X: NDArray[np.float64]) -> NDArray[np.floating]:
        with without_warnings():
            return np.asarray(model._pmf_predict(X))[:, 1]

    return shares


PEER = Peer(
    about="fairlearn's ExponentiatedGradient over LightGBM, random search",
    ask=ask,
    randomized=True,
    metrics=PARITY_OR_ODDS,
    blind=True,
)
