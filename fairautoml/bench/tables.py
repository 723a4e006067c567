"""Ranks of systems over complete blocks, and the tables of a sweep.

Seeds and questions on one table share rows, so means are over the seeds of a question first and
then over questions, and the bootstrap resamples tables, then seeds within them.
``python -m fairautoml.bench.tables FOLDER`` recreates the tables of a finished sweep of fits from
its ``cells.csv``.
"""

import argparse
import json
import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from fairautoml.bench.cell import CellRecord
from fairautoml.bench.tasks import read_rows
from fairautoml.data.files import write_csv, write_whole
from fairautoml.metrics import METRICS

N_BOOTSTRAP = 2000
INTERVAL = (2.5, 97.5)
"""Percentiles of an interval."""
BLOCK = ["question", "seed"]


def complete_blocks(cells: pd.DataFrame, values: "pd.Series[float]") -> pd.DataFrame:
    """Return values by block and variant, of the blocks that every variant has been run on."""
    known = cells[[*BLOCK, "variant"]].assign(value=values)
    table = known.pivot_table(
        index=BLOCK, columns="variant", values="value", aggfunc="first", dropna=False, sort=False
    )
    n_run = known.groupby(BLOCK).size().reindex(table.index)
    return table[(n_run == known["variant"].nunique()) & table.notna().any(axis=1)]


def in_complete_blocks(cells: pd.DataFrame) -> pd.DataFrame:
    """Return the cells of complete blocks, or all cells if no block is complete.

    Means over other blocks would compare variants on different questions.
    """
    n_run = cells.groupby(BLOCK)["variant"].transform("nunique")
    kept = cells[n_run == cells["variant"].nunique()]
    return cells if kept.empty else kept


def mean_over_questions(blocks: pd.DataFrame) -> "pd.Series[float]":
    """Return the mean of every column over seeds, then over questions."""
    return blocks.groupby(level="question", sort=False).mean().mean()


def tables_of(cells: pd.DataFrame) -> "pd.Series[str]":
    """Return the table of each question, or the question itself if no cell names it."""
    said = cells["dataset"] if "dataset" in cells else pd.Series(np.nan, index=cells.index)
    found = said.groupby(cells["question"], sort=False).first()
    return found.where(found.notna(), found.index.to_series()).astype(str)


def interval_of_mean(blocks: pd.DataFrame, tables: "pd.Series[str]") -> NDArray[np.float64]:
    """Return the 95 % bootstrap interval of ``mean_over_questions``.

    References
    ----------
    Davison, Hinkley, *Bootstrap Methods and their Application*, 1997, section 3.8 (clusters).
    """
    clusters: dict[str, list[NDArray[np.float64]]] = {}
    for question, own in blocks.groupby(level="question", sort=False):
        clusters.setdefault(tables[str(question)], []).append(own.to_numpy())
    if not clusters:
        return np.full((2, blocks.shape[1]), np.nan)
    rng = np.random.default_rng(0)
    drawn = rng.integers(len(clusters), size=(N_BOOTSTRAP, len(clusters)))
    total, n_questions = np.zeros((N_BOOTSTRAP, blocks.shape[1])), np.zeros((N_BOOTSTRAP, 1))
    for slot in drawn.T:
        for at, questions in enumerate(clusters.values()):
            where = np.flatnonzero(slot == at)
            places = rng.random((len(where), max(map(len, questions))))
            for values in questions:
                seeds = (places[:, : len(values)] * len(values)).astype(np.int64)
                total[where] += values[seeds].mean(axis=1)
            n_questions[where] += len(questions)
    return np.percentile(total / n_questions, INTERVAL, axis=0)


LARGEST_GAP = 0.2
"""Largest gap of a front in the comparison."""


def front_value(front: Sequence[Sequence[float | None]], majority: float) -> float:
    """Return the hypervolume of a front of held-out accuracy and gap, as a mean gain.

    It is the mean, over limits of the gap from 0 to 0.2, of the best accuracy within the limit
    minus the accuracy of the majority class.
    """
    known = sorted(
        (gap, accuracy)
        for accuracy, gap in front
        if gap is not None and accuracy is not None and gap < LARGEST_GAP
    )
    edges = [*(gap for gap, _ in known), LARGEST_GAP]
    best, area = majority, 0.0
    for at, (gap, accuracy) in enumerate(known):
        best = max(best, accuracy)
        area += (edges[at + 1] - gap) * (best - majority)
    return area / LARGEST_GAP


