import pickle

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fairautoml.exceptions import InputError
from fairautoml.metrics import (
    METRICS,
    Constraint,
    GroupSystem,
    bind_constraints,
    parse_constraints,
)
from fairautoml.metrics.constraint import ALIASES

FAIRNESS = [name for name in METRICS.names() if METRICS.get(name).kind == "fairness"]


@pytest.mark.parametrize(
    ("text", "name", "system", "bound"),
    [
        ("equalized_odds_difference <= 0.05", "equalized_odds_difference", None, 0.05),
        ("demographic_parity_ratio>=0.8", "demographic_parity_ratio", None, 0.8),
        ("demographic_parity_difference[sex] <= 0.1", "demographic_parity_difference", "sex", 0.1),
        (
            "equal_opportunity_difference[sex & race]<=.1",
            "equal_opportunity_difference",
            "sex & race",
            0.1,
        ),
        (
            "  error_rate_ratio [ age [years] <= 40 ] >= 1 ",
            "error_rate_ratio",
            "age [years] <= 40",
            1.0,
        ),
        ("recall[sex] >= 0.6", "minimum_recall", "sex", 0.6),
        ("precision >= 0.7", "minimum_precision", None, 0.7),
        ("Selection_Rate >= .1", "minimum_selection_rate", None, 0.1),
        ("specificity >= 0.5", "minimum_true_negative_rate", None, 0.5),
        ("minimum_accuracy >= 1", "minimum_accuracy", None, 1.0),
        ("equalized_odds_difference<=0", "equalized_odds_difference", None, 0.0),
        ("equalized_odds_difference <= 5e-2", "equalized_odds_difference", None, 0.05),
    ],
)
def test_a_constraint_is_read_from_text(text, name, system, bound):
    found = Constraint.parse(text)
    assert found == Constraint(metric=METRICS.get(name), bound=bound, system=system)


@pytest.mark.parametrize(
    ("text", "match"),
    [
        ("", r"='' is not 'metric <= bound'; write for example 'equalized_odds"),
        ("equalized_odds_difference", "is not 'metric <= bound'"),
        ("equalized_odds_difference 0.05", "is not 'metric <= bound'"),
        ("equalized_odds_difference <=", "is not 'metric <= bound'"),
        ("<= 0.05", "is not 'metric <= bound'"),
        ("0.05 >= equalized_odds_difference", "no metric is called '0.05'"),
        ("equalized_odds_difference[] <= 0.05", "is not 'metric <= bound'"),
        ("equalized_odds_difference[sex <= 0.05", "is not 'metric <= bound'"),
        ("equalized_odds_difference <= 0.05, error_rate_ratio >= 0.8", "is not 'metric <="),
        ("equalized_odds_difference <= 5%", "'5%' is not a number; write for example"),
        ("equalized_ods_difference <= 0.1", "called 'equalized_ods.*example equalized_odds_diff"),
        ("rcall[sex] >= 0.6", "no metric is called 'rcall'; use for example recall$"),
        ("eo <= 0.1", "no metric is called 'eo'; use for example accuracy_parity_difference, "),
        ("f1 >= 0.8", "'f1' is a performance metric.*equal_opportunity.*objective="),
        ("recall <= .6", "is a minimum and is bounded by '>=': 'minimum_recall >= 0.6'"),
        ("selection_rate[sex] < 1", r"bounded by '>=': 'minimum_selection_rate\[sex\] >= 1.0'"),
        (
            "recall >= 1.2",
            r"the bound of 'minimum_recall' is 1\.2; it must be a number in \[0, 1\]",
        ),
        ("roc_auc >= 0.8", "'roc_auc' is a performance metric on scores; a constraint needs"),
        ("equalized_odds_difference >= 0.05", "is a difference and is bounded by '<=': 'equal"),
        ("demographic_parity_ratio <= 0.8", "is a ratio and is bounded by '>=': 'demographic_"),
        ("equalized_odds_difference < 0.05", "has '<'; .* bounded by '<='"),
        ("equalized_odds_difference == 0.05", "has '=='; .* bounded by '<='"),
        ("equalized_odds_difference => 0.05", "has '=>'; .* bounded by '<='"),
        ("equalized_odds_difference <= 1.5", r"is 1\.5; it must be a number in \[0, 1\]"),
        ("equalized_odds_difference <= 5", r"is 5\.0; it must be a number in \[0, 1\]"),
        ("equalized_odds_difference <= -0.1", r"is -0\.1; it must be a number in \[0, 1\]"),
        ("equalized_odds_difference <= nan", r"is nan; it must be a number in \[0, 1\]"),
        ("demographic_parity_ratio >= inf", r"is inf; it must be a number in \[0, 1\]"),
    ],
)
def test_text_that_cannot_be_used_is_refused_with_the_way_out(text, match):
    with pytest.raises(InputError, match=f"^constraint.*{match}"):
        Constraint.parse(text)


