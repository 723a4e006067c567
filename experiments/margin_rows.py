"""What the automatic margin should refer to: the population, or new rows, and how many.

Seven shared tables, two metrics, bound 0.05: one fit each (``n_trials=12``, one thread), and the
selection repeated for each pair of a cap of the probability and a number of new rows per search
row. Judged on up to 25,000 other rows: ``held`` there, and the expected strict fair accuracy on
samples of three sevenths of the search rows (``worth``; 2,000 draws from the measured rates)::

    python experiments/margin_rows.py --out results/margin/rows.csv

continues the file, about 25 minutes on an idle core, and prints a table.
"""

import argparse
import csv
import warnings
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.model_selection import train_test_split

from fairautoml import FairAutoML
from fairautoml.data import load
from fairautoml.selection import choice

BOUND, N_NEW, DRAWS, TRIALS = 0.05, 25_000, 2_000, 12
METRICS = ("demographic_parity_difference", "equalized_odds_difference")
OPTIONS = (
    (0.95, np.inf), (0.99, np.inf), (0.95, 1.0), (0.99, 1.0), (0.95, 3 / 7), (0.99, 3 / 7),
)  # fmt: skip
"""Caps of the probability, and new rows per search row that it refers to."""

SENSITIVE = {
    "adult": "sex", "acs_income_2018": "SEX", "acs_public_coverage_2018": "RAC1P",
    "dutch_census_2001": "sex", "kdd_census_income_test": "sex",
    "hmda_2018_high_priced": "race", "bank_marketing_full": "age_group",
}  # fmt: skip
FIELDS = (
    "table", "metric", "n_rows", "seed", "cap", "new_rows", "accuracy", "gap", "majority",
    "met", "worth", "stated",
)  # fmt: skip


def read(name: str, seed: int, n_rows: int) -> tuple[pd.DataFrame, NDArray[Any], NDArray[Any]]:
    """Return features, whether the label is positive, and the group of rows of a table."""
    table = load(name)
    frame = table.frame
    if name == "acs_public_coverage_2018":
        frame = frame[frame["RAC1P"].astype(str).isin(["1", "2"])]
    if name == "hmda_2018_high_priced":
        frame = frame[frame["race"].isin(["white", "black", "asian"])]
    if name == "bank_marketing_full":
        frame = frame.assign(age_group=np.where(frame["age"] <= 25, "up to 25", "over 25"))
    frame = frame.sample(min(len(frame), n_rows + N_NEW), random_state=seed)
    y = (frame[table.target] == table.positive_label).to_numpy()
    group = frame[SENSITIVE[name]].astype(str).to_numpy()
    return frame.drop(columns=[table.target, *table.drop], errors="ignore"), y, group


def gaps(counts: NDArray[Any], metric: str) -> NDArray[np.float64]:
    """Return the gap of tables, shape (..., n_groups, 2, 2) by group, label and decision."""
    with np.errstate(invalid="ignore"):
        if metric == METRICS[0]:
            rates = counts[..., 1].sum(-1, keepdims=True) / counts.sum((-2, -1))[..., None]
        else:
            rates = counts[..., 1] / counts.sum(-1)
    found: NDArray[np.float64] = (np.nanmax(rates, -2) - np.nanmin(rates, -2)).max(-1)
    return found


def judged(
    y: NDArray[Any], decided: NDArray[Any], group: NDArray[Any], metric: str, n_rows: int
) -> dict[str, float]:
    """Return accuracy and gap, and what the rule is worth on a hold-out of three sevenths."""
    names = np.unique(group)
    at = np.searchsorted(names, group) * 4 + y * 2 + decided
    counts = np.bincount(at, minlength=4 * len(names)).reshape(-1, 2, 2)
    size = round(n_rows * 3 / 7)
    drawn = np.random.default_rng(0).multinomial(size, counts.ravel() / len(y), size=DRAWS)
    tables = drawn.reshape(DRAWS, *counts.shape)
    met = gaps(tables, metric) <= BOUND
    accuracy = (tables[:, :, 0, 0] + tables[:, :, 1, 1]).sum(1) / size
    majority = max(y.mean(), 1 - y.mean())
    return {
        "accuracy": float((y == decided).mean()), "gap": float(gaps(counts, metric)),
        "majority": majority, "met": met.mean(), "worth": np.where(met, accuracy, majority).mean(),
    }  # fmt: skip


