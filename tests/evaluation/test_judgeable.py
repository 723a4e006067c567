import math
import time

import numpy as np
import pandas as pd
import pytest

from fairautoml.data.read import ReadOptions, build_dataset
from fairautoml.data.sensitive_numbers import NumberPolicy
from fairautoml.evaluation.group_sizes import GroupSizes
from fairautoml.metrics import bind_constraints, parse_constraints


def dataset_of(sizes, *, share=0.5, weight=None, y=None, task="auto"):
    """Return groups a, b, c, ... of so many rows, each with the same share of label 1."""
    group = np.repeat(list("abcdefghijklmnopqrstuvwxyz"[: len(sizes)]), sizes)
    if y is None:
        y = np.concatenate([np.arange(n) < round(share * n) for n in sizes]).astype(int)
    X = pd.DataFrame({"x": np.random.default_rng(9).normal(size=len(group))})
    options = ReadOptions(task=task)
    return build_dataset(X, y, pd.Series(group, name="g"), weight, options=options)


def judged(constraint, dataset, entities=None, min_size="auto"):
    targets = bind_constraints(parse_constraints(constraint), dataset.systems)
    sizes = GroupSizes(dataset=dataset, entities=entities, min_size=min_size)
    return sizes.judgeability(targets)


def within(limit, deviation):
    """Return the probability that a normal variable is within a limit."""
    return math.erf(limit / deviation / math.sqrt(2))


def test_of_two_groups_it_is_the_probability_of_a_small_difference():
    (found,) = judged("demographic_parity_difference <= 0.05", dataset_of([400, 600], share=0.2))
    exact = within(0.05, math.sqrt(0.2 * 0.8 * (1 / 400 + 1 / 600)))
    assert found.p0 == pytest.approx(exact, abs=0.02)
    assert found.smallest_bound <= 0.05
    assert found.judged


def test_rates_of_both_labels_must_be_within_the_bound():
    dataset = dataset_of([1_000, 1_000], share=0.3)
    (found,) = judged("equalized_odds_difference <= 0.05", dataset)
    exact = within(0.05, math.sqrt(0.5 / 300)) * within(0.05, math.sqrt(0.5 / 700))
    assert found.p0 == pytest.approx(exact, abs=0.02)


def test_simulated_decisions_of_a_fair_rule_meet_the_bound_as_often():
    sizes = [150, 300, 800, 1200]
    (found,) = judged("demographic_parity_difference <= 0.08", dataset_of(sizes, share=0.4))
    rng = np.random.default_rng(1)
    rates = np.stack([rng.binomial(n, 0.4, 4_000) / n for n in sizes])
    assert found.p0 == pytest.approx((np.ptp(rates, axis=0) <= 0.08).mean(), abs=0.03)


def test_the_smallest_bound_can_be_judged_and_half_of_it_cannot():
    dataset = dataset_of([120, 150, 400], share=0.3)
    (found,) = judged("demographic_parity_difference <= 0.02", dataset)
    assert not found.judged
    smallest = found.smallest_bound
    assert smallest > 0.02
    assert judged(f"demographic_parity_difference <= {smallest}", dataset)[0].judged
    assert not judged(f"demographic_parity_difference <= {smallest / 2}", dataset)[0].judged


def test_the_smallest_bound_counts_the_groups_that_a_looser_bound_compares():
    dataset = dataset_of([110, 110, 40, 40, 40, 40], share=0.5)
    (found,) = judged("demographic_parity_difference <= 0.04", dataset)
    (alone,) = judged("demographic_parity_difference <= 0.04", dataset_of([110, 110]))
    assert found.p0 == pytest.approx(alone.p0, abs=0.02)
    assert found.smallest_bound >= alone.smallest_bound
    bound = f"demographic_parity_difference <= {found.smallest_bound}"
    assert judged(bound, dataset)[0].judged


