"""The table that people read about the monitor is that of its committed streams."""

import pandas as pd
from test_results_of_main import ROOT, rows_of

MONITOR = ROOT / "results" / "monitor"


def test_every_figure_of_the_monitor_is_that_of_the_streams():
    table = pd.read_csv(MONITOR / "streams.csv")
    first = table[["constraint", "drift"]].min(axis=1)
    quiet, drift = first[table["kind"] == "no_drift"], first[table["kind"] == "drift"]
    early = table.loc[table["kind"] == "drift", "constraint"] < 5
    shown = [cells[-1] for cells in rows_of(MONITOR / "README.md", "| streams | result |")]
    assert len(quiet) == len(drift) == 1_000
    assert shown == [
        f"{100 * quiet.notna().mean():.1f} %",
        *(f"{100 * (drift <= month).mean():.1f} %" for month in (12, 15, 18, 24)),
        f"{drift.median():.0f}",
        f"{100 * early.mean():.1f} %",
    ]


def test_the_promise_of_the_monitor_holds_on_the_streams():
    table = pd.read_csv(MONITOR / "streams.csv").set_index("kind")
    alarm = table[["constraint", "drift"]].notna().any(axis=1)
    assert alarm["no_drift"].mean() <= 0.05
    assert alarm["drift"].mean() >= 0.90
