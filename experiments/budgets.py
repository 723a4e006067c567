"""Runner of budgets.yaml: time of fits and of their first model, idle and with all cores loaded.

A cell draws its table, times the reading of the table alone, fits the library and scores its model
and a logistic regression on a sample on new rows. ``cells.csv`` has a row per fit, ``summary.md``
those that miss a limit: the overrun, the first model, or a constant model where the logistic
regression beats the constant.
"""

import csv
import json
import os
import subprocess
import sys
import time
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import scipy.sparse as sp
import yaml
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import MaxAbsScaler

from fairautoml import FairAutoML, GroupPolicy
from fairautoml.bench.cell import to_stderr
from fairautoml.bench.sweep import PARTIAL, locked, manifest
from fairautoml.bench.tasks import Sweep
from fairautoml.data.files import write_whole
from fairautoml.data.read import ReadOptions, build_dataset
from fairautoml.exceptions import RunFolderExistsError
from fairautoml.records import BASELINE, Progress, TrialState

NEW_ROWS, SAMPLE_ROWS, WITHIN = 20_000, 10_000, 0.01
"""Rows that models are scored on, rows of the logistic regression, largest loss against it."""

MOST_GROUPS = 300

OVERRUN, FIRST_MODEL, NEVER_CONSTANT = (3.0, 0.05), (1.0, 0.1), 10.0
"""Largest overrun, and latest first model of an idle machine after reading, in seconds and as a
share of the budget; budget from which no constant model may be selected."""

FIELDS = (
    "name", "load", "seed", "budget", "seconds", "overrun", "reading", "first_model", "n_trials",
    "constant", "accuracy", "linear_accuracy", "constant_accuracy", "large", "missed",
)  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """One fit."""

    name: str
    rows: int
    columns: int
    seconds: float  # time budget
    classes: int = 2
    groups: int = 2
    categories: int = 0  # columns that hold text
    stored: int | None = None  # values per row of a sparse table; None = dense
    bound: float = 0.2  # largest demographic parity difference
    seed: int = 0
    load: str = "idle"  # {"idle", "loaded"}

    @property
    def key(self) -> str:
        """Stem of its file name."""
        return f"{self.name}-{self.load}-s{self.seed}"


def table(cell: Cell, n_rows: int, rng: np.random.Generator) -> tuple[Any, Any, Any]:
    """Return features, labels and groups; the truth is the same for every draw of a cell."""
    truth = np.random.default_rng(cell.seed)
    groups = rng.integers(0, cell.groups, n_rows)
    if cell.stored is not None:
        return *_sparse(cell, n_rows, rng), groups
    X = rng.normal(size=(n_rows, cell.columns)).astype(np.float32)
    latent = X @ truth.normal(size=(cell.columns, cell.classes)).astype(np.float32)
    latent[:, 0] += np.sin(2 * X[:, 0]) * X[:, 1] + 0.3 * (groups % 2)
    y = (latent + rng.gumbel(scale=2.0, size=latent.shape)).argmax(axis=1)
    if not cell.categories:
        return X, y, groups
    frame = pd.DataFrame(X, columns=[f"c{at}" for at in range(cell.columns)])
    for at in range(cell.categories):
        levels = np.array([f"level {level}" for level in range(4 * (at + 1))], dtype=object)
        codes = np.clip((frame[f"c{at}"] + 2) * len(levels) / 4, 0, len(levels) - 1)
        frame[f"c{at}"] = levels[codes.astype(int)]
    return frame, y, groups


def _sparse(cell: Cell, n_rows: int, rng: np.random.Generator) -> tuple[Any, Any]:
    y, stored = rng.integers(0, cell.classes, n_rows), cell.stored or 1
    columns = rng.integers(100, cell.columns, (n_rows, stored))
    columns[:, 0] = np.where(rng.random(n_rows) < 0.9, y, 1 - y)
    rows = np.repeat(np.arange(n_rows), stored)
    values = np.ones(rows.size, dtype=np.float32)
    return sp.csr_matrix((values, (rows, columns.ravel())), shape=(n_rows, cell.columns)), y


def measured(cell: Cell) -> dict[str, Any]:
    """Fit the cell in this process and return its row."""
    rng = np.random.default_rng(1000 + cell.seed)
    X, y, groups = table(cell, cell.rows, rng)
    began = time.monotonic()
    build_dataset(X, y, groups, options=ReadOptions(max_groups=MOST_GROUPS))
    reading = time.monotonic() - began
    first: list[float] = []

    def note(progress: Progress) -> None:
        result = progress.result
        trained = result.trial.config.learner != BASELINE.learner
        if not first and trained and result.status == TrialState.SUCCESS:
            first.append(time.monotonic() - began)

    model = FairAutoML(
        f"demographic_parity_difference <= {cell.bound}",
        time_budget=cell.seconds,
        random_state=cell.seed,
        callbacks=[note],
        group_policy=GroupPolicy(max_groups=MOST_GROUPS),
    )
    began = time.monotonic()
    model.fit(X, y, groups)
    seconds = time.monotonic() - began
    new, labels, new_groups = table(cell, NEW_ROWS, rng)
    return {
        "name": cell.name, "load": cell.load, "seed": cell.seed, "budget": cell.seconds,
        "seconds": seconds, "overrun": seconds - cell.seconds, "reading": reading,
        "first_model": first[0] if first else None, "n_trials": len(model.trials_),
        "constant": bool(model.best_entry_.constant),
        "accuracy": float((model.predict(new, new_groups) == labels).mean()),
        "linear_accuracy": linear_accuracy(cell, (X, y), (new, labels)),
        "constant_accuracy": float(np.bincount(labels).max() / len(labels)),
        "large": cell.rows >= SAMPLE_ROWS and not model.best_entry_.constant,
    }  # fmt: skip


