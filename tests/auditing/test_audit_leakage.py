import numpy as np
import pandas as pd
import pytest
from audit_people import individuals, only
from sklearn.metrics import roc_auc_score

from fairautoml import audit
from fairautoml.auditing.leakage import fisher_of_rows, fisher_score, gaussian_auc
from fairautoml.auditing.scores import auc_interval


@pytest.mark.parametrize(
    ("m0", "m1", "s0", "s1", "expected"),
    [
        ([0, 0], [1, 2], [[1, 0], [0, 2]], [[1, 0], [0, 2]], 1.5),
        ([1, 2], [1, 2], [[1, 0.3], [0.3, 2]], [[2, 0], [0, 1]], 0.0),
        ([0, 0], [4, 5], [[6, 4], [4, 19]], [[6, 4], [4, 19]], 1.5),
    ],
    ids=["fld_two_dim", "fld_equal_means", "fld_invariance"],
)
def test_the_fisher_score_gives_the_known_answers(m0, m1, s0, s1, expected):
    found = fisher_score(*(np.array(part, dtype=float) for part in (m0, m1, s0, s1)))
    assert found == pytest.approx(expected, abs=1e-9)


def test_the_gaussian_auc_gives_the_known_answers():
    assert gaussian_auc(1.5) == pytest.approx(0.889664319, abs=1e-9)
    assert gaussian_auc(0.0) == 0.5


# known answer: fld_score_only
def test_a_score_alone_gives_the_known_answers():
    z = np.array([0.1, 0.4, 0.35, 0.8, 0.7, 0.9, 0.5, 0.2])
    s = np.array([0, 0, 0, 0, 1, 1, 1, 1])
    assert fisher_of_rows(z[:, None], s) == pytest.approx(0.2033694344, abs=1e-9)
    assert auc_interval(z, s == 1, 0.05)[0] == pytest.approx(0.6875, abs=1e-12)


def test_degenerate_groups_have_the_fisher_score_that_the_specification_states():
    z = np.array([[1.0, 5.0], [1.0, 5.0], [1.0, 5.0], [1.0, 5.0]])
    assert fisher_of_rows(z, np.array([0, 0, 1, 1])) == 0.0
    assert fisher_of_rows(z, np.array([0, 0, 0, 1])) is None


def test_the_auc_is_that_of_scikit_learn_and_its_interval_covers():
    rng = np.random.default_rng(0)
    covered = 0
    for _ in range(300):
        s = np.r_[np.zeros(60, bool), np.ones(40, bool)]
        z = np.round(rng.normal(size=100) + s, 1)
        auc, ends = auc_interval(z, s, 0.1)
        assert auc == pytest.approx(roc_auc_score(s, z), abs=1e-12)
        # Phi(1 / sqrt 2); rounding to tenths hardly moves it.
        covered += ends.low <= 0.7602 <= ends.high
    assert covered >= 250


def test_scores_that_do_not_depend_on_the_group_leak_nothing():
    rng = np.random.default_rng(1)
    y, groups = rng.integers(0, 2, 1500), rng.choice(["a", "b"], 1500)
    score = rng.random(1500)
    row = only(audit(y, (score > 0.5).astype(int), groups, y_score=score).leakage, source="score")
    assert row.interval.low < 0.5 < row.interval.high
    assert abs(row.accuracy - row.chance) < 0.06
    assert row.fisher < 0.01


@pytest.mark.parametrize("as_given", [pd.DataFrame.copy, pd.DataFrame.to_numpy])
def test_infinite_features_count_as_missing(as_given):
    groups, y = np.repeat(["a", "b"], 300), np.tile([0, 1], 300)
    X = pd.DataFrame({"x": np.random.default_rng(0).normal(size=600)})
    found = [
        audit(y, y, groups, X=as_given(X.assign(x=X["x"].where(X.index > 9, value)))).leakage
        for value in (np.inf, 1e300, np.nan)
    ]
    assert found[0] == found[1] == found[2]


