"""Tables of the committed comparisons: systems, leagues and fronts beside the ranks of variants.

The key ``tables`` of a sweep names this file. ``python -m fairautoml.bench.peers
experiments/common/comparison.py FOLDER`` recreates the tables of a finished sweep from its
``cells.csv``.
"""

import math
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from scipy.stats import studentized_range, wilcoxon

from common.measures import SUFFIX, all_ranks, claim_of, with_margin_rows
from fairautoml.bench.cell import CellRecord
from fairautoml.bench.page import LEAGUES
from fairautoml.bench.tables import (
    complete_blocks,
    front_values,
    in_complete_blocks,
    interval_of_mean,
    left_out,
    markdown,
    mean_over_questions,
    mean_ranks,
    numbers,
    our_variant,
    our_variants,
    rank_text,
    ranks_page,
    recreate,
    spread_text,
    strict_fair_accuracy,
    tables_of,
    versus,
    versus_page,
    write_summary,
)
from fairautoml.data.files import write_csv

SIGNIFICANCE = 0.05
REACHED = ("ours_reached", "ours_seconds")


def write_tables(records: Sequence[CellRecord], folder: Path) -> None:
    """Write ``cells.csv`` with the claims, and all tables that follow from it."""
    cells = pd.DataFrame([record.row() | claim_of(record.result) for record in records])
    write_csv(cells, folder / "cells.csv")
    write_comparison(cells, folder)


def write_comparison(cells: pd.DataFrame, folder: Path) -> None:
    """Write the usual tables, and those of leagues, systems and fronts where there are any."""
    if "variant" not in cells:
        write_summary(cells, folder, "")
        return
    every = with_margin_rows(cells)
    both = in_complete_blocks(every).copy()  # joined frames are slow to add columns to
    table = all_ranks(both)
    found = {
        "ranks": table,
        "leagues": leagues(both),
        "versus": versus(both),
        "systems": systems(both),
        "volumes": volumes(both),
    }
    for name, one in found.items():
        if name in ("ranks", "leagues") or not one.empty:
            write_csv(one, folder / f"{name}.csv")
    shown = [name for name in REACHED if name in table and not found["versus"].empty]
    reached = table.set_index("variant")[shown]
    text = (
        f"{left_out(every, both)}{_systems_page(found['systems'])}"
        f"{ranks_page(table.drop(columns=list(REACHED), errors='ignore'))}{_differences(table)}"
        f"{versus_page(found['versus'], reached)}{_volumes_page(found['volumes'])}"
        f"{_leagues_page(found['leagues'])}\n"
    )
    write_summary(cells, folder, text)


main = partial(recreate, write_comparison)
"""Recreates the tables of a folder."""

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


LEAGUE_COLUMNS = (
    "league", "variant", "rank", "rank_low", "rank_high", "blocks", "strict_fair_accuracy",
)  # fmt: skip


def leagues(cells: pd.DataFrame) -> pd.DataFrame:
    """Return the ranks of every variant within its league.

    A variant is ``aware`` if one of its rules reads the group of a new row, ``feature`` if only
    its models have the group as a feature, else ``blind``; ``randomized`` if a rule may randomize,
    else ``deterministic``.
    """
    known = cells.assign(strict_fair_accuracy=strict_fair_accuracy(cells))
    league = known["variant"].map(_league_of(known[cells["outcome"] == "done"]))
    if league.nunique() < 2:
        return pd.DataFrame(columns=list(LEAGUE_COLUMNS))
    parts = []
    for name, own in known.groupby(league):
        worth = own.groupby(["variant", "question"], sort=False)["strict_fair_accuracy"].mean()
        means = worth.groupby(level=0, sort=False).mean()
        table = mean_ranks(own).join(means).rename_axis("variant").reset_index()
        if len(table) < 2:
            table[["rank", "rank_low", "rank_high"]] = np.nan
        parts.append(table.assign(league=name).sort_values("rank", kind="stable"))
    return pd.concat(parts, ignore_index=True)[list(LEAGUE_COLUMNS)]


def _league_of(cells: pd.DataFrame) -> "pd.Series[str]":
    """Return the league by variant."""
    flags = pd.DataFrame(
        {
            "variant": cells["variant"],
            "aware": _is_true(cells, "entry.needs_sensitive"),
            "feature": numbers(cells, "group_is_feature").fillna(1.0) > 0,
            "randomized": _is_true(cells, "entry.randomized"),
        }
    )
    found = flags.groupby("variant", sort=False).any()
    reads = found["feature"].map({True: "feature", False: "blind"}).mask(found["aware"], "aware")
    draws = found["randomized"].map({True: "randomized", False: "deterministic"})
    return reads + ", " + draws


def _is_true(cells: pd.DataFrame, name: str) -> "pd.Series[bool]":
    return numbers(cells, name).fillna(0.0) > 0


def critical_difference(n_systems: int, n_questions: int) -> float:
    """Return the critical difference of mean ranks (Nemenyi's test, 5 %).

    References
    ----------
    Demsar, "Statistical Comparisons of Classifiers over Multiple Data Sets", JMLR 7 (2006), 3.2.2.
    """
    q = studentized_range.ppf(1.0 - SIGNIFICANCE, n_systems, np.inf) / np.sqrt(2.0)
    return float(q * np.sqrt(n_systems * (n_systems + 1) / (6.0 * n_questions)))


def _systems_page(table: pd.DataFrame) -> str:
    """Return one row per system as Markdown, nothing without other systems."""
    if table.empty:
        return ""
    rows = [
        [
            str(row["variant"]),
            rank_text(row),
            _between(row, "behind", "behind_low", "behind_high", "+.2f"),
            f"{row['strict_fair_accuracy']:.4f}",
            _between(row, "difference", "low", "high", "+.4f"),
            spread_text(row["p_holm"], math.nan),
        ]
        for _, row in table.iterrows()
    ]
    header = ["system", "rank", "rank less ours", "strict fair accuracy", "less ours", "p (Holm)"]
    return (
        "One row per system, its own or the one with this library's margin, whichever has the "
        "larger strict fair accuracy; 95 % bootstrap intervals, paired with ours; p of Wilcoxon's "
        f"test over tables, corrected by Holm.\n\n{markdown(header, rows)}{_differences(table)}\n"
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
        f"{markdown(header, rows)}"
    )


def _leagues_page(table: pd.DataFrame) -> str:
    """Return the ranks within leagues as Markdown, nothing when there is one league."""
    if table.empty:
        return ""
    rows = [
        [
            str(row["league"]),
            str(row["variant"]),
            rank_text(row),
            spread_text(row["strict_fair_accuracy"], math.nan),
        ]
        for _, row in table.iterrows()
    ]
    header = ["league", "variant", "rank", "strict_fair_accuracy"]
    return f"\nRanks within each league: {LEAGUES}.\n\n" + markdown(header, rows)
