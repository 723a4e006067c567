import numpy as np
import pandas as pd
import pytest

from fairautoml.cli.text import (
    _Remembered,
    board_text,
    result_text,
)

METRIC = "equal_opportunity_difference"


@pytest.fixture
def result():
    measure = {"metric": METRIC, "groups": "sex", "value": 0.02, "limit": 0.05, "reason": ""}
    return {
        "constraint": ["m <= 0.05"],
        "seed": 3,
        "status": "feasible",
        "interrupted": False,
        "search": {
            "n_trials": 7,
            "n_cut_off": 0,
            "n_pruned": 0,
            "n_failed": 1,
            "seconds": 9.0,
            "overhead_fraction": 0.1,
            "n_workers": 1,
            "strategy": "optuna_tpe",
        },
        "entry": {
            "learner": "lightgbm",
            "mitigation": "none",
            "mitigator": "group_thresholds",
            "objective": "accuracy",
            "score": 0.8,
            "rule": "a: >= 0.5",
            "reason": "",
            "constant": False,
            "measures": [measure],
        },
        "most_accurate": {"learner": "xgboost", "score": 0.9, "gap": None},
        "headline": "Served: lightgbm.",
        "statement": (
            ("Goal", "accuracy subject to m <= 0.05"),
            ("Served", "lightgbm with group_thresholds: accuracy 0.8000"),
            ("Cost", "1.2 points below the best model without the constraint"),
        ),
        "headlines": [],
        "notes": ["something was dropped"],
        "positive_class": "reject",
        "run_dir": "run",
    }


def board():
    row = {"rank": 0, "feasible": True, "accuracy": 0.8, "gap": None, "mitigation": "none"}
    return pd.DataFrame([row, {**row, "rank": 1}])


def test_the_result_says_what_was_chosen_and_what_it_costs(result):
    text = result_text(result, board(), 1, details=True)
    assert "the best 1 of 2 classifiers" in text
    assert "Chosen: lightgbm with group_thresholds, accuracy 0.8000 (cross-fitted)" in text
    assert "Accepted     means decided 'reject'" in text
    assert f"{METRIC}[sex] 0.0200" in text
    assert "7 trials, 1 failed; 9.0 s" in text
    assert "next: fairautoml predict run NEW.csv" in text


def test_the_screen_has_a_line_for_each_title_and_leaves_figures_to_the_details(result):
    held = {"n_rows": 1400, "n_unknown_group": 0, "accuracy": 0.7, "rates": {}}
    result["holdout"] = {**held, "gaps": {f"{METRIC}[sex]": 0.06, "m[race]": 0.2}}
    result["certificate"] = {"reason": "", "text": "INCONCLUSIVE: gap\nat most 0.08\nmore\n"}
    lines = result_text(result, board(), 1).splitlines()
    assert [line[:13].strip() for line in lines if line[:1].strip()] == [
        "Goal", "Served", "Cost", "Rule", "Accepted", "Status", "Held out", "Certificate",
        "Search", "Note", "Details", "Kept in run;",
    ]  # fmt: skip
    shown = "\n".join(lines)
    assert "Status       feasible: meets the constraint on the search rows (cross-fitted)" in shown
    assert f"1,400 rows, accuracy 0.7000; {METRIC}[sex] 0.0600 (over the bound" in shown
    assert "m[race]" not in shown
    assert "INCONCLUSIVE: gap: at most 0.08" in shown
    assert "Leaderboard" not in shown
    assert all(len(line) < 100 for line in lines)
    assert not shown.startswith("WARNING")
    result["headlines"] = ["It shuts out a group."]
    assert result_text(result, board(), 1).startswith("WARNING: It shuts out a group.\n\nGoal")


def test_an_unsure_and_a_refused_model_say_why(result):
    result["status"] = "unsure"
    assert "unsure: meets the constraint on the search rows, but" in result_text(
        result, board(), 1
    )
    result["status"], result["entry"]["reason"] = "infeasible", "gives one decision to a group"
    shown = " ".join(result_text(result, board(), 1).split())
    assert "but gives one decision to a group" in shown
    assert "DOES NOT MEET" not in shown


