"""Fit shared tables with the defaults of the library and judge the model on held-out rows.

One row of the CSV file per fit, so that two versions of the library can be compared and a run can
be continued: ``python experiments/first_aid.py --out results/first_aid/after.csv``. The tables are
read from ``FAIRAUTOML_DATA_HOME``. Variant ``junk`` renames the group of one training row to
"Unknown"; ``clean`` leaves the table as it is.
"""

import argparse
import csv
import subprocess
import time
import warnings
from pathlib import Path

import numpy as np
import pandas as pd
from sklearn.model_selection import train_test_split

import fairautoml
from fairautoml import FairAutoML
from fairautoml.data import load

BOUND = 0.05
CONSTRAINTS = ("demographic_parity_difference", "equalized_odds_difference")
FIELDS = (
    "table", "variant", "metric", "seed", "n_train", "accuracy", "gap", "feasible", "constant",
    "probability", "n_trials", "seconds", "cpu_seconds", "commit",
)  # fmt: skip


def read(name: str) -> tuple[pd.DataFrame, str]:
    table = load(name)
    return table.frame.drop(columns=list(table.drop), errors="ignore"), table.target


def adult():
    frame, target = read("adult")
    return frame, target, "sex"


def compas():
    frame, target = read("compas_two_years")
    frame = frame[frame["race"].isin(["African-American", "Caucasian"])].reset_index(drop=True)
    return frame.assign(race=frame["race"].astype(str)), target, "race"


def bank():
    frame, target = read("bank_marketing_full")
    young = np.where(frame["age"] <= 25, "up to 25", "over 25")
    return frame.assign(age_group=young), target, "age_group"


def acs_income():
    frame, target = read("acs_income_2018")
    frame = frame.sample(60_000, random_state=0).reset_index(drop=True)
    sex = frame["SEX"].astype(float).map({1.0: "male", 2.0: "female"})
    return frame.assign(SEX=sex), target, "SEX"


TABLES = {"adult": adult, "compas": compas, "bank": bank, "acs_income": acs_income}
JUNK = ("adult", "bank", "acs_income")


def gap_of(metric: str, y, decided, groups) -> float:
    """Return the largest difference of the group rates that the metric compares."""
    every = np.ones(len(y), dtype=bool)
    among = [every] if metric == CONSTRAINTS[0] else [y, ~y]
    rates = [[decided[rows & (groups == g)].mean() for g in np.unique(groups)] for rows in among]
    return max(max(r) - min(r) for r in rates)


def run(name: str, variant: str, metric: str, seed: int, seconds: float) -> dict[str, object]:
    frame, target, sensitive = TABLES[name]()
    train, test = train_test_split(frame, test_size=0.3, random_state=seed, stratify=frame[target])
    if variant == "junk":
        train = train.copy()
        train[sensitive] = train[sensitive].astype(object)
        train.iloc[0, train.columns.get_loc(sensitive)] = "Unknown"
    model = FairAutoML(f"{metric} <= {BOUND}", time_budget=seconds, random_state=seed)
    start = time.monotonic()
    model.fit(train.drop(columns=target), train[target], sensitive=sensitive)
    took = time.monotonic() - start
    positive = model.positive_class_
    decided = np.asarray(model.predict(test.drop(columns=target))) == positive
    y = (test[target] == positive).to_numpy()
    margin = model.summary_["margin"] or {}
    return {
        "table": name, "variant": variant, "metric": metric, "seed": seed, "n_train": len(train),
        "accuracy": round(float((decided == y).mean()), 5),
        "gap": round(gap_of(metric, y, decided, test[sensitive].to_numpy()), 5),
        "feasible": model.feasible_, "constant": len(np.unique(decided)) == 1,
        "probability": margin.get("probability"), "n_trials": model.summary_["n_trials"],
        "seconds": round(took, 1), "cpu_seconds": round(time.process_time(), 1),
        "commit": commit(),
    }  # fmt: skip


def commit() -> str:
    folder = Path(fairautoml.__file__).parent
    command = ["git", "-C", str(folder), "rev-parse", "--short", "HEAD"]
    return subprocess.run(command, capture_output=True, text=True, check=False).stdout.strip()


def cells(seeds):
    for seed in seeds:
        for metric in CONSTRAINTS:
            for name in TABLES:
                yield name, "clean", metric, seed
            if metric == CONSTRAINTS[0]:
                yield from ((name, "junk", metric, seed) for name in JUNK)


def compared(before: pd.DataFrame, after: pd.DataFrame) -> pd.DataFrame:
    """Return means over the seeds of both versions, and the paired difference in accuracy."""
    keys = ["table", "variant", "metric"]
    both = before.merge(after, on=[*keys, "seed"], suffixes=("_before", "_after"))
    both["difference"] = both["accuracy_after"] - both["accuracy_before"]
    for version in ("before", "after"):
        both[f"met_{version}"] = both[f"gap_{version}"] <= BOUND
    rows = both.groupby(keys, sort=False).agg(
        before=("accuracy_before", "mean"),
        after=("accuracy_after", "mean"),
        difference=("difference", "mean"),
        least=("difference", "min"),
        most=("difference", "max"),
        gap_before=("gap_before", "mean"),
        gap_after=("gap_after", "mean"),
        met_before=("met_before", "sum"),
        met_after=("met_after", "sum"),
        trials_before=("n_trials_before", "mean"),
        trials_after=("n_trials_after", "mean"),
        seeds=("seed", "count"),
    )
    return rows.reset_index()


def junk_cost(cells: pd.DataFrame) -> pd.DataFrame:
    """Return the accuracy of each table with a junk row minus that without, by seed."""
    keys = ["table", "metric", "seed"]
    wide = cells[cells["metric"] == CONSTRAINTS[0]].pivot(
        index=keys, columns="variant", values="accuracy"
    )
    return (wide["junk"] - wide["clean"]).dropna().unstack("seed").reset_index()


def markdown(frame: pd.DataFrame) -> str:
    rows = [map(str, frame.columns), ["---"] * frame.shape[1], *frame.astype(str).to_numpy()]
    return "\n".join("| " + " | ".join(row) + " |" for row in rows) + "\n"


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--seconds", type=float, default=30)
    parser.add_argument("--most", type=int, help="stop after so many fits")
    parser.add_argument("--before", type=Path, help="compare --out with this file; fit nothing")
    args = parser.parse_args()
    if args.before is not None:
        before, after = pd.read_csv(args.before), pd.read_csv(args.out)
        print(markdown(compared(before, after).round(4)))
        print(markdown(junk_cost(before).round(4)))
        print(markdown(junk_cost(after).round(4)))
        return
    args.out.parent.mkdir(parents=True, exist_ok=True)
    done = set()
    if args.out.exists():
        kept = pd.read_csv(args.out)
        done = set(zip(kept["table"], kept["variant"], kept["metric"], kept["seed"], strict=True))
    left = [cell for cell in cells(args.seeds) if cell not in done][: args.most]
    for cell in left:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            row = run(*cell, args.seconds)
        new = not args.out.exists()
        with args.out.open("a", newline="") as file:
            writer = csv.DictWriter(file, FIELDS)
            if new:
                writer.writeheader()
            writer.writerow(row)


if __name__ == "__main__":
    main()
