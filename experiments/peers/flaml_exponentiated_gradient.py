"""FLAML that trains every model by fairlearn's ExponentiatedGradient: mitigate always.

Every trial of LightGBM in FLAML's own space becomes a mixture of LightGBM models, after Agarwal
et al., ICML 2018. fairlearn bounds how far a group is from everybody, so the gap between groups
may be up to twice its bound: which share of the limit it is told is one more parameter of the
space. The best one of the log that meets the constraints is the answer.
"""

from functools import partial
from typing import Any

import numpy as np
import pandas as pd
from fairlearn.reductions import ExponentiatedGradient
from flaml import tune
from flaml.automl.model import LGBMEstimator, SKLearnEstimator
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, ClassifierMixin

from fairautoml.bench.peers import Answer, Peer, Question
from peers._arsenal._fairlearn import without_warnings
from peers._arsenal.fairlearn_exponentiated_gradient import CONSTRAINTS
from peers._boosted import Codes, lightgbm_of
from peers._flaml import search
from peers._flaml_ways import of_log
from peers._offers import PARITY_OR_ODDS

ROUNDS = 20
SHARE = "bound_share"
SHARES = (0.1, 1.0)
"""Bounds that are tried, in units of the limit."""
FIRST_SHARE = 0.5
"""With it the gap between two groups cannot exceed the limit on the rows of the training."""


def ask(question: Question) -> Answer:
    """Return the best feasible mixture of FLAML's log."""
    learner = type("FairLightGBM", (_Learner,), {"question": question})
    return of_log(search(question, constrained=True, learners={"fair_lgbm": learner}))


class _Mixture(ClassifierMixin, BaseEstimator):  # type: ignore[misc]
    """ExponentiatedGradient over LightGBM."""

    def __init__(self, question: Question, **params: Any) -> None:
        self.question = question
        self.bound = question.constraints[0].limit * params.pop(SHARE, FIRST_SHARE)
        self.params = params

    def fit(self, X: pd.DataFrame, y: Any, **_: Any) -> "_Mixture":
        """Train on rows that hold their groups."""
        constraint = self.question.constraints[0]
        self.codes_ = Codes(X)
        self.classes_ = np.unique(y)
        moment = CONSTRAINTS[constraint.metric.name](difference_bound=self.bound)
        learner = lightgbm_of(self.codes_, self.params)
        self.model_ = ExponentiatedGradient(learner, moment, eps=self.bound, max_iter=ROUNDS)
        with without_warnings():
            self.model_.fit(
                self.codes_.matrix(X),
                np.asarray(y).astype(int),
                sensitive_features=self.question.cells_of(X),
            )
        return self

    def predict(self, X: pd.DataFrame) -> NDArray[np.integer]:
        """Return decisions."""
        with without_warnings():
            found = self.model_.predict(self.codes_.matrix(X), random_state=self.question.seed)
        return np.asarray(found).astype(int)


class _Learner(SKLearnEstimator):
    """FLAML's LightGBM with a mixture in its place; a subclass knows the question."""

    question: Question

    @classmethod
    def search_space(cls, data_size: Any, task: Any, **params: Any) -> Any:
        """Return FLAML's own space of LightGBM, and the bound."""
        space = LGBMEstimator.search_space(data_size, **params)  # type: ignore[no-untyped-call]
        shares = tune.uniform(*SHARES)  # type: ignore[attr-defined]
        return {**space, SHARE: {"domain": shares, "init_value": FIRST_SHARE}}

    def __init__(self, task: str = "binary", **config: Any) -> None:
        super().__init__(task, **config)  # type: ignore[no-untyped-call]
        self.estimator_class = partial(_Mixture, self.question)

    def config2params(self, config: dict[str, Any]) -> Any:
        """Return parameters in LightGBM's words."""
        params = super().config2params(config)
        if "log_max_bin" in params:
            params["max_bin"] = (1 << params.pop("log_max_bin")) - 1
        return params

    def _preprocess(self, X: pd.DataFrame) -> pd.DataFrame:
        return X


PEER = Peer(
    about="FLAML with fairlearn's ExponentiatedGradient in every trial",
    ask=ask,
    randomized=True,
    metrics=PARITY_OR_ODDS,
)
