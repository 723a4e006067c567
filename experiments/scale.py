"""Accuracy, first model and memory from 1,000 to 1,000,000 rows, on one core and on two.

``python experiments/scale.py --out results/scale`` fits what is missing, one fit at a time, and
writes ``cells.csv``, ``scale.svg`` and ``README.md``, whose text below the table is kept. About
15 minutes on an idle machine; the picture needs the extra ``plot``.
"""

import argparse
import csv
import json
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from budgets import NEW_ROWS, Cell, table
from common.shared_tables import commit, machine, markdown
from fairautoml import FairAutoML
from fairautoml.bench.cell import Usage
from fairautoml.records import BASELINE, Config, Progress, Trial, TrialState
from fairautoml.search.allocators import ALLOCATORS
from fairautoml.search.allocators.ladder import Ladder

SIZES, SECONDS, BOUND = (1_000, 10_000, 100_000, 1_000_000), 60.0, 0.05
WAYS = {"one core": (1, 1), "two workers": (2, 1), "two threads": (1, 2)}
"""Workers, and threads of each trial."""
FIELDS = (
    "rows", "way", "seed", "accuracy", "gap", "status", "first_model", "seconds", "trials",
    "memory_mb", "commit",
)  # fmt: skip


class Threaded(Ladder):
    """The default allocator, whose trials train with two threads."""

    def next_trial(
        self, ask: Callable[[], Config | None], *, number: int, seconds_left: float | None
    ) -> Trial | None:
        """Return the next trial with two threads."""
        trial = super().next_trial(ask, number=number, seconds_left=seconds_left)
        return None if trial is None else replace(trial, n_threads=2)


def fit(rows: int, way: str, seed: int) -> dict[str, Any]:
    """Fit one table in this process."""
    n_jobs, n_threads = WAYS[way]
    allocators: dict[str, Any] = {"ladder": Threaded} if n_threads > 1 else {}

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
    with ALLOCATORS.adding(allocators):
        model.fit(X, y, groups)
    seconds = time.monotonic() - began
    new, labels, new_groups = table(cell, NEW_ROWS, rng)
    predicted = model.predict(new, new_groups)
    accepted = pd.Series(predicted == 1).groupby(new_groups).mean()
    return {
        "rows": rows, "way": way, "seed": seed,
        "accuracy": round(float((predicted == labels).mean()), 4),
        "gap": round(float(accepted.max() - accepted.min()), 4), "status": model.status_,
        "first_model": round(first[0], 2) if first else "", "seconds": round(seconds, 1),
        "trials": len(model.trials_),
    }  # fmt: skip


def measured(rows: int, way: str, seed: int) -> dict[str, Any]:
    """Fit in a process of its own, and sample its memory with that of its workers."""
    command = [sys.executable, "-W", "ignore", __file__, "--fit", str(rows), way, str(seed)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        usage = Usage(process.pid)
        while process.poll() is None:
            usage.look()
            time.sleep(0.5)
        printed = "" if process.stdout is None else process.stdout.read()
    if process.returncode:
        raise RuntimeError(f"{command} failed with exit code {process.returncode}")
    row: dict[str, Any] = json.loads(printed.strip().splitlines()[-1])
    memory = usage.peak_memory_mb
    memory_mb = "" if memory is None else round(memory)
    return {**row, "memory_mb": memory_mb, "commit": commit()}


PAGE = """# From 1,000 to 1,000,000 rows

```sh
python experiments/scale.py --out results/scale
```

Generated tables of 20 columns, six of them text, with two groups (the generator of
[results/budgets](../budgets/README.md)); bound 0.05 on demographic parity, {seconds:g} s, defaults
of the library but for `n_jobs`: one core is `n_jobs=1`, two workers `n_jobs=2` (the default on
this machine), and with two threads every trial of `n_jobs=1` trains with two threads of LightGBM
and the other learners. Accuracy and gap are those on {new:,} new rows (standard error of the
accuracy about 0.003); *first_model* is the time until the first model that is not constant, in
seconds, reading included; *memory_mb* the largest resident memory of all processes together,
sampled twice a second, with the table that is fitted. One fit at a time, on {machine}.

![Accuracy, seconds to the first model and memory against the number of rows](scale.svg)

{table}{words}"""


def draw(frame: pd.DataFrame, file: Path) -> None:
    """Draw the measures against the number of rows."""
    import matplotlib as mpl
    from matplotlib.figure import Figure

    mpl.rcParams.update({"svg.hashsalt": "fairautoml", "axes.spines.top": False})
    mpl.rcParams.update({"axes.spines.right": False, "figure.facecolor": "white"})
    figure = Figure(figsize=(10, 3), layout="constrained")
    names = {
        "accuracy": "accuracy on new rows", "first_model": "seconds to the first model",
        "memory_mb": "peak memory, MiB",
    }  # fmt: skip
    for axes, (name, title) in zip(figure.subplots(1, 3), names.items(), strict=True):
        for way, rows in frame.groupby("way", sort=False):
            means = rows.groupby("rows")[name].mean()
            axes.plot(means.index, means, marker="o", label=way)
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
    parser.add_argument("--fit", nargs=3, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.fit is not None:
        rows, way, seed = given.fit
        print(json.dumps(fit(int(rows), way, int(seed))))
        return
    if given.out is None:
        parser.error("--out is required")
    given.out.mkdir(parents=True, exist_ok=True)
    file = given.out / "cells.csv"
    cells = pd.read_csv(file).to_dict("records") if file.is_file() else []
    made = {(row["rows"], row["way"], row["seed"]) for row in cells}
    for key in ((size, way, s) for s in range(given.seeds) for size in SIZES for way in WAYS):
        if key in made:
            continue
        cells.append(measured(*key))
        print(*cells[-1].values(), flush=True)
        with file.open("w", newline="", encoding="utf-8") as out:
            writer = csv.DictWriter(out, FIELDS)
            writer.writeheader()
            writer.writerows(cells)
    frame = pd.read_csv(file)
    draw(frame, given.out / "scale.svg")
    page = given.out / "README.md"
    words = page.read_text(encoding="utf-8").rpartition(" |\n")[2] if page.is_file() else ""
    text = PAGE.format(
        seconds=SECONDS, new=NEW_ROWS, machine=machine(), words=words,
        table=markdown(frame.drop(columns="seed")),
    )  # fmt: skip
    page.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
