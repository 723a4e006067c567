import numpy as np
import pytest
from pre_cases import Recorder, Watched, biased_rows, given, rows_of, same_rows_in_any_order
from scipy import sparse

from fairautoml.exceptions import InputError
from fairautoml.mitigators.preprocessing.disparate_impact_remover import (
    MAX_POINTS,
    MITIGATOR,
    quantiles,
)

# Two groups of equal size without ties: the k-th of one and the k-th of the other meet half-way.
X = np.array([[1.0], [2.0], [4.0], [13.0], [10.0], [20.0]])
GROUPS = np.array([0, 0, 0, 1, 1, 1])
Y = np.array([0, 1, 0, 1, 0, 1])
MIDDLE = np.array([[5.5], [7.5], [12.0], [7.5], [5.5], [12.0]])


def changed(rows, strength=1.0):
    return given(MITIGATOR, rows, {"strength": strength}).X


def scored(rows, new, cells):
    recorder = Recorder(Watched())
    model = MITIGATOR.train(rows, recorder, {"strength": 1.0}, 0)
    model.scores(np.asarray(new, dtype=np.float32), np.asarray(cells))
    return recorder.model.seen[-1]


def test_equal_ranks_of_two_groups_meet_half_way():
    np.testing.assert_allclose(changed(rows_of(X, Y, GROUPS)), MIDDLE, atol=1e-6)


def test_half_the_strength_goes_half_the_way():
    found = changed(rows_of(X, Y, GROUPS), 0.5)
    np.testing.assert_allclose(found, (X + MIDDLE) / 2, atol=1e-6)


def test_three_groups_meet_at_the_middle_one():
    three = np.concatenate([X[:3], X[:3] + 100, X[:3] + 1])
    found = changed(rows_of(three, np.arange(9) % 2, np.repeat([0, 1, 2], 3)))
    np.testing.assert_allclose(found, np.tile(X[:3] + 1, (3, 1)), atol=1e-5)


def test_groups_of_many_values_have_one_distribution_afterwards():
    rng = np.random.default_rng(0)
    groups = rng.integers(2, size=6000)
    x = np.where(groups == 0, rng.normal(size=6000), rng.exponential(3, size=6000) + 2)
    after = changed(rows_of(x[:, None], rng.integers(2, size=6000), groups))[:, 0]
    shares = np.linspace(0.02, 0.98, 49)
    first, second = (np.quantile(after[groups == g], shares) for g in (0, 1))
    np.testing.assert_allclose(first, second, atol=0.05)


def test_groups_of_the_same_distribution_are_left_alone():
    same = np.tile(X[:3], (2, 1))
    np.testing.assert_allclose(changed(rows_of(same, Y, GROUPS)), same)


def test_order_within_a_group_is_kept():
    rows = biased_rows()
    before, after = rows.X, changed(rows)
    for group in range(3):
        mine = (rows.cells == group) & ~np.isnan(before[:, 0])
        assert (np.diff(after[mine, 0][np.argsort(before[mine, 0])]) >= 0).all()


def test_missing_numbers_stay_missing():
    rows = biased_rows()
    after = changed(rows)
    assert np.array_equal(np.isnan(after[:, :2]), np.isnan(rows.X[:, :2]))


def shares(x, groups):
    return [np.bincount(np.nan_to_num(x[groups == g], nan=3).astype(int), minlength=4)
            / np.count_nonzero(groups == g) for g in (0, 1)]  # fmt: skip