def test_the_smallest_bound_leaves_two_groups_with_enough_rows():
    for constraint, sizes in (
        ("demographic_parity_difference <= 0.05", [40] * 20),
        ("demographic_parity_difference <= 0.12", [45, 45]),
    ):
        dataset = dataset_of(sizes, share=0.1)
        (found,) = judged(constraint, dataset)
        bound = f"demographic_parity_difference <= {found.smallest_bound}"
        targets = bind_constraints(parse_constraints(bound), dataset.systems)
        assert all(one.judged for one in GroupSizes(dataset=dataset).small_groups(targets))
        assert judged(bound, dataset)[0].judged


def test_a_fixed_minimum_size_can_leave_no_bound():
    (found,) = judged("demographic_parity_difference <= 0.1", dataset_of([90, 90]), min_size=100)
    assert found.smallest_bound is None


def test_groups_outside_the_bound_have_no_influence():
    with_stray = dataset_of([2_000, 2_000, 1])
    without = dataset_of([2_000, 2_000])
    bound = "demographic_parity_difference <= 0.05"
    assert judged(bound, with_stray)[0].p0 == pytest.approx(judged(bound, without)[0].p0, abs=0.01)
    assert judged(bound, with_stray, min_size=1)[0].p0 < 0.2


def test_a_minimum_needs_25_rows_behind_each_rate_and_is_not_judged_by_chance():
    """A group below that leaves the constraint; its rates are not compared, so there is no p0."""
    dataset = dataset_of([200, 60, 40], share=0.5)
    targets = bind_constraints(parse_constraints("recall >= 0.6"), dataset.systems)
    (small,) = GroupSizes(dataset=dataset).small_groups(targets)
    assert (small.fewest, small.n_rows, small.judged) == (25, (40,), True)
    assert judged("recall >= 0.6", dataset) == ()
    alone = dataset_of([200, 30], share=0.5)
    targets = bind_constraints(parse_constraints("recall >= 0.6"), alone.systems)
    (small,) = GroupSizes(dataset=alone).small_groups(targets)
    assert small.judged


def test_a_ratio_is_judged_in_units_of_the_base_rate():
    dataset = dataset_of([500, 500], share=0.3)
    (ratio,) = judged("demographic_parity_ratio >= 0.8", dataset)
    (difference,) = judged("demographic_parity_difference <= 0.06", dataset)
    assert ratio.p0 == pytest.approx(difference.p0)
    assert ratio.bound == pytest.approx(0.8)
    (strict,) = judged("demographic_parity_ratio >= 0.98", dataset)
    assert not strict.judged
    assert strict.smallest_bound < 0.98


