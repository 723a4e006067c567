"""Measure what is left of a fairness rule when a fitted model is put into scikit-learn's wrappers.

One row of the CSV file per table, seed and wrapper: ``python experiments/wrappers.py --out FILE``;
``--show FILE`` prints the means. The tables are read from ``FAIRAUTOML_DATA_HOME``.
"""

import argparse
import pickle
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pandas as pd
from sklearn.base import clone
from sklearn.calibration import CalibratedClassifierCV
from sklearn.ensemble import StackingClassifier, VotingClassifier
from sklearn.frozen import FrozenEstimator
from sklearn.model_selection import (
    FixedThresholdClassifier,
    TunedThresholdClassifierCV,
    train_test_split,
)
from sklearn.pipeline import Pipeline

from common.shared_tables import TABLES, commit, gap_of, markdown
from fairautoml import FairAutoML

METRIC, BOUND = "equalized_odds_difference", 0.05
MOST_ROWS = 12_000
"""Rows to fit on at most; of the others one half is for wrappers that learn, one to evaluate."""
N_TRIALS = 8
N_MODELS = 3
"""Fits per seed, for the wrappers that vote."""

Predict = Callable[[pd.DataFrame], np.ndarray]


def search(seed: int) -> FairAutoML:
    return FairAutoML(f"{METRIC} <= {BOUND}", n_trials=N_TRIALS, random_state=seed)


def argmax(classes: np.ndarray, proba: Callable[[pd.DataFrame], np.ndarray]) -> Predict:
    return lambda X: classes[proba(X).argmax(axis=1)]


def wrapped(models: list[FairAutoML], X: pd.DataFrame, y: np.ndarray) -> Iterator:
    """Yield name and decisions of each wrapper; those that learn do so on the given rows."""
    model = models[0]
    frozen = FrozenEstimator(model)
    several = [(str(at), FrozenEstimator(one)) for at, one in enumerate(models)]
    yield "predict", model.predict
    yield "predict_proba, argmax", argmax(model.classes_, model.predict_proba)
    yield "pickle", pickle.loads(pickle.dumps(model)).predict
    made = {
        "Pipeline": Pipeline([("model", frozen)]),
        "FixedThresholdClassifier(threshold=0.5)": FixedThresholdClassifier(
            frozen, threshold=0.5, response_method="predict_proba"
        ),
        "VotingClassifier(voting='hard'), 3 models": VotingClassifier(several),
        "VotingClassifier(voting='soft'), 3 models": VotingClassifier(several, voting="soft"),
        "CalibratedClassifierCV(method='sigmoid')": CalibratedClassifierCV(frozen),
        "CalibratedClassifierCV(method='isotonic')": CalibratedClassifierCV(
            frozen, method="isotonic"
        ),
        "TunedThresholdClassifierCV, balanced accuracy": TunedThresholdClassifierCV(
            frozen, cv="prefit", refit=False
        ),
        "StackingClassifier": StackingClassifier([("model", frozen)], cv="prefit"),
    }
    for name, wrapper in made.items():
        yield name, wrapper.fit(X, y).predict
    yield "base_proba, argmax", argmax(model.classes_, model.base_proba)


def rows_of(table: str, seed: int) -> Iterator[dict[str, object]]:
    """Fit once per model and evaluate every wrapper on held-out rows."""
    frame, target, sensitive = TABLES[table]()
    y = (frame[target] == frame[target].max()).to_numpy().astype(int)
    X = frame.drop(columns=target)
    n_rows = min(MOST_ROWS, len(X) // 2)
    X, X_new, y, y_new = train_test_split(X, y, train_size=n_rows, random_state=seed, stratify=y)
    X_fit, X_new, y_fit, y_new = train_test_split(X_new, y_new, test_size=0.5, random_state=seed)
    models = [search(100 * at + seed).fit(X, y, sensitive) for at in range(N_MODELS)]
    again = clone(models[0]).fit(X, y, sensitive)
    decided = models[0].predict(X_new)
    for name, predict in [*wrapped(models, X_fit, y_fit), ("clone and fit", again.predict)]:
        found = predict(X_new)
        yield {
            "table": table,
            "seed": seed,
            "wrapper": name,
            "accuracy": round(float((found == y_new).mean()), 4),
            "gap": round(gap_of(METRIC, y_new == 1, found == 1, X_new[sensitive].to_numpy()), 4),
            "changed": round(float((found != decided).mean()), 4),
            "commit": commit(),
        }


def shown(rows: pd.DataFrame) -> pd.DataFrame:
    """Return the means over the seeds as text, for the page."""
    means = rows.groupby(["wrapper", "table"], sort=False)[["accuracy", "gap", "changed"]].mean()
    found = means.unstack("table")
    columns = {"what decides": found.index}
    for table in rows["table"].unique():
        columns[f"{table}: accuracy"] = found["accuracy", table].map("{:.3f}".format)
        columns[f"{table}: gap"] = found["gap", table].map("{:.3f}".format)
        changed = found["changed", table].map("{:.1%}".format)
        columns[f"{table}: decided otherwise"] = changed
    return pd.DataFrame(columns)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path)
    parser.add_argument("--show", type=Path)
    parser.add_argument("--tables", nargs="+", default=["adult", "compas"], choices=TABLES)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1])
    args = parser.parse_args()
    if args.show is not None:
        print(markdown(shown(pd.read_csv(args.show))))
        return
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        runs = [(table, seed) for table in args.tables for seed in args.seeds]
        rows = [row for table, seed in runs for row in rows_of(table, seed)]
    args.out.parent.mkdir(parents=True, exist_ok=True)
    pd.DataFrame(rows).to_csv(args.out, index=False)


if __name__ == "__main__":
    main()
