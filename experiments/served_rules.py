"""Count served rules that shut a group out without a headline, or are worth less than a constant.

All shared tables with a binary target, every sensitive column, demographic parity and equalized
odds at .05, README's call with a short budget; numbers of more than 50 values are cut at their
quantiles, as the error message says::

    python experiments/served_rules.py --out results/served_rules/cells.csv

Rates are computed here from the decisions on the out-of-fold scores, not taken from the library's
own check. A group is shut out if its constraint takes away nine tenths of a decision that the
best unconstrained model gives to at least five of its rows. Held-out rows tell how often that
shows on new data.
"""

import argparse
import time
import warnings
from pathlib import Path

import numpy as np
import pandas as pd
from sklearn.model_selection import train_test_split

from fairautoml import FairAutoML, GroupPolicy
from fairautoml.data import available, load
from fairautoml.exceptions import FairAutoMLError

BOUND, MOST_ROWS, FEWEST, NEARLY = 0.05, 40_000, 5, 0.1
MOST_GROUPS = 50
METRICS = ("demographic_parity_difference", "equalized_odds_difference")


def shut_out(served: np.ndarray, free: np.ndarray, n_rows: np.ndarray) -> np.ndarray:
    """Return which groups lose nearly all of one decision; rates of acceptance by group."""
    found = np.zeros(len(served), dtype=bool)
    for one, other in ((served, free), (1 - served, 1 - free)):
        found |= (one < NEARLY * other) & (n_rows * other >= FEWEST)
    return found


def rates_of(table: np.ndarray) -> np.ndarray:
    """Return the acceptance of each group from weights by group, label and decision."""
    return table[:, :, 1].sum(axis=1) / table.sum(axis=(1, 2))


def judged(model: FairAutoML, column: str, test: pd.DataFrame, target: str) -> dict[str, object]:
    """Return what the served rule does to the groups, and its worth against a constant."""
    board, entry = model.pool_.board, model.best_entry_
    system = board.systems[0]
    member = system.member.astype(float)
    plain = [e for e in board.entries if (e.mitigator, e.config.mitigation) == ("none", "none")]
    free = max(plain, key=lambda e: e.value)
    groups = [np.tensordot(member, e.deployed, 1) for e in (entry, free)]
    out = shut_out(*(rates_of(table) for table in groups), groups[0].sum(axis=(1, 2)))
    labels = [system.labels[g] for g in np.flatnonzero(out)]
    text = " ".join(model.summary_["headlines"])
    labelled = entry.counts.sum(axis=(0, 2))
    y = (test[target] == model.positive_class_).to_numpy()
    decided = np.asarray(model.predict(test.drop(columns=target))) == model.positive_class_
    return {
        "status": model.status_, "constant": entry.constant, "n_groups": len(out),
        "shut_out": 0 if entry.constant else len(labels),
        "shut_out_share": round(float(groups[0][out].sum() / groups[0].sum()), 4),
        "unnamed": 0 if entry.constant else sum(repr(one) not in text for one in labels[:5]),
        "value": round(entry.value, 5), "free_value": round(free.value, 5),
        "constant_value": round(float(labelled.max() / labelled.sum()), 5),
        "probability": entry.assessment.probability,
        "accuracy": round(float((decided == y).mean()), 5),
        "constant_accuracy": round(float(max(y.mean(), 1 - y.mean())), 5),
    }  # fmt: skip


def run(name: str, column: str, metric: str, seconds: float) -> dict[str, object]:
    """Fit one table under one constraint."""
    table = load(name)
    frame = table.frame.drop(columns=list(table.drop), errors="ignore")
    if len(frame) > MOST_ROWS:
        frame = frame.sample(MOST_ROWS, random_state=0)
    frame = frame.dropna(subset=[column]).reset_index(drop=True)
    labels = frame[table.target]
    train, test = train_test_split(frame, test_size=0.3, random_state=0, stratify=labels)
    many = pd.api.types.is_numeric_dtype(train[column]) and train[column].nunique() > MOST_GROUPS
    policy = GroupPolicy(bins={column: "quantiles"}) if many else None
    model = FairAutoML(
        f"{metric} <= {BOUND}", time_budget=seconds, group_policy=policy, random_state=0
    )
    start, found = time.monotonic(), {"table": name, "column": column, "metric": metric}
    try:
        model.fit(train.drop(columns=table.target), train[table.target], sensitive=column)
        test = test[test[column].isin(train[column])]
        found |= judged(model, column, test, table.target)
    except FairAutoMLError as error:
        found |= {"status": "refused", "error": str(error)[:300]}
    return {**found, "n_train": len(train), "seconds": round(time.monotonic() - start, 1)}


def cells() -> list[tuple[str, str, str]]:
    """Return table, sensitive column and metric of every fit."""
    binary = [n for n in available() if load(n).task == "binary"]
    return [
        (n, column, metric) for n in binary for column in load(n).sensitive for metric in METRICS
    ]


def summary(out: Path) -> str:
    """Return the counts as text."""
    found = pd.read_csv(out)
    fitted = found[found["status"] != "refused"]
    served = fitted[~fitted["constant"].astype(bool)]
    feasible = served[served["status"] == "feasible"]
    gain = served["accuracy"] - served["constant_accuracy"]
    lines = {
        "fits": f"{len(found)}, by status {found['status'].value_counts().to_dict()}",
        "constants served": int(fitted["constant"].astype(bool).sum()),
        "rules that shut a group out": int((served["shut_out"] > 0).sum()),
        "of these without a headline": int((served["unnamed"] > 0).sum()),
        "feasible rules that shut out half of the rows": int(
            (feasible["shut_out_share"] >= 0.5).sum()
        ),
        "rules below the best constant": int((served["value"] < served["constant_value"]).sum()),
        "held-out accuracy beyond the constant": f"mean {gain.mean():.4f}, least {gain.min():.4f}",
    }
    return "\n".join(f"{name}: {text}" for name, text in lines.items())


def main() -> None:
    """Run what is missing, and print the counts."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--seconds", type=float, default=10.0)
    arguments, done = parser.parse_args(), set()
    if arguments.out.exists():
        known = pd.read_csv(arguments.out)
        done = set(known[["table", "column", "metric"]].itertuples(index=False, name=None))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        rows = pd.read_csv(arguments.out).to_dict("records") if done else []
        for cell in cells():
            if cell not in done:
                rows.append(run(*cell, arguments.seconds))
                pd.DataFrame(rows).to_csv(arguments.out, index=False)
    print(summary(arguments.out))


if __name__ == "__main__":
    main()
