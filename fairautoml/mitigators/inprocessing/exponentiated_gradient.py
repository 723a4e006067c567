"""Exponentiated gradient: the most accurate mixture of models under the constraints.

Source: Agarwal, Beygelzimer, Dudik, Langford, Wallach, *A Reductions Approach to Fair
Classification*, ICML 2018, arXiv 1803.02453. The guarantee is about the decisions on the training
rows; for new rows, post-processing moves thresholds on the mean score.
"""

import numpy as np

from fairautoml.mitigators._base import FitBaseLearner, Mitigator, ScoreModel, TrainRows
from fairautoml.mitigators.inprocessing._reductions import (
    SERVES,
    Game,
    Members,
    mixture_of,
    moments_of,
)
from fairautoml.records import ParamValues

SMALLEST_BOUND = 0.01
"""Smallest bound used for the largest price, which would be infinite at 0."""


def train(rows: TrainRows, fit_base: FitBaseLearner, params: ParamValues, seed: int) -> ScoreModel:
    """Return the mixture, or its best single member.

    Ends early, with the best mixture so far, when one more training would exceed the time left;
    the plain model is always trained.
    """
    members = Members(rows=rows, moments=moments_of(rows), fit_base=fit_base)
    bound = float(params["eps"]) * np.tile(members.moments.limit, 2)
    game = Game(
        members=members,
        bound=bound,
        price=1 / max(float(bound.min()), SMALLEST_BOUND),
        max_iter=int(params["max_iter"]),
        eta=float(params["eta"]),
    )
    shares = game.run()
    if params["predictor"] == "best":
        return game.deterministic()
    return mixture_of(members.models, shares)


MITIGATOR = Mitigator(
    name="exponentiated_gradient",
    stage="in",
    needs_sensitive_at_predict=False,
    serves=SERVES,
    cost="costly",
    ratio=50.0,
    train=train,
)
