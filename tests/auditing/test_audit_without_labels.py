import json
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from audit_people import individuals, only, quick
from scipy.stats import beta, fisher_exact

from fairautoml.cli.main import main
from fairautoml.exceptions import InputError, ParameterError

LABEL_RATES = {"tpr", "fpr", "ppv", "accuracy"}


def decisions():
    """80 of 100 accepted in group a, 48 of 100 in b, 64 of 100 in c: ratios 1, 0.6, 0.8."""
    accepted = {"a": 80, "b": 48, "c": 64}
    groups = np.repeat([*accepted], 100)
    decision = np.concatenate([[1] * n + [0] * (100 - n) for n in accepted.values()])
    return decision, groups


@pytest.fixture
def table(tmp_path):
    rows = individuals()
    path = tmp_path / "decisions.csv"
    rows.groups.assign(decision=rows.decision).to_csv(path, index=False)
    return path


def run(path, *options):
    return main(["audit", str(path), "--y-pred", "decision", "--no-leakage", *options])


def test_impact_ratios_are_against_the_most_selected_group():
    decision, groups = decisions()
    found = quick(y_pred=decision, sensitive={"g": groups})
    ratios = {row.group: row.impact_ratio for row in found.impact}
    assert ratios == pytest.approx({"a": 1.0, "b": 0.6, "c": 0.8})
    assert {row.group: row.below_four_fifths for row in found.impact} == {
        "a": False,
        "b": True,
        "c": False,
    }
    assert {row.reference for row in found.impact} == {"a"}


def test_a_ratio_of_four_fifths_is_not_flagged_whatever_the_rounding():
    groups = np.repeat(["a", "b"], 100)
    decision = [1] * 75 + [0] * 25 + [1] * 60 + [0] * 40
    assert 0.6 / 0.75 < 0.8
    row = only(quick(y_pred=decision, sensitive={"g": groups}).impact, group="b")
    assert row.below_four_fifths is False


def test_selection_rates_without_labels_have_exact_intervals():
    decision, groups = decisions()
    row = only(quick(None, decision, {"g": groups}).rates, group="b")
    assert (row.rate, row.n, row.events, row.value) == ("selection", 100, 48.0, 0.48)
    assert row.interval.exact
    assert row.interval.low == pytest.approx(beta.ppf(0.025, 48, 53))
    assert row.interval.high == pytest.approx(beta.ppf(0.975, 49, 52))


def test_without_labels_nothing_that_needs_them_is_in_the_result():
    rows = individuals()
    before = (rows.X["x2"] > 0).astype(int)
    found = quick(None, rows.decision, rows.groups, baseline=before, y_score=rows.score)
    assert not found.labelled
    assert {row.rate for row in found.rates} == {"selection"}
    assert {row.rate for row in found.changes} == {"selection"}
    assert {row.rate for row in found.levelling} == {"selection"}
    assert found.scores == ()
    assert {row.metric for row in found.gaps} == {
        "demographic_parity_difference",
        "demographic_parity_ratio",
        "demographic_parity_to_overall",
    }
    assert all(row.value is not None for row in found.gaps)
    assert not any(f'"{rate}"' in found.to_json() for rate in LABEL_RATES)
    assert "No true labels were given" in found.text()


def test_what_labels_do_not_change_is_the_same_without_them():
    rows = individuals()
    bound = "demographic_parity_difference <= 0.5"
    with_labels = quick(rows.y, rows.decision, rows.groups, constraint=bound, independent=True)
    without = quick(None, rows.decision, rows.groups, constraint=bound, independent=True)
    assert with_labels.labelled
    assert without.impact == with_labels.impact
    assert without.rates == tuple(row for row in with_labels.rates if row.rate == "selection")
    assert without.verdicts == with_labels.verdicts
    assert without.verdict == "CERTIFIED"
    # The bootstrap draws tables with and without a division by label.
    gaps = [replace(row, interval=None) for row in with_labels.gaps]
    assert all(replace(row, interval=None) in gaps for row in without.gaps)