def test_a_constant_model_meets_the_constraint_only_because_of_that(result):
    result["entry"]["constant"], result["status"] = True, "infeasible"
    text = result_text(result, board(), 2)
    assert "meets the constraint on the search rows only because it is a constant" in text
    assert "DOES NOT MEET" not in text
    result["entry"]["measures"][0]["value"] = 0.9
    assert "DOES NOT MEET" in result_text(result, board(), 2)


def test_an_undefined_measure_is_shown_with_its_reason(result):
    result["entry"]["measures"][0] |= {"value": None, "reason": "group 'a' has no positives"}
    result["status"] = "infeasible"
    text = result_text(result, board(), 2, details=True)
    assert "DOES NOT MEET the constraint" in text
    assert f"{METRIC}[sex] group 'a' has no positives" in text


def test_a_held_out_ratio_is_shown_as_the_ratio(result):
    name = "demographic_parity_ratio"
    result["entry"]["measures"][0] |= {"metric": name, "limit": 0.2}
    held = {"n_rows": 10, "n_unknown_group": 0, "accuracy": 0.7, "rates": {}}
    result["holdout"] = {**held, "gaps": {f"{name}[sex]": 0.25}}
    shown = " ".join(result_text(result, board(), 1).split())
    assert f"{name}[sex] 0.7500 (below the bound 0.8)" in shown
    result["holdout"] = {**held, "gaps": {f"{name}[sex]": None}}
    assert f"{name}[sex] undefined" in result_text(result, board(), 1)


def test_held_out_gaps_are_compared_with_their_bounds(result):
    rates = {f"g{at}": {"weight": 100.0, "selection": 0.1 * (at % 5)} for at in range(14)}
    result["holdout"] = {
        "n_rows": 1400,
        "n_unknown_group": 2,
        "accuracy": 0.7,
        "gaps": {f"{METRIC}[sex]": 0.06, "m[race]": None},
        "rates": {"sex": rates},
    }
    text = result_text(result, board(), 2, details=True)
    assert "On 1,400 held-out rows: accuracy 0.7000" in text
    assert f"{METRIC}[sex] 0.0600 (over the bound 0.05)" in text
    assert "m[race] undefined" in text
    assert "2 rows lack a group, and are in no gap of it" in text
    assert "... and 2 more groups" in text


def test_trials_that_ended_early_are_distinguished_and_an_interrupt_says_how_to_go_on(result):
    result["search"] |= {"n_pruned": 20, "n_cut_off": 1}
    text = result_text(result, board(), 5)
    assert "7 trials, 20 stopped as others were better, 1 cut off by the clock, 1 failed" in text
    assert "fairautoml resume" not in text
    result["interrupted"] = True
    assert "to continue the search: fairautoml resume run" in result_text(result, board(), 5)


def test_an_entry_without_a_verdict_has_a_dash():
    verdicts = pd.Series(["CERTIFIED", None], dtype=object)
    board = pd.DataFrame({"rank": [1, 2], "verdict": verdicts, "accuracy": [0.8, 0.9]})
    assert board_text(board, "accuracy").splitlines()[1:] == [
        "    1 CERTIFIED    0.8000",
        "    2         -    0.9000",
    ]


def test_remembered_scores_are_those_of_their_block_of_rows():
    class Doubled:
        calls = 0

        def scores(self, X, cells):
            self.calls += 1
            return 2 * X[:, 0]

    model = Doubled()
    remembered, X = _Remembered(model), np.arange(6, dtype=np.float32)[:, None]
    for rows in (slice(0, 3), slice(3, 6), slice(0, 3)):
        scores = remembered.scores(X[rows], np.zeros(3, dtype=np.int32))
        assert scores.tolist() == (2 * X[rows, 0]).tolist()
    assert model.calls == 2
