from pathlib import Path

import pandas as pd

from category_encodings import compared

FOLDER = Path(__file__).parents[2] / "results" / "encodings"
PAGE = (FOLDER / "README.md").read_text(encoding="utf-8")
CELLS = pd.read_csv(FOLDER / "cells.csv")


def differences(encoding):
    wide = CELLS.pivot(index=["table", "learner", "seed"], columns="encoding", values="log_loss")
    return wide[encoding] - wide["native"]


def test_the_page_states_every_mean_and_paired_difference():
    table = compared(CELLS)
    assert len(table) == 12
    for row in table.astype(str).to_numpy():
        assert "| " + " | ".join(row) + " |" in PAGE


def test_the_table_where_all_learners_gain_on_every_seed_is_named():
    for encoding in ("codes", "target"):
        assert (differences(encoding)["acs_income_2018"] < 0).all()
    assert "**Better** on every seed: ACS income with both encodings" in PAGE


def test_no_encoding_is_worse_on_every_seed():
    for encoding in ("codes", "target"):
        assert not (differences(encoding) > 0).groupby(["table", "learner"]).all().any()