def front_values(cells: pd.DataFrame) -> "pd.Series[float]":
    """Return ``front_value`` of each cell, missing for systems without fronts."""
    if "holdout_front" not in cells:
        return pd.Series(np.nan, index=cells.index)
    found = [
        np.nan if front is None else front_value(front, majority)
        for front, majority in zip(fronts(cells), majorities(cells), strict=True)
    ]
    return pd.Series(found, index=cells.index, dtype=float)


def fronts(cells: pd.DataFrame) -> list[list[list[float | None]] | None]:
    """Return the front of each cell; one without, of a system that gives fronts, has no point."""
    written = cells["holdout_front"]
    gives = written.notna().groupby(cells["variant"]).transform("any")
    return [
        json.loads(front) if isinstance(front, str) else ([] if known else None)
        for front, known in zip(written, gives, strict=True)
    ]


def majorities(cells: pd.DataFrame) -> "pd.Series[float]":
    return of_block(cells, cells["holdout.majority"])


def of_block(cells: pd.DataFrame, values: "pd.Series[float]") -> "pd.Series[float]":
    """Return the common value of each block, also for failed cells."""
    by = [cells[name] for name in BLOCK]
    return pd.to_numeric(values).groupby(by).transform("max")


def sign_of(row: "pd.Series[Any]") -> float:
    """Return 1 if greater is better, else -1."""
    name = row.get("entry.objective")
    known = isinstance(name, str) and name in METRICS.names()
    return 1.0 if not known or METRICS.get(str(name)).greater_is_better else -1.0


def strict_fair_accuracy(cells: pd.DataFrame) -> "pd.Series[float]":
    """Return the held-out accuracy if the constraint is met, else that of the majority class.

    A model that violates its limit, or a missing model, scores like the constant predictor of the
    majority class, which has no gap.
    """
    accuracy, excess, majority = (
        numbers(cells, f"holdout.{name}") for name in ("accuracy", "excess", "majority")
    )
    return accuracy.where((excess <= 0) | unconstrained(cells), of_block(cells, majority))


def unconstrained(cells: pd.DataFrame) -> "pd.Series[bool]":
    """Return which cells have no constraint."""
    if "status" not in cells:
        return pd.Series(False, index=cells.index)
    return cells["status"] == "no_constraint"


def measures(cells: pd.DataFrame) -> pd.DataFrame:
    """Return the measures that are averaged over the cells of a variant."""
    done, excess = cells["outcome"] == "done", numbers(cells, "holdout.excess")
    feasible = is_feasible(cells)
    judged = numbers(cells, "holdout.accuracy").notna()
    unanswered = ~done if judged.any() else pd.Series(False, index=cells.index)
    compared = (judged | unanswered) & ~unconstrained(cells)
    return pd.DataFrame(
        {
            "accuracy": numbers(cells, "holdout.accuracy"),
            "gap": numbers(cells, "holdout.gap"),
            "strict_fair_accuracy": strict_fair_accuracy(cells),
            "feasible_on_search": feasible.astype(float),
            "within_limit": (excess <= 0).where(compared).astype(float),
            "mean_excess": excess.clip(lower=0.0),
            "front_value": front_values(cells),
            "score_if_feasible": numbers(cells, "search.score").where(feasible),
            "feasible_trials": _feasible_trials(cells),
            "seconds_to_best": numbers(cells, "search.seconds_to_best"),
            "n_trials": numbers(cells, "search.n_trials"),
            "budget_used": numbers(cells, "budget.used"),
            "overhead_fraction": numbers(cells, "search.overhead_fraction"),
            "cpu_seconds": numbers(cells, "cpu_seconds"),
            "peak_memory_mb": numbers(cells, "peak_memory_mb"),
            "needs_sensitive": numbers(cells, "entry.needs_sensitive"),
            "randomized": numbers(cells, "entry.randomized"),
        }
    )


