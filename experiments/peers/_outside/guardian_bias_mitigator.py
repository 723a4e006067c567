"""oracle-guardian-ai's ModelBiasMitigator on a random forest or boosted trees of scikit-learn.

It multiplies the probabilities of each group by a number; Optuna finds the numbers.
"""

import time
from typing import Any

import numpy as np
from guardian_ai.fairness import metrics  # type: ignore[import-not-found]
from guardian_ai.fairness.bias_mitigation import (  # type: ignore[import-not-found]
    ModelBiasMitigator,
)
from sklearn.compose import make_column_selector, make_column_transformer
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.model_selection import train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OrdinalEncoder

HELD = 0.25


def statistical_parity(y_true: Any, y_pred: Any, subgroups: Any) -> Any:
    """Return the largest difference of two groups; by the name alone it is the mean over pairs."""
    return metrics.model_statistical_parity(y_true, y_pred, subgroups, "diff", "max")


def equalized_odds(y_true: Any, y_pred: Any, subgroups: Any) -> Any:
    """Return the largest difference of two groups; by the name alone it is the mean over pairs."""
    return metrics.equalized_odds(y_true, y_pred, subgroups, "diff", "max")


# The mitigator knows what to do with these two by their names.
METRICS = {
    "demographic_parity_difference": statistical_parity,
    "equalized_odds_difference": equalized_odds,
}
TRIALS_PER_GROUP = 100_000
"""More than there is time for."""


def fit(request: dict[str, Any], X: Any, y: Any, cells: Any) -> tuple[list[dict[str, Any]], int]:
    """Return the models of its trade-off, and how many trials it made."""
    start = time.monotonic()
    both = [f"{label}-{cell}" for label, cell in zip(y, cells, strict=True)]
    learned, held = train_test_split(
        np.arange(len(y)), test_size=HELD, stratify=both, random_state=request["seed"]
    )
    text = make_column_selector(dtype_include=[object, "string"])
    codes = OrdinalEncoder(
        handle_unknown="use_encoded_value", unknown_value=np.nan, encoded_missing_value=np.nan
    )
    base = make_pipeline(
        make_column_transformer((codes, text), remainder="passthrough"),
        HistGradientBoostingClassifier(random_state=request["seed"]),
    )
    base.fit(X.iloc[learned], y[learned])
    left = request["seconds"] - (time.monotonic() - start)
    rule = ModelBiasMitigator(
        base,
        protected_attribute_names=request["groups"],
        fairness_metric=METRICS[request["metric"]],
        accuracy_metric="accuracy",
        higher_fairness_is_better=False,
        fairness_metric_uses_probas=False,
        constraint_target="fairness",
        constraint_type="absolute",
        constraint_value=request["limit"],
        n_trials_per_group=TRIALS_PER_GROUP,
        time_limit=max(1.0, left),
        random_seed=request["seed"],
    )
    rows = X.iloc[held].reset_index(drop=True)
    rule.fit(rows, _series(y[held]))
    seconds = time.monotonic() - start
    numbers = range(len(rule.tradeoff_summary_))
    offers = [_offer(rule, number, rows, held, seconds) for number in numbers]
    return offers, len(offers)


def _series(values: Any) -> Any:
    import pandas as pd

    return pd.Series(values)


def _offer(rule: Any, number: int, rows: Any, held: Any, seconds: float) -> dict[str, Any]:
    def decide(X: Any, cells: Any) -> Any:
        rule.select_model(number)
        return np.asarray(rule.predict(X)).astype(int)

    return {
        "learner": "hist_gradient_boosting",
        "seconds": seconds,
        "rows": held,
        "decisions": decide(rows, None),
        "decide": decide,
    }
