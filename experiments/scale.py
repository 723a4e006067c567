"""Accuracy and time to the first model from 1,000 to 1,000,000 rows, on one and two cores.

``python experiments/scale.py --out results/scale`` fits what is missing, one fit at a time, and
writes ``cells.csv``, ``scale.svg`` and ``README.md``, whose text below the table is kept. About
ten minutes on an idle machine; the picture needs the extra ``plot``.
"""

import argparse
import csv
import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from budgets import NEW_ROWS, Cell, table
from common.shared_tables import commit, machine, markdown

SIZES, JOBS, SECONDS, BOUND = (1_000, 10_000, 100_000, 1_000_000), (1, 2), 60.0, 0.05
FIELDS = (
    "rows", "n_jobs", "seed", "accuracy", "gap", "status", "first_model", "seconds", "trials",
)  # fmt: skip


def fit(rows: int, n_jobs: int, seed: int) -> dict[str, Any]:
    """Fit one table in this process."""
    from fairautoml import FairAutoML
    from fairautoml.records import BASELINE, Progress, TrialState

    cell = Cell(name="scale", rows=rows, columns=20, categories=6, seconds=SECONDS, seed=seed)
    rng = np.random.default_rng(1000 + seed)
    X, y, groups = table(cell, rows, rng)
    first: list[float] = []

    def note(progress: Progress) -> None:
        result = progress.result
        trained = result.trial.config.learner != BASELINE.learner
        if not first and trained and result.status == TrialState.SUCCESS:
            first.append(time.monotonic() - began)

    model = FairAutoML(
        f"demographic_parity_difference <= {BOUND}", time_budget=SECONDS, n_jobs=n_jobs,
        random_state=seed, callbacks=[note],
    )  # fmt: skip
    began = time.monotonic()
    model.fit(X, y, groups)
    seconds = time.monotonic() - began
    new, labels, new_groups = table(cell, NEW_ROWS, rng)
    predicted = model.predict(new, new_groups)
    accepted = pd.Series(predicted == 1).groupby(new_groups).mean()
    return {
        "rows": rows, "n_jobs": n_jobs, "seed": seed,
        "accuracy": round(float((predicted == labels).mean()), 4),
        "gap": round(float(accepted.max() - accepted.min()), 4), "status": model.status_,
        "first_model": round(first[0], 2) if first else "", "seconds": round(seconds, 1),
        "trials": len(model.trials_),
    }  # fmt: skip


def measured(rows: int, n_jobs: int, seed: int) -> dict[str, Any]:
    """Fit in a process of its own."""
    done = subprocess.run(
        [sys.executable, "-W", "ignore", __file__, "--fit", str(rows), str(n_jobs), str(seed)],
        stdout=subprocess.PIPE, text=True, check=True,
    )  # fmt: skip
    row: dict[str, Any] = json.loads(done.stdout.strip().splitlines()[-1])
    return row


PAGE = """# From 1,000 to 1,000,000 rows

```sh
python experiments/scale.py --out results/scale
```

Generated tables of 20 columns, six of them text, with two groups (the generator of
[results/budgets](../budgets/README.md)); bound 0.05 on demographic parity, {seconds:g} s, defaults
of the library. Accuracy and gap are those on {new:,} new rows (standard error of the accuracy
about 0.003); *first model* is the time until the first model that is not constant, in seconds,
reading included. One fit at a time. Made at commit {commit} on {machine}.

![Accuracy and seconds to the first model against the number of rows](scale.svg)

{table}{words}"""


def draw(frame: pd.DataFrame, file: Path) -> None:
    """Draw both measures against the number of rows."""
    import matplotlib as mpl
    from matplotlib.figure import Figure

    mpl.rcParams.update({"svg.hashsalt": "fairautoml", "axes.spines.top": False})
    mpl.rcParams.update({"axes.spines.right": False, "figure.facecolor": "white"})
    figure = Figure(figsize=(7.5, 3), layout="constrained")
    names = {"accuracy": "accuracy on new rows", "first_model": "seconds to the first model"}
    for axes, (name, title) in zip(figure.subplots(1, 2), names.items(), strict=True):
        for n_jobs, rows in frame.groupby("n_jobs"):
            means = rows.groupby("rows")[name].mean()
            axes.plot(means.index, means, marker="o", label=f"n_jobs={n_jobs}")
        axes.set_xscale("log")
        axes.set_xlabel("rows")
        axes.set_title(title, fontsize=10)
    axes.set_ylim(bottom=0)
    axes.legend(frameon=False)
    figure.savefig(file, metadata={"Date": None})


def main() -> None:
    """Fit what is missing, then write the page."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path)
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--fit", type=int, nargs=3, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.fit is not None:
        print(json.dumps(fit(*given.fit)))
        return
    if given.out is None:
        parser.error("--out is required")
    given.out.mkdir(parents=True, exist_ok=True)
    file = given.out / "cells.csv"
    rows = pd.read_csv(file).to_dict("records") if file.is_file() else []
    made = {(row["rows"], row["n_jobs"], row["seed"]) for row in rows}
    for key in ((size, jobs, s) for s in range(given.seeds) for size in SIZES for jobs in JOBS):
        if key in made:
            continue
        rows.append(measured(*key))
        print(*rows[-1].values(), flush=True)
        with file.open("w", newline="", encoding="utf-8") as out:
            writer = csv.DictWriter(out, FIELDS)
            writer.writeheader()
            writer.writerows(rows)
    frame = pd.read_csv(file)
    draw(frame, given.out / "scale.svg")
    page = given.out / "README.md"
    words = page.read_text(encoding="utf-8").rpartition(" |\n")[2] if page.is_file() else ""
    text = PAGE.format(
        seconds=SECONDS, new=NEW_ROWS, commit=commit(), machine=machine(), words=words,
        table=markdown(frame.drop(columns="seed")),
    )  # fmt: skip
    page.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
