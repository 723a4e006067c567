"""Variants against those that may do the same: know the group of a new person, draw lots."""

import numpy as np
import pandas as pd

from fairautoml.bench.ranks import mean_ranks, numbers, strict_fair_accuracy

COLUMNS = ("league", "variant", "rank", "rank_low", "rank_high", "blocks", "strict_fair_accuracy")

LEAGUES = (
    "aware rules read the group of a new person, feature models have it as one of their columns, "
    "blind ones do without it, randomized ones may draw lots"
)
"""What their names mean."""


def leagues(cells: pd.DataFrame) -> pd.DataFrame:
    """Return the ranks of every variant within its league.

    A variant is ``aware`` when some rule of its reads the group of a new person, ``feature`` when
    none does but its models have the group as one of their columns, ``blind`` when they can do
    without; ``randomized`` when some may decide at random, else ``deterministic``.
    """
    known = cells.assign(strict_fair_accuracy=strict_fair_accuracy(cells))
    league = known["variant"].map(_league_of(known[cells["outcome"] == "done"]))
    if league.nunique() < 2:
        return pd.DataFrame(columns=list(COLUMNS))
    parts = []
    for name, own in known.groupby(league):
        worth = own.groupby(["variant", "question"], sort=False)["strict_fair_accuracy"].mean()
        means = worth.groupby(level=0, sort=False).mean()
        table = mean_ranks(own).join(means).rename_axis("variant").reset_index()
        if len(table) < 2:
            table[["rank", "rank_low", "rank_high"]] = np.nan
        parts.append(table.assign(league=name).sort_values("rank", kind="stable"))
    return pd.concat(parts, ignore_index=True)[list(COLUMNS)]


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