def run(name: str, metric: str, n_rows: int, seed: int) -> Iterator[dict[str, object]]:
    """Fit once, and judge what each option selects."""
    X, y, group = read(name, seed, n_rows)
    train, new = train_test_split(
        np.arange(len(y)), train_size=n_rows, random_state=seed, stratify=y
    )
    model = FairAutoML(f"{metric} <= {BOUND}", n_trials=TRIALS, n_jobs=1, random_state=seed)
    given: list[Any] = []

    def remember(*arguments: Any) -> Any:
        given[:] = arguments
        return choice.select_final(*arguments)

    with patch("fairautoml.pipeline.select_final", remember):
        model.fit(X.iloc[train], y[train], group[train])
    candidates, problem, options = given
    for cap, new_rows in OPTIONS:
        with patch.object(choice, "SURE", cap):
            selected = choice.select_final(
                candidates, problem, replace(options, audit_ratio=new_rows)
            ).best
        model.model_ = model.pool_.classifier(selected)
        decided = np.asarray(model.predict(X.iloc[new], group[new])).astype(bool)
        known = selected.assessment
        yield {
            "table": name, "metric": metric, "n_rows": n_rows, "seed": seed, "cap": cap,
            "new_rows": new_rows, "stated": None if known is None else known.probability,
            **judged(y[new], decided, group[new], metric, n_rows),
        }  # fmt: skip


def summary(found: pd.DataFrame) -> str:
    """Return means by number of rows and option, and paired differences to the first option."""
    found = found.assign(held=found["gap"] <= BOUND)
    keys, lines = ["table", "metric", "seed"], [
        "| search rows | cap | new rows per search row | accuracy | minus first | held "
        "| met on 3/7 | worth | minus first |",
        "|" + "---|" * 9,
    ]  # fmt: skip
    for n_rows, part in found.groupby("n_rows"):
        wide = part.pivot_table(index=keys, columns=["cap", "new_rows"])
        for option in OPTIONS:
            means = [wide[name][option].mean() for name in ("accuracy", "held", "met", "worth")]
            less = []
            for name in ("accuracy", "worth"):
                apart = wide[name][option] - wide[name][OPTIONS[0]]
                less.append(f"{apart.mean():+.4f} ({apart.std() / len(apart) ** 0.5:.4f})")
            lines.append(
                f"| {n_rows:,} | {option[0]} | {option[1]:.2g} | {means[0]:.4f} | {less[0]} "
                f"| {means[1]:.2f} | {means[2]:.2f} | {means[3]:.4f} | {less[1]} |"
            )
    return "\n".join(lines)


def main() -> None:
    """Run what is missing, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--rows", type=int, nargs="+", default=[4_000, 10_000])
    parser.add_argument("--seeds", type=int, nargs="+", default=[220, 221, 222])
    given = parser.parse_args()
    warnings.simplefilter("ignore")
    known = pd.read_csv(given.out) if given.out.exists() else pd.DataFrame(columns=FIELDS)
    done = set(known[list(FIELDS[:4])].itertuples(index=False, name=None))
    cells = [
        (name, metric, n_rows, seed)
        for seed in given.seeds for n_rows in given.rows for name in SENSITIVE
        for metric in METRICS
    ]  # fmt: skip
    for cell in cells:
        if cell in done:
            continue
        rows, new = list(run(*cell)), not given.out.exists()
        with given.out.open("a", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, FIELDS)
            if new:
                writer.writeheader()
            writer.writerows(rows)
    print(summary(pd.read_csv(given.out)))


if __name__ == "__main__":
    main()
