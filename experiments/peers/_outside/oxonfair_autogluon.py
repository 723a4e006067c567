"""AutoGluon on three quarters of the rows, OxonFair's thresholds on the rest.

Delaney, Fu, Wachter, Mittelstadt, Russell, *OxonFair: A Flexible Toolkit for Algorithmic
Fairness*, arXiv 2407.13710.
"""

import time
from typing import Any

import numpy as np
import oxonfair  # type: ignore[import-not-found]
from autogluon.tabular import TabularPredictor  # type: ignore[import-not-found]
from oxonfair.utils import group_metrics  # type: ignore[import-not-found]
from sklearn.model_selection import train_test_split

Y, CELL = "__label__", "__cell__"
HELD = 0.25
FOR_MODELS = 0.85
"""Share of the time that the models get."""
# The largest difference of two groups; demographic_parity is the mean over all pairs.
METRICS = {
    "demographic_parity_difference": group_metrics.pos_pred_rate.max_diff,
    "equalized_odds_difference": group_metrics.equalized_odds_max,
}
HYPERPARAMETERS: dict[str, dict[str, Any]] = {"GBM": {}, "XGB": {}, "RF": {}, "XT": {}, "LR": {}}
STRICTER = (1.0, 0.8, 0.6, 0.4, 0.2)
LOOSER = (0.1, 0.2)
"""Gaps beyond the limit that are offered too, for the front; after its time."""


def fit(request: dict[str, Any], X: Any, y: Any, cells: Any) -> tuple[list[dict[str, Any]], int]:
    """Return the threshold rules for several limits, and how many models were trained."""
    start = time.monotonic()
    both = [f"{label}-{cell}" for label, cell in zip(y, cells, strict=True)]
    learned, held = train_test_split(
        np.arange(len(y)), test_size=HELD, stratify=both, random_state=request["seed"]
    )
    predictor = TabularPredictor(
        label=Y, problem_type="binary", eval_metric="accuracy", path=request["folder"], verbosity=0
    )
    predictor.fit(
        X.iloc[learned].assign(**{Y: y[learned]}),
        time_limit=request["seconds"] * FOR_MODELS,
        hyperparameters=HYPERPARAMETERS,
        num_cpus=request["n_jobs"],
        num_gpus=0,
    )
    rows = _with_groups(X, cells).assign(**{Y: y}).iloc[held]
    learner = f"autogluon {predictor.model_best}"

    def offered(gap: float) -> dict[str, Any]:
        rule = oxonfair.FairPredictor(predictor, rows, groups=CELL)
        rule.fit(group_metrics.accuracy, METRICS[request["metric"]], gap)
        return {
            "learner": learner,
            "seconds": time.monotonic() - start,
            "rows": held,
            "decisions": np.asarray(rule.predict(rows)).astype(int),
            "decide": _decider(rule),
        }

    offers = [offered(share * request["limit"]) for share in STRICTER]
    request["answered"] = time.monotonic() - start
    offers += [offered(gap) for gap in LOOSER if gap > request["limit"]]
    return offers, len(predictor.model_names())


def _with_groups(X: Any, cells: Any) -> Any:
    return X.assign(**{CELL: [str(cell) for cell in cells]})


def _decider(rule: Any) -> Any:
    def decide(X: Any, cells: Any) -> Any:
        # OxonFair looks for the label's column even where it is not read.
        rows = _with_groups(X, cells).assign(**{Y: 0})
        return np.asarray(rule.predict(rows)).astype(int)

    return decide
