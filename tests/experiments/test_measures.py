import json

import numpy as np
import pandas as pd
import pytest

from common.comparison import critical_difference
from common.measures import (
    accuracies_at_limit,
    accuracy_at,
    all_ranks,
    claim_of,
    seconds_to_reach,
    with_margin_rows,
)
from fairautoml.bench.tables import front_value, front_values


def group(n, positive, accepted_right, accepted_wrong):
    """Rates of n rows, of which so many of label 1 and of label 0 were accepted."""
    negative = n - positive
    return {
        "weight": float(n),
        "selection": (accepted_right + accepted_wrong) / n,
        "tpr": accepted_right / positive,
        "fpr": accepted_wrong / negative,
        "accuracy": (accepted_right + negative - accepted_wrong) / n,
    }


def fitted(metric, first, second, status="feasible"):
    return {
        "status": status,
        "constraint": [f"{metric}<=0.05"],
        "holdout": {"rates": {"sex": {"f": first, "m": second}}},
    }


@pytest.mark.parametrize("metric", ["demographic_parity_difference", "equalized_odds_difference"])
def test_a_claim_is_refuted_by_many_rows_and_not_by_few(metric):
    many = fitted(metric, group(4000, 2000, 1600, 400), group(4000, 2000, 800, 200))
    few = fitted(metric, group(40, 20, 16, 4), group(40, 20, 12, 3))
    assert claim_of(many)["claim.refuted"] == 1.0
    assert claim_of(few)["claim.refuted"] == 0.0
    assert claim_of(few)["claim.excess_low"] < 0


def test_who_claims_nothing_is_not_refuted():
    groups = group(4000, 2000, 1600, 400), group(4000, 2000, 800, 200)
    found = claim_of(fitted("demographic_parity_difference", *groups, status="infeasible"))
    assert found["claim.refuted"] == 0.0
    assert found["claim.excess_low"] > 0


def test_claims_are_counted_among_those_that_claim():
    table = pd.DataFrame(
        [
            cell("a", seed=0, **{"claim.refuted": 1.0, "holdout.excess": 0.2}),
            cell("a", seed=1, **{"claim.refuted": 0.0, "holdout.excess": 0.01}),
            cell("a", seed=2, **{"claim.refuted": 0.0}),
            cell("a", seed=3, **{"claim.refuted": 0.0, "holdout.excess": None}),
            cell("a", seed=4, status="infeasible", **{"holdout.excess": 0.2}),
            cell("b", seed=0, claims=False, **{"claim.refuted": 1.0, "holdout.excess": 0.2}),
            cell("c", seed=0, **{"search.margin.probability": 0.49, "holdout.excess": 0.2}),
            cell("c", seed=1, **{"search.margin.probability": 0.5, "holdout.excess": -0.01}),
        ]
    )
    found = all_ranks(table).set_index("variant")
    assert found.loc["a", ["exceeded_claims", "refuted_claims"]].tolist() == [0.75, 0.25]
    assert found.loc["b", ["exceeded_claims", "refuted_claims"]].isna().all()
    # What a system says of itself takes none of its misses away.
    assert found.loc["c", ["exceeded_claims", "declined"]].tolist() == [0.5, 0.5]


def test_a_group_of_which_half_of_everything_was_accepted_is_no_evidence():
    groups = group(4, 2, 1, 1), group(4000, 2000, 1600, 400)
    assert claim_of(fitted("equalized_odds_difference", *groups))["claim.refuted"] == 0.0


def test_nothing_is_said_of_ratios_and_without_held_out_rows():
    groups = group(40, 20, 16, 4), group(40, 20, 12, 3)
    ratio = fitted("demographic_parity_difference", *groups) | {
        "constraint": ["demographic_parity_ratio>=0.8"]
    }
    assert claim_of(ratio) == {}
    assert claim_of(ratio | {"holdout": {}}) == {}


def test_a_front_is_worth_its_mean_gain_over_the_majority():
    assert front_value([[0.9, 0.0]], 0.7) == pytest.approx(0.2)
    assert front_value([[0.8, 0.05], [0.9, 0.1], [0.99, None], [0.99, 0.5]], 0.7) == pytest.approx(
        (0.05 * 0.1 + 0.1 * 0.2) / 0.2
    )
    assert front_value([[0.6, 0.0]], 0.7) == 0.0


def cell(variant, **given):
    return {
        "question": "q", "seed": 0, "variant": variant, "outcome": "done", "status": "feasible",
        "holdout.accuracy": 0.8, "holdout.excess": -0.01, "holdout.gap": 0.04,
        "holdout.majority": 0.6, "search.score": 0.8, "search.gap": 0.04,
    } | given  # fmt: skip


MOMENTS = json.dumps(
    [
        {"seconds": 1.0, "score": 0.95, "gap": 0.3, "feasible": False},
        {"seconds": 2.0, "score": 0.7, "gap": 0.0, "feasible": True},
        {"seconds": 5.0, "score": 0.85, "gap": 0.0, "feasible": True},
    ]
)


def cells(*others):
    return pd.DataFrame([cell("ours", **{"search.improvements": MOMENTS}), *others])


def test_the_time_to_reach_counts_feasible_values_only():
    table = cells(
        cell("p", system="p"),
        cell("r", system="r", **{"search.score": 0.9}),
        cell("s", system="s", status="infeasible"),
    )
    found = seconds_to_reach(table, "ours").tolist()
    assert found[1:3] == [5.0, np.inf]
    assert np.isnan(found[3])


