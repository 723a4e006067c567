import numpy as np
import pandas as pd
import pytest

from fairautoml.bench.ranks import ranks, strict_fair_accuracy
from fairautoml.bench.tables import ranks_page


def cell(question, variant, seed, accuracy, excess=-0.01, *, outcome="done", status="feasible"):
    found = {"question": question, "variant": variant, "seed": seed, "outcome": outcome}
    if outcome == "failed":
        return found
    return found | {
        "status": status,
        "holdout.accuracy": accuracy,
        "holdout.excess": excess,
        "holdout.gap": excess + 0.05,
        "holdout.majority": 0.6,
        "search.score": accuracy,
        "search.n_trials": 10,
        "search.n_feasible": 4,
        "search.seconds_to_best": 3.0,
    }


def ranked(*cells):
    return ranks(pd.DataFrame(cells)).set_index("variant")


def test_a_model_that_misses_its_limit_is_worth_the_majority():
    cells = pd.DataFrame(
        [
            cell("q", "a", 0, 0.9, -0.01),
            cell("q", "a", 1, 0.9, 0.0),
            cell("q", "a", 2, 0.9, 0.01),
            cell("q", "a", 3, 0.9) | {"holdout.gap": None, "holdout.excess": None},
            cell("q", "a", 4, 0.9, outcome="failed"),
        ]
    )
    found = strict_fair_accuracy(cells)
    assert found.tolist()[:4] == [0.9, 0.9, 0.6, 0.6]
    assert np.isnan(found[4])


def test_the_mean_rank_is_over_blocks_and_ties_are_shared():
    found = ranked(
        cell("q", "a", 0, 0.9), cell("q", "b", 0, 0.8),
        cell("q", "a", 1, 0.7), cell("q", "b", 1, 0.8),
        cell("p", "a", 0, 0.8), cell("p", "b", 0, 0.8),
        cell("p", "a", 1, 0.9), cell("p", "b", 1, 0.9, 0.2),
    )  # fmt: skip
    assert found.loc["a", "rank"] == pytest.approx((1 + 2 + 1.5 + 1) / 4)
    assert found.loc["b", "rank"] == pytest.approx((2 + 1 + 1.5 + 2) / 4)
    assert found.index.tolist() == ["a", "b"]
    assert found["blocks"].tolist() == [4, 4]


def test_the_interval_holds_the_mean_and_is_a_point_when_all_blocks_agree():
    blocks = [(q, s) for q in "qp" for s in range(3)]
    sure = ranked(*(cell(q, v, s, 0.9 - (v == "b") / 10) for q, s in blocks for v in "ab"))
    assert sure.loc["a", ["rank", "rank_low", "rank_high"]].tolist() == [1, 1, 1]
    mixed = ranked(
        *(cell(q, v, s, 0.9 - (v == "b") * (s - 0.5) / 10) for q, s in blocks for v in "ab")
    )
    assert (mixed["rank_low"] < mixed["rank"]).all()
    assert (mixed["rank"] < mixed["rank_high"]).all()


def test_a_failure_is_ranked_last_and_a_cell_that_has_not_run_is_no_block():
    found = ranked(
        cell("q", "a", 0, 0.9, outcome="failed"), cell("q", "b", 0, 0.5),
        cell("q", "a", 1, 0.9),
    )  # fmt: skip
    assert found.loc["b", "rank"] == 1
    assert found.loc["a", "rank"] == 2
    assert found["blocks"].tolist() == [1, 1]
    assert found.loc["a", ["cells", "failed"]].tolist() == [2, 1]


def test_every_question_weighs_the_same_whatever_its_seeds():
    found = ranked(
        cell("q", "a", 0, 0.9), cell("q", "a", 1, 0.9), cell("q", "a", 2, 0.9),
        cell("p", "a", 0, 0.5, 0.1, status="no_feasible"),
    )  # fmt: skip
    row = found.loc["a"]
    assert row["accuracy"] == pytest.approx((0.9 + 0.5) / 2)
    assert row["strict_fair_accuracy"] == pytest.approx((0.9 + 0.6) / 2)
    assert row["within_limit"] == pytest.approx(0.5)
    assert row["feasible_on_search"] == pytest.approx(0.5)
    assert row["score_if_feasible"] == pytest.approx(0.9)
    assert row["feasible_trials"] == pytest.approx(0.4)
    assert row["seconds_to_best"] == pytest.approx(3.0)


def test_without_held_out_rows_there_are_means_and_no_ranks():
    cells = [
        {k: v for k, v in cell("q", way, 0, 0.9).items() if not k.startswith("holdout")}
        for way in "ab"
    ]
    found = ranked(*cells)
    assert found["rank"].isna().all()
    assert found["feasible_trials"].tolist() == pytest.approx([0.4, 0.4])
    assert found["blocks"].tolist() == [0, 0]
    assert "| a | - | 1 | 0 | - |" in ranks_page(found.reset_index())


def test_a_sweep_in_which_all_failed_has_ranks_without_figures():
    found = ranked(*(cell("q", way, 0, 0.9, outcome="failed") for way in "ab"))
    assert found["failed"].tolist() == [1, 1]
    assert found["rank"].isna().all()


def test_the_normalized_accuracy_is_0_for_the_majority_and_1_for_the_oracle():
    found = ranked(
        cell("q", "a", 0, 0.9) | {"oracle": 0.9},
        cell("q", "b", 0, 0.75) | {"oracle": 0.9},
        cell("q", "c", 0, 0.95, 0.1) | {"oracle": 0.9},
        cell("p", "a", 0, 0.8), cell("p", "b", 0, 0.8), cell("p", "c", 0, 0.8),
    )  # fmt: skip
    assert found["normalized"].to_dict() == pytest.approx({"a": 1.0, "b": 0.5, "c": 0.0})


def test_without_an_oracle_nothing_is_normalized():
    assert ranked(cell("q", "a", 0, 0.9), cell("q", "b", 0, 0.8))["normalized"].isna().all()
