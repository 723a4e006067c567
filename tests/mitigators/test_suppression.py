import numpy as np
import pytest
from pre_cases import Recorder, Watched, biased_rows, given, rows_of, same_rows_in_any_order
from scipy import sparse

from fairautoml.exceptions import InputError
from fairautoml.mitigators._training import associations, cramers_v, row_groups
from fairautoml.mitigators.preprocessing.suppression import MITIGATOR

N_ROWS = 600


def individuals(seed=0):
    """The group itself, a proxy that is right in 85 of 100 rows, a number of two shifts, noise."""
    rng = np.random.default_rng(seed)
    groups = rng.integers(2, size=N_ROWS)
    proxy = np.where(rng.uniform(size=N_ROWS) < 0.85, groups, 1 - groups)
    X = np.column_stack(
        (
            groups,
            proxy,
            rng.normal(size=N_ROWS) + 0.8 * groups,
            rng.normal(size=N_ROWS),
            np.ones(N_ROWS),
            rng.integers(5, size=N_ROWS),
        )
    )
    return rows_of(X, rng.integers(2, size=N_ROWS), groups, None, (0, 1, 5), (2, 2, 5))


def related(rows):
    return associations(rows, row_groups(rows, "suppression"))


def left(rows, strength):
    """Positions of the columns that are left, told by their first values."""
    after = given(MITIGATOR, rows, {"strength": strength})
    return [
        at
        for at in range(rows.X.shape[1])
        if any(np.array_equal(rows.X[:, at], column, equal_nan=True) for column in after.X.T)
    ]


def test_two_equal_columns_have_association_one_and_independent_ones_zero():
    assert cramers_v(np.array([[30.0, 0.0], [0.0, 20.0]]), 50) == pytest.approx(1.0)
    assert cramers_v(np.array([[10.0, 20.0], [20.0, 40.0]]), 90) == 0.0
    assert cramers_v(np.array([[10.0, 20.0]]), 30) == 0.0
    assert cramers_v(np.array([[30.0, 0.0, 0.0], [0.0, 20.0, 0.0]]), 50) == pytest.approx(1.0)


def test_the_bias_corrected_association_of_a_two_by_two_table_is_the_one_worked_out_by_hand():
    # phi2 = 0.36; minus 1/99: 0.349899; r = k = 2 - 1/99; sqrt(0.349899 / (1 - 1/99)).
    table = np.array([[40.0, 10.0], [10.0, 40.0]])
    assert cramers_v(table, 100) == pytest.approx(np.sqrt((0.36 - 1 / 99) / (1 - 1 / 99)))


def test_features_are_ranked_by_what_they_tell():
    own, proxy, shifted, noise, constant, code = related(individuals())
    assert own == pytest.approx(1.0)
    assert own > proxy > shifted > max(noise, code)
    assert constant == 0.0


@pytest.mark.parametrize(
    ("strength", "expected"),
    [(1e-6, [1, 2, 3, 4, 5]), (0.5, [2, 3, 4, 5]), (0.8, [3, 4, 5])],
)
def test_the_stronger_the_more_is_left_out(strength, expected):
    assert left(individuals(), strength) == expected


def test_categories_keep_their_place_in_the_layout():
    feature_schema = given(MITIGATOR, individuals(), {"strength": 0.5}).feature_schema
    assert feature_schema.n_features == 4
    assert feature_schema.categorical == (3,)
    assert feature_schema.cardinalities == (5,)


def test_new_rows_are_scored_without_what_was_left_out_whatever_their_group():
    rows, recorder = individuals(), Recorder(Watched())
    model = MITIGATOR.train(rows, recorder, {"strength": 0.5}, 0)
    model.scores(rows.X[:3], np.full(3, -1))
    assert np.array_equal(recorder.model.seen[-1], rows.X[:3, 2:])


def test_that_a_value_is_missing_may_tell_the_group():
    rng = np.random.default_rng(0)
    groups = rng.integers(2, size=N_ROWS)
    X = np.column_stack((rng.normal(size=N_ROWS), rng.normal(size=N_ROWS)))
    X[groups == 1, 0] = np.nan
    found = related(rows_of(X, rng.integers(2, size=N_ROWS), groups))
    assert found[0] > 0.95
    assert found[1] < 0.2


def test_a_number_that_reveals_the_group_by_its_spread_is_found():
    rng = np.random.default_rng(0)
    groups = rng.integers(2, size=2000)
    x = rng.normal(size=2000) * np.where(groups == 0, 0.2, 3.0)
    assert related(rows_of(x[:, None], rng.integers(2, size=2000), groups))[0] > 0.6


def test_rows_of_unknown_group_and_of_weight_zero_have_no_say():
    rows = individuals()
    strangers = rows_of(
        np.vstack((rows.X, np.full((400, 6), 1.0))),
        np.r_[rows.y, np.zeros(400)],
        np.r_[rows.cells, np.full(200, -1), np.zeros(200)],
        np.r_[np.ones(N_ROWS + 200), np.zeros(200)],
        (0, 1, 5),
        (2, 2, 5),
    )
    np.testing.assert_allclose(related(strangers), related(rows))


def test_nothing_left_is_an_error_that_says_how_far_one_may_go():
    groups = np.arange(40) % 2
    rows = rows_of(groups[:, None], np.arange(40) // 2 % 2, groups)
    with pytest.raises(InputError, match=r"none of the 1 features is left; .* of 1\.000"):
        given(MITIGATOR, rows, {"strength": 0.5})


def test_a_sparse_table_loses_the_same_columns():
    rows = individuals()
    dense = rows_of(rows.X, rows.y, rows.cells)
    thin = rows_of(sparse.csr_matrix(rows.X), rows.y, rows.cells)
    expected = given(MITIGATOR, dense, {"strength": 0.5}).X
    found = given(MITIGATOR, thin, {"strength": 0.5}).X
    assert sparse.isspmatrix_csr(found)
    assert np.array_equal(found.toarray(), expected)


def test_neither_the_order_of_rows_nor_the_names_of_groups_matter():
    same_rows_in_any_order(MITIGATOR, biased_rows(), {"strength": 0.7})
