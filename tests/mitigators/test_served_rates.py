"""A metric of a third party is served by every solver that its rates allow."""

import numpy as np
import pytest
from fairgbm_cases import DEFAULTS, Params
from fairgbm_cases import case as training_case
from mitigator_cases import DEMOGRAPHIC, counts_of, gap_of, goal, random_rows, rows_of

from fairautoml.metrics import METRICS, RATES, Rate, fairness_metric
from fairautoml.mitigators import MITIGATORS
from fairautoml.mitigators.inprocessing import fairgbm
from fairautoml.mitigators.inprocessing._reductions import moments_of

REJECTION = Rate(
    name="rejection_rate",
    of=frozenset({(0, 0), (1, 0)}),
    among=frozenset({(0, 0), (0, 1), (1, 0), (1, 1)}),
    lacks="rows",
    zero="no row is rejected",
)
NEW = {
    "rejection_rate_difference": fairness_metric(
        "rejection_rate_difference", [REJECTION], "difference"
    ),
    "rejection_rate_ratio": fairness_metric("rejection_rate_ratio", [REJECTION], "ratio"),
    "true_negative_rate_difference": fairness_metric(
        "true_negative_rate_difference", [RATES["tnr"]], "difference"
    ),
    "false_omission_rate_difference": fairness_metric(
        "false_omission_rate_difference", [RATES["for"]], "difference"
    ),
}


@pytest.fixture(autouse=True)
def registered(monkeypatch):
    for name, metric in NEW.items():
        monkeypatch.setitem(METRICS._own, name, "a_third_party")
        monkeypatch.setitem(METRICS._loaded, name, metric)


def serving(name):
    """The mitigators that choose the metrics they serve and include this one."""
    every = {one: MITIGATORS.get(one).serves for one in MITIGATORS.available()}
    return {one for one, serves in every.items() if serves is not None and name in serves}


LINEAR = {"group_thresholds", "randomized_thresholds", "multicalibration"}
DIFFERENCES = {"exponentiated_gradient", "grid_search", "checklist"}


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("rejection_rate_difference", LINEAR | DIFFERENCES | {"bias_scoring", "fairgbm"}),
        ("true_negative_rate_difference", LINEAR | DIFFERENCES | {"bias_scoring", "fairgbm"}),
        ("rejection_rate_ratio", LINEAR),
        ("false_omission_rate_difference", set()),
    ],
)
def test_the_kind_of_its_rates_decides_who_serves_a_new_metric(name, expected):
    assert serving(name) == expected


@pytest.mark.parametrize("n_groups", [2, 3])
@pytest.mark.parametrize("mitigator", sorted(LINEAR))
@pytest.mark.parametrize("name", ["rejection_rate_difference", "rejection_rate_ratio"])
def test_thresholds_bound_a_new_metric(name, mitigator, n_groups):
    rows = random_rows(1, n_groups, 600)
    wanted = goal(name, n_groups, randomized=mitigator == "randomized_thresholds")
    for tolerance, rule in MITIGATORS.get(mitigator).fit_rules(rows, wanted, [0.02, 0.1]):
        assert gap_of(counts_of(rule, rows), wanted.targets[0]) <= tolerance + 1e-6


@pytest.mark.parametrize("mitigator", sorted(LINEAR))
def test_thresholds_for_true_negatives_are_those_for_false_positives(mitigator):
    rows, fit_rules = random_rows(1, 2, 600), MITIGATORS.get(mitigator).fit_rules
    expected, found = (
        [
            rule.decide(rows.scores, rows.cells)
            for _, rule in fit_rules(
                rows, goal(name, 2, randomized="randomized" in mitigator), [0.02, 0.1]
            )
        ]
        for name in ("false_positive_rate_difference", "true_negative_rate_difference")
    )
    np.testing.assert_allclose(found, expected, atol=1e-9)


def test_a_group_without_rows_of_a_new_rate_is_left_out_of_it():
    rows = random_rows(0, 2, 400)
    # All rows of the second group have label 1, so its labels are 0 only by shrinkage.
    rows = rows_of(rows.scores, np.maximum(rows.y, rows.cells), rows.cells)
    free, bounded = (
        MITIGATORS.get("group_thresholds").fit_rules(
            rows, goal("true_negative_rate_difference", 2), [tolerance]
        )[0][1]
        for tolerance in (1.0, 0.0)
    )
    assert bounded == free


def test_reductions_read_a_new_rate_from_the_table():
    selection, rejection = (
        moments_of(training_case(name)) for name in (DEMOGRAPHIC, "rejection_rate_difference")
    )
    decision = np.random.default_rng(0).uniform(size=1500) < 0.3
    above, below = np.split(selection.gamma(selection.accepted(decision)), 2)
    found = rejection.gamma(rejection.accepted(decision))
    np.testing.assert_allclose(found, np.concatenate([below, above]), atol=1e-12)


def test_fairgbm_trains_on_the_complement_of_a_new_rate():
    X = training_case(DEMOGRAPHIC).X
    selection, rejection = (
        fairgbm.train(training_case(name), Params(), DEFAULTS, 0).scores(X, np.zeros(1500))
        for name in (DEMOGRAPHIC, "rejection_rate_difference")
    )
    np.testing.assert_array_equal(selection, rejection)
