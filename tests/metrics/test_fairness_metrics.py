import fairlearn.metrics as oracle
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import accuracy_score, precision_score, zero_one_loss

from fairautoml.metrics import METRICS, GroupCounts, Undefined

FAIRNESS = [
    name
    for name in METRICS.names()
    if METRICS.get(name).kind == "fairness"
    and "binary" in METRICS.get(name).tasks
    and not METRICS.get(name).to_overall
    and not METRICS.get(name).degree
]
MINIMUMS = [name for name in FAIRNESS if METRICS.get(name).is_minimum]
COMPARING = [name for name in FAIRNESS if name not in MINIMUMS]
RATIOS = [name for name in FAIRNESS if METRICS.get(name).form == "ratio"]

# Group 0: 10 rows with label 0 of which 2 accepted, 10 with label 1 of which 8 accepted, ...
# selection 10/20 7/20 21/40, tpr .8 .5 .9, fpr .2 .2 .4, ppv 8/10 5/7 9/21, accuracy .8 .65 .675
KNOWN = np.array([[[8, 2], [2, 8]], [[8, 2], [5, 5]], [[18, 12], [1, 9]]], dtype=float)
ANSWERS = {
    "accuracy_parity_difference": 0.80 - 0.65,
    "demographic_parity_difference": 21 / 40 - 7 / 20,
    "demographic_parity_ratio": (7 / 20) / (21 / 40),
    "equal_opportunity_difference": 0.9 - 0.5,
    "equalized_odds_difference": 0.4,
    "equalized_odds_ratio": 0.5,
    "error_rate_ratio": 0.20 / 0.35,
    "false_negative_rate_difference": 0.4,
    "false_positive_rate_difference": 0.2,
    "minimum_accuracy": 0.65,
    "minimum_negative_predictive_value": 8 / 13,
    "minimum_precision": 9 / 21,
    "minimum_recall": 0.5,
    "minimum_selection_rate": 7 / 20,
    "minimum_true_negative_rate": 18 / 30,
    "predictive_parity_difference": 8 / 10 - 9 / 21,
}


def evaluate(name, table):
    return METRICS.get(name).value(GroupCounts(np.asarray(table, dtype=float)))


def test_every_fairness_metric_has_a_known_answer():
    assert sorted(ANSWERS) == FAIRNESS


@pytest.mark.parametrize("name", FAIRNESS)
def test_a_fairness_metric_gives_the_answer_computed_by_hand(name):
    assert evaluate(name, KNOWN) == pytest.approx(ANSWERS[name], abs=1e-12)


tables = st.integers(2, 6).flatmap(
    lambda n: st.lists(
        st.lists(st.integers(1, 50), min_size=4, max_size=4), min_size=n, max_size=n
    ).map(lambda rows: np.array(rows, dtype=float).reshape(-1, 2, 2))
)


@pytest.mark.parametrize("name", FAIRNESS)
@given(table=tables)
@settings(max_examples=30)
def test_a_fairness_metric_lies_between_0_and_1(name, table):
    assert 0 <= evaluate(name, table) <= 1


@pytest.mark.parametrize("name", FAIRNESS)
@given(table=tables, data=st.data())
@settings(max_examples=30)
def test_a_fairness_metric_ignores_what_the_groups_are_called(name, table, data):
    order = data.draw(st.permutations(range(len(table))))
    assert evaluate(name, table[list(order)]) == evaluate(name, table)


@pytest.mark.parametrize("name", COMPARING)
@given(table=tables, copies=st.integers(2, 5))
@settings(max_examples=30)
def test_equal_groups_are_at_parity(name, table, copies):
    same = np.repeat(table[:1], copies, axis=0)
    assert evaluate(name, same) == (1.0 if name in RATIOS else 0.0)


@pytest.mark.parametrize("name", FAIRNESS)
@given(table=tables)
@settings(max_examples=30)
def test_merging_two_groups_never_makes_a_fairness_metric_worse(name, table):
    of_cell = np.array([0, *range(len(table) - 1)])
    merged = GroupCounts(table).merged(of_cell, len(table) - 1)
    metric = METRICS.get(name)
    found = metric.value(merged)
    if len(table) == 2 and name in COMPARING:
        assert isinstance(found, Undefined)
    else:
        assert metric.gap(found) <= metric.gap(evaluate(name, table)) + 1e-12


rows = st.tuples(
    st.lists(
        st.tuples(st.integers(0, 3), st.integers(0, 1), st.integers(0, 1), st.integers(1, 3)),
        min_size=1,
        max_size=60,
    ),
    st.randoms(use_true_random=False),
)


def of_rows(name, listed):
    groups, y, decision, weight = np.array(listed).T
    counts = GroupCounts.from_rows(groups, y, decision, weight.astype(float), n_groups=4)
    return METRICS.get(name).value(counts)


