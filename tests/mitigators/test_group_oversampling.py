from dataclasses import replace

import numpy as np
import pytest
from pre_cases import (
    Recorder,
    biased_rows,
    content,
    given,
    in_order,
    rows_of,
    same_rows_in_any_order,
)
from scipy import sparse

from fairautoml.exceptions import DegradedWarning, InputError
from fairautoml.mitigators.preprocessing.group_oversampling import (
    MITIGATOR,
    interpolated,
    rows_to_add,
)

# Known answer: cell_targets.
# Rows of women and men by label, and the rows that are missing under each strategy.
COUNTS = np.array([[40, 10], [60, 30]])
MISSING = {
    "max_cell": [[20, 50], [0, 30]],
    "balance_groups_within_label": [[20, 20], [0, 0]],
    "balance_labels_within_group": [[0, 30], [0, 30]],
}
GROUPS = np.repeat([0, 0, 1, 1], COUNTS.ravel())
Y = np.repeat([0, 1, 0, 1], COUNTS.ravel())
BOTH = pytest.mark.parametrize("new_rows", ["copies", "between"])


def requested(strategy="max_cell", new_rows="copies", strength=1.0):
    return {"strategy": strategy, "new_rows": new_rows, "strength": strength}


def individuals(categorical=True):
    rng = np.random.default_rng(0)
    X = np.column_stack(
        (rng.normal(size=140) + 5 * GROUPS, rng.poisson(4, size=140), rng.integers(3, size=140))
    ).astype(float)
    X[::9, 0] = np.nan
    X[::11, 2] = np.nan
    shape = ((2,), (5,)) if categorical else ((), ())
    return rows_of(X, Y, GROUPS, None, *shape)


def counts_of(rows):
    return np.bincount(rows.cells * 2 + rows.y, minlength=4).reshape(2, 2)


@pytest.mark.parametrize("strategy", MISSING)
def test_the_missing_rows_are_the_known_ones(strategy):
    assert rows_to_add(COUNTS, strategy).tolist() == MISSING[strategy]


@BOTH
@pytest.mark.parametrize("strategy", MISSING)
def test_every_cell_hits_its_target(strategy, new_rows):
    after = given(MITIGATOR, individuals(), requested(strategy, new_rows))
    assert (counts_of(after) - COUNTS).tolist() == MISSING[strategy]


def test_strength_adds_its_share_of_the_missing_rows():
    after = given(MITIGATOR, individuals(), requested(strength=0.5))
    assert (counts_of(after) - COUNTS).tolist() == [[10, 25], [0, 15]]


def test_a_cell_gets_at_most_five_new_rows_per_row():
    groups, y = np.repeat([0, 0, 1, 1], [60, 2, 30, 30]), np.repeat([0, 1, 0, 1], [60, 2, 30, 30])
    after = given(MITIGATOR, rows_of(np.arange(122.0)[:, None], y, groups), requested())
    assert counts_of(after).tolist() == [[60, 12], [60, 60]]


@BOTH
def test_the_rows_themselves_stay_in_place(new_rows):
    rows = individuals()
    after = given(MITIGATOR, rows, requested(new_rows=new_rows))
    assert np.array_equal(after.X[:140], rows.X, equal_nan=True)
    assert np.array_equal(after.weight[:140], rows.weight)


def test_copies_are_spread_evenly_over_the_cell():
    rows = rows_of(np.arange(140.0)[:, None], Y, GROUPS)
    after = given(MITIGATOR, rows, requested())
    _, times = np.unique(after.X[(after.cells == 0) & (after.y == 1)], return_counts=True)
    assert times.tolist() == [6] * 10


def test_a_copy_has_weight_and_cell_of_its_source():
    weight = np.random.default_rng(1).uniform(0.5, 2, size=140)
    rows = rows_of(np.arange(140.0)[:, None], Y, GROUPS, weight)
    after = given(MITIGATOR, rows, requested())
    source = after.X[:, 0].astype(int)
    assert np.array_equal(after.weight, weight[source])
    assert np.array_equal(after.cells, GROUPS[source])
    assert np.array_equal(after.y, Y[source])


# known answer: interpolation
@pytest.mark.parametrize(("way", "expected"), [(0.0, [1, 10]), (0.25, [1.5, 9]), (1.0, [3, 6])])
def test_a_number_lies_its_share_of_the_way_to_the_neighbour(way, expected):
    x, neighbour = np.array([[1.0, 10.0]]), np.array([[3.0, 6.0]])
    found = interpolated(x, neighbour, np.array([[way]]), np.zeros(2, dtype=bool))
    np.testing.assert_allclose(found[0], expected, atol=1e-12)


def test_whole_numbers_stay_whole_and_missing_ones_are_the_rows_own():
    x, neighbour = np.array([[1.0, 2.0, np.nan]]), np.array([[4.0, np.nan, 3.0]])
    found = interpolated(x, neighbour, np.array([[0.4]]), np.ones(3, dtype=bool))
    np.testing.assert_array_equal(found[0], [2.0, 2.0, np.nan])


