"""Sweep of pools: the same trained models, assembled in every way, at several margins.

One cell is a table with a seed: a pool is trained once and answers all constraints of its task.
``python -m fairautoml.bench.peers experiments/ensembles/run.py SWEEP.yaml FOLDER`` makes the
summaries of a folder anew.
"""

import argparse
import sys
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd
import yaml

from ensembles.page import page, summarize
from fairautoml.bench.cell import CellRecord, to_stderr
from fairautoml.bench.sweep import Way, run_sweep
from fairautoml.bench.tasks import read_rows
from fairautoml.data.files import write_csv, write_whole
from fairautoml.exceptions import InputError

POOL = (
    sys.executable, "-m", "fairautoml.bench.peers", str(Path(__file__).with_name("cell.py")),
)  # fmt: skip

Targets = dict[tuple[str, str], float]
"""Accuracy at the limit that is aimed at, by task and constraint."""


def run(
    source: Path,
    folder: Path,
    *,
    resume: bool = False,
    n_jobs: int = 1,
    command: Sequence[str] = POOL,
    on_line: Callable[[str], object] = to_stderr,
) -> int:
    """Run every cell, write the tables after each, and return the exit code."""
    targets = read_targets(source)
    tables = partial(write_pool_tables, targets=targets)
    return run_sweep(
        source,
        folder,
        resume=resume,
        n_jobs=n_jobs,
        way=Way(command=(*command, "--keep-pools", str(folder / "pools")), tables=tables),
        on_line=on_line,
    ).exit_code


def read_targets(source: Path) -> Targets:
    """Return what is aimed at."""
    given = yaml.safe_load(source.read_text(encoding="utf-8"))["pools"]
    targets = given.get("targets", {}) if isinstance(given, dict) else None
    if not isinstance(targets, dict) or not set(given) <= {"targets"}:
        raise InputError(f"sweep {source}: 'pools' must be a mapping with the key 'targets'")
    found: Targets = {}
    for task, by_constraint in targets.items():
        if not isinstance(by_constraint, dict):
            msg = f"sweep {source}: targets of {task!r} must be a mapping of constraint to number"
            raise InputError(msg)
        for constraint, value in by_constraint.items():
            if not isinstance(value, float):
                msg = f"sweep {source}: target of {task!r}, {constraint!r} is {value!r}, no number"
                raise InputError(msg)
            found[str(task), str(constraint)] = value
    return found


def write_pool_tables(records: Sequence[CellRecord], folder: Path, *, targets: Targets) -> None:
    """Write ``cells.csv``, ``summary.csv`` and ``summary.md``, each whole or not at all."""
    rows = pd.DataFrame([row for record in records for row in rows_of(record)])
    write_csv(rows, folder / "cells.csv")
    write_pool_summaries(rows, folder, targets=targets)


def write_pool_summaries(rows: pd.DataFrame, folder: Path, *, targets: Targets) -> None:
    """Write what follows from the rows: ``summary.csv`` and ``summary.md``."""
    failed = rows[rows["outcome"] == "failed"].to_dict("records")
    lines = [f"{row['task']}, seed {row['seed']}: {row['reason']}" for row in failed]
    if "who" not in rows:
        write_whole(page(pd.DataFrame(), targets, lines), folder / "summary.md")
        return
    done = rows[rows["who"].notna()]
    summary = summarize(done)
    write_csv(summary, folder / "summary.csv")
    write_whole(page(done, targets, lines), folder / "summary.md")


def rows_of(record: CellRecord) -> list[dict[str, Any]]:
    """Return the rows of a cell, one with the reason where it failed."""
    own = {"task": record.task, "seed": record.seed, "outcome": record.outcome}
    if record.outcome == "failed":
        return [{**own, "reason": record.reason}]
    return [{**own, **record.result["pool"], **row} for row in record.result["rows"]]


def main(argv: Sequence[str] | None = None) -> int:
    """Make the summaries of a folder anew."""
    parser = argparse.ArgumentParser(prog="ensembles/run.py")
    parser.add_argument("sweep", type=Path, help="YAML file of the sweep, with what is aimed at")
    parser.add_argument("folder", type=Path, help="folder with the cells.csv of a finished sweep")
    given = parser.parse_args(argv)
    rows = read_rows(given.folder / "cells.csv")
    write_pool_summaries(rows, given.folder, targets=read_targets(given.sweep))
    return 0
