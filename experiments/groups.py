"""Runner of groups.yaml: fit each task with its variants, and judge the models on held-out rows.

One row of ``cells.csv`` per fit; ``tables.md`` has the means over the seeds and the differences
between a table with a stray row and without it.
"""

import csv
import json
import time
import warnings
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import yaml
from sklearn.model_selection import train_test_split

from common.shared_tables import commit, gap_of, markdown
from fairautoml import FairAutoML, GroupPolicy
from fairautoml.bench.cell import to_stderr
from fairautoml.bench.sweep import locked, manifest
from fairautoml.bench.tasks import Sweep
from fairautoml.data import load
from fairautoml.data.derive import apply_derive, parse_derive
from fairautoml.data.files import write_whole
from fairautoml.exceptions import InputError, RunFolderExistsError

STRAY = "Unknown"
"""Group that one training row is given."""

WITHIN, WITHIN_STRAY = 0.005, 0.003
"""Largest distance of an accuracy from the expected one, and from that without the stray row."""

FIELDS = (
    "task", "variant", "seed", "n_train", "accuracy", "score", "gap", "feasible", "n_outside",
    "rows_outside", "p0", "smallest_bound", "n_trials", "seconds", "commit",
)  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """A table with a constraint."""

    name: str
    dataset: str
    sensitive: str
    constraint: str
    variants: Sequence[str]  # {"auto", "all", "none", "clean", "stray"}
    expected: dict[str, float] | None = None  # accuracy by variant
    derive: str | None = None  # as ``fairautoml fit --derive`` reads it
    rows: int | None = None  # number of rows that are drawn


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """One fit."""

    task: Task
    variant: str
    seed: int
    seconds: float

    @property
    def key(self) -> tuple[str, str, int]:
        """What tells it from the others."""
        return self.task.name, self.variant, self.seed

    def play(self) -> dict[str, Any]:
        """Fit on 70 % of the rows and judge the model on the others."""
        task = self.task
        frame, target = read(task)
        train, test = train_test_split(
            frame, test_size=0.3, random_state=self.seed, stratify=frame[target]
        )
        if self.variant == "stray":
            train = train.assign(**{task.sensitive: train[task.sensitive].astype(object)})
            train.iloc[0, train.columns.get_loc(task.sensitive)] = STRAY
        model = FairAutoML(
            None if self.variant == "none" else task.constraint,
            time_budget=self.seconds,
            random_state=self.seed,
            group_policy=GroupPolicy(min_size=1) if self.variant == "all" else None,
        )
        start = time.monotonic()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            model.fit(train.drop(columns=target), train[target], sensitive=task.sensitive)
            took = time.monotonic() - start
            decided = np.asarray(model.predict(test.drop(columns=target)))
        groups = model.pool_.groups
        small = [] if groups is None else list(groups.small_groups)
        judged = {} if groups is None else {one.system: one for one in groups.judgeability}
        outside = [label for one in small for label in one.outside]
        inside = ~test[task.sensitive].astype(str).isin(outside).to_numpy()
        positive = model.positive_class_
        y, accepted = (test[target] == positive).to_numpy(), decided == positive
        metric = task.constraint.split()[0]
        found = judged.get(task.sensitive)
        return {
            "task": task.name, "variant": self.variant, "seed": self.seed, "n_train": len(train),
            "accuracy": round(float((accepted == y).mean()), 5),
            "score": round(model.best_entry_.score, 5),
            "gap": round(
                gap_of(
                    metric, y[inside], accepted[inside],
                    test[task.sensitive].astype(str).to_numpy()[inside],
                ), 5,
            ),
            "feasible": model.feasible_, "n_outside": len(outside),
            "rows_outside": sum(sum(one.n_rows) for one in small),
            "p0": None if found is None else found.p0,
            "smallest_bound": None if found is None else found.smallest_bound,
            "n_trials": model.summary_["n_trials"], "seconds": round(took, 1),
            "commit": commit(),
        }  # fmt: skip