@pytest.mark.parametrize("name", FAIRNESS)
@given(drawn=rows)
@settings(max_examples=30)
def test_the_order_of_rows_is_irrelevant_and_weight_k_is_a_row_k_times(name, drawn):
    listed, random = drawn
    expected = of_rows(name, listed)
    shuffled = random.sample(listed, len(listed))
    assert of_rows(name, shuffled) == expected
    repeated = [(*row[:3], 1) for row in listed for _ in range(row[3])]
    assert of_rows(name, repeated) == expected


def random_rows(seed, n_groups):
    """Rows in which every group has every label with every decision."""
    rng = np.random.default_rng(seed)
    corners = np.array([(g, y, d) for g in range(n_groups) for y in (0, 1) for d in (0, 1)])
    more = np.column_stack([rng.integers(n_groups, size=150), rng.integers(2, size=(150, 2))])
    groups, y, decision = np.concatenate([corners, more]).T
    return groups, y, decision, rng.uniform(0.1, 3.0, size=len(y))


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("name", [name for name in FAIRNESS if hasattr(oracle, name)])
def test_fairlearn_gives_the_same_value(name, weighted):
    for seed, n_groups in enumerate((2, 3, 7)):
        groups, y, decision, weight = random_rows(seed, n_groups)
        weight = weight if weighted else np.ones(len(y))
        expected = getattr(oracle, name)(
            y, decision, sensitive_features=groups, sample_weight=weight
        )
        counts = GroupCounts.from_rows(groups, y, decision, weight, n_groups=n_groups)
        assert METRICS.get(name).value(counts) == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize(
    ("name", "rate", "aggregate"),
    [
        ("predictive_parity_difference", precision_score, "difference"),
        ("accuracy_parity_difference", accuracy_score, "difference"),
        ("error_rate_ratio", zero_one_loss, "ratio"),
    ],
)
def test_a_metric_frame_of_fairlearn_gives_the_same_value(name, rate, aggregate):
    for seed, n_groups in enumerate((2, 3, 7)):
        groups, y, decision, weight = random_rows(seed, n_groups)
        frame = oracle.MetricFrame(
            metrics=rate,
            y_true=y,
            y_pred=decision,
            sensitive_features=groups,
            sample_params={"sample_weight": weight},
        )
        counts = GroupCounts.from_rows(groups, y, decision, weight, n_groups=n_groups)
        expected = getattr(frame, aggregate)()
        assert METRICS.get(name).value(counts) == pytest.approx(expected, abs=1e-12)


def reason(name, table):
    found = evaluate(name, table)
    assert isinstance(found, Undefined)
    return found.reason


@pytest.mark.parametrize("name", MINIMUMS)
@given(table=tables, copies=st.integers(1, 5))
@settings(max_examples=10)
def test_the_minimum_of_equal_groups_is_their_rate(name, table, copies):
    """A minimum does not compare groups, so one is enough, and copies of it change nothing."""
    same = np.repeat(table[:1], copies, axis=0)
    assert evaluate(name, same) == evaluate(name, table[:1])


@pytest.mark.parametrize("name", MINIMUMS)
def test_a_minimum_without_any_rows_is_undefined(name):
    """No group has the rate."""
    assert reason(name, np.zeros((0, 2, 2))) == "no group has rows"
    assert reason(name, np.zeros((2, 2, 2))) == "no group has rows"
    assert reason(name, [KNOWN[0], np.zeros((2, 2))]) == "group 1 has no rows"


@pytest.mark.parametrize("name", COMPARING)
def test_a_single_group_is_undefined_and_not_perfectly_fair(name):
    assert reason(name, KNOWN[:1]).startswith("single group")
    assert reason(name, np.zeros((0, 2, 2))).startswith("single group")
    assert reason(name, [KNOWN[0], np.zeros((2, 2))]).startswith("single group")


@pytest.mark.parametrize("name", FAIRNESS)
def test_an_empty_group_is_undefined_and_named(name):
    table = KNOWN.copy()
    table[1] = 0
    assert reason(name, table) == "group 1 has no rows"


@pytest.mark.parametrize("name", FAIRNESS)
def test_several_empty_groups_are_counted(name):
    table = np.concatenate([KNOWN, np.zeros((3, 2, 2))])
    assert reason(name, table) == "group 3 has no rows (and 2 more such groups)"


