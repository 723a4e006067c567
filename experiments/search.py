"""Strategies and allocators with the same time budget, each fit on a core of its own.

``python experiments/search.py --out results/search`` fits what is missing, two at a time, and
writes ``cells.csv`` and ``README.md``, whose text below the last table is kept. About 70 minutes,
and only where torch is installed with ``GPSampler``.

The search rows are a sample of a shared table; up to 25,000 other rows are held out.
"""

import argparse
import importlib.util
import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import optuna
import pandas as pd

from common.cores import fit_on_cores
from common.shared_tables import commit, gap_of, machine, markdown

N_NEW = 25_000
EG = ("exponentiated_gradient", "bias_scoring", "common_threshold")
THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "LOKY_MAX_CPU_COUNT")
GP = "GPSampler"
"""Optuna's sampler over a Gaussian process; it needs torch."""
NETWORKS = ("realmlp", "tabicl", "tabm")
STRATEGIES = (
    "optuna_tpe", "optuna_motpe", "optuna_nsga2", "cfo", "blendsearch", "flaml_eci", "admm",
    "random", GP,
)  # fmt: skip
ALLOCATORS = ("ladder", "cost_aware", "mitigate_never", "mitigate_after", "mitigate_always")
FIELDS = (
    "question", "task", "variant", "seed", "feasible", "score", "gap", "held_score", "held_gap",
    "strict", "trials", "screened", "promoted", "mitigated", "mitigation_seconds", "mitigation",
    "seconds", "commit", "keys",
)  # fmt: skip


@dataclass(frozen=True)
class Task:
    """A sample of a shared table with a constraint."""

    name: str
    table: str
    n_rows: int  # of the search
    sensitive: str
    constraint: str
    groups: tuple[str, ...] = ()  # groups that are kept; empty = all
    blind: bool = False
    mitigators: tuple[str, ...] | None = None
    regression: bool = False
    seconds: float = 30.0  # time budget

    @property
    def bound(self) -> float:
        """Limit of the constraint."""
        return float(self.constraint.rpartition("<=")[2])


DP, EO = "demographic_parity_difference <= 0.05", "equalized_odds_difference <= 0.05"
TASKS = {
    "strategies": (
        Task("adult_dp", "adult", 20_000, "sex", DP),
        Task("bank_eo", "bank_marketing_full", 20_000, "marital", EO),
        Task("coverage_eo", "acs_public_coverage_2018", 5_000, "RAC1P", EO, ("1", "2")),
        Task("income_dp", "acs_income_2018", 100_000, "SEX", DP, seconds=120.0),
    ),
    "allocators": (
        Task("coverage_blind_dp", "acs_public_coverage_2018", 20_000, "RAC1P", DP, ("1", "2"),
             blind=True, mitigators=EG),
        Task("compas_blind_eo", "compas_two_years", 5_000, "race", EO,
             ("African-American", "Caucasian"), blind=True, mitigators=EG),
        Task("gpa_bounded_loss", "ufrgs_gpa", 20_000, "gender", "bounded_group_loss <= 0.6",
             regression=True, mitigators=("none", "bounded_loss")),
    ),
}  # fmt: skip


@dataclass(frozen=True)
class Cell:
    """One fit."""

    question: str
    task: Task
    variant: str
    seed: int

    @property
    def key(self) -> tuple[str, str, str, int]:
        """Its row of ``cells.csv``."""
        return self.question, self.task.name, self.variant, self.seed


def cells(seeds: int) -> list[Cell]:
    """Return all fits."""
    return [
        Cell(question, task, variant, seed)
        for question, variants in (("strategies", STRATEGIES), ("allocators", ALLOCATORS))
        for task in TASKS[question]
        for seed in range(200, 200 + seeds)
        for variant in variants
    ]