def test_new_rows_lie_within_their_cell_and_bring_no_new_category():
    rows = individuals()
    after = given(MITIGATOR, rows, requested(new_rows="between"))
    for group, label in ((0, 0), (0, 1), (1, 1)):
        old = rows.X[(rows.cells == group) & (rows.y == label)]
        new = after.X[140:][(after.cells[140:] == group) & (after.y[140:] == label)]
        assert np.nanmin(new[:, 0]) >= np.nanmin(old[:, 0])
        assert np.nanmax(new[:, 0]) <= np.nanmax(old[:, 0])
        assert np.array_equal(new[:, 1], np.rint(new[:, 1]))
        assert set(np.nan_to_num(new[:, 2], nan=-1)) <= set(np.nan_to_num(old[:, 2], nan=-1))


def test_rows_between_are_mostly_new():
    rows = individuals(categorical=False)
    after = given(MITIGATOR, rows, requested(new_rows="between"))
    fresh = ~np.isin(after.X[140:, 0], rows.X[:, 0]) & ~np.isnan(after.X[140:, 0])
    assert fresh.mean() > 0.7


def test_neighbours_are_near():
    x = np.r_[np.arange(6) / 10, 100 + np.arange(6) / 10, np.full(60, 50.0), np.zeros(24)]
    y, groups = np.repeat([1, 0, 0, 1], [12, 60, 12, 12]), np.repeat([0, 1], [72, 24])
    after = given(MITIGATOR, rows_of(x[:, None], y, groups), requested(new_rows="between"))
    new = after.X[96:][(after.cells[96:] == 0) & (after.y[96:] == 1), 0]
    assert len(new) == 48
    assert ((new <= 0.51) | (new >= 99.9)).all()


def test_a_neighbour_is_of_the_same_category_where_there_are_enough():
    # A category apart is a standard deviation; the numbers of both are next to each other.
    few = np.column_stack((np.tile([0.0, 0.01], 10), np.tile([0.0, 1.0], 10)))
    others = np.column_stack((np.tile([-1.0, 1.0], 40), np.zeros(80)))
    y, groups = np.repeat([1, 0, 1, 0], [20, 60, 10, 10]), np.repeat([0, 1], [80, 20])
    rows = rows_of(np.vstack((few, others)), y, groups, None, (1,), (2,))
    after = given(MITIGATOR, rows, requested("balance_labels_within_group", "between"))
    new = after.X[100:]
    assert new.shape == (40, 2)
    assert np.array_equal(new[:, 0] > 0.005, new[:, 1] == 1)


def test_a_single_row_is_copied_with_a_warning():
    X, y, groups = np.arange(8.0)[:, None], [0, 0, 0, 1, 0, 1, 1, 1], [0, 0, 0, 0, 1, 1, 1, 1]
    with pytest.warns(DegradedWarning, match="a single row; it is copied 2 times"):
        after = given(
            MITIGATOR, rows_of(X, y, groups), requested("balance_labels_within_group", "between")
        )
    assert np.count_nonzero(after.X == 3.0) == 3


def test_rows_of_unknown_group_and_of_weight_zero_are_not_copied():
    X = np.arange(8.0)[:, None]
    rows = rows_of(
        X, [0, 0, 1, 1, 0, 1, 1, 1], [0, 0, 0, 0, 1, 1, -1, 1], [1, 1, 1, 0, 1, 1, 1, 1]
    )
    after = given(MITIGATOR, rows, requested())
    assert np.count_nonzero(after.X == 6.0) == np.count_nonzero(after.X == 3.0) == 1
    assert np.count_nonzero(after.X == 2.0) == 2


def test_a_row_without_weight_does_not_change_which_rows_are_near():
    rows = individuals()
    X, weight = rows.X.copy(), rows.weight.copy()
    X[5], weight[5] = (1000.5, 1000.5, 0.0), 0.0
    without = in_order(rows, np.delete(np.arange(140), 5))
    found, expected = (
        given(MITIGATOR, one, requested(new_rows="between")).X[len(one.y) :]
        for one in (replace(rows, X=X, weight=weight), without)
    )
    np.testing.assert_array_equal(found, expected)


def test_another_seed_gives_other_rows():
    first, other = (
        given(MITIGATOR, individuals(), requested(new_rows="between"), seed=s) for s in (0, 1)
    )
    assert not np.array_equal(content(first), content(other))


def test_balanced_cells_are_left_alone():
    rows = rows_of(np.zeros((4, 1)), [0, 1, 0, 1], [0, 0, 1, 1])
    recorder = Recorder()
    MITIGATOR.train(rows, recorder, requested(), 0)
    assert recorder.last is rows


def test_a_sparse_table_is_copied():
    rows = rows_of(sparse.csr_matrix(np.arange(1.0, 141.0, dtype=np.float32)[:, None]), Y, GROUPS)
    after = given(MITIGATOR, rows, requested())
    assert sparse.isspmatrix_csr(after.X)
    assert after.X.shape == (240, 1)


def test_a_sparse_table_has_nothing_between():
    rows = rows_of(sparse.csr_matrix(np.ones((140, 1), dtype=np.float32)), Y, GROUPS)
    with pytest.raises(InputError, match="new_rows='between' cannot work on a sparse X"):
        given(MITIGATOR, rows, requested(new_rows="between"))


@BOTH
def test_neither_the_order_of_rows_nor_the_names_of_groups_matter(new_rows):
    same_rows_in_any_order(MITIGATOR, biased_rows(), requested(new_rows=new_rows))
