from pathlib import Path

import pandas as pd
import pytest

from serving import CURVE, DEFAULT, curve_summary, system_summary

FOLDER = Path(__file__).parents[2] / "results" / "serving"


def test_the_curve_compares_with_every_member_that_lowers_the_loss():
    points = pd.DataFrame(
        {
            "table": ["a", "a", "b", "b"],
            "options": ["tolerance 0", DEFAULT] * 2,
            "n_trees": [1000, 500, 4000, 3000],
            "accuracy": [0.9, 0.8996, 0.8, 0.8002],
            "gap": [0.01, 0.03, 0.02, 0.04],
        }
    )
    found = curve_summary(points).set_index("options").loc[DEFAULT]
    assert (found["median_trees"], found["most_trees"]) == (1750, 3000)
    assert found["share_of_trees"] == pytest.approx(0.625)
    assert (found["accuracy_lost"], found["most_lost"]) == pytest.approx((0.0001, 0.0004))


recorded = pytest.mark.skipif(
    not (FOLDER / "systems.csv").exists(), reason="the sweep has not been recorded"
)


@recorded
def test_the_default_is_at_the_knee_of_accuracy_against_trees():
    points = pd.read_csv(FOLDER / "curve.csv")
    assert set(points["options"]) == set(CURVE)
    assert points["table"].nunique() == 10
    found = curve_summary(points).set_index("options").loc[DEFAULT]
    assert found["median_trees"] <= 3000
    assert found["accuracy_lost"] <= 0.0005


@recorded
def test_one_row_and_loading_take_milliseconds():
    found = system_summary(pd.read_csv(FOLDER / "systems.csv")).set_index("system")
    assert found.loc["estimator", "row_ms"] <= 10
    assert found.loc["runtime", "row_ms"] <= 3
    assert found.loc["runtime", "load_ms"] <= 50
