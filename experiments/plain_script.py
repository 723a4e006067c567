"""Models without a constraint, by AUC and log loss, against FLAML and AutoGluon.

``python experiments/plain_script.py --out results/plain --resume`` writes ``scores.csv`` and
``README.md``. Two fits at a time, each on a core of its own; about 35 minutes for 30 s and 40
minutes for 120 s. AutoGluon has a Python of its own, which
``python experiments/peers/_environments.py`` makes.
"""

import argparse
import json
import math
import os
import platform
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from common.cores import fit_on_cores

SYSTEMS = ("fairautoml", "flaml", "autogluon")
FIELDS = ("table", "system", "budget", "seed", "auc", "log_loss", "fit_seconds", "reason")
LABEL, HELD_OUT, MOST_ROWS = "__label__", 0.3, 100_000
FLAML_LEARNERS = ["lgbm", "xgboost", "xgb_limitdepth", "histgb", "rf", "extra_tree", "lrl1"]
AUTOGLUON_MODELS: dict[str, dict[str, Any]] = {"GBM": {}, "XGB": {}, "RF": {}, "XT": {}, "LR": {}}
"""The families of fairautoml's default space, in all forms that the other systems have."""
THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "LOKY_MAX_CPU_COUNT")


@dataclass(frozen=True)
class Table:
    """A shared table as a binary task."""

    name: str
    without: str | None = None  # class whose rows are left out
    positive: tuple[str, ...] = ()  # classes that count as positive; empty = the table's own
    long: bool = False  # whether it is run with the large budget too


TABLES = (
    Table("adult"),
    Table("bank_marketing_full"),
    Table("acs_income_2018", long=True),
    Table("acs_public_coverage_2018"),
    Table("hmda_2018_high_priced", long=True),
    Table("kdd_census_income_test"),
    Table("meps_h181_subset"),
    Table("oulad_student_info", without="Withdrawn", positive=("Pass", "Distinction"), long=True),
)


@dataclass(frozen=True)
class Cell:
    """One fit."""

    table: Table
    system: str
    budget: float  # seconds
    seed: int

    @property
    def key(self) -> tuple[str, str, float, int]:
        """Its row of ``scores.csv``."""
        return self.table.name, self.system, self.budget, self.seed


def read(table: Table) -> tuple[pd.DataFrame, "np.ndarray[Any, np.dtype[np.int64]]"]:
    """Return at most ``MOST_ROWS`` rows of features and labels."""
    from fairautoml.data import load

    named = load(table.name)
    frame = named.frame
    if table.without is not None:
        frame = frame[frame[named.target] != table.without]
    if len(frame) > MOST_ROWS:
        frame = frame.sample(MOST_ROWS, random_state=0)
    positive = table.positive or (named.positive_label,)
    y = frame[named.target].isin(positive).to_numpy().astype(np.int64)
    X = frame.drop(columns=[named.target, *named.drop]).reset_index(drop=True)
    return X, y


def measured(cell: Cell, core: int) -> dict[str, Any]:
    """Fit one system in a process of its own, and score the held-out rows."""
    from sklearn.metrics import log_loss, roc_auc_score
    from sklearn.model_selection import train_test_split

    X, y = read(cell.table)
    train, held = train_test_split(
        np.arange(len(y)), test_size=HELD_OUT, random_state=cell.seed, stratify=y
    )
    row = dict(zip(FIELDS[:4], cell.key, strict=True))
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        X.iloc[train].assign(**{LABEL: y[train]}).to_csv(folder / "train.csv", index=False)
        X.iloc[held].to_csv(folder / "held.csv", index=False)
        request = {
            "system": cell.system, "seconds": cell.budget, "seed": cell.seed, "core": core,
            "numbers": list(X.select_dtypes("number").columns),
        }  # fmt: skip
        (folder / "request.json").write_text(json.dumps(request), encoding="utf-8")
        env = {**os.environ, **dict.fromkeys(THREADS, "1")}
        done = subprocess.run(
            [_python(cell.system), "-W", "ignore", __file__, "--fit", place],
            env=env, capture_output=True, text=True, check=False, timeout=cell.budget * 4 + 300,
        )  # fmt: skip
        if not (folder / "scores.npy").is_file():
            reason = (str(done.stderr).strip().splitlines() or ["no message"])[-1][:200]
            return {
                **row,
                "auc": 0.5,
                "log_loss": math.log(2),
                "fit_seconds": "",
                "reason": reason,
            }
        scores = np.load(folder / "scores.npy")
        seconds = json.loads((folder / "seconds.json").read_text(encoding="utf-8"))
    return {
        **row,
        "auc": round(float(roc_auc_score(y[held], scores)), 6),
        "log_loss": round(float(log_loss(y[held], np.clip(scores, 1e-7, 1 - 1e-7))), 6),
        "fit_seconds": round(seconds, 1),
        "reason": "",
    }


