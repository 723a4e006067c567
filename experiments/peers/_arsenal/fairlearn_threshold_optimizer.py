"""fairlearn's ThresholdOptimizer on the plain model's scores; mixes two thresholds per group.

Hardt, Price, Srebro, *Equality of Opportunity in Supervised Learning*, NeurIPS 2016, with
fairlearn's ``tol`` as the tolerance.
"""

from typing import Any, Self

import numpy as np
from fairlearn.postprocessing import ThresholdOptimizer
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, ClassifierMixin

from peers._arsenal import Decided, MitigationPeer, Question
from peers._arsenal._fairlearn import SERVES, without_warnings

CONSTRAINTS = {
    "demographic_parity_difference": "demographic_parity",
    "equalized_odds_difference": "equalized_odds",
}

RELAXED = frozenset({"demographic_parity_difference"})
"""What fairlearn takes a tolerance for."""


class Scored(ClassifierMixin, BaseEstimator):  # type: ignore[misc]
    """Hands on the scores that it is given as the only feature."""

    def fit(self, X: Any, y: Any) -> Self:
        """Note the classes; there is nothing to learn."""
        del X
        self.classes_ = np.unique(y)
        return self

    def predict_proba(self, X: Any) -> NDArray[np.float64]:
        """Return the probabilities of 0 and 1, shape (n_rows, 2)."""
        positive = np.asarray(X, dtype=np.float64)[:, 0]
        return np.column_stack((1.0 - positive, positive))


def decide(question: Question) -> list[Decided]:
    """Return the decisions at every tolerance; for equalized odds there is 0 only."""
    rows, new = question.scores.reshape(-1, 1), question.held_scores.reshape(-1, 1)
    found = []
    with without_warnings():
        for tolerance in question.values if question.metric in RELAXED else (0.0,):
            rule = ThresholdOptimizer(
                estimator=Scored().fit(rows, question.y),
                constraints=CONSTRAINTS[question.metric],
                objective="accuracy_score",
                prefit=True,
                predict_method="predict_proba",
                tol=tolerance if tolerance > 0 else None,
            )
            rule.fit(rows, question.y, sensitive_features=question.group)
            decisions = rule.predict(
                new, sensitive_features=question.held_group, random_state=question.seed
            )
            found.append(Decided(strength=tolerance, decisions=np.asarray(decisions, np.int8)))
    return found


PEER = MitigationPeer(
    needs_sensitive_at_predict=True,
    randomized=True,
    uses_scores=True,
    serves=SERVES,
    decide=decide,
)
