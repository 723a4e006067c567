from pathlib import Path

import pandas as pd

from serving import compared, markdown, shown

FOLDER = Path(__file__).parents[2] / "results" / "serving"
PAGE = (FOLDER / "README.md").read_text(encoding="utf-8")
BEFORE, AFTER = (pd.read_csv(FOLDER / f"{name}.csv") for name in ("before", "after"))


def ensembles(n_rows):
    found = compared(BEFORE, AFTER)
    return found[(found["model"] == "ensemble") & (found["n_rows"] == n_rows)]


def test_the_page_states_the_times_of_both_versions():
    assert markdown(shown(compared(BEFORE, AFTER))) in PAGE


def test_both_versions_decide_every_row_the_same():
    assert compared(BEFORE, AFTER)["same"].all()


def test_one_row_of_an_ensemble_takes_at_most_20_ms():
    assert ensembles(1)["cpu_ms_after"].max() <= 20


def test_many_rows_take_less_than_half_of_the_time_on_two_cores():
    found = ensembles(100_000)
    assert found["wall_ratio"].max() < 0.5
    assert found["cpu_ratio"].round(2).isin([0.92]).all()
    assert "less than half" in PAGE
    assert "8 % less" in PAGE
