import numpy as np
import pandas as pd
import pytest

from fairautoml import FairAutoML
from fairautoml.data.read import ReadOptions, build_dataset
from fairautoml.data.sensitive_numbers import NumberPolicy
from fairautoml.evaluation.group_sizes import GroupSizes, fewest_rows, thin_groups
from fairautoml.exceptions import SmallGroupWarning
from fairautoml.metrics import GroupSystem, bind_constraints, parse_constraints


def table(n_small, n_small_positive):
    rng = np.random.default_rng(0)
    n_large = 300
    group = np.array(["large"] * n_large + ["small"] * n_small)
    y = np.concatenate([np.arange(n_large) % 2, np.arange(n_small) < n_small_positive]).astype(int)
    return pd.DataFrame({"x": rng.normal(size=len(y)) + y}), y, pd.Series(group, name="g")


def thin(constraint, *sizes):
    dataset = build_dataset(*table(*sizes))
    return thin_groups(dataset, bind_constraints(parse_constraints(constraint), dataset.systems))


def test_a_rate_over_labels_needs_twenty_rows_of_that_label():
    assert thin("equal_opportunity_difference <= 0.1", 60, 20) == ()
    assert thin("equal_opportunity_difference <= 0.1", 60, 19) == (
        "'small' of 'g': 19 rows of class 1",
    )
    assert thin("false_positive_rate_difference <= 0.1", 60, 45) == (
        "'small' of 'g': 15 rows of class 0",
    )


def test_a_rate_over_all_rows_needs_twenty_rows():
    assert thin("demographic_parity_difference <= 0.1", 20, 1) == ()
    assert thin("demographic_parity_difference <= 0.1", 19, 9) == ("'small' of 'g': 19 rows",)


def test_a_fit_with_a_small_group_warns_and_keeps_the_note():
    X, y, groups = table(12, 6)
    model = FairAutoML("demographic_parity_difference <= 0.2", n_trials=2, random_state=0)
    with pytest.warns(SmallGroupWarning, match="insufficient evidence.*'small' of 'g': 12 rows"):
        model.fit(X, y, groups)
    assert any("insufficient evidence" in note for note in model.notes_)


@pytest.mark.parametrize(
    ("bound", "rows"),
    [(0.0, 100), (0.01, 100), (0.05, 100), (0.1, 25), (0.2, 7), (0.5, 2), (0.8, 2), (1.0, 1)],
)
def test_a_bound_needs_so_many_rows_behind_each_rate(bound, rows):
    assert fewest_rows(bound) == rows


def outside(constraint, *parts, weight=None, entities=None, y=None, task="auto", pool=False):
    """Return what groups of (label 0, label 1) rows each lose, named a, b, c, ..."""
    group = np.concatenate([[name] * sum(n) for name, n in zip("abcdef", parts, strict=False)])
    if y is None:
        y = np.concatenate([np.arange(sum(n)) >= n[0] for n in parts]).astype(int)
    X = pd.DataFrame({"x": np.random.default_rng(0).normal(size=len(y))})
    options = ReadOptions(task=task)
    dataset = build_dataset(X, y, pd.Series(group, name="g"), weight, options=options)
    targets = bind_constraints(parse_constraints(constraint), dataset.systems)
    return GroupSizes(dataset=dataset, entities=entities, pool=pool).small_groups(targets)


def test_a_selection_rate_rests_on_all_rows_of_a_group():
    bound = "demographic_parity_difference <= 0.05"
    assert outside(bound, (200, 200), (200, 200), (60, 40)) == ()
    (found,) = outside(bound, (200, 200), (200, 200), (60, 39))
    assert (found.outside, found.n_rows, found.fewest, found.judged) == (("c",), (99,), 100, True)


def test_equalized_odds_rest_on_the_rows_of_either_label():
    groups = (200, 200), (200, 200), (200, 99), (99, 200)
    (found,) = outside("equalized_odds_difference <= 0.05", *groups)
    assert found.outside == ("c", "d")
    (found,) = outside("equal_opportunity_difference <= 0.05", *groups)
    assert found.outside == ("c",)
    (found,) = outside("false_positive_rate_difference <= 0.05", *groups)
    assert found.outside == ("d",)


def test_a_ratio_is_counted_in_units_of_the_base_rate():
    groups = (200, 200), (200, 200), (12, 12)
    (found,) = outside("demographic_parity_ratio >= 0.8", *groups)
    assert (found.fewest, found.outside) == (25, ("c",))
    (found,) = outside("demographic_parity_ratio >= 0.8", (600, 200), (600, 200), (48, 16))
    assert (found.fewest, found.outside) == (100, ("c",))


def test_each_constraint_has_its_own_list():
    both = ["demographic_parity_difference <= 0.05", "equalized_odds_difference <= 0.05"]
    (found,) = outside(both, (200, 200), (200, 200), (100, 50))
    assert (found.metric, found.outside) == ("equalized_odds_difference", ("c",))