@pytest.mark.parametrize("bound", [-0.01, 1.01, float("nan")])
def test_a_bound_outside_0_to_1_is_refused_without_parsing_too(bound):
    with pytest.raises(InputError, match=r"must be a number in \[0, 1\]"):
        Constraint(metric=METRICS.get("error_rate_ratio"), bound=bound)


def test_a_performance_metric_is_refused_without_parsing_too():
    with pytest.raises(InputError, match="'f1' is a performance metric on decisions"):
        Constraint(metric=METRICS.get("f1"), bound=0.5)


@given(
    name=st.sampled_from(FAIRNESS),
    bound=st.floats(0, 1),
    system=st.none() | st.sampled_from(["sex", "sex & race", "a]b", "x >= 3", "Größe"]),
)
@settings(max_examples=60)
def test_the_label_is_read_back_as_the_same_constraint(name, bound, system):
    constraint = Constraint(metric=METRICS.get(name), bound=bound, system=system)
    assert Constraint.parse(constraint.label) == constraint


def test_the_label_is_canonical():
    assert Constraint.parse("error_rate_ratio[sex]>=.80").label == "error_rate_ratio[sex] >= 0.8"


def test_the_limit_of_a_difference_is_its_bound():
    assert Constraint.parse("equalized_odds_difference <= 0.05").limit == 0.05


def test_the_limit_of_a_minimum_is_one_minus_its_bound():
    assert Constraint.parse("recall >= 0.75").limit == 0.25


def test_minimums_come_after_gaps_whose_limits_are_the_scale_of_tolerances():
    """The first constraint gives the tolerances of the front their meaning."""
    sex = GroupSystem(name="sex", labels=("f", "m"), of_cell=np.array([0, 1], dtype=np.int32))
    constraints = parse_constraints(["recall >= 0.6", "equalized_odds_difference <= 0.05"])
    found = [bound.metric.name for bound in bind_constraints(constraints, [sex])]
    assert found == ["equalized_odds_difference", "minimum_recall"]


def test_the_limit_of_a_ratio_is_one_minus_its_bound():
    assert Constraint.parse("demographic_parity_ratio >= 0.75").limit == 0.25


@given(name=st.sampled_from(FAIRNESS), bound=st.floats(0, 1), value=st.floats(0, 1))
@settings(max_examples=100)
def test_a_value_that_meets_the_bound_has_a_gap_within_the_limit(name, bound, value):
    constraint = Constraint(metric=METRICS.get(name), bound=bound)
    meets = value >= bound if constraint.metric.operator == ">=" else value <= bound
    if meets:
        assert constraint.gap(value) <= constraint.limit
    else:
        # a value within a rounding error of its bound has the same distance from 1
        assert constraint.gap(value) >= constraint.limit


def test_a_constraint_survives_pickling():
    constraint = Constraint.parse("demographic_parity_ratio[sex] >= 0.8")
    assert pickle.loads(pickle.dumps(constraint)) == constraint


