"""Blocks of a sweep: a question with a seed, asked of every variant.

Seeds of one question are draws from the same rows, and so are two questions about one table. So
every mean here is over the seeds of a question first and then over questions, and every interval
draws tables again, with all their questions, and then, within each, its seeds.
"""

import numpy as np
import pandas as pd
from numpy.typing import NDArray

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
    """Return the cells of the blocks that every variant has been run on, all while there is none.

    Means over other blocks would be of other questions for every variant.
    """
    n_run = cells.groupby(BLOCK)["variant"].transform("nunique")
    kept = cells[n_run == cells["variant"].nunique()]
    return cells if kept.empty else kept


def mean_over_questions(blocks: pd.DataFrame) -> "pd.Series[float]":
    """Return the mean of every column over seeds, then over questions."""
    return blocks.groupby(level="question", sort=False).mean().mean()


def tables_of(cells: pd.DataFrame) -> "pd.Series[str]":
    """Return the table behind each question, by question; where no cell says it, the question."""
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