@pytest.mark.parametrize("metric", ["equalized_odds_difference", "predictive_parity_difference"])
def test_a_constraint_that_needs_labels_is_refused_without_them(metric):
    decision, groups = decisions()
    with pytest.raises(InputError, match=rf"{metric}.*needs true labels.*y_true \(--y-true\)"):
        quick(None, decision, groups, constraint=f"{metric} <= 0.1")


def test_small_groups_are_not_the_reference_and_have_no_ratio():
    decision, groups = decisions()
    decision = np.concatenate([decision, [1] * 6 + [1] * 6])
    groups = np.concatenate([groups, ["d"] * 6, ["e"] * 6])
    found = quick(None, decision, {"g": groups}).impact
    assert {row.group: row.reason for row in found if row.reason} == {
        "d": "suppressed",
        "e": "suppressed",
    }
    assert only(found, group="b").reference == "a"
    assert only(found, group="d").selection_rate is None


def test_columns_and_their_intersection_have_ratios(table, capsys):
    assert run(table, "--sensitive", "sex", "--sensitive", "race", "--json") == 0
    found = json.loads(capsys.readouterr().out)
    assert {row["system"] for row in found["impact"]} == {"sex", "race", "sex & race"}
    for system in ("sex", "race", "sex & race"):
        ratios = [row["impact_ratio"] for row in found["impact"] if row["system"] == system]
        assert max(ratios) == 1.0
    assert not found["labelled"]


def test_the_text_shows_rates_ratios_and_the_flag(table, capsys):
    assert run(table, "--sensitive", "sex") == 0
    text = capsys.readouterr().out
    assert "Impact ratios" in text
    assert "below four fifths" in text
    assert "selection" in text
    assert not LABEL_RATES & set(text.split())


def test_the_command_names_the_option_that_is_lacking(table, capsys):
    code = run(table, "--sensitive", "sex", "--constraint", "equal_opportunity_difference<=0.1")
    assert code == 3
    assert "--y-true" in capsys.readouterr().err


def test_the_positive_decision_is_chosen_from_the_decisions(tmp_path, capsys):
    decision, groups = decisions()
    frame = pd.DataFrame({"decision": np.where(decision == 1, "hire", "pass"), "g": groups})
    frame.to_csv(tmp_path / "d.csv", index=False)
    assert run(tmp_path / "d.csv", "--sensitive", "g", "--positive", "hire", "--json") == 0
    found = json.loads(capsys.readouterr().out)
    assert found["classes"] == ["pass", "hire"]
    assert found["impact"][1]["impact_ratio"] == pytest.approx(0.6)


def test_one_kind_of_decision_without_labels_is_refused():
    with pytest.raises(InputError, match=r"y_pred holds one label only: 1\. Without true labels"):
        quick(None, [1] * 40, ["a", "b"] * 20)


def test_groups_of_which_no_row_is_selected_have_no_ratio():
    decision = [0] * 99 + [1]
    groups = ["a"] * 50 + ["b"] * 49 + ["c"]
    found = quick(None, decision, {"g": groups}, smallest_cell=0).impact
    assert only(found, group="a").impact_ratio == 0.0
    excluded = quick(
        None, decision, {"g": [*groups[:99], None]}, smallest_cell=0, sensitive_missing="exclude"
    ).impact
    assert {row.reason for row in excluded} == {"no row is selected"}


@pytest.mark.parametrize("reference", ["b", "largest"])
def test_a_reference_of_which_no_row_is_selected_is_named(reference):
    decision, groups = [1] * 20 + [0] * 30 + [0] * 60, ["a"] * 50 + ["b"] * 60
    found = quick(None, decision, {"g": groups}, reference=reference).impact
    assert {row.reason for row in found} == {"no row of b is selected"}
    assert {row.impact_ratio for row in found} == {None}


