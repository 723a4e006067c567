"""Compare the stated probability that a bound holds in the population with how often it does.

Two simulated populations, 2 and 4 groups, 4,000 and 10,000 rows, 40 fits each: even seeds bound
demographic parity, odd seeds equalized odds. Of each fit, the served model and up to 12 other
models within the bound are judged on 30,000 new rows of the population::

    python experiments/margin.py --out results/margin/after.csv
    python experiments/margin.py --out results/margin/before.csv --served
    python experiments/margin.py --out results/margin/after.csv --before results/margin/before.csv

The second command, with an earlier version of the package on the import path, judges its served
models only; the third prints the tables of ``results/margin/README.md``.
"""

import argparse
import warnings
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from threadpoolctl import threadpool_limits

from fairautoml import FairAutoML
from fairautoml.data.lending import LendingPopulation

BOUND, FITS, TRIALS, NEW_ROWS, OTHERS = 0.05, 40, 4, 30_000, 12
METRICS = ("demographic_parity_difference", "equalized_odds_difference")
STATED = (0.0, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.99, 1.0)
CELL = ["population", "n_groups", "n_rows"]


def lending(n_rows: int, n_groups: int, seed: int) -> tuple[pd.DataFrame, np.ndarray]:
    """Draw loan applicants: by sex, or by sex and whether they live in the north."""
    frame = LendingPopulation().draw(n_rows, seed)
    north = np.where(frame["region"] == "north", "north", "elsewhere")
    group = frame["sex"] if n_groups == 2 else frame["sex"] + " " + north
    y = (frame.pop("repaid") == "yes").to_numpy().astype(int)
    return frame.drop(columns=["sex", "region"]).assign(group=group), y


def gaussian(n_rows: int, n_groups: int, seed: int) -> tuple[pd.DataFrame, np.ndarray]:
    """Draw rows whose features are normal around a mean of the group, with a logistic label."""
    rng = np.random.default_rng(seed)
    group = rng.choice(
        n_groups, n_rows, p=np.arange(n_groups, 0, -1) / np.arange(n_groups + 1).sum()
    )
    X = rng.normal(size=(n_rows, 6)) + 0.35 * group[:, None] * np.array([1, -1, 0.5, 0, 0, 0])
    chance = 1 / (1 + np.exp(-(X @ np.array([1.0, -0.8, 0.6, 0.5, 0.3, 0.0]) - 0.7)))
    frame = pd.DataFrame(X, columns=list("abcdef")).assign(group=np.array(list("wxyz"))[group])
    return frame, (rng.random(n_rows) < chance).astype(int)


POPULATIONS = {"lending": lending, "gaussian": gaussian}


def judged(y, decided, groups, metric: str) -> tuple[float, float]:
    """Return accuracy and the largest difference of the rates that the metric compares."""
    every = np.ones(len(y), dtype=bool)
    among = [every] if metric == METRICS[0] else [y == 1, y == 0]
    rates = [[decided[rows & (groups == g)].mean() for g in np.unique(groups)] for rows in among]
    return float((decided == y).mean()), max(max(r) - min(r) for r in rates)


def others(model: FairAutoML) -> list[object]:
    """Return other models within the bound whose fold models are stored, over all chances."""
    entries = [
        e
        for e in model.pool_.board.entries
        if e.meets and e is not model.best_entry_ and set(e.sources) <= set(model.pool_.bags)
    ]
    entries.sort(key=lambda e: (e.assessment.probability, e.value))
    at = np.linspace(0, len(entries) - 1, min(OTHERS, len(entries))).round().astype(int)
    return [entries[i] for i in np.unique(at)]


class Remembered:
    """Model that scores the new rows once; so few that they are predicted in one block."""

    def __init__(self, model: Any) -> None:
        self._model, self._known = model, None

    def scores(self, X: Any, cells: Any) -> Any:
        """Return the scores of the first call."""
        if self._known is None:
            self._known = self._model.scores(X, cells)
        return self._known


