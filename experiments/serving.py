"""Measure how long a fitted model takes for one row and for 100,000 rows.

One row of the CSV file per table, seed and model, so that two versions of the library can be
compared: ``python experiments/serving.py --out results/serving/after.csv``. The tables are read
from ``FAIRAUTOML_DATA_HOME``. Category columns that only one version passes to trees as they are
are left out, so that both versions train the same models (``decisions`` is a hash of what they
decide).
"""

import argparse
import csv
import hashlib
import time
import warnings
from collections import Counter
from collections.abc import Callable
from inspect import signature
from pathlib import Path

import numpy as np
import pandas as pd
from sklearn.model_selection import train_test_split

from fairautoml import FairAutoML
from first_aid import TABLES, commit, markdown

CONSTRAINT = "equalized_odds_difference <= 0.05"
N_TRIALS = 12
MOST_CATEGORIES = 20
REPEATS = {1: 50, 100_000: 3}
"""Timed calls by number of rows; one more comes first."""
FIELDS = (
    "table", "seed", "model", "trials", "n_rows", "cpu_ms", "cpu_ms_median", "wall_ms",
    "wall_ms_median", "decisions", "commit",
)  # fmt: skip


def few_categories(frame: pd.DataFrame, target: str) -> pd.DataFrame:
    many = [
        name
        for name, column in frame.drop(columns=target).items()
        if not pd.api.types.is_numeric_dtype(column) and column.nunique() > MOST_CATEGORIES
    ]
    return frame.drop(columns=many)


def fitted(name: str, seed: int) -> tuple[FairAutoML, pd.DataFrame]:
    """Return a model by the defaults and a fixed number of trials, and rows it has not seen."""
    frame, target, sensitive = TABLES[name]()
    frame = few_categories(frame, target)
    train, test = train_test_split(frame, test_size=0.3, random_state=seed, stratify=frame[target])
    # Commit 8aa71e1 sets rows aside by default.
    older = {"certify": False} if "certify" in signature(FairAutoML).parameters else {}
    model = FairAutoML(CONSTRAINT, n_trials=N_TRIALS, random_state=seed, **older)
    model.fit(train.drop(columns=target), train[target], sensitive=sensitive)
    return model, test.drop(columns=target)


def models(model: FairAutoML) -> dict[str, FairAutoML]:
    """Return the served model and, if that is of one trial, the best ensemble of the front."""
    board = model.leaderboard_
    found = {"served": model}
    if board["learner"].iloc[0] != "ensemble" and (board["learner"] == "ensemble").any():
        best = board[board["learner"] == "ensemble"].iloc[0]
        other = model.select(max_gap=float(best["gap"]) + 1e-9)
        # A single trial may have a smaller gap and a better score.
        if other.best_entry_.members:
            found["ensemble"] = other
    return found


def trials(model: FairAutoML) -> str:
    """Return the learners of the averaged trials; each trial has five fold models."""
    entry, board = model.best_entry_, model.leaderboard_
    learners = dict(zip(board["trial"], board["learner"], strict=True))
    keys = [key for key, _ in entry.members] or [entry.trial_key]
    counts = Counter(learners[int(key.split("-")[0])] for key in keys)
    return ", ".join(f"{count} {learner}" for learner, count in sorted(counts.items()))


def milliseconds(call: Callable[[], object], repeats: int) -> dict[str, float]:
    """Return the least and the median time of repeated calls, CPU (all threads) and wall."""
    call()
    cpu, wall = [], []
    for _ in range(repeats):
        start = time.perf_counter(), time.process_time()
        call()
        wall.append(1e3 * (time.perf_counter() - start[0]))
        cpu.append(1e3 * (time.process_time() - start[1]))
    return {
        "cpu_ms": round(min(cpu), 2),
        "cpu_ms_median": round(float(np.median(cpu)), 2),
        "wall_ms": round(min(wall), 2),
        "wall_ms_median": round(float(np.median(wall)), 2),
    }


def rows_of(name: str, seed: int):
    """Fit once and time every model, at each number of rows."""
    fit, test = fitted(name, seed)
    many = test.sample(max(REPEATS), replace=True, random_state=seed).reset_index(drop=True)
    for kind, model in models(fit).items():
        decided = "".join(map(str, model.predict(many)))
        for n_rows, repeats in REPEATS.items():
            rows = many.head(n_rows)
            took = milliseconds(lambda model=model, rows=rows: model.predict(rows), repeats)
            yield {
                "table": name, "seed": seed, "model": kind, "trials": trials(model),
                "n_rows": n_rows, **took,
                "decisions": hashlib.sha256(decided.encode()).hexdigest()[:12],
                "commit": commit(),
            }  # fmt: skip


def compared(before: pd.DataFrame, after: pd.DataFrame) -> pd.DataFrame:
    """Return the least times of both versions and their ratios."""
    keys = ["table", "seed", "model", "n_rows"]
    both = before.merge(after, on=keys, suffixes=("_before", "_after"))
    for clock in ("cpu", "wall"):
        both[f"{clock}_ratio"] = both[f"{clock}_ms_after"] / both[f"{clock}_ms_before"]
    both["same"] = both["decisions_before"] == both["decisions_after"]
    times = [
        f"{clock}_ms_{version}" for clock in ("cpu", "wall") for version in ("before", "after")
    ]
    return both[[*keys, "trials_after", *times, "cpu_ratio", "wall_ratio", "same"]].sort_values(
        ["n_rows", "table", "model", "seed"], kind="stable"
    )


def shown(table: pd.DataFrame) -> pd.DataFrame:
    """Return the CPU times as text, for the page."""
    return pd.DataFrame(
        {
            "table": table["table"],
            "seed": table["seed"],
            "model": table["model"],
            "trials": table["trials_after"],
            "rows": table["n_rows"],
            "CPU ms before": table["cpu_ms_before"].map("{:,.1f}".format),
            "CPU ms after": table["cpu_ms_after"].map("{:,.1f}".format),
            "ratio": table["cpu_ratio"].map("{:.2f}".format),
            "wall ms before": table["wall_ms_before"].map("{:,.1f}".format),
            "wall ms after": table["wall_ms_after"].map("{:,.1f}".format),
            "wall ratio": table["wall_ratio"].map("{:.2f}".format),
            "same decisions": table["same"].map({True: "yes", False: "no"}),
        }
    )


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--tables", nargs="+", default=["adult", "acs_income"], choices=TABLES)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1])
    parser.add_argument("--before", type=Path, help="compare --out with this file; fit nothing")
    args = parser.parse_args()
    if args.before is not None:
        print(markdown(shown(compared(pd.read_csv(args.before), pd.read_csv(args.out)))))
        return
    args.out.parent.mkdir(parents=True, exist_ok=True)
    kept = pd.read_csv(args.out) if args.out.exists() else pd.DataFrame(columns=FIELDS)
    done = set(zip(kept["table"], kept["seed"], strict=True))
    for name, seed in ((n, s) for n in args.tables for s in args.seeds if (n, s) not in done):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            rows = list(rows_of(name, seed))
        new = not args.out.exists()
        with args.out.open("a", newline="") as file:
            writer = csv.DictWriter(file, FIELDS)
            if new:
                writer.writeheader()
            writer.writerows(rows)


if __name__ == "__main__":
    main()
