"""Variants of a sweep against each other: means over tasks, and average ranks."""

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from fairautoml.bench.measures import (
    accuracies_at_limit,
    front_values,
    paired_intervals,
    seconds_to_reach,
)

N_BOOTSTRAP = 2000
INTERVAL = (2.5, 97.5)
"""Percentiles of the interval of a mean rank."""
MEANS = {
    "accuracy": "holdout.accuracy",
    "gap": "holdout.gap",
    "strict_fair_accuracy": "strict_fair_accuracy",
    "normalized": "normalized",
    "feasible_on_search": "feasible_on_search",
    "within_limit": "within_limit",
    "mean_excess": "mean_excess",
    "false_claims": "claim.refuted",
    "front_value": "front_value",
    "at_limit": "at_limit",
    "score_if_feasible": "score_if_feasible",
    "feasible_trials": "feasible_trials",
    "seconds_to_best": "search.seconds_to_best",
    "n_trials": "search.n_trials",
    "overhead_fraction": "search.overhead_fraction",
    "cpu_seconds": "cpu_seconds",
    "peak_memory_mb": "peak_memory_mb",
    "needs_sensitive": "entry.needs_sensitive",
    "randomized": "entry.randomized",
}
"""Columns of the table of ranks, and what they are means of."""


def strict_fair_accuracy(cells: pd.DataFrame) -> "pd.Series[float]":
    """Return the held-out accuracy where the constraint is met there, else the majority's.

    A model that misses its limit is worth what could be had without one: the accuracy of giving
    everybody the commoner label, which has no gap.

    Parameters
    ----------
    cells : DataFrame
        With ``holdout.accuracy``, ``holdout.excess`` and ``holdout.majority``; without a held-out
        part all are missing.

    Returns
    -------
    Series, shape (n_cells,)
        Missing where the cell failed or nothing was held out.
    """
    accuracy, excess, majority = (
        numbers(cells, f"holdout.{name}") for name in ("accuracy", "excess", "majority")
    )
    return accuracy.where(excess <= 0, majority).where(accuracy.notna())


def ranks(cells: pd.DataFrame) -> pd.DataFrame:
    """Return one row per variant, best mean rank first.

    Parameters
    ----------
    cells : DataFrame
        One row per cell, with ``question``, ``variant``, ``seed`` and what the fits printed.

    Returns
    -------
    DataFrame
        ``variant``; ``rank`` by strict fair accuracy, 1 = best, mean over the blocks (question and
        seed) that every variant has been run on, ties shared and failures last; ``rank_low`` and
        ``rank_high``, a 95 % bootstrap interval over blocks; ``blocks``, ``cells`` and ``failed``,
        counts; then means, first over the seeds of a question, then over questions:
        ``accuracy``, ``gap`` and ``strict_fair_accuracy`` on held-out rows; ``normalized``, the
        last as a share of the way from the majority's accuracy to the oracle's, over the questions
        that have an oracle;
        ``feasible_on_search``, share of runs that meet the constraint on the search rows;
        ``within_limit``, share of those that meet it on held-out rows; ``mean_excess``, by how
        much the gap exceeds the limit there, 0 where it does not; ``false_claims``, share of runs
        whose claim the held-out rows refute beyond chance (``fairautoml.bench.claims``);
        ``front_value``, hypervolume of the front, where there is one; ``at_limit``, accuracy of
        the held-out front where its gap equals the limit; ``score_if_feasible``, the
        search score of those feasible; ``feasible_trials``, share of trials that met it;
        ``seconds_to_best``; ``n_trials``; ``overhead_fraction``; ``cpu_seconds`` and
        ``peak_memory_mb`` of all processes of a cell; ``needs_sensitive`` and
        ``randomized``, the league. With our own system among them, ``versus_ours``, the mean over
        blocks of what the strict fair accuracy is above ours, with ``versus_ours_low`` and
        ``versus_ours_high``, its 95 % paired bootstrap interval; ``ours_reached``, share of the
        runs whose own final value our search had reached, and ``ours_seconds``, the median time
        that it took, infinite when most were never reached.
    """
    done = cells["outcome"] == "done"
    status = cells["status"] if "status" in cells else pd.Series("", index=cells.index)
    feasible = (status == "feasible") & done
    excess = numbers(cells, "holdout.excess")
    strict = strict_fair_accuracy(cells)
    known = cells.assign(
        strict_fair_accuracy=strict,
        normalized=_normalized(cells, strict),
        feasible_on_search=feasible.where(done).astype(float),
        mean_excess=excess.clip(lower=0.0),
        front_value=front_values(cells),
        at_limit=accuracies_at_limit(cells),
        within_limit=(excess <= 0).where(numbers(cells, "holdout.accuracy").notna()).astype(float),
        score_if_feasible=numbers(cells, "search.score").where(feasible),
        feasible_trials=numbers(cells, "search.n_feasible") / numbers(cells, "search.n_trials"),
    )
    measured = pd.DataFrame({name: numbers(known, column) for name, column in MEANS.items()})
    by_question = measured.groupby([cells["variant"], cells["question"]], sort=False).mean()
    means = by_question.groupby(level=0, sort=False).mean()
    own = cells.groupby("variant", sort=False)
    counts = pd.DataFrame({"cells": own.size(), "failed": (~done).groupby(cells["variant"]).sum()})
    table = mean_ranks(known).join(counts, how="outer").join(means)
    ours = our_variant(cells)
    if ours is not None:
        table = table.join(_versus(known, ours)).join(_reached(known, ours))
    return table.rename_axis("variant").reset_index().sort_values("rank", kind="stable")