def test_of_an_objective_of_which_less_is_better_the_time_is_to_less():
    moments = [
        {"seconds": seconds, "score": score, "gap": 0.0, "feasible": True}
        for seconds, score in ((1.0, 0.69), (20.0, 0.30))
    ]
    given = {"search.improvements": json.dumps(moments), "entry.objective": "log_loss"}
    table = pd.DataFrame([cell("ours", **given), cell("p", **{"search.score": 0.4})])
    assert seconds_to_reach(table, "ours").tolist()[1] == 20.0


def test_candidates_with_our_margin_are_a_row_of_their_own():
    margin = {
        "margin.holdout.accuracy": 0.75, "margin.holdout.excess": -0.03,
        "margin.score": 0.77, "margin.gap": 0.01, "holdout_front": "[[0.8, 0.04]]",
    }  # fmt: skip
    table = with_margin_rows(cells(cell("p", system="p", **margin), cell("r", system="r")))
    assert table["variant"].tolist() == ["ours", "p", "r", "p+margin"]
    assert table["holdout.accuracy"].tolist()[-1] == 0.75
    assert table["search.score"].tolist()[-1] == 0.77
    assert pd.isna(table["holdout_front"].iloc[-1])


def test_the_table_of_ranks_says_how_soon_ours_was_as_good():
    table = cells(
        cell("p", system="p", **{"holdout.accuracy": 0.7, "holdout_front": "[[0.8, 0.0]]"})
    )
    found = all_ranks(table).set_index("variant")
    assert found.loc["p", ["ours_reached", "ours_seconds"]].tolist() == [1.0, 5.0]
    assert found.loc["p", "front_value"] == pytest.approx(0.2)


def test_what_was_chosen_with_our_margin_is_not_compared_with_a_search_without_one():
    margin = {"margin.holdout.accuracy": 0.75, "margin.holdout.excess": -0.03,
              "margin.score": 0.77, "margin.gap": 0.01}  # fmt: skip
    found = all_ranks(with_margin_rows(cells(cell("p", system="p", **margin)))).set_index(
        "variant"
    )
    assert found.loc["p", "ours_reached"] == 1.0
    assert np.isnan(found.loc["p+margin", "ours_reached"])


def test_the_critical_difference_is_the_published_one():
    # Demsar 2006, section 3.2.2: four classifiers, fourteen data sets, q = 2.569.
    assert critical_difference(4, 14) == pytest.approx(2.569 * np.sqrt(4 * 5 / (6 * 14)), abs=2e-3)


@pytest.mark.parametrize(
    ("front", "limit", "expected"),
    [
        ([(0.8, 0.02), (0.9, 0.06)], 0.05, 0.875),
        ([(0.8, 0.02), (0.9, 0.06)], 0.02, 0.8),
        ([(0.8, 0.02), (0.9, 0.06)], 0.2, 0.9),
        ([(0.8, 0.02), (0.7, 0.04), (0.9, 0.06)], 0.04, 0.85),
        ([(0.8, 0.02), (None, 0.03), (0.85, None)], 0.05, 0.8),
    ],
)
def test_a_front_is_worth_what_it_has_where_the_gap_is_the_limit(front, limit, expected):
    assert accuracy_at(front, limit) == pytest.approx(expected)


@pytest.mark.parametrize("front", [[], [(0.9, 0.06)], [(None, 0.01)]])
def test_a_front_without_so_small_a_gap_has_no_value_there(front):
    assert np.isnan(accuracy_at(front, 0.05))


def test_fronts_of_cells_begin_with_a_constant_model():
    cells = pd.DataFrame(
        {
            "question": "q",
            "seed": 0,
            "variant": ["a", "b"],
            "holdout_front": [json.dumps([[0.9, 0.1]]), None],
            "holdout.gap": 0.06,
            "holdout.excess": 0.01,
            "holdout.majority": 0.7,
        }
    )
    found = accuracies_at_limit(cells)
    assert found[0] == pytest.approx(0.8)
    assert np.isnan(found[1])
    assert accuracies_at_limit(cells.drop(columns="holdout_front")).isna().all()


def test_a_run_without_a_front_of_a_system_that_gives_fronts_has_a_constant_model():
    cells = pd.DataFrame(
        {
            "question": "q",
            "seed": [0, 1, 1],
            "variant": ["a", "a", "b"],
            "holdout_front": [json.dumps([[0.9, 0.0]]), None, None],
            "holdout.gap": [0.06, np.nan, 0.06],
            "holdout.excess": [0.01, np.nan, 0.01],
            "holdout.majority": [0.7, np.nan, 0.6],
        }
    )
    assert accuracies_at_limit(cells).tolist()[:2] == pytest.approx([0.9, 0.6])
    assert front_values(cells).tolist()[:2] == pytest.approx([0.2, 0.0])
    assert np.isnan(front_values(cells)[2])


def test_rates_that_are_no_shares_of_rows_refute_nothing():
    many = group(4000, 2000, 1600, 400), group(4000, 2000, 800, 200)
    found = fitted("demographic_parity_difference", *many)
    assert claim_of(found)["claim.refuted"] == 1.0
    found["holdout"]["n_rows"] = 300  # so these are weights, not rows
    assert claim_of(found) == {}
    several = {"selection[a]": 0.9, "weight": 100.0}, {"selection[a]": 0.1, "weight": 100.0}
    assert claim_of(fitted("demographic_parity_difference", *several)) == {}
