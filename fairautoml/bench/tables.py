"""Write the tables of a sweep.

``python -m fairautoml.bench.tables FOLDER`` recreates the tables of a finished sweep of fits from
its ``cells.csv``.
"""

import argparse
import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from scipy.stats import wilcoxon

from fairautoml.bench.cell import CellRecord, write_text
from fairautoml.bench.ranks import (
    LEAGUES,
    MEANS,
    SUFFIX,
    claim_of,
    complete_blocks,
    critical_difference,
    front_values,
    in_complete_blocks,
    interval_of_mean,
    leagues,
    mean_over_questions,
    numbers,
    our_variant,
    our_variants,
    ranks,
    strict_fair_accuracy,
    tables_of,
    versus,
    with_margin_rows,
)
from fairautoml.bench.tasks import read_rows
from fairautoml.data.files import write_csv

COLUMNS = (
    "variant", "rank", "rank_low", "rank_high", "behind", "behind_low", "behind_high",
    "strict_fair_accuracy", "difference", "low", "high", "p", "p_holm", "blocks", "tables",
)  # fmt: skip


def systems(cells: pd.DataFrame) -> pd.DataFrame:
    """Return one row per system, best mean rank first.

    A system with a row of its own and one with our margin would count twice; the one of larger
    strict fair accuracy stands for it.

    References
    ----------
    Demsar, Statistical Comparisons of Classifiers over Multiple Data Sets, JMLR 7, 2006.
    Holm, A Simple Sequentially Rejective Multiple Test Procedure, 1979.
    """
    ours = our_variant(cells)
    strict = strict_fair_accuracy(cells)
    blocks = complete_blocks(cells, strict)
    if ours is None or blocks.empty:
        return pd.DataFrame(columns=list(COLUMNS))
    worth = blocks[[ours, *better_rows(blocks.drop(columns=our_variants(cells)))]]
    # A failed run scores the accuracy of the majority class, but ranks behind all others.
    answered = complete_blocks(cells, strict.where(numbers(cells, "holdout.accuracy").notna()))
    place = answered[worth.columns].rank(axis=1, ascending=False, na_option="bottom")
    return _compared(worth, place, ours, tables_of(cells))


def better_rows(others: pd.DataFrame) -> list[str]:
    """Return the better row of each system: its own, or the one with our margin."""
    system = others.columns.to_series().str.removesuffix(SUFFIX)
    return [str(row) for row in mean_over_questions(others).groupby(system).idxmax()]


def _compared(
    worth: pd.DataFrame, place: pd.DataFrame, ours: str, tables: "pd.Series[str]"
) -> pd.DataFrame:
    apart, behind = worth.sub(worth[ours], axis=0), place.sub(place[ours], axis=0)
    found = {"strict_fair_accuracy": mean_over_questions(worth)}
    for blocks, name, low, high in (
        (place, "rank", "rank_low", "rank_high"),
        (behind, "behind", "behind_low", "behind_high"),
        (apart, "difference", "low", "high"),
    ):
        found[name] = mean_over_questions(blocks)
        interval = interval_of_mean(blocks, tables)
        found |= {low: pd.Series(interval[0], worth.columns)}
        found |= {high: pd.Series(interval[1], worth.columns)}
    table = pd.DataFrame(found).assign(
        p=_of_tables(apart, tables).apply(_wilcoxon),
        blocks=len(worth),
        tables=tables.reindex(worth.index.get_level_values("question").unique()).nunique(),
    )
    table["p_holm"] = _holm(table["p"])
    table = table.rename_axis("variant").reset_index()
    return table.sort_values("rank", kind="stable")[list(COLUMNS)]


def _of_tables(apart: pd.DataFrame, tables: "pd.Series[str]") -> pd.DataFrame:
    """Return the means of each table, over the seeds of its questions, then over these."""
    by_question = apart.groupby(level="question").mean()
    return by_question.groupby(tables.reindex(by_question.index)).mean()


def _wilcoxon(differences: "pd.Series[float]") -> float:
    if not differences.any():
        return np.nan
    return float(wilcoxon(differences).pvalue)


def _holm(p: "pd.Series[float]") -> "pd.Series[float]":
    known = p.dropna().sort_values()
    steps = known * np.arange(len(known), 0, -1)
    return steps.cummax().clip(upper=1.0).reindex(p.index)


VOLUME_COLUMNS = ("table", "variant", "hypervolume", "other", "other_hypervolume", "ours_first")


def volumes(cells: pd.DataFrame) -> pd.DataFrame:
    """Return the hypervolume of our front on every table, and the largest of another system."""
    ours = our_variant(cells)
    found = []
    for table, means in _by_table(cells):
        others = means.drop(labels=our_variants(cells), errors="ignore").dropna()
        if ours is None or others.empty or pd.isna(means.get(ours)):
            continue
        best, most = str(others.idxmax()), float(others.max())
        found.append((table, ours, means[ours], best, most, means[ours] >= most))
    return pd.DataFrame(found, columns=list(VOLUME_COLUMNS))


