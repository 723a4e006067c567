import numpy as np
import pytest
from audit_people import individuals, only, quick
from scipy.stats import binomtest


def two_groups(y, baseline, decision):
    groups = np.repeat(["a", "b"], len(y) // 2)
    return quick(y, decision, groups, baseline=baseline, smallest_cell=0)


def test_a_gap_closed_by_refusing_the_better_off_is_levelling_down():
    y = np.ones(80, int)
    y[::4] = 0
    baseline = np.r_[np.ones(40), np.tile([1, 0], 20)].astype(int)
    decision = np.r_[np.tile([1, 0], 20), np.tile([1, 0], 20)].astype(int)
    found = two_groups(y, baseline, decision)
    row = only(found.levelling, rate="selection")
    assert (row.gap_baseline, row.gap, row.levelled_down) == (0.5, 0.0, True)
    assert (row.n_better, row.n_worse) == (0, 1)
    assert only(found.changes, rate="selection", group="a").direction == "worse"
    assert only(found.changes, rate="selection", group="b").direction == "same"


def test_a_gap_closed_by_accepting_the_worse_off_is_not():
    y = np.tile([0, 1], 40)
    baseline = np.r_[np.ones(40), np.tile([1, 0], 20)].astype(int)
    found = two_groups(y, baseline, np.ones(80, int))
    row = only(found.levelling, rate="selection")
    assert (row.gap, row.n_better, row.levelled_down) == (0.0, 1, False)


def test_more_acceptances_are_better_only_where_being_accepted_is_good():
    y = np.zeros(80, int)
    y[0] = 1
    baseline = np.zeros(80, int)
    decision = np.r_[np.zeros(40), np.ones(40)].astype(int)
    found = two_groups(y, baseline, decision)
    assert only(found.changes, rate="fpr", group="b").direction == "better"
    groups = np.repeat(["a", "b"], 40)
    found = quick(y, decision, groups, baseline=baseline, smallest_cell=0, favourable=0)
    assert only(found.changes, rate="fpr", group="b").direction == "worse"
    assert only(found.changes, rate="accuracy", group="b").direction == "worse"
    assert [row.selection_rate for row in found.impact] == [1.0, 0.0]


def test_changes_are_differences_of_rates_and_p_values_those_of_a_sign_test():
    rows = individuals()
    baseline = (rows.X["x2"] > 0).to_numpy().astype(int)
    found = quick(rows.y, rows.decision, rows.groups["sex"], baseline=baseline)
    women = (rows.groups["sex"] == "F").to_numpy()
    row = only(found.changes, rate="tpr", group="F")
    here = women & (rows.y == 1)
    assert row.baseline == pytest.approx(baseline[here].mean())
    assert row.value == pytest.approx(rows.decision[here].mean())
    assert row.change == pytest.approx(row.value - row.baseline)
    up = int((rows.decision[here] > baseline[here]).sum())
    down = int((rows.decision[here] < baseline[here]).sum())
    assert row.p_value == pytest.approx(binomtest(up, up + down).pvalue)
    right = only(found.changes, rate="accuracy", group="F")
    assert right.value == pytest.approx((rows.decision == rows.y)[women].mean())


def test_the_same_decisions_change_nothing():
    rows = individuals()
    found = quick(rows.y, rows.decision, rows.groups, baseline=rows.decision)
    assert {row.change for row in found.changes} == {0.0}
    assert {row.p_value for row in found.changes} == {1.0}
    assert not any(row.levelled_down for row in found.levelling)


def test_without_a_baseline_there_is_no_table():
    rows = individuals()
    found = quick(rows.y, rows.decision, rows.groups)
    assert (found.changes, found.levelling) == ((), ())