@pytest.mark.parametrize(
    ("name", "emptied", "expected"),
    [
        ("equal_opportunity_difference", np.s_[2, 1], "group 2 has no rows with label 1"),
        ("false_negative_rate_difference", np.s_[2, 1], "group 2 has no rows with label 1"),
        ("equalized_odds_difference", np.s_[2, 1], "group 2 has no rows with label 1"),
        ("equalized_odds_ratio", np.s_[2, 1], "group 2 has no rows with label 1"),
        ("false_positive_rate_difference", np.s_[0, 0], "group 0 has no rows with label 0"),
        ("equalized_odds_difference", np.s_[0, 0], "group 0 has no rows with label 0"),
        ("equalized_odds_ratio", np.s_[0, 0], "group 0 has no rows with label 0"),
        ("predictive_parity_difference", np.s_[1, :, 1], "group 1 has no accepted rows"),
        ("minimum_recall", np.s_[2, 1], "group 2 has no rows with label 1"),
        ("minimum_precision", np.s_[1, :, 1], "group 1 has no accepted rows"),
    ],
)
def test_a_group_without_the_rows_of_a_rate_is_undefined_and_named(name, emptied, expected):
    table = KNOWN.copy()
    table[emptied] = 0
    assert reason(name, table) == expected


@pytest.mark.parametrize("name", ["demographic_parity_ratio", "equalized_odds_ratio"])
def test_a_ratio_is_undefined_when_no_row_is_accepted(name):
    table = KNOWN.copy()
    table[:, :, 1] = 0
    assert reason(name, table).startswith("constant predictor, 0/0: no row")


@pytest.mark.parametrize("name", ["demographic_parity_difference", "equalized_odds_difference"])
def test_a_difference_is_0_when_no_row_is_accepted(name):
    table = KNOWN.copy()
    table[:, :, 1] = 0
    assert evaluate(name, table) == 0.0


@pytest.mark.parametrize("name", ["demographic_parity_ratio", "equalized_odds_ratio"])
def test_a_ratio_is_1_when_all_rows_are_accepted(name):
    table = KNOWN.copy()
    table[:, :, 0] = 0
    assert evaluate(name, table) == 1.0


def test_equalized_odds_ratio_is_undefined_when_one_of_its_ratios_is():
    table = KNOWN.copy()
    table[:, 0, 1] = 0
    assert reason("equalized_odds_ratio", table) == (
        "0/0: no row with label 0 is accepted in any group"
    )


def test_equalized_odds_ratio_is_0_when_one_group_only_has_a_rate_of_0():
    table = KNOWN.copy()
    table[1, 0, 1] = 0
    assert evaluate("equalized_odds_ratio", table) == 0.0


def test_error_rate_ratio_is_undefined_without_errors():
    assert reason("error_rate_ratio", [np.diag([3, 4]), np.diag([5, 1])]) == (
        "0/0: no decision is wrong in any group"
    )


def test_errors_of_opposite_sign_do_not_cancel_in_equalized_odds():
    table = [[[50, 50], [50, 50]], [[80, 20], [20, 80]]]
    assert evaluate("equalized_odds_difference", table) == pytest.approx(0.3)


def test_a_value_a_hair_above_the_bound_is_not_rounded_to_it():
    n = 10**9
    table = [[[n // 2, n // 2], [1, 1]], [[n // 2 - 7, n // 2 + 7], [1, 1]]]
    assert 0 < evaluate("demographic_parity_difference", table) < 1e-7


@pytest.mark.parametrize("name", FAIRNESS)
def test_a_hundred_groups_in_int8_codes_are_distinguished(name):
    groups, y, decision, weight = random_rows(0, 100)
    wide = GroupCounts.from_rows(groups, y, decision, weight, n_groups=100)
    narrow = GroupCounts.from_rows(
        groups.astype(np.int8), y.astype(np.int8), decision.astype(np.int8), weight, n_groups=100
    )
    metric = METRICS.get(name)
    assert np.array_equal(narrow.table, wide.table)
    assert metric.value(narrow) == metric.value(wide)


def test_a_thousand_groups_have_the_difference_of_the_two_extreme_ones():
    accepted = np.arange(1, 1001)
    table = np.zeros((1000, 2, 2))
    table[:, 0, 1], table[:, 0, 0] = accepted, 1001 - accepted
    assert evaluate("demographic_parity_difference", table) == pytest.approx(999 / 1001)


def test_a_randomised_decision_counts_by_its_probability():
    counts = GroupCounts.from_rows(
        np.array([0, 0, 1, 1]),
        np.array([0, 1, 0, 1]),
        np.array([0.25, 0.75, 0.5, 0.2]),
        n_groups=2,
    )
    found = METRICS.get("demographic_parity_difference").value(counts)
    assert found == pytest.approx(0.5 - 0.35)


def test_rows_of_an_unknown_group_are_outside_a_fairness_metric():
    groups, y, decision, weight = random_rows(3, 3)
    metric = METRICS.get("equalized_odds_difference")
    expected = metric.value(GroupCounts.from_rows(groups, y, decision, weight, n_groups=3))
    outside = [np.append(groups, -1), np.append(y, 1), np.append(decision, 0)]
    counts = GroupCounts.from_rows(*outside, np.append(weight, 99.0), n_groups=3)
    assert metric.value(counts) == pytest.approx(expected)
