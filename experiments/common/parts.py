"""Tables of parts of a sweep: its seeds, and its small and large tables.

``python -m fairautoml.bench.peers experiments/common/parts.py results/main`` writes ``parts.csv``,
``stated.csv`` and ``pairs.csv``.
"""

import argparse
from collections.abc import Iterator, Sequence
from pathlib import Path

import pandas as pd

from common.comparison import better_rows, systems
from common.measures import TINY, with_margin_rows
from fairautoml.bench.tables import (
    complete_blocks,
    in_complete_blocks,
    interval_of_mean,
    mean_over_questions,
    numbers,
    our_variants,
    strict_fair_accuracy,
    tables_of,
)
from fairautoml.bench.tasks import read_rows
from fairautoml.data.files import write_csv

FEW_HELD = 3_000
"""Held-out rows below which a table counts as small: 30 % of 10,000 rows."""


def parts(cells: pd.DataFrame) -> Iterator[tuple[str, pd.DataFrame]]:
    """Yield the cells of each non-empty part: every seed, small tables, large tables."""
    for seed, of_seed in cells.groupby("seed"):
        yield f"seed {seed}", of_seed.copy()
    # A failed run held out as many rows as the others of its question.
    held = numbers(cells, "holdout.n_rows").groupby(cells["question"]).transform("max")
    for name, chosen in (("small tables", held < FEW_HELD), ("large tables", held >= FEW_HELD)):
        if chosen.any():
            yield name, cells[chosen].copy()


def systems_by_part(cells: pd.DataFrame) -> pd.DataFrame:
    """Return the table of the systems for each part, named in the column ``part``."""
    both = in_complete_blocks(with_margin_rows(cells)).copy()
    found = [systems(of_part).assign(part=name) for name, of_part in parts(both)]
    return pd.concat(found, ignore_index=True)


def stated_by_part(cells: pd.DataFrame) -> pd.DataFrame:
    """Return how many of our runs met the bound on held-out rows, and the estimated number."""
    found = []
    for part, of_part in parts(cells):
        for variant in our_variants(cells):
            own = of_part[of_part["variant"] == variant]
            met = numbers(own, "holdout.excess") <= 0
            stated = numbers(own, "search.margin.probability")
            sure = stated >= 0.95
            found.append(
                {
                    "part": part,
                    "variant": variant,
                    "runs": len(own),
                    "met": int(met.sum()),
                    "stated": round(float(stated.sum()), 3),
                    "sure": int(sure.sum()),
                    "sure_met": int((met & sure).sum()),
                }
            )
    return pd.DataFrame(found)


def pairs_by_part(cells: pd.DataFrame) -> pd.DataFrame:
    """Return the share of runs in which each of our variants was at least as good as each other.

    A variant with a smaller budget shows whether it reaches the other systems on held-out rows.
    """
    both = in_complete_blocks(with_margin_rows(cells)).copy()
    tables, found = tables_of(cells), []
    for part, of_part in [("all tables", both), *parts(both)]:
        blocks = complete_blocks(of_part, strict_fair_accuracy(of_part))
        own = our_variants(of_part)
        others = blocks[better_rows(blocks.drop(columns=own))]
        for ours in own:
            apart = others.rsub(blocks[ours], axis=0)
            at_least, level = (apart >= -TINY).astype(float), (apart.abs() <= TINY).astype(float)
            low, high = interval_of_mean(at_least, tables)
            shares = {"at_least": mean_over_questions(at_least), "low": low, "high": high}
            shares |= {"level": mean_over_questions(level)}
            known = {"part": part, "ours": ours, "variant": others.columns, "blocks": len(blocks)}
            found.append(pd.DataFrame(known).join(pd.DataFrame(shares).round(4), on="variant"))
    return pd.concat(found, ignore_index=True)


def main(argv: Sequence[str] | None = None) -> int:
    """Write the three tables into the folder of a sweep, those that have rows."""
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path, help="folder with the cells.csv of a sweep")
    folder = parser.parse_args(argv).folder
    cells = read_rows(folder / "cells.csv")
    tables = {"parts": systems_by_part, "stated": stated_by_part, "pairs": pairs_by_part}
    for name, table_of in tables.items():
        table = table_of(cells)
        # Tables of comparisons are empty without other systems.
        if len(table) > 0:
            write_csv(table, folder / f"{name}.csv")
    return 0
