import pandas as pd
import pytest

from common.comparison import LEAGUE_COLUMNS, leagues


def cell(variant, seed, accuracy, *, aware, randomized=None, feature=True):
    return {
        "question": "q", "variant": variant, "seed": seed, "outcome": "done",
        "holdout.accuracy": accuracy, "holdout.excess": -0.01, "holdout.majority": 0.6,
        "entry.needs_sensitive": aware, "entry.randomized": randomized,
        "group_is_feature": float(feature),
    }  # fmt: skip


def test_every_variant_is_ranked_among_those_of_its_league_only():
    found = leagues(
        pd.DataFrame(
            [
                cell("ours", 0, 0.9, aware=True), cell("ours", 1, 0.7, aware=False),
                cell("theirs", 0, 0.8, aware=True), cell("theirs", 1, 0.8, aware=True),
                cell("lots", 0, 0.95, aware=True, randomized=True),
                cell("lots", 1, 0.95, aware=True, randomized=True),
                cell("blind", 0, 0.7, aware=False, randomized=False, feature=False),
                cell("blind", 1, 0.5, aware=False, randomized=False, feature=False),
                cell("column", 0, 0.7, aware=False), cell("column", 1, 0.7, aware=False),
            ]
        )
    )  # fmt: skip
    aware, lots, blind = "aware, deterministic", "aware, randomized", "blind, deterministic"
    assert found["league"].tolist() == [aware, aware, lots, blind, "feature, deterministic"]
    by_name = found.set_index("variant")
    assert by_name["rank"].dropna().to_dict() == {"ours": 1.5, "theirs": 1.5}
    assert by_name["strict_fair_accuracy"].to_dict() == pytest.approx(
        {"ours": 0.8, "theirs": 0.8, "lots": 0.95, "blind": 0.6, "column": 0.7}
    )


def test_one_league_is_no_table():
    found = leagues(pd.DataFrame([cell(v, 0, 0.9, aware=True) for v in "ab"]))
    assert found.empty
    assert tuple(found) == LEAGUE_COLUMNS


def test_a_variant_that_only_failed_is_of_no_league():
    failed = cell("failed", 0, None, aware=None) | {"outcome": "failed"}
    found = leagues(
        pd.DataFrame([cell("a", 0, 0.9, aware=True), cell("b", 0, 0.9, aware=False), failed])
    )
    assert "failed" not in found["variant"].tolist()
