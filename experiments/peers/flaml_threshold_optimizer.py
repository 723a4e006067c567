"""FLAML, then fairlearn's ThresholdOptimizer on its validation scores: mitigate after.

Hardt, Price, Srebro, *Equality of Opportunity in Supervised Learning*, NeurIPS 2016. The rules
are fitted on the scores that FLAML's best model gave to rows it was not trained on: its held-out
part, and that model is served; or its folds, where it serves one trained on all rows.
"""

import numpy as np
import pandas as pd
from fairlearn.postprocessing import ThresholdOptimizer
from numpy.typing import NDArray

from fairautoml.bench.peers import Answer, Peer, Question
from peers._arsenal._fairlearn import without_warnings
from peers._arsenal.fairlearn_threshold_optimizer import (
    CONSTRAINTS,
    RELAXED,
    Scored,
)
from peers._flaml import search
from peers._offers import PARITY_OR_ODDS, Candidate, Seen, answered, offer
from peers._scored import ScoredModel, scored_best

STRICTER = (1.0, 0.75, 0.5, 0.25, 0.0)
"""Tolerances that are offered, in units of the limit; for equalized odds there is 0 only."""
LOOSER = (0.1, 0.15, 0.2)
"""Gaps beyond the limit that are offered too, for the front."""


def ask(question: Question) -> Answer:
    """Return the best threshold rule on FLAML's most accurate model."""
    found = search(question, constrained=False)
    best = scored_best(found)
    constraint = question.constraints[0]
    tolerances = [0.0]
    if constraint.metric.name in RELAXED:
        tolerances = [share * constraint.limit for share in STRICTER]
        tolerances += [gap for gap in LOOSER if gap > constraint.limit]
    with without_warnings():
        offers = [_offer(question, best, tolerance) for tolerance in tolerances]
    return answered(question, offers, n_trials=len(found.lines))


def _offer(question: Question, best: ScoredModel, tolerance: float) -> Candidate:
    rows = best.scores.reshape(-1, 1)
    rule = ThresholdOptimizer(
        estimator=Scored().fit(rows, best.y),
        constraints=CONSTRAINTS[question.constraints[0].metric.name],
        objective="accuracy_score",
        prefit=True,
        predict_method="predict_proba",
        tol=tolerance if tolerance > 0 else None,
    )
    rule.fit(rows, best.y, sensitive_features=best.cells)

    def decided(scores: NDArray[np.floating], cells: NDArray[np.integer]) -> NDArray[np.int8]:
        with without_warnings():
            found = rule.predict(
                scores.reshape(-1, 1), sensitive_features=cells, random_state=question.seed
            )
        return np.asarray(found, dtype=np.int8)

    def decide(X: pd.DataFrame) -> NDArray[np.integer]:
        return decided(best.score(X), question.cells_of(X))

    seen = Seen(y=best.y, cells=best.cells, decisions=decided(best.scores, best.cells))
    return offer(question, seen, decide, learner=best.learner, seconds=best.seconds)


PEER = Peer(
    about="FLAML, then fairlearn's ThresholdOptimizer",
    ask=ask,
    reads_groups=True,
    randomized=True,
    metrics=PARITY_OR_ODDS,
)
