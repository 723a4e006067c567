"""mljar-supervised with ``fairness_metric``, the closest product.

Its AutoML reweighs and drops models that are not fair on its out-of-fold predictions.
"""

import time
from typing import Any

import numpy as np
from supervised import AutoML  # type: ignore[import-not-found]

ALGORITHMS = ["Linear", "LightGBM", "Xgboost", "Random Forest", "Extra Trees"]


def fit(request: dict[str, Any], X: Any, y: Any, cells: Any) -> tuple[list[dict[str, Any]], int]:
    """Return its models, the one it has chosen last, and how many it trained."""
    start = time.monotonic()
    model = AutoML(
        results_path=request["folder"],
        mode="Compete",
        algorithms=ALGORITHMS,
        total_time_limit=max(1, round(request["seconds"])),
        ml_task="binary_classification",
        eval_metric="accuracy",
        fairness_metric=request["metric"],
        fairness_threshold=request["limit"],
        explain_level=0,
        n_jobs=request["n_jobs"],
        verbose=0,
        random_state=request["seed"],
    )
    groups = X[request["groups"]].astype(str)
    hidden = request["groups"] if request["blind"] else []
    model.fit(X.drop(columns=hidden), y, sensitive_features=groups)
    seconds = time.monotonic() - start
    best = model._best_model
    trained = [one for one in model._models if one is not best and one.get_type() != "Baseline"]
    offers = [_offer(model, one, y, seconds, hidden) for one in [*trained, best]]
    return offers, len(model._models)


def _offer(model: Any, one: Any, y: Any, seconds: float, hidden: list[str]) -> dict[str, Any]:
    found = one.get_out_of_folds()
    positive = found["prediction"].to_numpy()
    rows = found.index.to_numpy()
    if not np.array_equal(found["target"].to_numpy().astype(int), y[rows]):
        raise RuntimeError("mljar-supervised: out-of-fold rows are not in the order of the data")

    def decide(X: Any, cells: Any) -> Any:
        return np.asarray(model._base_predict(X.drop(columns=hidden), one)["label"]).astype(int)

    return {
        "learner": one.get_type(),
        "seconds": seconds,
        "rows": rows,
        "decisions": positive > one._threshold,
        "decide": decide,
    }
