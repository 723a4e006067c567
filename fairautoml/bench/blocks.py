"""Blocks of a sweep: a question with a seed, asked of every variant.

Seeds of one question are draws from the same rows; questions are what a claim is about. So every
mean here is over the seeds of a question first and then over questions, and every interval draws
questions again and then, within each, its seeds.
"""

import numpy as np
import pandas as pd
from numpy.typing import NDArray

N_BOOTSTRAP = 2000
INTERVAL = (2.5, 97.5)
"""Percentiles of an interval."""
BLOCK = ["question", "seed"]


def complete_blocks(cells: pd.DataFrame, values: "pd.Series[float]") -> pd.DataFrame:
    """Return values by block and variant, of the blocks that every variant has been run on.

    Parameters
    ----------
    cells : DataFrame
        One row per cell, with ``question``, ``variant`` and ``seed``.
    values : Series, shape (n_cells,)
        Of a measure.

    Returns
    -------
    DataFrame
        Rows are blocks, indexed by question and seed, columns are variants; blocks in which no
        variant has a value are left out.
    """
    known = cells[[*BLOCK, "variant"]].assign(value=values)
    table = known.pivot_table(
        index=BLOCK, columns="variant", values="value", aggfunc="first", dropna=False, sort=False
    )
    n_run = known.groupby(BLOCK).size().reindex(table.index)
    return table[(n_run == known["variant"].nunique()) & table.notna().any(axis=1)]


def mean_over_questions(blocks: pd.DataFrame) -> "pd.Series[float]":
    """Return the mean of every column over seeds, then over questions.

    Parameters
    ----------
    blocks : DataFrame
        As ``complete_blocks`` returns it.
    """
    return blocks.groupby(level="question", sort=False).mean().mean()


def interval_of_mean(blocks: pd.DataFrame) -> NDArray[np.float64]:
    """Return the 95 % bootstrap interval of ``mean_over_questions``.

    Parameters
    ----------
    blocks : DataFrame
        As ``complete_blocks`` returns it, without missing values.

    Returns
    -------
    ndarray of float64, shape (2, n_columns)
        Questions are drawn again, and within each its seeds; NaN without blocks.

    References
    ----------
    Davison, Hinkley, *Bootstrap Methods and their Application*, 1997, section 3.8 (clusters).
    """
    by_question = [own.to_numpy() for _, own in blocks.groupby(level="question", sort=False)]
    if not by_question:
        return np.full((2, blocks.shape[1]), np.nan)
    rng = np.random.default_rng(0)
    drawn = rng.integers(len(by_question), size=(N_BOOTSTRAP, len(by_question)))
    total = np.zeros((N_BOOTSTRAP, blocks.shape[1]))
    for slot in drawn.T:
        for question, values in enumerate(by_question):
            where = np.flatnonzero(slot == question)
            seeds = rng.integers(len(values), size=(len(where), len(values)))
            total[where] += values[seeds].mean(axis=1)
    interval: NDArray[np.float64] = np.percentile(total / len(by_question), INTERVAL, axis=0)
    return interval
