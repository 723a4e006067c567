import math

import numpy as np
import pandas as pd
import pytest
from scipy.stats import norm

from fairautoml.data.read import ReadOptions, build_dataset
from fairautoml.metrics import Constraint, GroupCounts, bind_constraints
from fairautoml.selection.margin import chances_on

N_ROWS = 2000


def individuals(n_groups=2, weight=None):
    """A dataset of ``N_ROWS`` people, equal groups, half of them with label 1."""
    at = np.arange(N_ROWS)
    group, y = at % n_groups, (at // n_groups) % 2
    return build_dataset(at[:, None].astype(float), y, {"g": group.astype(str)}, weight)


def counts_of(dataset, rates):
    """The table of a rule that accepts the given share of each group, whatever the label."""
    accepted = np.asarray(rates)[dataset.cells]
    return GroupCounts.from_rows(
        dataset.cells, dataset.y, accepted, dataset.weight, n_groups=dataset.groups.n_cells
    ).table


def chances(dataset, constraint, seed=0, audit_ratio=math.inf):
    targets = bind_constraints((Constraint.parse(constraint),), dataset.systems)
    return chances_on(dataset, targets, seed, audit_ratio=audit_ratio)


@pytest.mark.parametrize("gap", [0.0, 0.02, 0.05, 0.08])
def test_two_groups_and_one_rate_agree_with_the_formula(gap):
    dataset = individuals()
    found = chances(dataset, "demographic_parity_difference<=0.05")
    error = np.sqrt((0.3 * 0.7 + (0.3 + gap) * (0.7 - gap)) / (N_ROWS / 2))
    expected = norm.cdf((0.05 - gap) / error) - norm.cdf((-0.05 - gap) / error)
    assert found.met(counts_of(dataset, [0.3, 0.3 + gap])) == pytest.approx(expected, abs=0.04)


def test_a_rate_within_a_label_has_the_noise_of_the_rows_with_that_label():
    dataset = individuals()
    found = chances(dataset, "equal_opportunity_difference<=0.05")
    error = np.sqrt(2 * 0.3 * 0.7 / (N_ROWS / 4))
    expected = 1 - 2 * norm.cdf(-0.05 / error)
    assert found.met(counts_of(dataset, [0.3, 0.3])) == pytest.approx(expected, abs=0.04)


def test_more_groups_and_more_rates_are_harder_to_keep_together():
    one = chances(individuals(2), "demographic_parity_difference<=0.05")
    many = chances(individuals(5), "demographic_parity_difference<=0.05")
    both = chances(individuals(2), "equalized_odds_difference<=0.05")
    equal = one.met(counts_of(individuals(2), [0.3, 0.3]))
    assert many.met(counts_of(individuals(5), [0.3] * 5)) < equal - 0.2
    assert both.met(counts_of(individuals(2), [0.3, 0.3])) < equal - 0.1


def test_uneven_weights_are_worth_fewer_rows():
    uneven = individuals(weight=np.where(np.arange(N_ROWS) < 200, 50.0, 1.0))
    even = individuals()
    constraint = "demographic_parity_difference<=0.05"
    sure = chances(even, constraint).met(counts_of(even, [0.3, 0.3]))
    unsure = chances(uneven, constraint).met(counts_of(uneven, [0.3, 0.3]))
    assert unsure < sure - 0.2


def test_a_ratio_is_judged_by_its_own_bound():
    dataset = individuals()
    found = chances(dataset, "demographic_parity_ratio>=0.8")
    assert found.met(counts_of(dataset, [0.5, 0.5])) > 0.99
    assert found.met(counts_of(dataset, [0.5, 0.4])) == pytest.approx(0.5, abs=0.1)
    assert found.met(counts_of(dataset, [0.5, 0.3])) < 0.01


def test_no_accepted_row_of_few_is_not_evidence_of_none():
    few, many = individuals(50), individuals(2)
    constraint = "demographic_parity_difference<=0.02"
    assert chances(few, constraint).met(counts_of(few, [0.0] * 50)) < 0.5
    assert chances(many, constraint).met(counts_of(many, [0.0] * 2)) > 0.99


def test_a_gap_that_is_undefined_is_never_met():
    dataset = individuals()
    found = chances(dataset, "demographic_parity_ratio>=0.8")
    table = counts_of(dataset, [0.5, 0.5])
    table[1] = 0.0
    assert found.met(table) == 0.0


def test_all_rules_meet_the_same_draws():
    dataset = individuals()
    found = chances(dataset, "demographic_parity_difference<=0.05")
    gaps = [0.0, 0.01, 0.02, 0.03, 0.04, 0.05]
    falling = [found.met(counts_of(dataset, [0.3, 0.3 + gap])) for gap in gaps]
    assert falling == sorted(falling, reverse=True)
    again = chances(dataset, "demographic_parity_difference<=0.05")
    assert [again.met(counts_of(dataset, [0.3, 0.3 + gap])) for gap in gaps] == falling


@pytest.mark.parametrize("audit_ratio", [0.25, 1.0, 4.0])
def test_the_rows_of_an_audit_have_a_noise_of_their_own(audit_ratio):
    dataset = individuals()
    found = chances(dataset, "demographic_parity_difference<=0.05", audit_ratio=audit_ratio)
    error = np.sqrt(2 * 0.3 * 0.7 / (N_ROWS / 2) * (1 + 1 / audit_ratio))
    expected = 1 - 2 * norm.cdf(-0.05 / error)
    assert found.met(counts_of(dataset, [0.3, 0.3])) == pytest.approx(expected, abs=0.04)


OF_MANY = ReadOptions(max_groups=N_ROWS, sensitive_in_X="allow")
"""Many groups, each of them one interval of the feature."""


def cut(rows_per_cell):
    """The same people with two sensitive columns more, one of them a copy of the first."""
    at = np.arange(N_ROWS)
    group, cohort = at % 2, at // 2 // rows_per_cell
    columns = {"g": group.astype(str), "copy": group.astype(str), "cohort": cohort.astype(str)}
    y = (at // 2) % 2
    return build_dataset(at[:, None].astype(float), y, columns, options=OF_MANY)


def decided(dataset, shares):
    """The table of a rule that accepts the given share of the first and the second group."""
    rng, accepted = np.random.default_rng(0), np.zeros(N_ROWS)
    for group, share in enumerate(shares):
        inside = rng.permutation(np.arange(group, N_ROWS, 2))
        accepted[inside[: round(share * len(inside))]] = 1.0
    return GroupCounts.from_rows(
        dataset.cells, dataset.y, accepted, n_groups=dataset.groups.n_cells
    ).table


@pytest.mark.parametrize("rows_per_cell", [1, 4, 20])
def test_a_group_of_small_cells_has_the_noise_of_a_group_of_one(rows_per_cell):
    dataset = cut(rows_per_cell)
    found = chances(dataset, "demographic_parity_difference[g]<=0.05", audit_ratio=1.0)
    error = np.sqrt((0.3 * 0.7 + 0.255 * 0.745) / (N_ROWS / 2) * 2)
    expected = norm.cdf(0.005 / error) - norm.cdf(-0.095 / error)
    assert found.met(decided(dataset, [0.3, 0.255])) == pytest.approx(expected, abs=0.04)


def test_two_columns_that_say_the_same_have_the_same_noise():
    dataset = cut(4)
    constraints = [
        Constraint.parse(f"demographic_parity_difference[{name}]<=0.05") for name in ("g", "copy")
    ]
    one, both = (
        chances_on(dataset, bind_constraints(requested, dataset.systems), 0, audit_ratio=1.0)
        for requested in (constraints[:1], constraints)
    )
    table = decided(dataset, [0.3, 0.255])
    assert both.met(table) == one.met(table)


def test_a_group_that_is_part_of_all_rows_shares_its_noise_with_them():
    at = np.arange(N_ROWS)
    terms = pd.DataFrame({"x": at % 2 == 0})
    dataset = build_dataset(at[:, None].astype(float), (at // 2) % 2, {"identity": terms})
    found = chances(dataset, "demographic_parity_to_overall<=0.01")
    # Of N rows, half of them in the group: var(r_g - r) = r (1 - r) (2 / N - 1 / N).
    error = np.sqrt(0.3 * 0.7 / N_ROWS)
    expected = 1 - 2 * norm.cdf(-0.01 / error)
    assert found.met(counts_of(dataset, [0.3, 0.3])) == pytest.approx(expected, abs=0.04)


N_REPEATS = 20


def repeated(label=None):
    """Two hundred people of two groups with 20 rows each, alike but perhaps for the label."""
    person = np.arange(200 * N_REPEATS) // N_REPEATS
    label = (person // 2) % 2 if label is None else label
    dataset = build_dataset(person[:, None].astype(float), label, {"g": (person % 2).astype(str)})
    return dataset, person


def of_individuals(dataset, person, accepted):
    return GroupCounts.from_rows(
        dataset.cells, dataset.y, accepted[person].astype(float), n_groups=2
    ).table


def test_a_stated_probability_of_individuals_with_many_rows_each_comes_true():
    dataset, person = repeated()
    targets = bind_constraints(
        (Constraint.parse("demographic_parity_difference<=0.1"),), dataset.systems
    )
    drawn = chances_on(dataset, targets, 0, audit_ratio=1.0, entities=person)
    rng = np.random.default_rng(0)
    stated, held = [], []
    for gap in rng.uniform(-0.3, 0.3, size=600):
        rates = np.array([0.4, 0.4 + gap])
        searched, new = rng.random((2, 200)) < rates[np.arange(200) % 2]
        stated.append(drawn.met(of_individuals(dataset, person, searched)))
        held.append(abs(new[::2].mean() - new[1::2].mean()) <= 0.1)
    stated, held = np.array(stated), np.array(held)
    assert stated.mean() == pytest.approx(held.mean(), abs=0.05)
    likely = stated > 0.6
    assert stated[likely].mean() == pytest.approx(held[likely].mean(), abs=0.1)
    # As rows they would be a sample of 4,000, and hardly a probability would be in doubt.
    assert stated.max() < 0.9


def test_individuals_with_rows_of_both_labels_move_the_acceptance_of_both():
    label = np.arange(200 * N_REPEATS) % 2
    dataset, person = repeated(label)
    accepted = np.arange(200) // 2 % 10 < 3
    expected = 1 - 2 * norm.cdf(-0.1 / np.sqrt(2 * 0.3 * 0.7 / 100))
    for name in ("demographic_parity_difference", "equal_opportunity_difference"):
        targets = bind_constraints((Constraint.parse(f"{name}<=0.1"),), dataset.systems)
        drawn = chances_on(dataset, targets, 0, audit_ratio=math.inf, entities=person)
        found = drawn.met(of_individuals(dataset, person, accepted))
        assert found == pytest.approx(expected, abs=0.04)


def test_individuals_of_one_row_each_are_rows():
    dataset = individuals(weight=np.where(np.arange(N_ROWS) < 200, 50.0, 1.0))
    targets = bind_constraints(
        (Constraint.parse("equalized_odds_difference<=0.1"),), dataset.systems
    )
    alone = chances_on(dataset, targets, 0, audit_ratio=1.0, entities=np.arange(N_ROWS))
    plain = chances_on(dataset, targets, 0, audit_ratio=1.0)
    table = counts_of(dataset, [0.3, 0.35])
    assert alone.met(table) == pytest.approx(plain.met(table), abs=0.005)


@pytest.mark.parametrize(
    ("name", "measured"), [("demographic_parity_to_overall", 0.05), ("fned", 0.1)]
)
def test_individuals_of_no_group_are_not_in_all_rows(name, measured):
    at = np.arange(4 * N_ROWS)
    group = np.array(["f", "m", None, None], dtype=object)[at % 4]
    dataset = build_dataset(
        at[:, None].astype(float),
        at // 4 % 2,
        {"g": group},
        options=ReadOptions(sensitive_missing="exclude"),
    )
    by_cell = np.array([0.3, 0.4, 0.1])[dataset.systems[0].of_cell]
    found = chances(dataset, f"{name}<={1.2 * measured}")
    # Both are the difference of the two groups: half of it, of all people, or all of it, of half.
    error = np.sqrt((0.3 * 0.7 + 0.4 * 0.6) / N_ROWS * (0.25 if measured == 0.05 else 2.0))
    expected = norm.cdf(0.2 * measured / error)
    assert found.met(counts_of(dataset, by_cell)) == pytest.approx(expected, abs=0.04)
