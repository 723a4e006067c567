"""fairlearn's ExponentiatedGradient around the same learner: a mixture of models.

Agarwal, Beygelzimer, Dudik, Langford, Wallach, *A Reductions Approach to Fair Classification*,
ICML 2018.
"""

from typing import Any

import numpy as np
from fairlearn.reductions import DemographicParity, EqualizedOdds, ExponentiatedGradient

from fairautoml.search.space import Integer, ParamSpace, Real
from peers._arsenal import Decided, MitigationPeer, Question
from peers._arsenal._fairlearn import SERVES, without_warnings

CONSTRAINTS: dict[str, Any] = {
    "demographic_parity_difference": DemographicParity,
    "equalized_odds_difference": EqualizedOdds,
}


def decide(question: Question) -> list[Decided]:
    """Return the decisions at every bound."""
    found = []
    with without_warnings():
        for bound in question.values:
            model = ExponentiatedGradient(
                question.estimator,
                CONSTRAINTS[question.metric](difference_bound=bound),
                eps=bound,
                max_iter=int(question.params["max_iter"]),
            )
            model.fit(question.X, question.y, sensitive_features=question.group)
            decisions = model.predict(question.held_X, random_state=question.seed)
            found.append(Decided(strength=bound, decisions=np.asarray(decisions, np.int8)))
    return found


PEER = MitigationPeer(
    needs_sensitive_at_predict=False,
    randomized=True,
    uses_scores=False,
    serves=SERVES,
    decide=decide,
    space=ParamSpace(
        name="fairlearn_exponentiated_gradient",
        ranges={
            "strength": Real(low=0.005, high=0.1, log=True, default=0.01),
            "max_iter": Integer(low=5, high=50, default=50),
        },
    ),
)