def test_weighted_rows_and_rows_of_one_entity_count_for_less():
    groups = (200, 200), (200, 200), (60, 60)
    bound = "demographic_parity_difference <= 0.05"
    assert outside(bound, *groups, weight=np.full(920, 0.3)) == ()
    weight = np.where(np.arange(920) % 2, 1.0, 9.0)
    (found,) = outside(bound, *groups, weight=weight)
    assert (found.outside, found.effective) == (("c",), True)
    (found,) = outside(bound, *groups, entities=np.r_[:800, 800 + np.arange(120) // 2])
    assert (found.outside, found.effective) == (("c",), True)


def test_at_least_two_groups_stay():
    (found,) = outside("demographic_parity_difference <= 0.05", (30, 30), (300, 300), (20, 20))
    assert (found.outside, found.judged) == (("c",), False)
    assert found.headline.startswith("Too few rows to judge demographic_parity_difference on 'g'")
    (found,) = outside("demographic_parity_difference <= 0.05", (30, 30), (300, 300))
    assert (found.outside, found.judged) == ((), False)


def test_a_rare_class_alone_leaves_no_group_out():
    groups = (200, 200), (200, 200), (200, 200), (20, 20)
    y = np.arange(1240) % 2
    y[[5, 405, 805]] = 2
    (found,) = outside("equalized_odds_difference <= 0.05", *groups, y=y)
    assert (found.outside, found.judged) == (("d",), True)


def test_a_mean_is_counted_in_units_of_the_target():
    groups = (60, 60), (60, 60), (12, 12)
    y = np.random.default_rng(0).normal(scale=10.0, size=264)
    (found,) = outside("mean_difference <= 2", *groups, y=y, task="regression")
    assert (found.fewest, found.outside) == (pytest.approx(25, abs=3), ("c",))
    (found,) = outside("bounded_group_loss <= 12", *groups, y=y, task="regression")
    assert (found.fewest, found.outside) == (100, ("c",))


def test_a_group_that_overlaps_with_others_is_left_out_by_itself():
    rng = np.random.default_rng(0)
    n = 1_000
    masks = pd.DataFrame({"p": rng.random(n) < 0.4, "q": rng.random(n) < 0.4, "r": False})
    masks.loc[:9, "r"] = True
    X = pd.DataFrame({"x": rng.normal(size=n)})
    dataset = build_dataset(X, rng.integers(0, 2, n), {"identity": masks})
    targets = bind_constraints(
        parse_constraints("demographic_parity_to_overall <= 0.05"), dataset.systems
    )
    (found,) = GroupSizes(dataset=dataset).small_groups(targets)
    assert (found.system, found.outside, found.n_rows) == ("identity", ("r",), (10,))
    (target,) = bind_constraints(
        parse_constraints("demographic_parity_to_overall <= 0.05"), dataset.systems, [found]
    )
    assert target.system.labels == ("p", "q")
    assert target.system.member.shape[0] == 2


def test_a_bound_on_a_number_leaves_no_row_out():
    n = 300
    rng = np.random.default_rng(0)
    X = pd.DataFrame({"x": rng.normal(size=n)})
    age = pd.Series(rng.normal(size=n), name="age")
    options = ReadOptions(numbers=NumberPolicy(bins={}, scales=None))
    dataset = build_dataset(X, rng.integers(0, 2, n), age, options=options)
    targets = bind_constraints(parse_constraints("gedi[age] <= 0.1"), dataset.systems)
    assert GroupSizes(dataset=dataset).small_groups(targets) == ()


def test_small_groups_are_pooled_on_request_if_they_are_large_enough_together():
    bound = "demographic_parity_difference <= 0.05"
    groups = (200, 200), (200, 200), (30, 30), (30, 30)
    (found,) = outside(bound, *groups, pool=True)
    assert (found.outside, found.pooled, found.judged) == (("c", "d"), True, True)
    assert "one group '(other)' in the bound" in found.headline
    (found,) = outside(bound, *groups[:3], pool=True)
    assert (found.outside, found.pooled) == (("c",), False)
    (found,) = outside(bound, *groups[:2], (20, 20), (20, 20), pool=True)
    assert (found.outside, found.pooled) == (("c", "d"), False)


def test_a_pool_next_to_one_large_group_can_be_judged():
    bound = "demographic_parity_difference <= 0.05"
    groups = (200, 200), (30, 30), (30, 30)
    assert not outside(bound, *groups)[0].judged
    (found,) = outside(bound, *groups, pool=True)
    assert (found.outside, found.pooled, found.judged) == (("b", "c"), True, True)


def test_a_pooled_system_has_the_small_groups_as_its_last_group():
    system = GroupSystem(
        name="g", labels=("a", "b", "c", "d"), of_cell=np.array([3, 0, 1, -1, 2], dtype=np.int32)
    )
    found = system.pooling(("b", "d"))
    assert found.labels == ("a", "c", "(other)")
    assert found.of_cell.tolist() == [2, 0, 2, -1, 1]
    masks = np.array([[1, 0, 1], [0, 1, 0], [1, 1, 0]], dtype=bool)
    overlapping = GroupSystem(
        name="t", labels=("a", "b", "c"), of_cell=np.full(3, -1, dtype=np.int32), masks=masks
    ).pooling(("b", "c"))
    assert overlapping.masks.tolist() == [[True, False, True], [True, True, False]]