def test_a_score_that_is_the_group_leaks_all():
    rng = np.random.default_rng(1)
    y, groups = rng.integers(0, 2, 400), rng.choice(["a", "b"], 400)
    score = np.where(groups == "a", 0.2, 0.7) + rng.uniform(0, 0.1, 400)
    row = only(audit(y, (score > 0.5).astype(int), groups, y_score=score).leakage, source="score")
    assert row.auc > 0.99
    assert row.accuracy > 0.99
    assert row.gaussian_auc > 0.99


def test_features_are_looked_at_without_the_sensitive_column_itself():
    rows = individuals()
    found = audit(rows.y, rows.decision, rows.groups["sex"], X=rows.X).leakage
    row = only(found, source="features")
    # N(0, 1) against N(.8, 1): Phi(.8 / sqrt 2) = .714 at best.
    assert 0.6 < row.auc < 0.8
    carried = rows.X.assign(title=rows.groups["sex"].map({"F": "Ms", "M": "Mr"}))
    audited = audit(rows.y, rows.decision, rows.groups["sex"], X=carried)
    assert only(audited.leakage, source="features").auc == 1.0
    assert any("'title' reveal sensitive 'sex'" in note for note in audited.notes)


def test_without_scores_the_decisions_are_looked_at():
    rows = individuals()
    found = audit(rows.y, rows.decision, rows.groups["sex"]).leakage
    assert [row.source for row in found] == ["decision"]
    assert found[0].auc > 0.5


def test_a_single_group_has_nothing_to_tell():
    rows = individuals()
    found = audit(rows.y, rows.decision, ["one"] * 600).leakage
    assert found[0].auc is None
    assert "fewer than two groups" in found[0].reason


def test_groups_that_few_rows_tell_apart_have_no_certain_auc():
    four = auc_interval(np.array([0.9, 0.8, 0.1, 0.2]), np.array([1, 1, 0, 0]) == 1, 0.05)
    many = auc_interval(np.r_[np.ones(300), np.zeros(300)], np.arange(600) < 300, 0.05)
    for auc, ends in (four, many):
        assert (auc, ends.high) == (1.0, 1.0)
        assert not ends.exact
    assert four[1].low < 0.7
    assert 0.98 < many[1].low < 1.0


def test_the_encodings_of_texts_and_dates_are_named_with_what_they_tell():
    rng = np.random.default_rng(0)
    group, y = rng.integers(0, 2, 160), rng.integers(0, 2, 160)
    said = [
        f"{'she' if one else 'he'} w{rng.integers(20)} w{rng.integers(20)} v{rng.integers(20)}"
        for one in group
    ]
    days = pd.to_timedelta(400 * group + rng.integers(0, 500, 160), "D")
    born = (pd.Timestamp("1990-01-01") + days).strftime("%d.%m.%Y")
    X = pd.DataFrame({"said": said, "born": born})
    found = audit(y, rng.integers(0, 2, 160), pd.Series(group, name="sex"), X=X, leakage=True)
    auc = {row.source: row.auc for row in found.leakage}
    assert set(auc) == {"decision", "features", "date 'born'", "text 'said'"}
    assert min(auc["features"], auc["text 'said'"]) > 0.95
    assert 0.7 < auc["date 'born'"] < 0.99
    assert any("'said' reveal sensitive 'sex'" in note for note in found.notes)


def test_a_table_of_texts_alone_is_audited():
    rng = np.random.default_rng(0)
    group, y = rng.integers(0, 2, 160), rng.integers(0, 2, 160)
    X = pd.DataFrame({"said": [f"a{n % 7} b{n % 11} c{n % 13} {n}" for n in range(160)]})
    found = audit(y, y, pd.Series(group, name="sex"), X=X, leakage=True)
    (row,) = (row for row in found.leakage if row.source == "features")
    assert row.fisher is None
    assert row.auc < 0.65
