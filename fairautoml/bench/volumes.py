"""The front of ours against the best front of another system, table by table."""

import pandas as pd

from fairautoml.bench.blocks import tables_of
from fairautoml.bench.measures import front_values
from fairautoml.bench.ranks import our_variant, our_variants

COLUMNS = ("table", "variant", "hypervolume", "other", "other_hypervolume", "ours_first")


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
    return pd.DataFrame(found, columns=list(COLUMNS))


def _by_table(cells: pd.DataFrame) -> "list[tuple[str, pd.Series[float]]]":
    """Return the means of every variant, by table."""
    tables = cells["question"].map(tables_of(cells))
    values = front_values(cells)
    by_question = values.groupby([tables, cells["question"], cells["variant"]]).mean()
    by_table = by_question.groupby(level=[0, 2]).mean().unstack()
    return [(str(table), row) for table, row in by_table.iterrows()]