def _python(system: str) -> str:
    if system != "autogluon":
        return sys.executable
    sys.path.insert(0, str(Path(__file__).parent))
    from peers._environments import python_of

    return python_of("oxonfair_autogluon")


def fit(folder: Path) -> None:
    """Fit the system that ``request.json`` names, and write its scores of ``held.csv``."""
    request = json.loads((folder / "request.json").read_text(encoding="utf-8"))
    os.sched_setaffinity(0, {request["core"]})
    X, held = (_rows(folder / f"{name}.csv", request["numbers"]) for name in ("train", "held"))
    y = X.pop(LABEL).astype(int).to_numpy()
    start = time.monotonic()
    predict = {"fairautoml": _ours, "flaml": _flaml}.get(request["system"], _autogluon)(
        X, y, request, folder
    )
    seconds = time.monotonic() - start
    scores = np.asarray(predict(held), dtype=np.float64)
    (folder / "seconds.json").write_text(json.dumps(seconds), encoding="utf-8")
    np.save(folder / "scores.npy", scores)


def _rows(path: Path, numbers: list[str]) -> pd.DataFrame:
    head = pd.read_csv(path, nrows=0).columns
    texts = dict.fromkeys([c for c in head if c not in numbers and c != LABEL], object)
    return pd.read_csv(path, dtype=texts)


def _ours(X: pd.DataFrame, y: Any, request: dict[str, Any], folder: Path) -> Any:
    from fairautoml import FairAutoML

    model = FairAutoML(
        objective="roc_auc", time_budget=request["seconds"], random_state=request["seed"]
    )
    model.fit(X, y)
    return lambda rows: model.base_proba(rows)[:, 1]


def _flaml(X: pd.DataFrame, y: Any, request: dict[str, Any], folder: Path) -> Any:
    from flaml import AutoML  # type: ignore[attr-defined]

    model = AutoML()  # type: ignore[no-untyped-call]
    model.fit(
        X_train=X, y_train=y, task="classification", metric="roc_auc", n_jobs=1, verbose=0,
        time_budget=request["seconds"], estimator_list=FLAML_LEARNERS, seed=request["seed"],
    )  # fmt: skip
    return lambda rows: model.predict_proba(rows)[:, 1]  # type: ignore[no-untyped-call]


def _autogluon(X: pd.DataFrame, y: Any, request: dict[str, Any], folder: Path) -> Any:
    from autogluon.tabular import TabularPredictor  # type: ignore[import-not-found]

    model = TabularPredictor(
        label=LABEL, problem_type="binary", eval_metric="roc_auc", path=folder / "ag", verbosity=0
    )
    model.fit(
        X.assign(**{LABEL: y}), time_limit=request["seconds"], hyperparameters=AUTOGLUON_MODELS,
        num_cpus=1, num_gpus=0,
    )  # fmt: skip
    return lambda rows: model.predict_proba(rows)[1]


def cells(budgets: list[float], seeds: int) -> list[Cell]:
    """Return all fits; budgets above the smallest are for the tables called ``long``."""
    return [
        Cell(table=table, system=system, budget=budget, seed=seed)
        for budget in budgets
        for table in TABLES
        if table.long or budget == min(budgets)
        for seed in range(100, 100 + seeds)
        for system in SYSTEMS
    ]


