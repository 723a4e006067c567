from pathlib import Path

import pandas as pd
import pytest

from readme_blocks import DOCS
from wrappers import BOUND, markdown, shown

FOLDER = Path(__file__).parents[2] / "results" / "wrappers"
PAGE = (FOLDER / "README.md").read_text(encoding="utf-8")
ROWS = pd.read_csv(FOLDER / "wrappers.csv")
KEPT = ["predict_proba, argmax", "pickle", "Pipeline", "FixedThresholdClassifier(threshold=0.5)",
        "clone and fit"]  # fmt: skip


def gaps(name, table="adult"):
    rows = ROWS[(ROWS["table"] == table) & ROWS["wrapper"].str.startswith(name)]
    return rows.groupby("wrapper")["gap"].mean()


def test_the_page_states_the_figures_of_the_file():
    assert markdown(shown(ROWS)).strip() in PAGE
    largest = ROWS[ROWS["wrapper"].str.startswith(("Calibrated", "Stacking"))]["changed"].max()
    assert f"up to {largest:.1%}".replace("%", " %") in PAGE


def test_wrappers_that_keep_the_rule_decide_every_row_as_predict():
    assert (ROWS[ROWS["wrapper"].isin(KEPT)]["changed"] == 0).all()
    assert ROWS["wrapper"].isin(KEPT).sum() == len(KEPT) * 4
    assert (ROWS.groupby(["wrapper", "table"])["gap"].mean()[["predict", *KEPT]] <= BOUND).all()


@pytest.mark.parametrize(
    ("names", "text"),
    [
        ("predict", "| kept | {0:.3f} |"),
        ("VotingClassifier", "| each model has its own | {0:.3f}, {1:.3f} |"),
        (("CalibratedClassifierCV", "StackingClassifier"), "{least:.3f} to {most:.3f} |"),
        ("TunedThresholdClassifierCV", "| lost | {0:.3f} |"),
        ("base_proba", "| none | {0:.3f} |"),
    ],
)
def test_the_reference_states_the_gaps_of_adult(names, text):
    found = gaps(names)
    expected = text.format(*found, least=found.min(), most=found.max())
    assert expected in (DOCS / "reference.md").read_text(encoding="utf-8")
