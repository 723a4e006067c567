"""Variants of a sweep against each other: means over tasks, and average ranks."""

import numpy as np
import pandas as pd
from numpy.typing import NDArray

N_BOOTSTRAP = 2000
INTERVAL = (2.5, 97.5)
"""Percentiles of the interval of a mean rank."""
MEANS = {
    "accuracy": "holdout.accuracy",
    "gap": "holdout.gap",
    "strict_fair_accuracy": "strict_fair_accuracy",
    "feasible_on_search": "feasible_on_search",
    "within_limit": "within_limit",
    "score_if_feasible": "score_if_feasible",
    "feasible_trials": "feasible_trials",
    "seconds_to_best": "search.seconds_to_best",
    "n_trials": "search.n_trials",
    "overhead_fraction": "search.overhead_fraction",
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
        ``accuracy``, ``gap`` and ``strict_fair_accuracy`` on held-out rows;
        ``feasible_on_search``, share of runs that meet the constraint on the search rows;
        ``within_limit``, share of those that meet it on held-out rows; ``score_if_feasible``, the
        search score of the former; ``feasible_trials``, share of trials that met it;
        ``seconds_to_best``; ``n_trials``; ``overhead_fraction``.
    """
    done = cells["outcome"] == "done"
    status = cells["status"] if "status" in cells else pd.Series("", index=cells.index)
    feasible = (status == "feasible") & done
    excess = numbers(cells, "holdout.excess")
    known = cells.assign(
        strict_fair_accuracy=strict_fair_accuracy(cells),
        feasible_on_search=feasible.where(done).astype(float),
        within_limit=(excess <= 0).where(numbers(cells, "holdout.accuracy").notna()).astype(float),
        score_if_feasible=numbers(cells, "search.score").where(feasible),
        feasible_trials=numbers(cells, "search.n_feasible") / numbers(cells, "search.n_trials"),
    )
    measured = pd.DataFrame({name: numbers(known, column) for name, column in MEANS.items()})
    by_question = measured.groupby([cells["variant"], cells["question"]], sort=False).mean()
    means = by_question.groupby(level=0, sort=False).mean()
    own = cells.groupby("variant", sort=False)
    counts = pd.DataFrame({"cells": own.size(), "failed": (~done).groupby(cells["variant"]).sum()})
    table = _mean_ranks(known).join(counts, how="outer").join(means)
    return table.rename_axis("variant").reset_index().sort_values("rank", kind="stable")


def _mean_ranks(cells: pd.DataFrame) -> pd.DataFrame:
    """Return mean rank and interval per variant; missing while no block is complete."""
    worth = cells.pivot_table(
        index=["question", "seed"],
        columns="variant",
        values="strict_fair_accuracy",
        aggfunc="first",
        dropna=False,
        sort=False,
    )
    n_run = cells.groupby(["question", "seed"]).size().reindex(worth.index)
    complete = worth[(n_run == cells["variant"].nunique()) & worth.notna().any(axis=1)]
    found = complete.rank(axis=1, ascending=False, na_option="bottom")
    low, high = _interval(found.to_numpy())
    return pd.DataFrame(
        {"rank": found.mean(), "rank_low": low, "rank_high": high, "blocks": len(found)},
        index=worth.columns,
    )


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