def _by_table(cells: pd.DataFrame) -> "list[tuple[str, pd.Series[float]]]":
    """Return the means of every variant, by table."""
    tables = cells["question"].map(tables_of(cells))
    values = front_values(cells)
    by_question = values.groupby([tables, cells["question"], cells["variant"]]).mean()
    by_table = by_question.groupby(level=[0, 2]).mean().unstack()
    return [(str(table), row) for table, row in by_table.iterrows()]


SHOWN = (
    "holdout.accuracy", "holdout.gap", "search.score", "search.gap", "search.n_trials",
    "search.overhead_fraction", "budget.overrun", "budget.used", "budget.usable", "wall_seconds",
)  # fmt: skip
"""Columns of the page, of those that the fits have printed."""
REACHED = ("ours_reached", "ours_seconds")
NOT_MEASURED = ("seed", "exit_code", "group_is_feature")


def write_tables(records: Sequence[CellRecord], folder: Path) -> None:
    """Write ``cells.csv``, ``summary.csv`` and ``summary.md``, each whole or not at all.

    With variants there are ``ranks.csv`` and ``leagues.csv`` too, and with other systems
    ``versus.csv``, ``systems.csv`` and, where they give fronts, ``volumes.csv``. They are of the
    questions and seeds that every variant has been run on.
    """
    cells = pd.DataFrame([record.row() | claim_of(record.result) for record in records])
    write_csv(cells, folder / "cells.csv")
    write_summaries(cells, folder)


def write_summaries(cells: pd.DataFrame, folder: Path) -> None:
    """Write all tables that follow from the cells."""
    summary = summarize(cells)
    write_csv(summary, folder / "summary.csv")
    text = page(cells, summary)
    if "variant" in cells:
        every = with_margin_rows(cells)
        both = in_complete_blocks(every).copy()  # joined frames are slow to add columns to
        table, within, apart = ranks(both), leagues(both), versus(both)
        write_csv(table, folder / "ranks.csv")
        write_csv(within, folder / "leagues.csv")
        if not apart.empty:
            write_csv(apart, folder / "versus.csv")
        alone = systems(both)
        if not alone.empty:
            write_csv(alone, folder / "systems.csv")
        fronts = volumes(both)
        if not fronts.empty:
            write_csv(fronts, folder / "volumes.csv")
        text = (
            f"{_left_out(every, both)}{_systems_page(alone)}"
            f"{ranks_page(table)}{_differences(table)}{_versus_page(apart, table)}"
            f"{_volumes_page(fronts)}{_leagues_page(within)}\n{text}"
        )
    write_text(folder / "summary.md", f"{text}\n{_again(cells, folder)}")


def main(argv: Sequence[str] | None = None) -> int:
    """Recreate the tables of a folder."""
    parser = argparse.ArgumentParser(prog="python -m fairautoml.bench.tables")
    parser.add_argument("folder", type=Path, help="folder of a finished sweep of fits")
    folder = parser.parse_args(argv).folder
    write_summaries(read_rows(folder / "cells.csv"), folder)
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
        + [_spread(row[f"{name}.mean"], row[f"{name}.sd"]) for name in shown]
        for _, row in summary.iterrows()
    ]
    text = "Mean and standard deviation over seeds.\n\n" + _markdown(header, rows)
    failed = cells[cells["outcome"] == "failed"]
    if failed.empty:
        return text
    reasons = failed[["task", "seed", "reason"]].astype(str).to_numpy().tolist()
    return text + "\nFailed cells:\n\n" + _markdown(["task", "seed", "reason"], reasons)


def ranks_page(table: pd.DataFrame) -> str:
    """Return the variants against each other as Markdown."""
    shown = ["cells", "failed", *MEANS]
    rows = [
        [
            str(row["variant"]),
            _rank(row),
            *("-" if pd.isna(row[name]) else f"{row[name]:.4g}" for name in shown),
        ]
        for _, row in table.iterrows()
    ]
    blocks, questions = int(table["blocks"].max()), int(table["questions"].max())
    return (
        f"Variants by their mean rank in strict fair accuracy over {questions} questions "
        f"({blocks} blocks of question and seed), with its 95 % bootstrap interval; means over "
        "seeds, then questions.\n\n" + _markdown(["variant", "rank", *shown], rows)
    )


def _left_out(every: pd.DataFrame, both: pd.DataFrame) -> str:
    """Return the note on cells outside complete blocks, empty if there are none."""
    n_out = len(every) - len(both)
    if n_out == 0:
        return ""
    return (
        f"{n_out} of {len(every)} rows are of questions and seeds that not every variant has been "
        "run on, and are in no table but the last.\n\n"
    )