def linear_accuracy(cell: Cell, seen: tuple[Any, Any], new: tuple[Any, Any]) -> float:
    """Return the accuracy on new rows of a logistic regression on a sample of the seen ones."""
    rows = slice(0, min(SAMPLE_ROWS, cell.rows))
    if cell.categories:
        both = pd.get_dummies(pd.concat([seen[0].iloc[rows], new[0]], ignore_index=True))
        X, X_new = both.iloc[: rows.stop], both.iloc[rows.stop :]
    else:
        X, X_new = seen[0][rows], new[0]
    linear = make_pipeline(MaxAbsScaler(), LogisticRegression(max_iter=300))
    return float(linear.fit(X, seen[1][rows]).score(X_new, new[1]))


def missed(row: Mapping[str, Any]) -> list[str]:
    """Return the limits that a fit missed."""
    budget = row["budget"]
    latest = max(FIRST_MODEL[1] * budget, FIRST_MODEL[0] + row["reading"])
    beaten = row["linear_accuracy"] > row["constant_accuracy"] + WITHIN
    late = row["first_model"] is None or row["first_model"] > latest
    found = {
        "overrun": row["overrun"] > max(OVERRUN[0], OVERRUN[1] * budget),
        "first model": beaten and late and row["load"] == "idle",
        "constant": beaten and row["constant"] and budget >= NEVER_CONSTANT,
        "accuracy": row["large"] and row["accuracy"] < row["linear_accuracy"] - WITHIN,
    }
    return [name for name, is_missed in found.items() if is_missed]


@contextmanager
def busy(load: str) -> Iterator[None]:
    """Keep every core busy with a process in a loop if the load says so."""
    count = (os.cpu_count() or 1) if load == "loaded" else 0
    loops = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(count)]
    try:
        yield
    finally:
        for process in loops:
            process.kill()
            process.wait()


def run(source: Path, folder: Path, *, resume: bool = False, n_jobs: int = 1) -> int:
    """Run all cells one after the other, whatever ``n_jobs``; returns the exit code."""
    content = yaml.safe_load(source.read_text(encoding="utf-8"))
    cells = [
        Cell(**one, seed=seed, load=load)
        for load in content["loads"]
        for seed in range(content["seeds"])
        for one in content["cells"]
    ]
    parts = folder / "cells"
    if not resume and parts.is_dir() and any(parts.iterdir()):
        raise RunFolderExistsError(f"{str(folder)!r} holds a run; add --resume, or name another")
    parts.mkdir(parents=True, exist_ok=True)
    with locked(folder / ".lock"):
        about = manifest(Sweep(name=source.stem, tasks=()), source, ("fairautoml", "bench"))
        write_whole(json.dumps(about, indent=1) + "\n", folder / "manifest.json")
        rows = [row for cell in cells if (row := _row(cell, parts)) is not None]
        _write(rows, len(cells), folder)
    return 0 if len(rows) == len(cells) else PARTIAL


def _row(cell: Cell, parts: Path) -> dict[str, Any] | None:
    kept = parts / f"{cell.key}.json"
    if not kept.is_file():
        command = [sys.executable, __file__, json.dumps(asdict(cell))]
        with busy(cell.load):
            done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False)
        if done.returncode:
            to_stderr(f"{cell.key}: exit code {done.returncode}\n")
            return None
        write_whole(done.stdout, kept)
    row: dict[str, Any] = json.loads(kept.read_text(encoding="utf-8"))
    row["missed"] = "; ".join(missed(row))
    to_stderr(f"{cell.key}: overrun {row['overrun']:.1f} s {row['missed']}\n")
    return row


def _write(rows: list[dict[str, Any]], n_cells: int, folder: Path) -> None:
    with (folder / "cells.csv").open("w", newline="", encoding="utf-8") as stream:
        writer = csv.DictWriter(stream, FIELDS, lineterminator="\n")
        writer.writeheader()
        for row in rows:
            shown = {k: round(v, 4) if isinstance(v, float) else v for k, v in row.items()}
            writer.writerow(shown)
    lines = [
        "| table | load | budget | overrun | first model | accuracy | missed |",
        "|---" * 7 + "|",
    ]
    for row in rows:
        first = "-" if row["first_model"] is None else f"{row['first_model']:.1f}"
        lines.append(
            f"| {row['name']} | {row['load']} | {row['budget']:g} | {row['overrun']:.1f} "
            f"| {first} | {row['accuracy']:.3f} (linear {row['linear_accuracy']:.3f}) "
            f"| {row['missed']} |"
        )
    fine = sum(not row["missed"] for row in rows)
    lines = [f"{fine} of {n_cells} fits miss no limit; times in seconds.", "", *lines]
    write_whole("\n".join(lines) + "\n", folder / "summary.md")


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    sys.stdout.write(json.dumps(measured(Cell(**json.loads(sys.argv[1])))))