PAGE = """# Without a constraint: AUC and log loss against FLAML and AutoGluon

```sh
{command}
```

The most accurate model without fairness constraint: eight shared tables (of at most 100,000 rows)
with {budgets[0]:g} s, three of them with the other budget too, {seeds} splits each, 30 % of the
rows held out. Two fits at a time, each on one core. Columns that are no numbers are passed as
text; acs_income_2018 has two with 222 and 529 categories. Every system has the families of the
default space of fairautoml (LightGBM, XGBoost, random forests, extra trees, linear models), in all
forms that it knows, and maximizes AUC; `fairautoml` is
`FairAutoML(objective="roc_auc", time_budget=...)` with its defaults. Mean over the splits,
standard deviation in brackets, and the mean rank over tables and splits. Made by {commits} on
{machine}.

{tables}
{words}"""


def page(frame: pd.DataFrame, command: str, words: str, commit: str) -> str:
    """Return the page."""
    tables = []
    for budget in sorted(frame["budget"].unique()):
        part = frame[frame["budget"] == budget]
        for measure, ascending in (("auc", False), ("log_loss", True)):
            title = f"{measure} after {float(budget):g} s"
            tables.append(_table(part, measure, title, ascending=ascending))
    machine = f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}"
    return PAGE.format(
        command=command, budgets=sorted(frame["budget"].unique()), seeds=frame["seed"].nunique(),
        tables="\n".join(tables), words=words, machine=machine, commits=commit,
    )  # fmt: skip


def _table(part: pd.DataFrame, measure: str, title: str, *, ascending: bool) -> str:
    systems = [system for system in SYSTEMS if system in set(part["system"])]
    lines = [f"| {title} | " + " | ".join(systems) + " |", "|---" * (len(systems) + 1) + "|"]
    for name, of_table in part.groupby("table", sort=False):
        found = of_table.groupby("system")[measure].agg(["mean", "std"])
        shown = [
            f"{mean:.4f}" if math.isnan(spread) else f"{mean:.4f} ({spread:.4f})"
            for mean, spread in found.loc[systems].to_numpy()
        ]
        lines.append(f"| {name} | " + " | ".join(shown) + " |")
    wide = part.pivot_table(index=["table", "seed"], columns="system", values=measure)
    ranks = wide[systems].rank(axis=1, ascending=ascending).mean()
    lines.append(
        "| **mean rank** | " + " | ".join(f"{float(ranks[s]):.2f}" for s in systems) + " |"
    )
    return "\n".join(lines) + "\n"


def main() -> None:
    """Fit what is missing, then write the page; text below its last table is kept."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path)
    parser.add_argument("--seconds", type=float, nargs="+", default=[30.0, 120.0])
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--resume", action="store_true", help="fit only what is missing")
    parser.add_argument("--fit", type=Path, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.fit is not None:
        fit(given.fit)
        return
    if given.out is None:
        parser.error("--out is required")
    given.out.mkdir(parents=True, exist_ok=True)
    file = given.out / "scores.csv"
    rows = (
        pd.read_csv(file).astype(object).fillna("").to_dict("records")
        if given.resume and file.is_file()
        else []
    )
    made = {tuple(row[name] for name in FIELDS[:4]) for row in rows}
    todo = [c for c in cells(given.seconds, given.seeds) if c.key not in made]
    fit_on_cores(todo, measured, rows, file, FIELDS)
    written = given.out / "README.md"
    words = written.read_text(encoding="utf-8").rpartition(" |\n")[2] if written.is_file() else ""
    command = f"python experiments/plain_script.py --out {given.out} --resume"
    commit = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"], capture_output=True, encoding="utf-8", check=True
    ).stdout.strip()
    written.write_text(page(pd.DataFrame(rows), command, words, commit), encoding="utf-8")


if __name__ == "__main__":
    main()
