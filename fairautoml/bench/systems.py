"""Every other system by its better row, once, against ours."""

import numpy as np
import pandas as pd
from scipy.stats import wilcoxon

from fairautoml.bench.blocks import (
    complete_blocks,
    interval_of_mean,
    mean_over_questions,
    tables_of,
)
from fairautoml.bench.measures import SUFFIX
from fairautoml.bench.ranks import numbers, our_variant, our_variants, strict_fair_accuracy

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
    # A run that failed is worth the majority's accuracy, but ranks behind all that did not.
    answered = complete_blocks(cells, strict.where(numbers(cells, "holdout.accuracy").notna()))
    place = answered[worth.columns].rank(axis=1, ascending=False, na_option="bottom")
    return _compared(worth, place, ours, tables_of(cells))


def better_rows(others: pd.DataFrame) -> list[str]:
    """Return the row that stands for each system: its own, or the one with our margin."""
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
