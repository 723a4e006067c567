"""Groups that overlap, and rates against that of everybody, through the estimator."""

import numpy as np
import pandas as pd
import pytest

from fairautoml.exceptions import InputError
from fairautoml.mitigators import MITIGATORS
from quick_fits import quick

N = 1_500


def comments(n=N, seed=0):
    """Rows that mention identities: two overlap, and most rows mention none."""
    rng = np.random.default_rng(seed)
    terms = pd.DataFrame({name: rng.uniform(size=n) < p for name, p in (("x", 0.3), ("y", 0.2))})
    features = rng.normal(size=(n, 2))
    wanted = features[:, 0] + 1.2 * terms["x"] - 0.8 * terms["y"]
    X = pd.DataFrame(features, columns=["a", "b"])
    X["hint"] = terms["x"] + rng.normal(scale=0.7, size=n)
    return X, (wanted + rng.normal(size=n) > 0.3).astype(int), {"identity": terms}


@pytest.mark.parametrize(
    "constraint",
    [
        "fped <= 0.08",
        "demographic_parity_to_overall <= 0.05",
        "equalized_odds_to_overall[identity] <= 0.05",
        "demographic_parity_difference <= 0.05",
    ],
)
def test_a_constraint_on_overlapping_groups_is_met_on_the_search_rows(constraint):
    X, y, sensitive = comments()
    model = quick(constraint).fit(X, y, sensitive)
    board = model.leaderboard_
    assert board["status"].iloc[0] in {"feasible", "unsure"}
    name = next(column for column in board if column.endswith("[identity]"))
    assert board[name].iloc[0] <= float(constraint.split("<=")[1])
    varied = board[~board["constant"]]
    assert ((varied["gap_low"] <= varied["gap_high"]) & (varied["gap_low"] >= 0)).all()


def test_a_minimum_is_met_in_groups_that_overlap_monitored_and_not_certified(tmp_path):
    """Both identities reach the precision, and the certificate says that there is no test."""
    X, y, sensitive = comments()
    model = quick("precision >= 0.75").fit(X, y, sensitive)
    best = model.leaderboard_.iloc[0]
    assert best["minimum_precision[identity]"] >= 0.75
    assert best["status"] in {"feasible", "unsure"}
    rates = model.evaluate(X, y, sensitive)["rates"]["identity"]
    assert min(one["ppv"] for one in rates.values()) >= 0.7
    new, labels, groups = comments(800, seed=1)
    found = model.certify(new, labels, groups, ledger=tmp_path / "ledger")
    assert (found.verdict, found.reason) == ("NOT_APPLICABLE", "no_exact_test")
    watched = model.monitor(new, labels, groups)
    assert watched.series[0].name == "minimum_precision[identity]"
    assert not watched.series[0].untested
    with pytest.raises(InputError, match="adapt=True: the groups of 'identity' overlap"):
        model.monitor(new, labels, groups, adapt=True)


def test_new_rows_are_decided_and_judged_by_every_group_they_are_in():
    X, y, sensitive = comments()
    model = quick("fned <= 0.1").fit(X, y, sensitive)
    new, labels, groups = comments(800, seed=1)
    decided = model.predict(new, groups)
    found = model.evaluate(new, labels, groups)
    rates = found["rates"]["identity"]
    fnr = 1 - decided[labels == 1].mean()
    expected = 0.0
    for name, mask in groups["identity"].items():
        missed = 1 - decided[(labels == 1) & mask].mean()
        expected += abs(missed - fnr)
        assert rates[name]["weight"] == mask.sum()
        assert rates[name]["tpr"] == pytest.approx(1 - missed)
    assert found["gaps"]["fned[identity]"] == pytest.approx(expected)


def test_a_winner_that_must_not_read_the_groups_needs_none():
    X, y, sensitive = comments()
    model = quick("fped <= 0.15", sensitive_at_predict=False).fit(X, y, sensitive)
    assert set(np.unique(model.predict(X))) <= {0, 1}
    assert set(model.leaderboard_["mitigator"]) <= {"none", "common_threshold", "bias_scoring"}


def test_a_mitigator_that_cannot_tell_the_groups_apart_is_refused_by_name():
    X, y, sensitive = comments()
    with pytest.raises(InputError, match="'reject_option' cannot serve groups that overlap"):
        quick("demographic_parity_difference <= 0.05", mitigators=["reject_option"]).fit(
            X, y, sensitive
        )
    with pytest.raises(InputError, match="'reject_option' cannot serve"):
        quick("fned <= 0.05", mitigators=["reject_option"]).fit(X, y, sensitive)


def test_what_serves_overlapping_groups_says_so():
    found = {name for name in MITIGATORS.names() if MITIGATORS.get(name).overlapping}
    assert {"none", "common_threshold", "group_thresholds", "randomized_thresholds"} <= found


def test_one_group_is_compared_with_all_rows():
    X, y, sensitive = comments()
    one = {"identity": sensitive["identity"][["x"]]}
    model = quick("demographic_parity_to_overall <= 0.03").fit(X, y, one)
    assert model.leaderboard_["demographic_parity_to_overall[identity]"].iloc[0] <= 0.03


def test_groups_apart_can_be_compared_with_all_rows_too():
    X, y, sensitive = comments()
    group = np.where(sensitive["identity"]["x"], "x", "rest")
    model = quick("false_positive_rate_to_overall <= 0.03").fit(X, y, group)
    assert model.leaderboard_["feasible"].iloc[0]


@pytest.mark.parametrize("constraint", ["fned <= 0.3", "demographic_parity_difference <= 0.3"])
def test_no_certificate_is_given_about_groups_that_share_individuals(constraint):
    X, y, sensitive = comments()
    model = quick(constraint).fit(X, y, sensitive)
    assert model.certify(*comments(seed=9)).verdict == "NOT_APPLICABLE"


def test_groups_apart_are_certified_although_others_overlap():
    X, y, sensitive = comments()
    sex = np.random.default_rng(3).choice(["f", "m"], N)
    model = quick("demographic_parity_difference[sex] <= 0.4")
    model.fit(X, y, {"sex": sex, **sensitive})
    X, y, sensitive = comments(seed=9)
    assert model.certify(X, y, {"sex": sex, **sensitive}).verdict == "CERTIFIED"


def test_the_rule_names_the_groups_that_it_distinguishes():
    X, y, sensitive = comments()
    model = quick("demographic_parity_difference <= 0.02", ensemble=0)
    model = model.set_params(mitigators=["group_thresholds"]).fit(X, y, sensitive)
    rule = model.summary_["best"]["rule"]
    assert [part.split(":")[0] for part in rule.split(", ")] == ["no identity", "y", "x", "x + y"]
