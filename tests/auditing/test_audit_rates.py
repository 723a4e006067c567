import numpy as np
import pandas as pd
import pytest
from audit_people import individuals, only, quick
from fairlearn.metrics import (
    MetricFrame,
    demographic_parity_difference,
    demographic_parity_ratio,
    equalized_odds_difference,
    false_positive_rate,
    selection_rate,
    true_positive_rate,
)
from scipy.stats import binomtest
from sklearn.metrics import (
    accuracy_score,
    balanced_accuracy_score,
    brier_score_loss,
    f1_score,
    fbeta_score,
    jaccard_score,
    log_loss,
    make_scorer,
    precision_score,
    roc_auc_score,
)

from fairautoml.auditing.rates import null_values
from fairautoml.data.datasets import load
from fairautoml.exceptions import InputError, ParameterError
from fairautoml.metrics import METRICS

ORACLES = {
    "selection": selection_rate,
    "tpr": true_positive_rate,
    "fpr": false_positive_rate,
    "ppv": precision_score,
    "accuracy": accuracy_score,
}


def named(groups):
    """The crossed groups as the audit names them."""
    return groups["sex"] + " & " + groups["race"]


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("rate", ORACLES)
def test_every_rate_is_that_of_fairlearn(rate, weighted):
    rows = individuals()
    weight = rows.weight if weighted else None
    found = quick(rows.y, rows.decision, rows.groups, sample_weight=weight).rates
    systems = {"sex": rows.groups["sex"], "race": rows.groups["race"]}
    systems["sex & race"] = named(rows.groups)
    for system, groups in systems.items():
        params = {"sample_weight": rows.weight} if weighted else {}
        oracle = MetricFrame(
            metrics=ORACLES[rate],
            y_true=rows.y,
            y_pred=rows.decision,
            sensitive_features=groups,
            sample_params=params,
        ).by_group
        for group, value in oracle.items():
            row = only(found, system=system, group=group, rate=rate)
            assert row.value == pytest.approx(value, abs=1e-12)


def test_intervals_are_those_of_clopper_and_pearson():
    rows = individuals()
    for row in quick(rows.y, rows.decision, rows.groups, delta=0.1).rates:
        oracle = binomtest(int(row.events), row.n).proportion_ci(0.9, method="exact")
        assert (row.interval.low, row.interval.high) == pytest.approx(tuple(oracle), abs=1e-9)
        assert row.interval.exact


def test_intervals_of_weighted_rows_say_that_they_are_approximate():
    rows = individuals()
    found = quick(rows.y, rows.decision, rows.groups, sample_weight=rows.weight)
    assert not any(row.interval.exact for row in found.rates)
    assert "(approximate)" in found.rates[0].interval.method
    exact = quick(
        rows.y, rows.decision, rows.groups, sample_weight=rows.weight, largest_weight=3.0
    )
    assert all(row.interval.exact for row in exact.rates)
    assert exact.rates[0].interval.low < found.rates[0].interval.low


def test_equal_weights_give_the_intervals_of_no_weights():
    rows = individuals()
    plain = quick(rows.y, rows.decision, rows.groups).rates
    heavy = quick(rows.y, rows.decision, rows.groups, sample_weight=np.full(600, 7.0)).rates
    for a, b in zip(plain, heavy, strict=True):
        assert b.interval.low == pytest.approx(a.interval.low, abs=1e-9)
        assert b.n == a.n


def test_a_rate_of_no_rows_has_no_value():
    y, decision = [1] * 20 + [0, 1] * 10, [1] * 20 + [0, 1] * 10
    found = quick(y, decision, ["a"] * 20 + ["b"] * 20, smallest_cell=0)
    row = only(found.rates, group="a", rate="fpr")
    assert (row.n, row.value, row.interval) == (0, None, None)
    gap = only(found.gaps, metric="equalized_odds_difference")
    assert gap.value is None
    assert gap.reason == "group 'a' has no rows with label 0"


def test_performance_is_that_of_scikit_learn_overall_and_by_group():
    rows = individuals()
    found = quick(rows.y, rows.decision, rows.groups, y_score=rows.score).scores
    women = (rows.groups["sex"] == "F").to_numpy()
    for here, group in ((np.ones(600, bool), ""), (women, "F")):
        y, decision, score = rows.y[here], rows.decision[here], rows.score[here]
        expected = {
            "accuracy": accuracy_score(y, decision),
            "balanced_accuracy": balanced_accuracy_score(y, decision),
            "f1": f1_score(y, decision),
            "roc_auc": roc_auc_score(y, score),
            "log_loss": log_loss(y, score),
        }
        for metric, value in expected.items():
            row = only(found, group=group, metric=metric)
            assert row.value == pytest.approx(value, abs=1e-9)