def is_feasible(cells: pd.DataFrame) -> "pd.Series[bool]":
    """Return which cells have a model that meets the constraint on the rows of the search."""
    status = cells["status"] if "status" in cells else pd.Series("", index=cells.index)
    return (status == "feasible") & (cells["outcome"] == "done")


def ranks(cells: pd.DataFrame, measured: pd.DataFrame | None = None) -> pd.DataFrame:
    """Return one row per variant with its mean measures, best mean rank first."""
    measured = measures(cells) if measured is None else measured
    by_question = measured.groupby([cells["variant"], cells["question"]], sort=False).mean()
    means = by_question.groupby(level=0, sort=False).mean()
    failed = (cells["outcome"] != "done").groupby(cells["variant"])
    counts = pd.DataFrame({"cells": failed.size(), "failed": failed.sum()})
    table = mean_ranks(cells).join(counts, how="outer").join(means)
    return table.rename_axis("variant").reset_index().sort_values("rank", kind="stable")


def _feasible_trials(cells: pd.DataFrame) -> "pd.Series[float]":
    """Return the share of feasible trials; other systems count rules, so theirs is missing."""
    share = numbers(cells, "search.n_feasible") / numbers(cells, "search.n_trials")
    return share if "system" not in cells else share.where(cells["system"].isna())


def our_variant(cells: pd.DataFrame) -> str | None:
    """Return the first variant of this library, None without other systems."""
    if "system" not in cells or cells["system"].isna().all():
        return None
    return next(iter(our_variants(cells)), None)


def our_variants(cells: pd.DataFrame) -> list[str]:
    """Return all variants of this library, whose runs name no system."""
    named = set(cells.loc[cells["system"].notna(), "variant"]) if "system" in cells else set()
    return [str(name) for name in cells["variant"].drop_duplicates() if name not in named]


def versus(cells: pd.DataFrame) -> pd.DataFrame:
    """Return the paired differences in strict fair accuracy of each variant to ours."""
    ours = our_variant(cells)
    if ours is None:
        return pd.DataFrame(columns=["reference", "variant", "difference", "low", "high"])
    blocks = complete_blocks(cells, strict_fair_accuracy(cells))
    budget = numbers(cells, "search.time_budget").groupby(cells["variant"]).max()
    smaller = [name for name in our_variants(cells) if budget[name] < budget[ours]]
    parts = []
    for reference in (ours, *smaller):
        apart = blocks.sub(blocks[reference], axis=0)
        low, high = interval_of_mean(apart, tables_of(cells))
        found = {"difference": mean_over_questions(apart), "low": low, "high": high}
        table = pd.DataFrame(found, index=blocks.columns).rename_axis("variant").reset_index()
        table = table.sort_values("difference", ascending=False)
        parts.append(table.assign(reference=reference))
    return pd.concat(parts)[["reference", "variant", "difference", "low", "high"]]


def mean_ranks(cells: pd.DataFrame) -> pd.DataFrame:
    """Return mean rank and interval per variant, missing without a complete block."""
    strict = strict_fair_accuracy(cells).where(numbers(cells, "holdout.accuracy").notna())
    blocks = complete_blocks(cells, strict)
    found = blocks.rank(axis=1, ascending=False, na_option="bottom")
    tables = tables_of(cells)
    low, high = interval_of_mean(found, tables)
    questions = found.index.get_level_values("question").unique()
    return pd.DataFrame(
        {
            "rank": mean_over_questions(found),
            "rank_low": low,
            "rank_high": high,
            "blocks": len(found),
            "questions": len(questions),
            "tables": tables.reindex(questions).nunique(),
        },
        index=blocks.columns,
    )


def numbers(cells: pd.DataFrame, name: str) -> "pd.Series[float]":
    """Return a column as numbers, missing values if it does not exist."""
    if name not in cells:
        return pd.Series(np.nan, index=cells.index)
    return pd.to_numeric(cells[name], errors="coerce").astype(float)


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
    write_whole(text, folder / "summary.md")


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
