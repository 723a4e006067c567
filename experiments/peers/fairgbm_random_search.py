"""FairGBM by random search: this library's implementation in the published form.

Cruz, Belem, Jesus, Bravo, Saleiro, Bizarro, *FairGBM: Gradient Boosting with Fairness
Constraints*, ICLR 2023. The package's binaries are of 2022; here the ``fairgbm`` mitigator is run
with the published code's hessian and last iterate (``hessian=plain``, ``iterate=last``).
"""

from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fairautoml.bench.peers import Answer, Peer, Question
from fairautoml.evaluation.fitting import BaseFit
from fairautoml.mitigators import TrainRows
from fairautoml.mitigators.inprocessing.fairgbm import MITIGATOR
from fairautoml.mitigators.inprocessing.fairgbm import train as train_fairgbm
from fairautoml.records import Config, ParamValue
from peers._boosted import (
    Codes,
    Parts,
    Shares,
    lightgbm_params,
    random_search,
)

RATES = (0.001, 1.0)
"""Step sizes of the multipliers, drawn evenly on a log scale."""


def ask(question: Question) -> Answer:
    """Return the best model of a random search over LightGBM's and FairGBM's parameters."""
    codes = Codes(question.features)

    def train(parts: Parts, rows: NDArray[np.int64], rng: np.random.Generator) -> list[Shares]:
        params = lightgbm_params(rng)
        own: dict[str, ParamValue] = {
            "eta": float(np.exp(rng.uniform(*np.log(RATES)))),
            "tolerance": float(rng.uniform(0.0, 1.0)),
            "proxy": "cross_entropy",
            "margin": 1.0,
            "hessian": "plain",
            "iterate": "last",
        }
        config = Config(learner="lightgbm", params=MappingProxyType(params), encoding="codes")
        table = TrainRows(
            X=parts.X[rows].astype(np.float32),
            y=parts.y[rows],
            weight=np.ones(len(rows)),
            cells=parts.cells[rows],
            systems=question.groups.systems,
            feature_schema=codes.feature_schema,
            targets=question.targets,
        )
        fit_base = BaseFit(config=config, seed=question.seed, deadline=None)
        return [_shares(train_fairgbm(table, fit_base, own, question.seed))]

    return random_search(question, codes, train, learner="fairgbm")


def _shares(model: Any) -> Shares:
    def shares(X: NDArray[np.float64]) -> NDArray[np.floating]:
        return np.asarray(model.scores(X.astype(np.float32), np.zeros(len(X), dtype=np.int32)))

    return shares


PEER = Peer(
    about="FairGBM (this library's, in the published form), random search",
    ask=ask,
    metrics=MITIGATOR.serves,
    blind=True,
)
