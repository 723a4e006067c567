import numpy as np
import pytest
from scipy.stats import ks_2samp
from sklearn import metrics as oracle

from fairautoml.metrics import (
    METRICS,
    ClassCounts,
    Constraint,
    GroupCounts,
    GroupValues,
    Undefined,
    bootstrap_interval,
)

SYSTEM = np.array([0, 1, 1])


@pytest.fixture
def classes():
    rng = np.random.default_rng(0)
    y, chosen = rng.integers(3, size=(2, 500))
    return rng.integers(3, size=500), y, chosen, rng.uniform(0.5, 2.0, size=500)


@pytest.fixture
def numbers():
    rng = np.random.default_rng(0)
    groups = rng.integers(3, size=500)
    y = rng.normal(size=500)
    return groups, y, y + 0.3 * groups + rng.normal(size=500), rng.uniform(0.5, 2.0, size=500)


def counted(groups, y, chosen, weight, n_classes=3):
    return ClassCounts.from_rows(groups, y, np.eye(n_classes)[chosen], weight, n_groups=3)


def valued(groups, y, prediction, weight):
    return GroupValues.from_rows(groups, y, prediction, weight, n_groups=3)


@pytest.mark.parametrize(
    ("name", "peer"),
    [
        ("accuracy", oracle.accuracy_score),
        ("balanced_accuracy", oracle.balanced_accuracy_score),
        ("f1_macro", lambda y, d, **kw: oracle.f1_score(y, d, average="macro", **kw)),
    ],
)
def test_performance_of_several_classes_is_that_of_scikit_learn(classes, name, peer):
    groups, y, chosen, weight = classes
    found = METRICS.get(name).value(counted(groups, y, chosen, weight))
    assert found == pytest.approx(peer(y, chosen, sample_weight=weight))


@pytest.mark.parametrize(
    ("name", "peer"),
    [
        ("rmse", oracle.root_mean_squared_error),
        ("mae", oracle.mean_absolute_error),
        ("r2", oracle.r2_score),
    ],
)
def test_performance_of_numbers_is_that_of_scikit_learn(numbers, name, peer):
    _, y, prediction, weight = numbers
    found = METRICS.get(name).value(valued(*numbers))
    assert found == pytest.approx(peer(y, prediction, sample_weight=weight))


def test_the_log_loss_of_several_classes_is_that_of_scikit_learn(classes):
    _, y, _, weight = classes
    proba = np.random.default_rng(1).dirichlet(np.ones(3), size=500).astype(np.float32)
    wide = proba / proba.sum(axis=1, keepdims=True, dtype=np.float64)
    expected = oracle.log_loss(y, wide, sample_weight=weight, labels=[0, 1, 2])
    assert METRICS.get("log_loss").value(y, proba, weight) == pytest.approx(expected, rel=1e-5)


def test_two_classes_as_several_have_the_same_rates():
    rng = np.random.default_rng(0)
    groups, y, chosen = rng.integers(3, size=300), *rng.integers(2, size=(2, 300))
    weight = np.ones(300)
    two = GroupCounts.from_rows(groups, y, chosen, weight, n_groups=3)
    several = counted(groups, y, chosen, weight, n_classes=2)
    for name in ("demographic_parity_difference", "equalized_odds_difference", "accuracy"):
        metric = METRICS.get(name)
        assert metric.value(several) == pytest.approx(metric.value(two))


def test_the_class_that_is_worst_off_counts_and_the_macro_metric_is_their_mean():
    # Shares of the classes: (.5, .3, .2) in one group and (.4, .2, .4) in the other.
    table = np.zeros((2, 3, 3))
    table[0, 0], table[1, 0] = [50, 30, 20], [40, 20, 40]
    counts = ClassCounts(table)
    assert METRICS.get("demographic_parity_difference").value(counts) == pytest.approx(0.2)
    macro = METRICS.get("demographic_parity_macro_difference").value(counts)
    assert macro == pytest.approx((0.1 + 0.1 + 0.2) / 3)


def test_equalized_odds_of_several_classes_looks_at_each_class_against_the_others(classes):
    groups, y, chosen, weight = classes
    counts = counted(groups, y, chosen, weight)
    gaps = []
    for c in range(3):
        for own in (y == c, y != c):
            rates = [
                np.average((chosen == c)[own & (groups == g)], weights=weight[own & (groups == g)])
                for g in range(3)
            ]
            gaps.append(max(rates) - min(rates))
    assert METRICS.get("equalized_odds_difference").value(counts) == pytest.approx(max(gaps))
    macro = np.maximum(gaps[::2], gaps[1::2]).mean()
    assert METRICS.get("equalized_odds_macro_difference").value(counts) == pytest.approx(macro)


def test_a_class_that_a_group_lacks_is_named():
    table = np.ones((2, 3, 3))
    table[1, 2] = 0
    found = METRICS.get("equal_opportunity_difference").value(ClassCounts(table))
    assert found == Undefined("group 1 has no rows of class 2")


