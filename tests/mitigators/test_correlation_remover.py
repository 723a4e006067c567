import numpy as np
import pytest
from fairlearn.preprocessing import CorrelationRemover
from pre_cases import Recorder, Watched, biased_rows, given, rows_of, same_rows_in_any_order
from scipy import sparse

from fairautoml.exceptions import InputError
from fairautoml.mitigators.preprocessing.correlation_remover import MITIGATOR

X = np.array([[1.0, 10.0], [3.0, 20.0], [5.0, 30.0], [9.0, 0.0]])
GROUPS = np.array([0, 0, 1, 1])
Y = np.array([0, 1, 0, 1])


def changed(rows, strength=1.0):
    return given(MITIGATOR, rows, {"strength": strength}).X


def trained(rows, strength=1.0):
    recorder = Recorder(Watched())
    return MITIGATOR.train(rows, recorder, {"strength": strength}, 0), recorder.model


@pytest.mark.parametrize("strength", [0.3, 1.0])
@pytest.mark.parametrize("n_groups", [2, 3])
def test_it_equals_fairlearn_on_full_numeric_tables(strength, n_groups):
    rng = np.random.default_rng(n_groups)
    groups = rng.integers(n_groups, size=200)
    table = rng.normal(size=(200, 4)) + groups[:, None] * [1.0, -2.0, 0.0, 5.0]
    indicators = np.eye(n_groups)[groups][:, 1:]
    oracle = CorrelationRemover(sensitive_feature_ids=range(n_groups - 1), alpha=strength)
    expected = oracle.fit_transform(np.hstack([indicators, table]))
    found = changed(rows_of(table, rng.integers(2, size=200), groups), strength)
    np.testing.assert_allclose(found, expected, atol=1e-5)


def test_all_groups_have_the_same_weighted_mean_afterwards():
    rows = biased_rows()
    after = changed(rows)
    for column in (0, 1):
        found = ~np.isnan(after[:, column])
        weight, x, cells = rows.weight[found], after[found, column], rows.cells[found]
        means = np.bincount(cells, weight * x) / np.bincount(cells, weight)
        np.testing.assert_allclose(means, np.average(x, weights=weight), rtol=1e-5)


def test_half_the_strength_shifts_half_as_far():
    np.testing.assert_allclose(
        X - changed(rows_of(X, Y, GROUPS), 0.5),
        (X - changed(rows_of(X, Y, GROUPS))) / 2,
        atol=1e-6,
    )


def test_missing_values_stay_missing_and_codes_stay():
    rows = biased_rows()
    after = changed(rows)
    assert np.array_equal(np.isnan(after), np.isnan(rows.X))
    assert np.array_equal(after[:, 2], rows.X[:, 2], equal_nan=True)


def test_new_rows_are_shifted_by_what_was_learned():
    model, watched = trained(rows_of(X, Y, GROUPS))
    model.scores(np.array([[7.0, 7.0]], dtype=np.float32), np.array([1]))
    # Means 2 and 15 in group 0, 7 and 15 in group 1, 4.5 and 15 over all.
    np.testing.assert_allclose(watched.seen[-1], [[4.5, 7.0]])


@pytest.mark.parametrize("cell", [-1, 2, 99])
def test_new_rows_of_no_group_known_from_training_are_not_shifted(cell):
    model, watched = trained(rows_of(X, Y, GROUPS, n_groups=3))
    new = np.array([[7.0, 7.0]], dtype=np.float32)
    model.scores(new, np.array([cell]))
    assert np.array_equal(watched.seen[-1], new)


def test_a_group_without_any_value_in_a_column_is_not_shifted_there():
    holes = X.copy()
    holes[:2, 0] = np.nan
    model, watched = trained(rows_of(holes, Y, GROUPS))
    model.scores(np.array([[7.0, 7.0]], dtype=np.float32), np.array([0]))
    assert watched.seen[-1][0, 0] == 7.0


def test_a_sparse_table_is_refused():
    with pytest.raises(InputError, match="correlation_remover cannot work on a sparse X"):
        changed(rows_of(sparse.csr_matrix(X), Y, GROUPS))


def test_neither_the_order_of_rows_nor_the_names_of_groups_matter():
    same_rows_in_any_order(MITIGATOR, biased_rows(), {"strength": 0.7})