def test_unequal_weights_and_repeated_entities_count_for_less():
    sizes, bound = [600, 600], "demographic_parity_difference <= 0.05"
    (plain,) = judged(bound, dataset_of(sizes))
    weight = np.where(np.arange(1_200) % 2, 1.0, 9.0)
    (weighted,) = judged(bound, dataset_of(sizes, weight=weight))
    (repeated,) = judged(bound, dataset_of(sizes), entities=np.arange(1_200) // 3)
    assert weighted.p0 < plain.p0
    assert repeated.p0 < plain.p0
    assert judged(bound, dataset_of(sizes, weight=np.full(1_200, 3.0)))[0].p0 == plain.p0


def test_a_group_against_all_rows_varies_less_than_two_groups():
    dataset = dataset_of([500, 1_500])
    (pair,) = judged("demographic_parity_difference <= 0.04", dataset)
    (overall,) = judged("demographic_parity_to_overall <= 0.04", dataset)
    exact = within(0.04, 0.75 * math.sqrt(0.25 * (1 / 500 + 1 / 1_500)))
    assert overall.p0 == pytest.approx(exact, abs=0.02)
    assert overall.p0 > pair.p0


def test_overlapping_groups_share_the_noise_of_their_rows():
    rng = np.random.default_rng(0)
    n = 3_000
    member = rng.random(n) < 0.4
    X, y = pd.DataFrame({"x": rng.normal(size=n)}), rng.integers(0, 2, n)
    same = build_dataset(X, y, {"t": pd.DataFrame({"p": member, "q": member})})
    (found,) = judged("demographic_parity_to_overall <= 0.02", same)
    one = build_dataset(X, y, {"t": pd.DataFrame({"p": member})})
    (alone,) = judged("demographic_parity_to_overall <= 0.02", one)
    assert found.p0 == pytest.approx(alone.p0, abs=0.02)
    exact = within(0.02, math.sqrt(0.25 * 0.6 / (0.4 * n)))
    assert found.p0 == pytest.approx(exact, abs=0.03)


def test_several_classes_are_judged_by_the_largest_gap_or_by_their_mean():
    y = np.concatenate([np.arange(n) % 3 for n in (400, 500)])
    dataset = dataset_of([400, 500], y=y)
    (worst,) = judged("equalized_odds_difference <= 0.08", dataset)
    (mean,) = judged("equalized_odds_macro_difference <= 0.08", dataset)
    deviation = math.sqrt(0.25 * 3 * (1 / 400 + 1 / 500))
    assert worst.p0 == pytest.approx(within(0.08, deviation) ** 3, abs=0.03)
    assert mean.p0 > worst.p0
    (share,) = judged("demographic_parity_difference <= 0.08", dataset)
    assert share.p0 > worst.p0


def test_a_mean_is_judged_in_units_of_the_target():
    rng = np.random.default_rng(0)
    y = rng.normal(scale=10.0, size=1_000)
    dataset = dataset_of([400, 600], y=y, task="regression")
    (found,) = judged("mean_difference <= 1", dataset)
    exact = within(1, y.std() * math.sqrt(1 / 400 + 1 / 600))
    assert found.p0 == pytest.approx(exact, abs=0.02)


def test_distributions_are_judged_by_their_largest_distance():
    rng = np.random.default_rng(0)
    dataset = dataset_of([400, 600], y=rng.normal(size=1_000), task="regression")
    (found,) = judged("distribution_gap <= 0.08", dataset)
    both = rng.random((500, 1_000))
    points = np.linspace(0, 1, 200)
    distance = [
        np.abs(
            np.searchsorted(np.sort(row[:400]), points) / 400
            - np.searchsorted(np.sort(row[400:]), points) / 600
        ).max()
        for row in both
    ]
    assert found.p0 == pytest.approx((np.array(distance) <= 0.08).mean(), abs=0.1)


def test_a_level_and_a_number_have_no_fair_rule():
    rng = np.random.default_rng(0)
    dataset = dataset_of([400, 600], y=rng.normal(size=1_000), task="regression")
    assert judged("bounded_group_loss <= 2", dataset) == ()
    X = pd.DataFrame({"x": rng.normal(size=300)})
    options = ReadOptions(numbers=NumberPolicy(bins={}, scales=None))
    age = pd.Series(rng.normal(size=300), name="age")
    numeric = build_dataset(X, rng.integers(0, 2, 300), age, options=options)
    assert judged("gedi[age] <= 0.1", numeric) == ()


def test_a_group_without_the_rows_of_a_rate_can_never_be_judged():
    y = np.array([0] * 60 + [0, 1] * 30)
    (found,) = judged("equal_opportunity_difference <= 0.1", dataset_of([60, 60], y=y))
    assert (found.p0, found.smallest_bound) == (0.0, None)
    assert found.headline.endswith("no bound can be judged on these rows.")


def test_it_is_the_same_each_time_and_takes_milliseconds():
    dataset = dataset_of([400] * 26)
    both = "equalized_odds_difference <= 0.05"
    start = time.perf_counter()
    first = judged(both, dataset)
    assert time.perf_counter() - start < 0.5
    assert judged(both, dataset) == first
