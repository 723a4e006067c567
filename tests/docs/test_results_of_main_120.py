"""The tables of the sweeps at 120 s and with all cores are those of their committed files."""

import pandas as pd
import pytest
from test_results_of_main import MARGIN, ROOT, between, number, rows_of

LONG = ROOT / "results" / "main_120"


CORES = ROOT / "results" / "main_cores"


def table(name, folder=LONG):
    return pd.read_csv(folder / f"{name}.csv").set_index("variant")


@pytest.mark.parametrize("folder", [LONG, CORES], ids=lambda folder: folder.name)
def test_every_row_of_the_results_is_that_of_the_systems(folder):
    systems, ranks = table("systems", folder), table("ranks", folder)
    shown = rows_of(folder / "README.md", "| system | rank of 5 ")
    assert [cells[0].strip("*") for cells in shown] == systems.index.tolist()
    for name, rank, behind, accuracy, less, _, _, met, at_limit, front in shown:
        variant = name.strip("*")
        row, own = systems.loc[variant], ranks.loc[variant.removesuffix(MARGIN)]
        assert rank == between(row, "rank", "rank_low", "rank_high", ".2f")
        assert accuracy == f"{row['strict_fair_accuracy']:.4f}"
        assert met == f"{100 * ranks.loc[variant, 'within_limit']:.0f} %"
        assert at_limit == number(own["at_limit"], ".4f")
        assert front == number(own["front_value"], ".4f")
        if variant != "fairautoml":
            assert behind == between(row, "behind", "behind_low", "behind_high", "+.2f")
            assert less == between(row, "difference", "low", "high", "+.4f")


def test_what_the_benchmarks_say_of_120_s_is_that_of_the_systems():
    systems = table("systems")
    others = systems.drop(index="fairautoml")["rank"]
    said = f"rank {systems.loc['fairautoml', 'rank']:.2f} of 5, the next {others.min():.2f}"
    assert said in (ROOT / "docs/benchmarks.md").read_text()


def test_what_is_said_of_the_bound_and_the_tenth_of_the_time_at_120_s_holds():
    stated = pd.read_csv(LONG / "stated.csv").set_index(["part", "variant"])
    pairs = pd.read_csv(LONG / "pairs.csv").set_index(["part", "ours"])
    for variant in ("fairautoml", "fairautoml_tenth"):
        row = stated.loc[("large tables", variant)]
        assert (row["met"], row["runs"]) == (8, 8)
    assert pairs.loc[("all tables", "fairautoml_tenth"), "at_least"].min() >= 6 / 8
    assert table("volumes")["ours_first"].all()
