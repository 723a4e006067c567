import numpy as np
import pytest

from fairautoml.metrics import (
    METRICS,
    CostMatrix,
    GroupCounts,
    Metric,
    Undefined,
    bootstrap_interval,
)

ON_DECISIONS = [
    name
    for name in METRICS.names()
    if METRICS.get(name).on == "decisions"
    and "binary" in METRICS.get(name).tasks
    and not METRICS.get(name).degree
]
TABLE = np.array([[[80, 20], [20, 80]], [[80, 20], [50, 50]], [[180, 120], [10, 90]]], float)


@pytest.mark.parametrize("name", ON_DECISIONS)
def test_the_interval_holds_a_clear_value(name):
    metric = METRICS.get(name)
    low, high = bootstrap_interval(metric, TABLE)
    assert 0 <= low < metric.value(GroupCounts(TABLE)) < high <= 1


@pytest.mark.parametrize("name", ON_DECISIONS)
def test_evaluating_all_draws_at_once_is_evaluating_each(name):
    metric = METRICS.get(name)
    one_by_one = Metric(
        name=name, kind=metric.kind, on="decisions", value=metric.value, greater_is_better=True
    )
    sparse = np.array([[[3, 1], [1, 2]], [[4, 1], [1, 1]]], float)
    for table in (TABLE, sparse):
        expected = bootstrap_interval(one_by_one, table, draws=60)
        assert bootstrap_interval(metric, table, draws=60) == expected


def test_the_same_seed_gives_the_same_interval_and_another_seed_another():
    metric = METRICS.get("demographic_parity_difference")
    first, again = (bootstrap_interval(metric, TABLE, seed=3) for _ in range(2))
    assert first == again
    assert bootstrap_interval(metric, TABLE, seed=4) != first


def test_the_width_is_that_of_the_normal_approximation():
    metric = METRICS.get("demographic_parity_difference")
    table = np.array([[[700, 300], [0, 0]], [[400, 600], [0, 0]]], float)
    low, high = bootstrap_interval(metric, table, draws=4000)
    deviation = np.sqrt(0.3 * 0.7 / 1000 + 0.6 * 0.4 / 1000)
    assert high - low == pytest.approx(2 * 1.96 * deviation, rel=0.08)


def test_the_excess_of_a_redrawn_maximum_over_many_groups_is_subtracted():
    # Twelve groups with one rate: each draw has a gap of about 0.16, which is noise alone.
    metric = METRICS.get("demographic_parity_difference")
    table = np.tile(np.array([[25.0, 25.0], [25.0, 25.0]]), (12, 1, 1))
    low, high = bootstrap_interval(metric, table)
    assert low == 0.0
    assert high < 0.12


def test_a_higher_level_is_wider():
    metric = METRICS.get("accuracy")
    wide, narrow = (bootstrap_interval(metric, TABLE, level=level) for level in (0.99, 0.5))
    assert wide[0] < narrow[0] < narrow[1] < wide[1]


@pytest.mark.parametrize("name", ["equalized_odds_difference", "accuracy"])
def test_weights_count_by_their_effective_number_of_rows(name):
    metric = METRICS.get(name)
    rows = TABLE.sum(axis=(1, 2))
    scaled = bootstrap_interval(metric, 7.5 * TABLE, n_rows=rows)
    assert scaled == pytest.approx(bootstrap_interval(metric, TABLE))
    low, high = bootstrap_interval(metric, TABLE, n_rows=rows / 10)
    assert high - low > 2 * (scaled[1] - scaled[0])


def test_pooling_keeps_the_weight_of_each_group_whatever_its_number_of_rows():
    metric = METRICS.get("accuracy")
    table = np.array([[[900, 0], [0, 0]], [[0, 100], [0, 0]]], float)
    found = bootstrap_interval(metric, table, n_rows=np.array([9, 100]))
    assert found == pytest.approx((0.9, 0.9))


@pytest.mark.parametrize("name", ["demographic_parity_ratio", "predictive_parity_difference"])
def test_there_is_no_interval_for_an_undefined_value(name):
    none_accepted = TABLE * np.array([1, 0])
    assert bootstrap_interval(METRICS.get(name), none_accepted) is None


def test_draws_without_a_value_are_left_out():
    metric = METRICS.get("predictive_parity_difference")
    rarely_accepted = np.array([[[50, 1], [50, 1]], [[50, 10], [50, 20]]], float)
    low, high = bootstrap_interval(metric, rarely_accepted)
    assert 0 <= low <= high <= 1


def test_there_is_no_interval_when_no_draw_has_a_value():
    only_at_the_point = Metric(
        name="stubborn",
        kind="performance",
        on="decisions",
        value=lambda counts: 0.5 if (counts.table == TABLE).all() else Undefined("redrawn"),
        greater_is_better=True,
    )
    assert bootstrap_interval(only_at_the_point, TABLE, draws=5) is None


def test_a_group_without_rows_does_not_disturb_a_performance_metric():
    metric = METRICS.get("accuracy")
    padded = np.concatenate([TABLE, np.zeros((1, 2, 2))])
    n_rows = np.append(TABLE.sum(axis=(1, 2)), np.nan)
    low, high = bootstrap_interval(metric, padded, n_rows=n_rows)
    assert low < metric.value(GroupCounts(TABLE)) < high


@pytest.mark.parametrize(
    "metric",
    [
        METRICS.get("mcc"),
        CostMatrix([[0, 1], [5, 0]]).metric,
        CostMatrix([[-9, 0], [0, -9]]).metric,
    ],
    ids=["correlation", "cost", "gain"],
)
def test_the_interval_of_a_metric_that_is_no_rate_holds_its_value(metric):
    worse_than_chance = np.array([[[20, 80], [80, 20]]], float)
    for table in (worse_than_chance, worse_than_chance[..., ::-1]):
        low, high = bootstrap_interval(metric, table)
        assert low < metric.value(GroupCounts(table)) < high


def test_the_table_is_not_modified():
    table = TABLE.copy()
    bootstrap_interval(METRICS.get("f1"), table)
    assert np.array_equal(table, TABLE)
