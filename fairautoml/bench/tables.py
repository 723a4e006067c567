"""Write the tables of a sweep.

``python -m fairautoml.bench.tables FOLDER`` recreates the tables of a finished sweep of fits from
its ``cells.csv``.
"""

import argparse
import json
import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from fairautoml.bench.cell import CellRecord, write_text
from fairautoml.bench.ranks import in_complete_blocks, ranks, versus
from fairautoml.bench.tasks import read_rows
from fairautoml.data.files import write_csv

SHOWN = (
    "holdout.accuracy", "holdout.gap", "search.score", "search.gap", "search.n_trials",
    "search.overhead_fraction", "budget.overrun", "budget.used", "budget.usable", "wall_seconds",
)  # fmt: skip
"""Columns of the page, of those that the fits have printed."""
NOT_MEASURED = ("seed", "exit_code", "group_is_feature")


def write_tables(records: Sequence[CellRecord], folder: Path) -> None:
    """Write ``cells.csv`` and the tables that follow from it, each whole or not at all."""
    cells = pd.DataFrame([record.row() for record in records])
    write_csv(cells, folder / "cells.csv")
    write_summaries(cells, folder)


def write_summaries(cells: pd.DataFrame, folder: Path) -> None:
    """Write ``summary.csv`` and ``summary.md``.

    With variants there is ``ranks.csv`` too, and with other systems ``versus.csv``. They are of
    the questions and seeds that every variant has been run on.
    """
    text = ""
    if "variant" in cells:
        both = in_complete_blocks(cells).copy()  # joined frames are slow to add columns to
        table, apart = ranks(both), versus(both)
        write_csv(table, folder / "ranks.csv")
        if not apart.empty:
            write_csv(apart, folder / "versus.csv")
        text = f"{left_out(cells, both)}{ranks_page(table)}{versus_page(apart)}\n"
    write_summary(cells, folder, text)


def write_summary(cells: pd.DataFrame, folder: Path, comparison: str) -> None:
    """Write ``summary.csv``, and ``summary.md`` with the comparison of the variants first."""
    summary = summarize(cells)
    write_csv(summary, folder / "summary.csv")
    text = f"{comparison}{page(cells, summary)}\n{_again(cells, folder)}"
    write_text(folder / "summary.md", text)


def recreate(
    write: Callable[[pd.DataFrame, Path], object], argv: Sequence[str] | None = None
) -> int:
    """Recreate the tables of the folder that a command line names."""
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path, help="folder of a finished sweep of fits")
    folder = parser.parse_args(argv).folder
    write(read_rows(folder / "cells.csv"), folder)
    return 0


def command_of_one(sweep: str, cell: str) -> str:
    """Return the command that runs one cell of a sweep of fits."""
    return f"fairautoml bench experiments/{sweep}.yaml --out one/ --only {cell}"


def _again(cells: pd.DataFrame, folder: Path) -> str:
    """Return how a reader repeats one cell."""
    path = folder / "manifest.json"
    sweep = json.loads(path.read_text(encoding="utf-8"))["sweep"] if path.exists() else "SWEEP"
    command = command_of_one(sweep, f"{cells['task'].iloc[0]}-s{cells['seed'].iloc[0]}")
    return f"One cell again, named by task and seed of `cells.csv`: `{command}`\n"


def summarize(cells: pd.DataFrame) -> pd.DataFrame:
    """Return one row per task: counts, and mean and standard deviation over its seeds."""
    measured = cells.select_dtypes("number").dropna(axis="columns", how="all")
    numbers = measured.columns.difference(list(NOT_MEASURED), sort=False)
    status = cells["status"] if "status" in cells else pd.Series("", index=cells.index)
    by_task = cells["task"]
    counts = {
        "cells": cells.groupby(by_task, sort=False).size(),
        "failed": (cells["outcome"] == "failed").groupby(by_task, sort=False).sum(),
        "feasible": (status == "feasible").groupby(by_task, sort=False).sum(),
    }
    done = cells["outcome"] == "done"
    groups = cells.loc[done, numbers].groupby(by_task[done], sort=False)
    mean, spread = groups.mean(), groups.std()
    parts = {f"{name}.mean": mean[name] for name in numbers}
    parts |= {f"{name}.sd": spread[name] for name in numbers}
    order = [f"{name}.{part}" for name in numbers for part in ("mean", "sd")]
    table = pd.DataFrame(counts).join(pd.DataFrame(parts)[order])
    return table.rename_axis("task").reset_index()


