"""Variants of a sweep against each other: means over tasks, and average ranks."""

import numpy as np
import pandas as pd

from fairautoml.assembly.choice import EVEN
from fairautoml.bench.blocks import (
    BLOCK,
    complete_blocks,
    interval_of_mean,
    mean_over_questions,
    tables_of,
)
from fairautoml.bench.measures import SUFFIX, accuracies_at_limit, front_values, seconds_to_reach

TINY = 1e-9
LEAST_WAY = 0.01
"""From the majority's accuracy to the oracle's; on a shorter way shares mean nothing."""
MEANS = {
    "accuracy": "holdout.accuracy",
    "gap": "holdout.gap",
    "strict_fair_accuracy": "strict_fair_accuracy",
    "normalized": "normalized",
    "feasible_on_search": "feasible_on_search",
    "within_limit": "within_limit",
    "mean_excess": "mean_excess",
    "exceeded_claims": "exceeded_claims",
    "declined": "declined",
    "refuted_claims": "refuted_claims",
    "front_value": "front_value",
    "at_limit": "at_limit",
    "score_if_feasible": "score_if_feasible",
    "feasible_trials": "feasible_trials",
    "seconds_to_best": "search.seconds_to_best",
    "n_trials": "search.n_trials",
    "budget_used": "budget.used",
    "overhead_fraction": "search.overhead_fraction",
    "cpu_seconds": "cpu_seconds",
    "peak_memory_mb": "peak_memory_mb",
    "needs_sensitive": "entry.needs_sensitive",
    "randomized": "entry.randomized",
}
"""Columns of the table of ranks, and what they are means of."""


def strict_fair_accuracy(cells: pd.DataFrame) -> "pd.Series[float]":
    """Return the held-out accuracy where the constraint is met there, else the majority's.

    A model that misses its limit, and a system that gives none, is worth what could be had
    without one: the accuracy of giving everybody the commoner label, which has no gap.
    """
    accuracy, excess, majority = (
        numbers(cells, f"holdout.{name}") for name in ("accuracy", "excess", "majority")
    )
    of_block = majority.groupby([cells[name] for name in BLOCK]).transform("max")
    return accuracy.where((excess <= 0) | unconstrained(cells), of_block)


def unconstrained(cells: pd.DataFrame) -> "pd.Series[bool]":
    """Return which cells nothing was asked of but accuracy."""
    if "status" not in cells:
        return pd.Series(False, index=cells.index)
    return cells["status"] == "no_constraint"


def ranks(cells: pd.DataFrame) -> pd.DataFrame:
    """Return one row per variant, best mean rank first."""
    done = cells["outcome"] == "done"
    status = cells["status"] if "status" in cells else pd.Series("", index=cells.index)
    feasible = (status == "feasible") & done
    excess = numbers(cells, "holdout.excess")
    judged = numbers(cells, "holdout.accuracy").notna()
    unanswered = ~done if judged.any() else pd.Series(False, index=cells.index)
    claimed = feasible & judged & (numbers(cells, "claims").fillna(1.0) > 0)
    strict = strict_fair_accuracy(cells)
    known = cells.assign(
        strict_fair_accuracy=strict,
        normalized=_normalized(cells, strict),
        feasible_on_search=feasible.astype(float),
        mean_excess=excess.clip(lower=0.0),
        front_value=front_values(cells),
        at_limit=accuracies_at_limit(cells),
        within_limit=(excess <= 0)
        .where((judged | unanswered) & ~unconstrained(cells))
        .astype(float),
        exceeded_claims=(~(excess <= 0)).where(claimed).astype(float),
        refuted_claims=numbers(cells, "claim.refuted").where(claimed),
        declined=(numbers(cells, "search.margin.probability") < EVEN).where(claimed).astype(float),
        score_if_feasible=numbers(cells, "search.score").where(feasible),
        feasible_trials=_feasible_trials(cells),
    )
    measured = pd.DataFrame({name: numbers(known, column) for name, column in MEANS.items()})
    by_question = measured.groupby([cells["variant"], cells["question"]], sort=False).mean()
    means = by_question.groupby(level=0, sort=False).mean()
    own = cells.groupby("variant", sort=False)
    counts = pd.DataFrame({"cells": own.size(), "failed": (~done).groupby(cells["variant"]).sum()})
    table = mean_ranks(cells).join(counts, how="outer").join(means)
    ours = our_variant(cells)
    if ours is not None:
        margin = known["variant"].str.endswith(SUFFIX)
        table = table.join(_reached(known[~margin], ours))
    return table.rename_axis("variant").reset_index().sort_values("rank", kind="stable")


def _normalized(cells: pd.DataFrame, strict: "pd.Series[float]") -> "pd.Series[float]":
    """Return 0 for the majority's accuracy, 1 for the oracle's."""
    majority = numbers(cells, "holdout.majority")
    majority = majority.groupby([cells[name] for name in BLOCK]).transform("max")
    way = numbers(cells, "oracle") - majority
    return (strict - majority) / way.where(way >= LEAST_WAY)


def _feasible_trials(cells: pd.DataFrame) -> "pd.Series[float]":
    """Return the share of trials; others count rules, of which a trial gives many."""
    share = numbers(cells, "search.n_feasible") / numbers(cells, "search.n_trials")
    return share if "system" not in cells else share.where(cells["system"].isna())


def our_variant(cells: pd.DataFrame) -> str | None:
    """Return the first variant that is of this library, when there are others; else None."""
    if "system" not in cells or cells["system"].isna().all():
        return None
    return next(iter(our_variants(cells)), None)


def our_variants(cells: pd.DataFrame) -> list[str]:
    """Return all variants of this library: those of which no run names a system."""
    named = set(cells.loc[cells["system"].notna(), "variant"]) if "system" in cells else set()
    return [str(name) for name in cells["variant"].drop_duplicates() if name not in named]


def versus(cells: pd.DataFrame) -> pd.DataFrame:
    """Return how much more strict fair accuracy each variant has than ours, block by block."""
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
        parts.append(table.assign(reference=reference))
    return pd.concat(parts)[["reference", "variant", "difference", "low", "high"]]


def _reached(cells: pd.DataFrame, ours: str) -> pd.DataFrame:
    """Return how often and how soon our search had what each variant ended with."""
    if "search.improvements" not in cells:
        return pd.DataFrame(index=pd.Index(cells["variant"].unique()))
    seconds = seconds_to_reach(cells, ours).dropna()
    by = [cells["variant"], cells["question"]]
    reached = (seconds < np.inf).groupby(by).mean().groupby(level=0).mean()
    share = 1.0 / seconds.groupby(by).transform("size")
    medians = {
        name: _median(own, share[own.index])
        for name, own in seconds.groupby(cells["variant"], sort=False)
    }
    return pd.DataFrame({"ours_reached": reached, "ours_seconds": pd.Series(medians)})


def _median(values: "pd.Series[float]", weight: "pd.Series[float]") -> float:
    """Return the least value that at least half of the weight does not exceed."""
    ordered = values.sort_values()
    behind = weight[ordered.index].cumsum()
    return float(ordered.iloc[int((behind < weight.sum() / 2.0 - TINY).sum())])


def mean_ranks(cells: pd.DataFrame) -> pd.DataFrame:
    """Return mean rank and interval per variant; missing while no block is complete."""
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
    """Return a column as numbers, missing where it has none or does not exist."""
    if name not in cells:
        return pd.Series(np.nan, index=cells.index)
    return pd.to_numeric(cells[name], errors="coerce").astype(float)