def _systems_page(table: pd.DataFrame) -> str:
    """Return one row per system as Markdown, nothing without other systems."""
    if table.empty:
        return ""
    rows = [
        [
            str(row["variant"]),
            _rank(row),
            _between(row, "behind", "behind_low", "behind_high", "+.2f"),
            f"{row['strict_fair_accuracy']:.4f}",
            _between(row, "difference", "low", "high", "+.4f"),
            _spread(row["p_holm"], math.nan),
        ]
        for _, row in table.iterrows()
    ]
    header = ["system", "rank", "rank less ours", "strict fair accuracy", "less ours", "p (Holm)"]
    return (
        "One row per system, its own or the one with this library's margin, whichever has the "
        "larger strict fair accuracy; 95 % bootstrap intervals, paired with ours; p of Wilcoxon's "
        f"test over tables, corrected by Holm.\n\n{_markdown(header, rows)}{_differences(table)}\n"
    )


def _between(row: "pd.Series[Any]", name: str, low: str, high: str, form: str) -> str:
    return f"{row[name]:{form}} [{row[low]:{form}}, {row[high]:{form}}]"


def _differences(table: pd.DataFrame) -> str:
    """Return the note on the critical difference of mean ranks."""
    n_tables = int(table["tables"].max())
    if len(table) < 2 or n_tables == 0:
        return ""
    least = critical_difference(len(table), n_tables)
    return (
        f"\nMean ranks that differ by less than {least:.2f} are not significantly different "
        f"(Nemenyi's critical difference of {len(table)} rows over {n_tables} tables, 5 %). A row "
        "that ends with +margin is the same run, its candidates chosen with this library's "
        "margin.\n"
    )


def _versus_page(apart: pd.DataFrame, table: pd.DataFrame) -> str:
    """Return the paired differences to ours as Markdown, nothing without other systems."""
    text = ""
    reached = table.set_index("variant")
    more = [name for name in REACHED if name in table and not apart.empty]
    for reference, own in apart.groupby("reference", sort=False):
        rows = [
            [
                str(row["variant"]),
                f"{row['difference']:+.4f} [{row['low']:+.4f}, {row['high']:+.4f}]",
                *(_spread(reached.loc[row["variant"], name], math.nan) for name in more),
            ]
            for _, row in own.sort_values("difference", ascending=False).iterrows()
        ]
        header = ["variant", f"strict fair accuracy less that of {reference}", *more]
        text += (
            f"\nPaired with {reference}, 95 % bootstrap intervals:\n\n{_markdown(header, rows)}"
        )
        more = []
    return text


def _volumes_page(table: pd.DataFrame) -> str:
    """Return our fronts against the best others as Markdown, nothing without other systems."""
    if table.empty:
        return ""
    rows = [
        [
            str(row["table"]),
            f"{row['hypervolume']:.4f}",
            f"{row['other_hypervolume']:.4f} ({row['other']})",
        ]
        for _, row in table.iterrows()
    ]
    header = ["table", str(table["variant"].iloc[0]), "largest of another system"]
    n_first = int(table["ours_first"].sum())
    return (
        f"\nHypervolume of the front, ours the largest on {n_first} of {len(table)} tables:\n\n"
        f"{_markdown(header, rows)}"
    )


def _leagues_page(table: pd.DataFrame) -> str:
    """Return the ranks within leagues as Markdown, nothing when there is one league."""
    if table.empty:
        return ""
    rows = [
        [
            str(row["league"]),
            str(row["variant"]),
            _rank(row),
            _spread(row["strict_fair_accuracy"], math.nan),
        ]
        for _, row in table.iterrows()
    ]
    header = ["league", "variant", "rank", "strict_fair_accuracy"]
    return f"\nRanks within each league: {LEAGUES}.\n\n" + _markdown(header, rows)


def _rank(row: "pd.Series[Any]") -> str:
    if pd.isna(row["rank"]):
        return "-"
    return f"{row['rank']:.2f} [{row['rank_low']:.2f}, {row['rank_high']:.2f}]"


def _spread(mean: float, sd: float) -> str:
    if pd.isna(mean):
        return "-"
    return f"{mean:.4g}" if pd.isna(sd) else f"{mean:.4g} ± {sd:.2g}"


def _markdown(header: list[str], rows: list[list[str]]) -> str:
    lines = [header, ["---"] * len(header), *rows]
    return "".join("| " + " | ".join(map(_cell, line)) + " |\n" for line in lines)


def _cell(text: str) -> str:
    safe = text.replace("&", "&amp;").replace("<", "&lt;").replace("|", "&#124;")
    return " ".join(safe.split())


if __name__ == "__main__":
    main()