def page(cells: pd.DataFrame, summary: pd.DataFrame) -> str:
    """Return the summary and the failures as Markdown."""
    shown = [name for name in SHOWN if f"{name}.mean" in summary]
    header = ["task", "cells", "failed", "feasible", *shown]
    rows = [
        [str(row[name]) for name in header[:4]]
        + [spread_text(row[f"{name}.mean"], row[f"{name}.sd"]) for name in shown]
        for _, row in summary.iterrows()
    ]
    text = "Mean and standard deviation over seeds.\n\n" + markdown(header, rows)
    failed = cells[cells["outcome"] == "failed"]
    if failed.empty:
        return text
    reasons = failed[["task", "seed", "reason"]].astype(str).to_numpy().tolist()
    return text + "\nFailed cells:\n\n" + markdown(["task", "seed", "reason"], reasons)


def ranks_page(table: pd.DataFrame) -> str:
    """Return the variants against each other as Markdown."""
    shown = table.columns[table.columns.get_loc("cells") :]
    rows = [
        [
            str(row["variant"]),
            rank_text(row),
            *("-" if pd.isna(row[name]) else f"{row[name]:.4g}" for name in shown),
        ]
        for _, row in table.iterrows()
    ]
    blocks, questions = int(table["blocks"].max()), int(table["questions"].max())
    return (
        f"Variants by their mean rank in strict fair accuracy over {questions} questions "
        f"({blocks} blocks of question and seed), with its 95 % bootstrap interval; means over "
        "seeds, then questions.\n\n" + markdown(["variant", "rank", *shown], rows)
    )


def left_out(every: pd.DataFrame, both: pd.DataFrame) -> str:
    """Return the note on cells outside complete blocks, empty if there are none."""
    n_out = len(every) - len(both)
    if n_out == 0:
        return ""
    return (
        f"{n_out} of {len(every)} rows are of questions and seeds that not every variant has been "
        "run on, and are in no table but the last.\n\n"
    )


def versus_page(apart: pd.DataFrame, further: pd.DataFrame | None = None) -> str:
    """Return the paired differences as Markdown, nothing without other systems.

    The columns of ``further``, by variant, are shown with the first reference.
    """
    text = ""
    for reference, own in apart.groupby("reference", sort=False):
        more = pd.DataFrame() if text or further is None else further
        rows = [
            [
                str(row["variant"]),
                f"{row['difference']:+.4f} [{row['low']:+.4f}, {row['high']:+.4f}]",
                *(spread_text(known[row["variant"]], math.nan) for _, known in more.items()),
            ]
            for _, row in own.iterrows()
        ]
        header = ["variant", f"strict fair accuracy less that of {reference}", *more]
        text += f"\nPaired with {reference}, 95 % bootstrap intervals:\n\n{markdown(header, rows)}"
    return text


def rank_text(row: "pd.Series[Any]") -> str:
    if pd.isna(row["rank"]):
        return "-"
    return f"{row['rank']:.2f} [{row['rank_low']:.2f}, {row['rank_high']:.2f}]"


def spread_text(mean: float, sd: float) -> str:
    if pd.isna(mean):
        return "-"
    return f"{mean:.4g}" if pd.isna(sd) else f"{mean:.4g} ± {sd:.2g}"


def markdown(header: list[str], rows: list[list[str]]) -> str:
    lines = [header, ["---"] * len(header), *rows]
    return "".join("| " + " | ".join(map(_cell, line)) + " |\n" for line in lines)


def _cell(text: str) -> str:
    safe = text.replace("&", "&amp;").replace("<", "&lt;").replace("|", "&#124;")
    return " ".join(safe.split())


if __name__ == "__main__":
    recreate(write_summaries)
