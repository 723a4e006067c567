import numpy as np
import pandas as pd
import pytest

from fairautoml.bench.tables import (
    in_complete_blocks,
    our_variants,
    ranks,
    ranks_page,
    strict_fair_accuracy,
    versus,
)


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


def test_a_run_that_failed_is_worth_the_majority_of_its_rows():
    cells = [cell("q", "a", 0, 0.9, outcome="failed"), cell("q", "b", 0, 0.8)]
    assert strict_fair_accuracy(pd.DataFrame(cells)).tolist() == [0.6, 0.8]
    assert ranked(*cells)["strict_fair_accuracy"].to_dict() == {"b": 0.8, "a": 0.6}


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
    assert found["questions"].tolist() == [2, 2]


def test_a_question_with_many_seeds_weighs_no_more_than_one_with_few():
    found = ranked(
        *(cell("many", v, s, 0.9 - (v == "b") / 10) for s in range(10) for v in "ab"),
        *(cell(q, v, 0, 0.9 - (v == "a") / 10) for q in ("few", "other") for v in "ab"),
    )
    assert found["rank"].to_dict() == pytest.approx({"a": 5 / 3, "b": 4 / 3})


def test_seeds_of_one_question_do_not_make_an_interval_narrow():
    few, many = (
        ranked(
            *(
                cell(q, v, s, 0.9 - (v == worse) / 10)
                for q, worse in (("p", "a"), ("q", "b"), ("r", "b"))
                for s in range(n_seeds)
                for v in "ab"
            )
        )
        for n_seeds in (1, 20)
    )
    for table in (few, many):
        assert (table["rank_high"] - table["rank_low"]).tolist() == [1, 1]


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
        cell("p", "a", 0, 0.5, 0.1, status="infeasible"),
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


def test_ours_is_compared_block_by_block_and_so_is_ours_with_a_smaller_budget():
    budgets = {"ours": 30.0, "tenth": 3.0, "theirs": 30.0}
    accuracies = {"ours": 0.9, "tenth": 0.85, "theirs": 0.8}
    cells = [
        cell(q, v, s, accuracies[v] + shift)
        | {"search.time_budget": budgets[v], "system": v if v == "theirs" else None}
        for q, shift in (("p", 0.0), ("q", -0.2))
        for s in range(2)
        for v in budgets
    ]
    found = versus(pd.DataFrame(cells)).set_index(["reference", "variant"])
    assert found["difference"].round(6).to_dict() == {
        ("ours", "ours"): 0.0, ("ours", "tenth"): -0.05, ("ours", "theirs"): -0.1,
        ("tenth", "ours"): 0.05, ("tenth", "tenth"): 0.0, ("tenth", "theirs"): -0.05,
    }  # fmt: skip
    assert found.loc[("ours", "theirs"), ["low", "high"]].tolist() == pytest.approx([-0.1, -0.1])


def test_a_system_of_ours_that_failed_everywhere_is_still_ours_and_one_of_others_theirs():
    rows = [cell("q", v, 0, 0.9) for v in ("ours", "theirs")]
    rows += [cell("q", v, 0, 0.9, outcome="failed") for v in ("ours-b", "theirs-b")]
    system = [v if v.startswith("theirs") else None for v in (row["variant"] for row in rows)]
    assert our_variants(pd.DataFrame(rows).assign(system=system)) == ["ours", "ours-b"]


def test_without_other_systems_nothing_is_compared():
    assert versus(pd.DataFrame([cell("q", v, 0, 0.9) for v in "ab"])).empty


def test_two_questions_about_one_table_are_no_more_evidence_than_one():
    rng = np.random.default_rng(0)
    once = [
        cell(f"q{table}", variant, seed, accuracy) | {"dataset": f"t{table}"}
        for table in range(6)
        for seed in range(3)
        for variant, accuracy in zip("ab", rng.random(2), strict=True)
    ]
    twice = [*once, *({**one, "question": f"{one['question']}_again"} for one in once)]
    found, repeated = ranked(*once), ranked(*twice)
    assert repeated["tables"].tolist() == [6, 6]
    assert repeated["questions"].tolist() == [12, 12]
    for name in ("rank", "rank_low", "rank_high"):
        assert repeated[name].tolist() == pytest.approx(found[name].tolist())


def test_a_run_that_failed_meets_no_limit():
    found = ranked(cell("q", "a", 0, 0.9), cell("q", "a", 1, 0.9, outcome="failed"))
    assert found.loc["a", ["within_limit", "feasible_on_search"]].tolist() == [0.5, 0.5]


def test_without_held_out_rows_no_run_met_or_missed_a_limit():
    blank = {"holdout.accuracy": None, "holdout.excess": None}
    found = ranked(cell("q", "a", 0, 0.9) | blank, cell("q", "a", 1, 0.9, outcome="failed"))
    assert np.isnan(found.loc["a", "within_limit"])


def test_the_trials_of_others_that_met_the_limit_are_not_counted_by_their_rules():
    found = ranked(cell("q", "ours", 0, 0.9), cell("q", "theirs", 0, 0.8) | {"system": "x"})
    assert found.loc["ours", "feasible_trials"] == pytest.approx(0.4)
    assert np.isnan(found.loc["theirs", "feasible_trials"])


def test_tables_of_an_unfinished_sweep_are_of_what_every_variant_has_run():
    cells = pd.DataFrame(
        [cell("q", "a", 0, 0.9), cell("q", "b", 0, 0.8), cell("easy", "a", 0, 0.99)]
    )
    assert in_complete_blocks(cells)["question"].tolist() == ["q", "q"]
    # While there is no whole block, what there is is shown.
    assert len(in_complete_blocks(cells.iloc[[0, 2]].assign(variant=["a", "b"]))) == 2


def test_where_nothing_was_requested_accuracy_is_what_counts():
    cells = [
        cell("q", name, 0, accuracy, status="no_constraint") | {"holdout.excess": None}
        for name, accuracy in (("a", 0.85), ("b", 0.86))
    ]
    found = ranked(*cells)
    assert found["rank"].to_dict() == {"b": 1.0, "a": 2.0}
    assert found["strict_fair_accuracy"].to_dict() == {"b": 0.86, "a": 0.85}
    assert found["within_limit"].isna().all()