def test_groups_are_compared_with_the_reference_by_exact_tests():
    decision, groups = decisions()
    found = quick(None, decision, {"g": groups}, reference="c").impact
    rows = {row.group: row for row in found}
    assert {row.reference for row in found} == {"c"}
    assert rows["a"].impact_ratio == pytest.approx(80 / 64)
    assert (rows["c"].impact_ratio, rows["c"].p_value) == (1.0, None)
    expected = fisher_exact([[48, 52], [64, 36]]).pvalue
    assert rows["b"].p_value == pytest.approx(expected)
    # The smaller p-value of two is doubled, and the larger one is at least that.
    smaller, larger = sorted((rows["a"].p_value, rows["b"].p_value))
    corrected = sorted((rows["a"].p_holm, rows["b"].p_holm))
    assert corrected == pytest.approx([2 * smaller, max(2 * smaller, larger)])
    assert rows["b"].standard_errors == pytest.approx(-16 / np.sqrt(0.56 * 0.44 * 0.02) / 100)
    assert {row.reference for row in quick(None, decision, {"g": groups}).impact} == {"a"}
    big = np.repeat(["a", "b"], [100, 200])
    largest = quick(None, decision, {"g": big}, reference="largest").impact
    assert {row.reference for row in largest} == {"b"}


def test_intervals_of_ratios_hold_the_true_ratio_whichever_group_is_the_reference():
    rng = np.random.default_rng(2)
    groups, rates = np.repeat(["a", "b", "c"], 120), {"a": 0.5, "b": 0.5, "c": 0.3}
    missed = 0
    for _ in range(60):
        decision = (rng.random(360) < np.array([rates[g] for g in groups])).astype(int)
        rows = quick(None, decision, {"g": groups}).impact
        for row in rows:
            true = rates[row.group] / rates[row.reference]
            ends = row.ratio_interval
            missed += ends is not None and not ends.low <= true <= ends.high
    assert missed <= 6


@pytest.mark.parametrize(
    ("options", "error", "match"),
    [
        ({"reference": "z"}, ParameterError, "'z' is not a group; pass 'most_selected'"),
        ({"min_share": 2}, ParameterError, "must be a share of the rows"),
        ({"favourable": "yes"}, InputError, "'yes' is not one of the labels 0 and 1"),
        ({"correction": "none"}, ParameterError, "must be one of 'holm', 'fixed_sequence'"),
        ({"metrics": "f1"}, ParameterError, "must be a list of metrics"),
    ],
)
def test_options_out_of_range_are_refused(options, error, match):
    decision, groups = decisions()
    with pytest.raises(error, match=match):
        quick(None, decision, {"g": groups}, **options)


def test_rows_of_unknown_groups_are_counted_and_left_out():
    decision, groups = decisions()
    known = quick(None, decision, {"g": groups})
    others = [*groups, "n/a", None, "N/A "]
    found = quick(None, [*decision, 1, 1, 1], {"g": others}, unknown=["N/A"])
    assert found.unknown == (("g", 3),)
    assert found.impact == known.impact
    assert "3 row(s) are in no group of 'g'" in found.text()


def test_one_small_group_hides_neither_the_others_nor_their_intersections():
    rows = individuals(2000)
    race = rows.groups["race"].copy()
    race.iloc[:4] = "d"
    alone = quick(None, rows.decision, race)
    assert {row.group for row in alone.rates if row.suppressed} == {"d"}
    found = quick(None, rows.decision, rows.groups.assign(race=race))
    shown = {row.group for row in found.rates if not row.suppressed}
    # The total of sexes is known, so that a second race is needed to keep the first one secret.
    assert len({"a", "b", "c", "d"} - shown) == 2
    assert {"F", "M", "a", "F & a", "M & a"} <= shown
    assert not {"d", "F & d", "M & d"} & shown
    gap = only(found.gaps, system="sex & race", metric="demographic_parity_difference")
    assert gap.value is not None
    assert "F & d" in gap.left_out