def rows_of(task: Task, seed: int) -> tuple[pd.DataFrame, pd.DataFrame, Any, Any]:
    """Return features and target of the search rows and of the rows held out."""
    from fairautoml.data import load

    table = load(task.table)
    frame = table.frame.drop(columns=list(table.drop), errors="ignore")
    if task.groups:
        frame = frame[frame[task.sensitive].astype(str).isin(task.groups)]
    frame = frame.sample(frac=1.0, random_state=seed).reset_index(drop=True)
    n_rows = min(task.n_rows, len(frame) // 2)
    frame = frame.iloc[: n_rows + N_NEW]
    y = frame.pop(table.target)
    if not task.regression:
        y = (y == table.positive_label).astype(int)
    frame[task.sensitive] = frame[task.sensitive].astype(str)
    return frame.iloc[:n_rows], frame.iloc[n_rows:], y.iloc[:n_rows], y.iloc[n_rows:]


def fit(cell: Cell) -> dict[str, Any]:
    """Fit one variant, and judge it on the rows held out."""
    from fairautoml import AllExcept, FairAutoML, FairAutoMLRegressor

    task = cell.task
    X, X_new, y, y_new = rows_of(task, cell.seed)
    chosen: dict[str, Any] = {"allocator": cell.variant}
    if cell.question == "strategies":
        gp = optuna.samplers.GPSampler(seed=cell.seed) if cell.variant == GP else None
        # With torch, which the sampler needs, networks would join the space.
        chosen = {"strategy": cell.variant if gp is None else gp, "learners": AllExcept(NETWORKS)}
    model = (FairAutoMLRegressor if task.regression else FairAutoML)(
        task.constraint, time_budget=task.seconds, random_state=cell.seed,
        mitigators=task.mitigators, sensitive_at_predict=not task.blind, **chosen,
    )  # fmt: skip
    model.fit(X, y, sensitive=task.sensitive)
    predicted = np.asarray(model.predict(X_new))
    held, gap, majority = judged(task, y_new.to_numpy(), predicted, X_new[task.sensitive])
    trials, entry = model.trials_, model.best_entry_
    searched = trials[(trials["origin"] == "search") & (trials["trial"] > 0)]
    costly = trials[trials["mitigation"] != "none"]
    return {
        **dict(zip(FIELDS, (cell.question, task.name, cell.variant, cell.seed), strict=False)),
        "feasible": bool(model.feasible_), "score": entry.score, "gap": entry.gap,
        "held_score": held, "held_gap": gap, "strict": held if gap <= task.bound else majority,
        "trials": len(trials), "screened": len(searched),
        "promoted": int((trials["origin"] == "promotion").sum()), "mitigated": len(costly),
        "mitigation_seconds": round(float(costly["seconds"].sum()), 1),
        "mitigation": entry.config.mitigation, "seconds": model.summary_["seconds"],
        "commit": commit(),
        "keys": " ".join(str(key)[:8] for key in searched["key"]),
    }  # fmt: skip


def judged(
    task: Task, y: "np.ndarray[Any, Any]", predicted: Any, groups: Any
) -> tuple[float, float, float]:
    """Return score and gap on the rows held out, and the score of a constant."""
    if task.regression:
        errors = (y - predicted) ** 2
        worst = pd.Series(errors).groupby(groups.to_numpy()).mean().max()
        return -float(np.sqrt(errors.mean())), float(worst), -float(y.std())
    found = gap_of(task.constraint.split()[0], y == 1, predicted == 1, groups.to_numpy())
    return float((y == predicted).mean()), float(found), float(max(y.mean(), 1 - y.mean()))


def measured(cell: Cell, core: int) -> dict[str, Any] | None:
    """Fit a cell in a process of its own on one core; None if that failed."""
    env = {**os.environ, **dict.fromkeys(THREADS, "1")}
    named = [cell.question, cell.task.name, cell.variant, str(cell.seed), str(core)]
    done = subprocess.run(
        [sys.executable, "-W", "ignore", __file__, "--fit", *named],
        env=env, capture_output=True, text=True, check=False,
        timeout=cell.task.seconds * 4 + 300,
    )  # fmt: skip
    if done.returncode:
        print(*cell.key, "failed:", done.stderr.strip()[-500:], flush=True)
        return None
    row: dict[str, Any] = json.loads(done.stdout.strip().splitlines()[-1])
    return row


def fit_named(question: str, task: str, variant: str, seed: str, core: str) -> None:
    """Fit the named cell on a core, and print its row."""
    os.sched_setaffinity(0, {int(core)})
    found = next(one for one in TASKS[question] if one.name == task)
    print(json.dumps(fit(Cell(question, found, variant, int(seed)))))


PAGE = """# Strategies and allocators with the same time budget

```sh
python experiments/search.py --out results/search
```

All fits of a task have the same search rows and budget and one core each; two run at a time. Up to
25,000 other rows are held out. Tasks: adult (sex, demographic parity) and bank marketing (marital
status, equalized odds) with 20,000 search rows, ACS coverage (two races, equalized odds) with
5,000, 30 s; ACS income (sex, demographic parity) with 100,000, 120 s; {seeds} seeds each. Made
on {machine}.

## Strategies

`FairAutoML(constraint, time_budget=..., strategy=...)`, everything else by default (`auto` is
`optuna_tpe`), at {commits[strategies]}. *Proposed* are the trials that the strategy itself
chose, after the portfolio that all strategies begin with; *share* is their part of all screened
trials. *Regret* is the distance of the selected score on the search rows (cross-fitted) from the
best of all strategies on the same rows, in points of accuracy; *strict fair accuracy* is that on
the rows held out. Mean and standard error over tasks and seeds, and the paired difference from
`optuna_tpe`.

{strategies}
Proposed trials by task, mean over the strategies but `GPSampler`:

{proposals}
## Allocators

Tasks where a training-time mitigation can pay: rules that must not read a group that is hard to
guess (ACS coverage and COMPAS by race, with `exponentiated_gradient` in the space), and a
regression whose constraint has no post-processor (GPA, the largest mean squared error of a gender
at most 0.6, with `bounded_loss`), at {commits[allocators]}. The score is accuracy; for GPA
it is R2 on the search rows and minus the root mean squared error on those held out. *Strict* gives
a run that misses the bound on held-out rows the score of a constant. *Mitigated* are trials with a
training-time mitigation.

{allocators}{words}"""


def mean_text(values: "pd.Series[float]") -> str:
    """Return the mean with its standard error in brackets."""
    return f"{values.mean():.4f} ({values.sem():.4f})"


def strategies_table(frame: pd.DataFrame) -> pd.DataFrame:
    """Return one row per strategy, smallest regret first."""
    block = frame["task"] + frame["seed"].astype(str)
    regret = frame.groupby(block)["score"].transform("max") - frame["score"]
    frame = frame.assign(block=block, regret=100 * regret)
    usual = frame[frame["variant"] == "optuna_tpe"].set_index("block")
    found = []
    for name, rows in frame.groupby("variant", sort=False):
        own = rows.set_index("block")
        apart = own["strict"] - usual["strict"]
        found.append({
            "strategy": name, "regret": mean_text(own["regret"]), "order": own["regret"].mean(),
            "strict fair accuracy": mean_text(own["strict"]),
            "minus optuna_tpe": "" if name == "optuna_tpe" else mean_text(apart.dropna()),
            "bound met": f"{int((own['strict'] == own['held_score']).sum())} of {len(own)}",
            "trials": f"{own['trials'].mean():.0f}", "proposed": f"{own['proposed'].mean():.0f}",
            "share": f"{100 * own['proposed'].sum() / own['screened'].sum():.0f} %",
        })  # fmt: skip
    return pd.DataFrame(found).sort_values("order").drop(columns="order")


def with_proposals(frame: pd.DataFrame) -> pd.DataFrame:
    """Return the rows with the number of trials that not every strategy ran."""
    keys = frame["keys"].fillna("").str.split().map(set)
    shared = {
        block: set.intersection(*keys[rows.index])
        for block, rows in frame.groupby(["task", "seed"])
    }
    proposed = [
        len(own - shared[block])
        for own, block in zip(keys, zip(frame["task"], frame["seed"], strict=True), strict=True)
    ]
    return frame.assign(proposed=proposed)


def proposals_table(frame: pd.DataFrame) -> pd.DataFrame:
    """Return the trials of every task by rung."""
    names = ["screened", "proposed", "promoted"]
    means = frame.groupby("task", sort=False)[names].mean().round(0).astype(int)
    least = frame.groupby("task", sort=False)["proposed"].min()
    return means.assign(**{"fewest proposed": least}).reset_index()


def allocators_table(frame: pd.DataFrame) -> pd.DataFrame:
    """Return one row per task and allocator."""
    found = []
    for (task, name), rows in frame.groupby(["task", "variant"], sort=False):
        found.append({
            "task": task, "allocator": name, "score, search rows": f"{rows['score'].mean():.4f}",
            "score, held out": f"{rows['held_score'].mean():.4f}",
            "gap, held out": f"{rows['held_gap'].mean():.4f}",
            "strict": mean_text(rows["strict"]),
            "bound met": f"{int((rows['strict'] == rows['held_score']).sum())} of {len(rows)}",
            "trials": f"{rows['trials'].mean():.0f}",
            "mitigated": f"{rows['mitigated'].mean():.1f}",
            "its seconds": f"{rows['mitigation_seconds'].mean():.1f}",
        })  # fmt: skip
    return pd.DataFrame(found)


def write_page(frame: pd.DataFrame, page: Path) -> None:
    """Write the page; text below its last table is kept."""
    words = page.read_text(encoding="utf-8").rpartition(" |\n")[2] if page.is_file() else ""
    strategies = with_proposals(frame[frame["question"] == "strategies"])
    text = PAGE.format(
        seeds=frame["seed"].nunique(),
        commits={q: ", ".join(r["commit"].unique()) for q, r in frame.groupby("question")},
        machine=machine(), strategies=markdown(strategies_table(strategies)), words=words,
        proposals=markdown(proposals_table(strategies[strategies["variant"] != GP])),
        allocators=markdown(allocators_table(frame[frame["question"] == "allocators"])),
    )  # fmt: skip
    page.write_text(text, encoding="utf-8")


def main() -> None:
    """Fit what is missing, then write the page."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path)
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--fit", nargs=5, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.fit is not None:
        fit_named(*given.fit)
        return
    if given.out is None:
        parser.error("--out is required")
    given.out.mkdir(parents=True, exist_ok=True)
    file = given.out / "cells.csv"
    rows = pd.read_csv(file).fillna("").to_dict("records") if file.is_file() else []
    made = {tuple(row[name] for name in FIELDS[:4]) for row in rows}
    with_torch = importlib.util.find_spec("torch") is not None
    todo = [c for c in cells(given.seeds) if c.key not in made and (with_torch or c.variant != GP)]
    fit_on_cores(todo, measured, rows, file, FIELDS)
    write_page(pd.read_csv(file), given.out / "README.md")


if __name__ == "__main__":
    main()