def test_merged_counts_are_the_counts_of_merged_rows(classes):
    groups, *rest = classes
    merged = counted(groups, *rest).merged(SYSTEM, 2)
    assert np.allclose(merged.table, counted(SYSTEM[groups], *rest).table[:2])


def test_merged_values_are_the_values_of_merged_rows(numbers):
    groups, *rest = numbers
    merged, plain = valued(groups, *rest).merged(SYSTEM, 2), valued(SYSTEM[groups], *rest)
    assert merged.means(merged.prediction) == pytest.approx(plain.means(plain.prediction)[:2])
    assert np.allclose(merged.table, plain.table[:2])


def test_values_of_two_parts_together_are_those_of_all_rows(numbers):
    half = np.arange(500) < 200
    both = valued(*(a[half] for a in numbers)) + valued(*(a[~half] for a in numbers))
    for name in ("rmse", "mean_difference", "distribution_gap", "bounded_group_loss"):
        metric = METRICS.get(name)
        assert metric.value(both) == pytest.approx(metric.value(valued(*numbers)), rel=1e-12)


def test_the_distribution_gap_is_the_largest_kolmogorov_smirnov_statistic(numbers):
    groups, y, prediction, _ = numbers
    pairs = [
        ks_2samp(prediction[groups == g], prediction[groups == h]).statistic
        for g in range(3)
        for h in range(g)
    ]
    found = METRICS.get("distribution_gap").value(valued(groups, y, prediction, np.ones(500)))
    assert found == pytest.approx(max(pairs))


def test_the_mean_difference_and_the_bounded_loss_are_computed_by_hand():
    values = GroupValues.from_rows(
        np.array([0, 0, 1, 1]),
        np.array([0.0, 2.0, 1.0, 1.0]),
        np.array([1.0, 2.0, 4.0, 1.0]),
        np.array([1.0, 1.0, 1.0, 3.0]),
        n_groups=2,
    )
    assert METRICS.get("mean_difference").value(values) == pytest.approx(1.75 - 1.5)
    assert METRICS.get("bounded_group_loss").value(values) == pytest.approx(9 / 4)


def test_rows_of_no_group_are_in_no_gap_but_in_the_error():
    values = GroupValues.from_rows(
        np.array([0, 1, -1]), np.zeros(3), np.array([1.0, 1.0, 7.0]), np.ones(3), n_groups=2
    )
    assert METRICS.get("mean_difference").value(values) == 0.0
    assert METRICS.get("mae").value(values) == pytest.approx(3.0)


def test_the_share_explained_of_equal_values_is_undefined():
    same = GroupValues.from_rows(
        np.array([0, 1]), np.ones(2), np.array([1.0, 2.0]), np.ones(2), n_groups=2
    )
    assert METRICS.get("r2").value(same) == Undefined("all true values are equal")


@pytest.mark.parametrize("name", ["mean_difference", "distribution_gap", "bounded_group_loss"])
def test_the_interval_of_numbers_holds_the_value_and_shrinks_with_more_rows(numbers, name):
    metric, values = METRICS.get(name), valued(*numbers)
    rows = np.full(3, 150.0)
    low, high = bootstrap_interval(metric, values.table, n_rows=rows)
    assert low <= metric.value(values) + 0.03
    assert metric.value(values) - 0.03 <= high
    fewer = bootstrap_interval(metric, values.table, n_rows=rows / 16)
    assert fewer[1] - fewer[0] > 1.5 * (high - low)


def test_the_interval_of_the_mean_difference_has_the_width_of_its_standard_error(numbers):
    groups, y, prediction, _ = numbers
    values = valued(groups, y, prediction, np.ones(500)).merged(SYSTEM, 2)
    n = np.bincount(SYSTEM[groups]).astype(float)
    low, high = bootstrap_interval(METRICS.get("mean_difference"), values.table, n_rows=n)
    spread = [prediction[SYSTEM[groups] == g].std() for g in (0, 1)]
    expected = 2 * 1.96 * np.hypot(*(spread / np.sqrt(n)))
    assert high - low == pytest.approx(expected, rel=0.15)


def test_the_interval_of_several_classes_holds_the_value(classes):
    metric, counts = METRICS.get("equalized_odds_difference"), counted(*classes)
    low, high = bootstrap_interval(metric, counts.table)
    assert low < high
    assert low <= metric.value(counts) <= high


def test_a_bound_in_units_of_the_target_may_be_large():
    constraint = Constraint.parse("mean_difference[sex] <= 2500")
    assert constraint.limit == 2500
    assert Constraint.parse("bounded_group_loss <= 1e6").label == "bounded_group_loss <= 1000000.0"


@pytest.mark.parametrize("name", ["mean_difference", "distribution_gap", "bounded_group_loss"])
def test_a_group_without_rows_leaves_no_interval(name):
    values = GroupValues.from_rows(
        np.zeros(50, dtype=int), np.arange(50.0), np.arange(50.0), np.ones(50), n_groups=2
    )
    assert bootstrap_interval(METRICS.get(name), values.table) is None