def test_every_registered_metric_that_applies_is_there():
    rows = individuals()
    found = quick(rows.y, rows.decision, rows.groups, y_score=rows.score)
    every = [METRICS.get(name) for name in METRICS.names()]
    binary = [m for m in every if "binary" in m.tasks and not m.degree]
    fairness = {m.name for m in binary if m.kind == "fairness" and not m.is_minimum}
    assert {row.metric for row in found.gaps} == fairness
    assert {row.metric for row in found.scores} == {
        m.name for m in binary if m.kind == "performance"
    }


def test_gaps_are_those_of_fairlearn():
    rows = individuals()
    found = quick(rows.y, rows.decision, rows.groups).gaps
    oracles = {
        "demographic_parity_difference": demographic_parity_difference,
        "demographic_parity_ratio": demographic_parity_ratio,
        "equalized_odds_difference": equalized_odds_difference,
    }
    systems = {"sex": rows.groups["sex"], "sex & race": named(rows.groups)}
    for system, groups in systems.items():
        for metric, oracle in oracles.items():
            expected = oracle(rows.y, rows.decision, sensitive_features=groups)
            row = only(found, system=system, metric=metric)
            assert row.value == pytest.approx(expected, abs=1e-12)
            assert row.at_least <= row.value <= row.at_most


def test_bounds_of_a_gap_are_the_known_answers():
    # 30 of 100 in both groups: certification.md, U = .187408 at delta .05.
    decision = np.r_[np.ones(30), np.zeros(70), np.ones(30), np.zeros(70)].astype(int)
    y = np.tile([0, 1], 100)
    found = quick(y, decision, np.repeat(["a", "b"], 100))
    row = only(found.gaps, metric="demographic_parity_difference")
    assert (row.at_least, row.value) == (0.0, 0.0)
    assert row.at_most == pytest.approx(0.187408, abs=1e-6)


def test_the_lower_bound_of_a_gap_is_that_of_a_violation():
    # 60/200 v 20/200: l - u = .071458 at M = 2.
    decision = np.r_[np.ones(60), np.zeros(140), np.ones(20), np.zeros(180)].astype(int)
    found = quick(np.tile([0, 1], 200), decision, np.repeat(["a", "b"], 200))
    row = only(found.gaps, metric="demographic_parity_difference")
    assert row.at_least == pytest.approx(0.071458, abs=1e-6)
    assert (row.lowest, row.highest, row.rate) == ("b", "a", "selection")


def test_bounds_of_a_ratio_hold_the_ratio():
    rows = individuals()
    row = only(
        quick(rows.y, rows.decision, rows.groups).gaps,
        metric="demographic_parity_ratio",
        system="sex",
    )
    assert 0 < row.at_least < row.value < row.at_most <= 1


@pytest.mark.parametrize(
    ("n_groups", "n", "expected"),
    [(2, 30, 0.10), (10, 30, 0.25), (100, 30, 0.41), (1000, 30, 0.52), (1000, 1000, 0.09)],
)
def test_the_gap_by_chance_alone_is_the_known_one(n_groups, n, expected):
    drawn = null_values([np.full(n_groups, n)], [0.3], "difference", seed=1)
    assert drawn.mean() == pytest.approx(expected, abs=0.01)


def test_many_small_groups_without_a_gap_are_not_far_from_chance():
    rng = np.random.default_rng(3)
    groups = np.repeat([f"g{i:02d}" for i in range(40)], 30)
    y = rng.integers(0, 2, 1200)
    decision = (rng.random(1200) < 0.3).astype(int)
    row = only(
        quick(y, decision, groups, smallest_cell=0).gaps, metric="demographic_parity_difference"
    )
    assert row.value > 0.2
    assert row.null_mean == pytest.approx(row.value, abs=0.15)
    assert row.null_share > 0.01


def test_a_gap_that_chance_does_not_make_has_a_share_of_zero():
    decision = np.r_[np.ones(150), np.zeros(50), np.ones(50), np.zeros(150)].astype(int)
    found = quick(np.tile([0, 1], 200), decision, np.repeat(["a", "b"], 200))
    assert only(found.gaps, metric="demographic_parity_difference").null_share == 0.0


def test_scores_that_are_no_probabilities_have_no_log_loss():
    rows = individuals()
    found = quick(rows.y, rows.decision, rows.groups, y_score=10 * rows.score - 5).scores
    assert only(found, metric="log_loss", group="").reason.startswith("the scores are not prob")
    auc = only(found, metric="roc_auc", group="").value
    assert auc == pytest.approx(roc_auc_score(rows.y, rows.score))


