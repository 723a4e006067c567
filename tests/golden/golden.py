"""Seeded fits whose numbers are kept, so that a refactoring can show that it changed none.

``python tests/golden/golden.py --record`` writes ``golden.json``; without it the fits are compared
with that file, and the exit code is 1 if any number differs. The numbers hold for one machine type
and one set of library versions: record before a refactoring, compare after it.
"""

import argparse
import hashlib
import json
import sys
import warnings
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pandas as pd

from fairautoml import FairAutoML, FairAutoMLRegressor, audit
from fairautoml.data import load

KEPT = Path(__file__).with_name("golden.json")
N_ROWS = 1500
EO = "equalized_odds_difference <= 0.05"
DP = "demographic_parity_difference <= 0.05"


def individuals():
    table = load("lending").frame.head(N_ROWS)
    return table.drop(columns="repaid"), table["repaid"]


def fit(estimator, constraint, y, sensitive="sex", n_trials=6, **parameters):
    X, _ = individuals()
    proxies = parameters.pop("proxies", None)
    groups = sensitive if proxies is None else None
    model = estimator(constraint, n_trials=n_trials, random_state=0, n_jobs=1, **parameters)
    model.fit(X, y, sensitive=groups, proxies=proxies)
    return model, X, groups if isinstance(groups, dict) else None


def binary(constraint=EO, **parameters):
    return fit(FairAutoML, constraint, individuals()[1], **parameters)


def several_classes():
    X, y = individuals()
    classes = np.where(y == y.iloc[0], "first", np.where(X["age"] > 40, "old", "young"))
    return fit(FairAutoML, "equal_opportunity_difference <= 0.2", classes)


def numbers(constraint):
    return fit(FairAutoMLRegressor, constraint, individuals()[0]["income"] / 1000)


def overlapping():
    X, _ = individuals()
    table = pd.DataFrame(
        {"female": X["sex"] == "female", "old": X["age"] > 50, "young": X["age"] < 35}
    )
    return binary(sensitive={"identity": table})


def guessed():
    X, _ = individuals()
    rng = np.random.default_rng(0)
    truth = (X["sex"] == "female").to_numpy()
    guesses = pd.DataFrame(
        {f"guess_{i}": np.where(rng.random(len(X)) < 0.15, ~truth, truth) for i in range(3)}
    ).astype(int)
    return binary(DP, proxies=guesses)


def on_dask():
    from distributed import Client

    with Client(processes=False, n_workers=1, threads_per_worker=2, dashboard_address=None):
        return binary(executor="dask")


FITS = {
    "binary": binary,
    "ratio": lambda: binary("demographic_parity_ratio >= 0.8"),
    "two_columns": lambda: binary(sensitive=["sex", "region"]),
    "several_constraints": lambda: binary([EO, "predictive_parity_difference <= 0.2"]),
    "unconstrained": lambda: binary(None),
    "log_loss": lambda: binary(DP, objective="log_loss"),
    "several_classes": several_classes,
    "numbers": lambda: numbers("mean_difference <= 0.2"),
    "numbers_worst_group": lambda: numbers("bounded_group_loss <= 0.5"),
    "gedi": lambda: binary("gedi[age] <= 0.1", sensitive="age"),
    "overlapping": overlapping,
    "blind": lambda: binary(sensitive_at_predict=False),
    "guessed": guessed,
    "refit": lambda: binary(DP, refit=True),
    "fairgbm": lambda: binary(mitigators=["fairgbm", "group_thresholds"], n_trials=9),
    "reweighing": lambda: binary(DP, mitigators=["reweighing", "group_thresholds"], n_trials=9),
    "mixtures": lambda: binary(
        mitigators=["common_threshold", "group_thresholds", "randomized_thresholds"]
    ),
    "motpe": lambda: binary(strategy="optuna_motpe", n_trials=16),
    "nsga2": lambda: binary(strategy="optuna_nsga2", n_trials=16),
    "tpe": lambda: binary(strategy="optuna_tpe", n_trials=16),
    "random": lambda: binary(strategy="random", n_trials=16),
    "cfo": lambda: binary(strategy="cfo", n_trials=16),
    "admm": lambda: binary(strategy="admm", n_trials=16),
    "ladder": lambda: binary(allocator="ladder", n_trials=16),
    "dask": on_dask,
}


def digest(values):
    array = np.ascontiguousarray(values)
    data = "\n".join(map(str, array.tolist())).encode() if array.dtype == object else array.data
    return hashlib.sha256(data).hexdigest()[:16]


def leaves(value):
    """Return the numbers of nested records, in their order."""
    if isinstance(value, dict):
        return [leaf for part in value.values() for leaf in leaves(part)]
    if isinstance(value, list | tuple):
        return [leaf for part in value for leaf in leaves(part)]
    return [value] if isinstance(value, int | float) else []


def numbers_of(model, X, groups):
    """Return what a fit is compared by: keys, numbers and hashes of arrays, no prose."""
    board = model.leaderboard_.select_dtypes(["number", "bool"]).drop(columns="seconds")
    decided = np.asarray(model.predict(X, groups))
    found = {
        "trials": model.trials_["key"].tolist(),
        "log_losses": model.trials_["log_loss"].tolist(),
        "leaderboard": board.astype(float).to_numpy().tolist(),
        "predictions": digest(decided.astype(object)),
    }
    if hasattr(model, "predict_proba"):
        scores = model.predict_proba(X, groups)
        found |= {"scores": digest(scores), "first_scores": scores[:3].tolist()}
    if model.positive_class_ is not None and model.positive_class_ in set(individuals()[1]):
        report = audit(
            individuals()[1], decided, X["sex"], constraint=DP, independent=True, leakage=False
        )
        found["audit"] = digest(np.array(leaves(asdict(report)), dtype=float))
    return found


def run(name):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        # As text, since NaN is not equal to itself.
        return json.loads(json.dumps(numbers_of(*FITS[name]())), parse_constant=str)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--record", action="store_true", help="write golden.json")
    parser.add_argument("names", nargs="*", default=[], help="some of the fits")
    args = parser.parse_args()
    names = args.names or list(FITS)
    found = {}
    kept = json.loads(KEPT.read_text(), parse_constant=str) if KEPT.exists() else {}
    for name in names:
        found[name] = run(name)
        same = "recorded" if args.record else "same" if found[name] == kept.get(name) else "OTHER"
        print(f"{name}: {same}", flush=True)
        if args.record:
            KEPT.write_text(json.dumps({**kept, **found}, indent=1) + "\n")
    if not args.record and any(found[name] != kept.get(name) for name in names):
        sys.exit(1)


if __name__ == "__main__":
    main()