def run(cell: tuple[str, int, int, int], served_only: bool) -> list[dict[str, object]]:
    """Fit once, and judge the served model and others of the same fit."""
    population, n_groups, n_rows, seed = cell
    metric, draw = METRICS[seed % 2], POPULATIONS[population]
    X, y = draw(n_rows, n_groups, seed)
    model = FairAutoML(f"{metric} <= {BOUND}", n_trials=TRIALS, n_jobs=1, random_state=seed)
    with warnings.catch_warnings(), threadpool_limits(1):
        warnings.simplefilter("ignore")
        model.fit(X, y, sensitive="group")
        new, labels = draw(NEW_ROWS, n_groups, 10_000 + seed)
        groups, found = new["group"].to_numpy(), []
        bags = {key: Remembered(bag) for key, bag in model.pool_.bags.items()}
        pool = replace(model.pool_, bags=bags)
        for entry in [model.best_entry_, *([] if served_only else others(model))]:
            chosen = entry is model.best_entry_
            model.model_ = pool.classifier(entry)
            accuracy, gap = judged(labels, np.asarray(model.predict(new)), groups, metric)
            margin = (model.summary_["margin"] or {}) if chosen else {}
            known = getattr(entry, "assessment", None)
            interval = None if known is None else known.gap_interval
            found.append({
                "population": population, "n_groups": n_groups, "n_rows": n_rows, "seed": seed,
                "metric": metric, "served": chosen, "accuracy": round(accuracy, 5),
                "gap": round(gap, 5), "held": gap <= BOUND,
                "stated": margin.get("probability") if known is None else known.probability,
                "holdout": margin.get("holdout_probability"),
                "high": None if interval is None else round(interval[1], 5),
                "constant": entry.constant, "feasible": model.feasible_ if chosen else None,
            })  # fmt: skip
    return found


def cells() -> list[tuple[str, int, int, int]]:
    """Return population, groups, rows and seed of every fit."""
    return [
        (population, n_groups, n_rows, seed)
        for seed in range(FITS)
        for population in POPULATIONS
        for n_groups in (2, 4)
        for n_rows in (4_000, 10_000)
    ]


def calibration(found: pd.DataFrame, keys: list[str]) -> pd.DataFrame:
    """Return stated and observed shares by interval of the stated probability."""
    known = found[~found["constant"].astype(bool)].dropna(subset=["stated"])
    between = pd.cut(known["stated"], STATED, include_lowest=True)
    table = known.groupby([*keys, between], observed=True).agg(
        models=("held", "size"), stated=("stated", "mean"), held=("held", "mean")
    )
    return table.round(3).reset_index(names=[*keys, "between"])


def of_served(found: pd.DataFrame) -> pd.DataFrame:
    """Return accuracy and the share of served models within the bound, by cell and metric."""
    served = found[found["served"].astype(bool)]
    return served.groupby([*CELL, "metric"]).agg(
        accuracy=("accuracy", "mean"), held=("held", "mean"), stated=("stated", "mean")
    )


def tables(out: Path, before: Path | None) -> None:
    """Print the tables of the README."""
    found = pd.read_csv(out)
    print(calibration(found, []).to_string(index=False), end="\n\n")
    for keys in (["n_groups", "metric"], ["population", "n_rows"]):
        print(calibration(found, keys).to_string(index=False), end="\n\n")
    upper = found.dropna(subset=["high"])
    covered = (upper["gap"] <= upper["high"]).groupby(upper["served"]).mean()
    print("share of gaps at most the upper limit, by served:", covered.round(3).to_dict())
    table = of_served(found)
    if before is not None:
        table = of_served(pd.read_csv(before)).join(table, lsuffix="_before", rsuffix="_after")
        table["difference"] = table["accuracy_after"] - table["accuracy_before"]
    print(table.round(4).reset_index().to_string(index=False))


def main() -> None:
    """Run what is missing, or print the tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--before", type=Path)
    parser.add_argument("--served", action="store_true", help="judge served models only")
    parser.add_argument("--workers", type=int, default=2)
    arguments = parser.parse_args()
    done = set()
    if arguments.out.exists():
        known = pd.read_csv(arguments.out)
        done = set(known[[*CELL, "seed"]].itertuples(index=False, name=None))
    todo = [cell for cell in cells() if cell not in done]
    with ProcessPoolExecutor(arguments.workers) as pool:
        for rows in pool.map(run, todo, [arguments.served] * len(todo)):
            new = not arguments.out.exists()
            pd.DataFrame(rows).to_csv(arguments.out, mode="a", header=new, index=False)
    tables(arguments.out, arguments.before)


if __name__ == "__main__":
    main()