def read(task: Task) -> tuple[pd.DataFrame, str]:
    """Return the rows of a task and the name of the target."""
    table = load(task.dataset)
    frame = table.frame.drop(columns=list(table.drop), errors="ignore")
    if task.rows is not None:
        frame = frame.sample(task.rows, random_state=0).reset_index(drop=True)
    if task.derive is not None:
        frame = apply_derive(frame, parse_derive(task.derive))
    return frame, table.target


def read_cells(source: Path) -> list[Cell]:
    """Return the fits of the file, all tasks with the first seed first."""
    content = yaml.safe_load(source.read_text(encoding="utf-8"))
    tasks = [Task(**fields) for fields in content["tasks"]]
    known = {"auto", "all", "none", "clean", "stray"}
    for task in tasks:
        if not set(task.variants) <= known:
            msg = f"{source}, task {task.name!r}: variants must be among {sorted(known)}"
            raise InputError(msg)
    return [
        Cell(task=task, variant=variant, seed=seed, seconds=float(content["seconds"]))
        for seed in content["seeds"]
        for task in tasks
        for variant in task.variants
    ]


def run(
    source: Path,
    folder: Path,
    *,
    resume: bool = False,
    n_jobs: int = 1,
    on_line: Callable[[str], object] = to_stderr,
) -> int:
    """Fit what is missing, write the tables, and return 1 if an accuracy is not as expected."""
    cells, path = read_cells(source), folder / "cells.csv"
    if path.exists() and not resume:
        msg = f"folder {str(folder)!r} holds an experiment; resume it or choose another folder"
        raise RunFolderExistsError(msg)
    folder.mkdir(parents=True, exist_ok=True)
    with locked(folder / ".lock"):
        about = manifest(Sweep(name=source.stem, tasks=()), source, ("fairautoml", "bench"))
        write_whole(
            json.dumps({**about, "jobs": n_jobs}, indent=1) + "\n", folder / "manifest.json"
        )
        done = set()
        if path.exists():
            kept = pd.read_csv(path)
            done = set(zip(kept["task"], kept["variant"], kept["seed"], strict=True))
        left = [cell for cell in cells if cell.key not in done]
        with ProcessPoolExecutor(n_jobs, max_tasks_per_child=1) as processes:
            for cell, row in zip(left, processes.map(Cell.play, left), strict=True):
                _append(path, row)
                on_line(f"{'-'.join(map(str, cell.key))} done: accuracy {row['accuracy']:.4f}\n")
        return write_tables(pd.read_csv(path), cells, folder)


def _append(path: Path, row: dict[str, Any]) -> None:
    new = not path.exists()
    with path.open("a", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, FIELDS)
        if new:
            writer.writeheader()
        writer.writerow(row)


def write_tables(rows: pd.DataFrame, cells: Sequence[Cell], folder: Path) -> int:
    """Write ``tables.md``; return 1 if an accuracy is not as expected, else 0."""
    columns = ["accuracy", "score", "gap", "rows_outside", "p0", "smallest_bound"]
    means = rows.groupby(["task", "variant"], sort=False)[columns].mean().reset_index()
    expected = {(c.task.name, v): a for c in cells for v, a in (c.task.expected or {}).items()}
    keys = list(zip(means["task"], means["variant"], strict=True))
    means["expected"] = [expected.get(key, np.nan) for key in keys]
    means["met"] = [
        int(((rows["task"] == task) & (rows["variant"] == variant) & rows["feasible"]).sum())
        for task, variant in keys
    ]
    strayed = rows[rows["variant"].isin(["clean", "stray"])].pivot(
        index=["task", "seed"], columns="variant", values="accuracy"
    )
    both = {"clean", "stray"} <= {*strayed.columns}
    cost = (strayed["stray"] - strayed["clean"]).unstack("seed") if both else pd.DataFrame()
    text = markdown(means.round(4).astype(object).fillna("").map(str))
    if both:
        text += "\nAccuracy with the stray row minus that without it, by seed:\n\n"
        text += markdown(cost.round(4).reset_index())
    write_whole(text, folder / "tables.md")
    own = means[means["variant"] == "auto"]
    far = (own["accuracy"] - own["expected"]).abs().max() > WITHIN
    costly = both and np.nanmax(cost.abs().to_numpy()) > WITHIN_STRAY
    return int(bool(far or costly))
