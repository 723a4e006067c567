"""Ranks of systems over complete blocks, with their measures and claims.

Seeds and questions on one table share rows, so means are over the seeds of a question first and
then over questions, and the bootstrap resamples tables, then seeds within them.
"""

import json
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

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
    interval: NDArray[np.float64] = np.percentile(total / n_questions, INTERVAL, axis=0)
    return interval


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
    of_block = majority.groupby([cells[name] for name in BLOCK]).transform("max")
    return accuracy.where((excess <= 0) | unconstrained(cells), of_block)


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
