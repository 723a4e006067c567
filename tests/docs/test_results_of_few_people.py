"""The tables that people read about few searched people are those of their committed files."""

from pathlib import Path

import pandas as pd

FOLDER = Path(__file__).parents[2] / "results" / "few_people"
PARTS = {"about 700": "about 700 rows", "about 3,700": "about 3700 rows", "both": "all"}


def rows_of(start):
    lines = (FOLDER / "README.md").read_text().splitlines()
    first = next(at for at, line in enumerate(lines) if line.startswith(start)) + 2
    end = next(at for at in range(first, len(lines)) if not lines[at].startswith("|"))
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[first:end]]


def test_every_row_is_that_of_the_file():
    table = pd.read_csv(FOLDER / "expected.csv").set_index(["part", "variant"])
    shown = rows_of("| rows searched |")
    assert len(shown) == 6
    for searched, name, accuracy, gap, stated, as_many, held_out, worth, less in shown:
        row = table.loc[(PARTS[searched], name.strip("*"))]
        assert [accuracy, gap] == [f"{row['accuracy']:.4f}", f"{row['gap']:.3f}"]
        assert [as_many, held_out] == [f"{row[n]:.2f}" for n in ("met_as_many", "met_held_out")]
        assert worth == f"{row['worth']:.4f}"
        ours = name == "**fairautoml**"
        assert stated == (f"{row['stated']:.2f}" if ours else "")
        apart = f"{row['difference']:+.4f} [{row['low']:+.4f}, {row['high']:+.4f}]"
        assert less == ("" if ours else apart)


def test_what_was_stated_is_that_of_the_file():
    found = pd.read_csv(FOLDER / "calibration.csv")
    shown = [row[1:] for row in rows_of("| stated |")]
    assert shown == [
        [str(row.runs), *(f"{n:.2f}" for n in (row.stated, row.met, row.met_as_many))]
        for row in found.itertuples()
    ]