def _normalized(cells: pd.DataFrame, strict: "pd.Series[float]") -> "pd.Series[float]":
    """Return 0 for the majority's accuracy, 1 for the oracle's."""
    majority = numbers(cells, "holdout.majority")
    return (strict - majority) / (numbers(cells, "oracle") - majority)


def our_variant(cells: pd.DataFrame) -> str | None:
    """Return the first variant that is of this library, when there are others; else None.

    Parameters
    ----------
    cells : DataFrame
        With ``variant``, and ``system`` for those of other systems.
    """
    if "system" not in cells:
        return None
    own = cells[cells["system"].isna() & (cells["outcome"] == "done")]
    return None if own.empty or cells["system"].isna().all() else str(own["variant"].iloc[0])


def _versus(cells: pd.DataFrame, ours: str) -> pd.DataFrame:
    """Return how much more strict fair accuracy each variant has than ours; failures are 0."""
    complete = _complete(cells).fillna(0.0)
    values = complete.to_numpy(dtype=np.float64)
    at = list(complete.columns).index(ours)
    low, high = paired_intervals(values, at)
    means = (values - values[:, [at]]).mean(axis=0)
    return pd.DataFrame(
        {"versus_ours": means, "versus_ours_low": low, "versus_ours_high": high},
        index=complete.columns,
    )


def _reached(cells: pd.DataFrame, ours: str) -> pd.DataFrame:
    """Return how often and how soon our search had what each variant ended with."""
    if "search.improvements" not in cells:
        return pd.DataFrame(index=pd.Index(cells["variant"].unique()))
    seconds = seconds_to_reach(cells, ours).dropna()
    own = seconds.groupby(cells["variant"])
    reached = (seconds < np.inf).groupby(cells["variant"]).mean()
    return pd.DataFrame({"ours_reached": reached, "ours_seconds": own.median()})


def mean_ranks(cells: pd.DataFrame) -> pd.DataFrame:
    """Return mean rank and interval per variant; missing while no block is complete.

    Parameters
    ----------
    cells : DataFrame
        With ``question``, ``variant``, ``seed`` and ``strict_fair_accuracy``.

    Returns
    -------
    DataFrame
        ``rank``, ``rank_low``, ``rank_high`` and ``blocks`` as in ``ranks``, by variant.
    """
    complete = _complete(cells)
    found = complete.rank(axis=1, ascending=False, na_option="bottom")
    low, high = _interval(found.to_numpy())
    return pd.DataFrame(
        {"rank": found.mean(), "rank_low": low, "rank_high": high, "blocks": len(found)},
        index=complete.columns,
    )


def _complete(cells: pd.DataFrame) -> pd.DataFrame:
    """Return strict fair accuracy by block and variant, of the blocks that all have run."""
    worth = cells.pivot_table(
        index=["question", "seed"],
        columns="variant",
        values="strict_fair_accuracy",
        aggfunc="first",
        dropna=False,
        sort=False,
    )
    n_run = cells.groupby(["question", "seed"]).size().reindex(worth.index)
    return worth[(n_run == cells["variant"].nunique()) & worth.notna().any(axis=1)]


def _interval(found: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the percentiles of the means over blocks drawn again, shape (2, n_variants)."""
    n_blocks, n_variants = found.shape
    if n_blocks == 0:
        return np.full((2, n_variants), np.nan)
    rng = np.random.default_rng(0)
    drawn = rng.integers(n_blocks, size=(N_BOOTSTRAP, n_blocks))
    interval: NDArray[np.float64] = np.percentile(found[drawn].mean(axis=1), INTERVAL, axis=0)
    return interval


def numbers(cells: pd.DataFrame, name: str) -> "pd.Series[float]":
    """Return a column as numbers, missing where it has none or does not exist.

    Parameters
    ----------
    cells : DataFrame
        Any.
    name : str
        The column.
    """
    if name not in cells:
        return pd.Series(np.nan, index=cells.index)
    return pd.to_numeric(cells[name], errors="coerce").astype(float)