def test_row_order_and_group_names_change_nothing():
    rows = individuals()
    order = np.random.default_rng(5).permutation(600)
    renamed = rows.groups["sex"].map({"F": "x", "M": "y"})
    plain = quick(rows.y, rows.decision, rows.groups["sex"])
    other = quick(rows.y[order], rows.decision[order], renamed.iloc[order].to_numpy())
    assert [r.value for r in other.rates] == [r.value for r in plain.rates]
    assert [r.at_most for r in other.gaps] == [r.at_most for r in plain.gaps]


def test_a_frame_has_a_row_per_record():
    rows = individuals()
    found = quick(rows.y, rows.decision, rows.groups)
    table = found.to_frame("rates")
    assert isinstance(table, pd.DataFrame)
    assert len(table) == len(found.rates)
    assert {"system", "group", "rate", "value", "low", "high", "method"} <= set(table)


METRICS_BY_NAME = {
    "selection_rate": selection_rate,
    "true_positive_rate": true_positive_rate,
    "false_positive_rate": false_positive_rate,
    "precision": precision_score,
    "balanced_accuracy": balanced_accuracy_score,
    "f1": f1_score,
}


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize(
    ("name", "sensitive", "control", "weighted"),
    [("adult", "sex", "workclass", True), ("compas_two_years", "race", "sex", False)],
)
def test_metrics_within_control_columns_are_those_of_a_metric_frame(
    name, sensitive, control, weighted
):
    table = load(name)
    columns = table.frame.dropna(subset=[control]).sample(3000, random_state=0)
    columns = columns.reset_index(drop=True)
    y = (columns[table.target] == columns[table.target].max()).to_numpy(int)
    rng = np.random.default_rng(0)
    decision = np.where(rng.random(3000) < 0.7, y, 1 - y)
    weight = rng.integers(1, 4, 3000).astype(float) if weighted else None
    params = {} if weight is None else {m: {"sample_weight": weight} for m in METRICS_BY_NAME}
    oracle = MetricFrame(
        metrics=METRICS_BY_NAME,
        y_true=y,
        y_pred=decision,
        sensitive_features=columns[sensitive],
        control_features=columns[control],
        sample_params=params,
    ).by_group
    found = quick(
        y, decision, columns[[sensitive]], metrics=[*METRICS_BY_NAME], by=columns[[control]],
        sample_weight=weight, smallest_cell=0,
    )  # fmt: skip
    values = {(row.by, row.group, row.metric): row for row in found.scores if row.group}
    sizes = columns.groupby([control, sensitive]).size()
    large = [pair for pair, size in sizes.items() if size >= 50]
    assert len(large) >= 5
    for within, group in large:
        for metric, value in oracle.loc[(within, group)].items():
            row = values[str(within), str(group), metric]
            assert row.value == pytest.approx(value, abs=1e-9)
            assert row.interval.low <= value <= row.interval.high


def test_scorers_and_functions_are_metrics():
    rows = individuals()
    cost = make_scorer(fbeta_score, beta=2)
    metrics = ["roc_auc", "neg_brier_score", "jaccard", cost, balanced_accuracy_score]
    found = quick(rows.y, rows.decision, rows.groups[["sex"]], y_score=rows.score, metrics=metrics)
    women = (rows.groups["sex"] == "F").to_numpy()
    y, decision, score = rows.y[women], rows.decision[women], rows.score[women]
    expected = [
        roc_auc_score(y, score), -brier_score_loss(y, score), jaccard_score(y, decision),
        fbeta_score(y, decision, beta=2), balanced_accuracy_score(y, decision),
    ]  # fmt: skip
    values = [row.value for row in found.scores if row.group == "F"]
    assert values == pytest.approx(expected)


def share_of_rare(y, decision):
    """Return the share of the rejected among label 1, NaN without label 1."""
    return 1 - decision[y == 1].mean() if (y == 1).any() else np.nan


def test_a_function_that_is_not_defined_on_every_draw_has_no_interval():
    y, decision = np.zeros(40, dtype=int), np.tile([0, 1], 20)
    y[[0, 20]] = 1
    groups = np.repeat(["a", "b"], 20)
    found = quick(y, decision, groups, metrics=[share_of_rare], smallest_cell=0).scores
    assert [row.value for row in found] == [1.0] * 3
    assert [row.interval for row in found] == [None] * 3


def test_an_unknown_metric_is_answered_with_near_names():
    rows = individuals()
    with pytest.raises(ParameterError, match=r"did you mean .*balanced_accuracy"):
        quick(rows.y, rows.decision, rows.groups, metrics=["balanced_acuracy"])
    with pytest.raises(InputError, match="'f1' needs true labels"):
        quick(None, rows.decision, rows.groups, metrics=["f1"])
