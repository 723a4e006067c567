"""The table that people read about being sure is that of its committed cells."""

import pandas as pd
from test_results_of_main import ROOT, rows_of

from fairautoml.bench.tables import strict_fair_accuracy

SURE = ROOT / "results" / "sure"
NAMES = {"default": "fairautoml", "`confidence=0.95`": "fairautoml_sure"}


def test_every_row_of_the_results_about_being_sure_is_that_of_the_cells():
    cells = pd.read_csv(SURE / "cells.csv", low_memory=False)
    worth = strict_fair_accuracy(cells)
    shown = rows_of(SURE / "README.md", "| table | setting ")
    assert len(shown) == 8
    for table, requested, met, stated, gap, accuracy, strict in shown:
        of_table = cells["question"].str.startswith("" if table == "all three" else f"{table}_")
        own = cells[of_table & (cells["variant"] == NAMES[requested])]
        assert met == f"{(own['holdout.excess'] <= 0).sum()} of {len(own)}"
        assert stated == f"{own['search.margin.probability'].mean():.2f}"
        assert gap == f"{own['holdout.gap'].mean():.3f}"
        assert accuracy == f"{own['holdout.accuracy'].mean():.4f}"
        assert strict == f"{worth[own.index].mean():.4f}"


def test_what_is_said_of_runs_that_were_to_be_sure_holds():
    stated = pd.read_csv(SURE / "stated.csv").set_index(["part", "variant"])
    sure = stated.loc[("small tables", "fairautoml_sure")]
    assert (sure["met"], sure["runs"], sure["sure"], sure["sure_met"]) == (58, 60, 51, 51)
    assert "58 of 60" in (ROOT / "docs/benchmarks.md").read_text()