@pytest.mark.parametrize("kind", ["number", "category"])
@pytest.mark.parametrize("strength", [0.5, 1.0])
def test_tied_values_and_categories_have_one_distribution_afterwards(kind, strength):
    rng = np.random.default_rng(0)
    groups = rng.integers(2, size=8000)
    x = np.where(rng.uniform(size=8000) < 0.8, groups, rng.integers(3, size=8000)).astype(float)
    x[rng.uniform(size=8000) < 0.3 * groups] = 0.0 if kind == "number" else np.nan
    table, categorical = np.column_stack([x, rng.normal(size=8000)]), (0,)[: kind == "category"]
    rows = rows_of(
        table, x == 1, groups, categorical=categorical, cardinalities=(3,) * len(categorical)
    )
    after = changed(rows, strength)[:, 0]
    if kind == "category":
        before = np.ptp(shares(x, groups), axis=0)
        np.testing.assert_allclose(
            np.ptp(shares(after, groups), axis=0), (1 - strength) * before, atol=0.02
        )
    elif strength == 1:
        steps = np.linspace(0.02, 0.98, 49)
        first, second = (np.quantile(after[groups == g], steps) for g in (0, 1))
        np.testing.assert_allclose(first, second, atol=0.07)


def test_a_category_that_gives_the_group_becomes_constant():
    table = np.hstack([X, GROUPS[:, None] + 1])
    after = changed(rows_of(table, Y, GROUPS, categorical=(1,), cardinalities=(3,)))
    assert len(np.unique(after[:, 1])) == 1


def test_a_category_unknown_from_training_stays():
    table = np.hstack([X, np.array([[0.0], [1], [1], [1], [0], [1]])])
    rows = rows_of(table, Y, GROUPS, categorical=(1,), cardinalities=(3,))
    assert scored(rows, [[3.0, 2.0]], [0])[0, 1] == 2.0


def test_new_rows_are_repaired_by_the_stored_tables_whatever_comes_with_them():
    rows = rows_of(X, Y, GROUPS)
    found = scored(rows, [[3.0], [10.0], [-5.0], [99.0]], [0, 1, 0, 1])
    np.testing.assert_allclose(found[:, 0], [9.75, 5.5, 5.5, 12.0], atol=1e-6)


@pytest.mark.parametrize("cell", [-1, 2, 99])
def test_new_rows_of_no_group_known_from_training_are_ranked_among_all(cell):
    rows = rows_of(X, Y, GROUPS, n_groups=3)
    # Of the six values 1, 2, 4, 10, 13, 20, the middle lies between 4 and 10.
    assert scored(rows, [[7.0]], [cell])[0, 0] == pytest.approx(7.5)


def test_a_group_without_any_value_in_a_column_is_ranked_among_all_and_moves_no_row():
    holes = np.concatenate([X, np.full((2, 1), np.nan)])
    rows = rows_of(holes, [*Y, 0, 1], [*GROUPS, 2, 2])
    np.testing.assert_allclose(changed(rows)[:6], MIDDLE, atol=1e-6)
    assert scored(rows, [[7.0]], [2])[0, 0] == pytest.approx(7.5)


def test_a_column_without_any_value_is_left_alone():
    table = np.hstack([X, np.full((6, 1), np.nan)])
    assert np.isnan(scored(rows_of(table, Y, GROUPS), [[3.0, np.nan]], [0])[0, 1])


def test_a_constant_of_each_group_becomes_one_constant():
    found = changed(rows_of(GROUPS[:, None] * 2.0, Y, GROUPS))
    assert (found == 1.0).all()


def test_weight_two_is_a_row_twice():
    once = quantiles(np.array([1.0, 2.0, 4.0]), np.array([1.0, 2.0, 1.0]))
    twice = quantiles(np.array([1.0, 2.0, 2.0, 4.0]), np.ones(4))
    assert np.array_equal(once.values, twice.values)
    np.testing.assert_allclose(once.ranks, twice.ranks)


def test_tables_have_at_most_a_thousand_points_and_keep_both_ends():
    x = np.random.default_rng(0).normal(size=5000)
    table = quantiles(x, np.ones(5000))
    assert len(table.values) <= MAX_POINTS == len(table.ranks) == 1000
    assert (table.values[0], table.values[-1]) == (x.min(), x.max())


def test_a_sparse_table_is_refused():
    with pytest.raises(InputError, match="disparate_impact_remover cannot work on a sparse X"):
        changed(rows_of(sparse.csr_matrix(X), Y, GROUPS))


def test_neither_the_order_of_rows_nor_the_names_of_groups_matter():
    same_rows_in_any_order(MITIGATOR, biased_rows(), {"strength": 0.7})