def test_no_constraint_is_an_empty_tuple():
    assert parse_constraints(None) == ()
    assert parse_constraints([]) == ()


def test_one_or_many_constraints_are_read_in_their_order():
    first, second = "error_rate_ratio >= 0.5", "equalized_odds_difference <= 0.1"
    expected = (Constraint.parse(first), Constraint.parse(second))
    assert parse_constraints(first) == expected[:1]
    assert parse_constraints(expected[0]) == expected[:1]
    assert parse_constraints([first, expected[1]]) == expected
    assert parse_constraints((second, first)) == expected[::-1]


def test_the_same_metric_may_be_bounded_on_different_groups():
    texts = ["error_rate_ratio[sex] >= 0.5", "error_rate_ratio[race] >= 0.4"]
    assert [found.system for found in parse_constraints(texts)] == ["sex", "race"]


@pytest.mark.parametrize(
    ("texts", "match"),
    [
        (["error_rate_ratio >= 0.5"] * 2, "'error_rate_ratio' is bounded twice on all groups"),
        (
            ["error_rate_ratio[sex] >= 0.5", "error_rate_ratio[sex]>=0.6"],
            r"twice on groups 'sex', the second time by 'error_rate_ratio\[sex\] >= 0\.6'; keep",
        ),
    ],
)
def test_a_metric_bounded_twice_on_the_same_groups_is_refused(texts, match):
    with pytest.raises(InputError, match=f"^constraint: .*{match}"):
        parse_constraints(texts)


@pytest.mark.parametrize("value", [0.05, {"dp": 0.1}, [0.05], [None]])
def test_anything_but_text_and_constraints_is_refused(value):
    with pytest.raises(InputError, match=r"^constraint=.* is of type .*; allowed are text such"):
        parse_constraints(value)


@pytest.mark.parametrize(
    ("usual", "registered"),
    [
        ("four_fifths", "demographic_parity_ratio >= 0.8"),
        ("four_fifths[sex]", "demographic_parity_ratio[sex] >= 0.8"),
        ("disparate_impact >= 0.9", "demographic_parity_ratio >= 0.9"),
        ("Disparate-Impact[sex] >= 0.8", "demographic_parity_ratio[sex] >= 0.8"),
        ("statistical_parity <= 0.1", "demographic_parity_difference <= 0.1"),
        ("statistical_parity >= 0.8", "demographic_parity_ratio >= 0.8"),
        ("equalised_odds <= 0.05", "equalized_odds_difference <= 0.05"),
        ("equalized_odds >= 0.8", "equalized_odds_ratio >= 0.8"),
        ("predictive_equality <= 0.1", "false_positive_rate_difference <= 0.1"),
        ("equal_opportunity <= 0.1", "equal_opportunity_difference <= 0.1"),
    ],
)
def test_usual_names_of_metrics_are_understood(usual, registered):
    assert Constraint.parse(usual).label == registered


@pytest.mark.parametrize(
    ("text", "match"),
    [
        ("average_odds_difference <= 0.1", "use equalized_odds_difference"),
        ("treatment_equality <= 0.1", "use false_negative_rate_difference and false_positive"),
        ("disparate_impact <= 0.1", "is a ratio and is bounded by '>='"),
    ],
)
def test_names_of_other_notions_are_answered_with_the_right_one(text, match):
    with pytest.raises(InputError, match=match):
        Constraint.parse(text)


def test_aliases_are_no_registered_names():
    for registered, aliases in ALIASES.items():
        assert registered in METRICS.names()
        assert not {*aliases} & {*FAIRNESS}


@pytest.mark.parametrize("name", ["selection_share_at_100[sex]", "selection_share_at_k"])
def test_a_share_of_the_best_k_is_bounded_when_they_are_selected(name):
    """Such a constraint is no rate of a group; the message names ``rank``."""
    with pytest.raises(InputError, match=r"model\.rank\(X, k=100, bounds="):
        Constraint.parse(f"{name} >= 0.4")
