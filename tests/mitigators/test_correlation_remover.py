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
    # Standardised columns; none is so far from its mean that it is clipped.
    table = ((table - table.mean(axis=0)) / table.std(axis=0)).astype(np.float32)
    expected = oracle.fit_transform(np.hstack([indicators, table]))
    found = changed(rows_of(table, rng.integers(2, size=200), groups), strength)
    np.testing.assert_allclose(found, expected, atol=1e-5)


def test_all_groups_have_the_same_weighted_mean_afterwards():
    rows = biased_rows()
    after = changed(rows)
    # Two numbers, a flag of missing numbers, four categories and their missing values.
    assert after.shape == (240, 8)
    means = [np.average(after[mine], axis=0, weights=rows.weight[mine])
             for mine in (rows.cells == group for group in range(3))]  # fmt: skip
    np.testing.assert_allclose(np.ptp(means, axis=0), 0, atol=1e-6)
    assert not np.isnan(after).any()


def test_half_the_strength_shifts_half_as_far():
    standard = (X - X.mean(axis=0)) / X.std(axis=0)
    np.testing.assert_allclose(
        standard - changed(rows_of(X, Y, GROUPS), 0.5),
        (standard - changed(rows_of(X, Y, GROUPS))) / 2,
        atol=1e-6,
    )


def test_a_column_that_gives_the_group_becomes_constant():
    table = np.column_stack([X, GROUPS + 1])
    after = changed(rows_of(table, Y, GROUPS, categorical=(2,), cardinalities=(3,)))
    assert after.shape == (4, 4)
    np.testing.assert_array_equal(after[:, 2:], np.full((4, 2), 0.5))


def test_only_a_linear_model_may_be_trained_on_the_result():
    schema = given(MITIGATOR, rows_of(X, Y, GROUPS), {"strength": 1.0}).feature_schema
    assert (schema.linear_only, schema.n_features, schema.categorical) == (True, 2, ())


def test_new_rows_are_shifted_by_what_was_learned():
    model, watched = trained(rows_of(X, Y, GROUPS))
    model.scores(np.array([[7.0, 7.0]], dtype=np.float32), np.array([1]))
    # Means 2 and 15 in group 0, 7 and 15 in group 1, 4.5 and 15 over all.
    expected = (np.array([[4.5, 7.0]]) - X.mean(axis=0)) / X.std(axis=0)
    np.testing.assert_allclose(watched.seen[-1], expected, rtol=1e-6)


@pytest.mark.parametrize("cell", [-1, 2, 99])
def test_new_rows_of_no_group_known_from_training_are_not_shifted(cell):
    model, watched = trained(rows_of(X, Y, GROUPS, n_groups=3))
    new = np.array([[7.0, 7.0]], dtype=np.float32)
    model.scores(new, np.array([cell]))
    expected = (new - X.mean(axis=0)) / X.std(axis=0)
    np.testing.assert_allclose(watched.seen[-1], expected, rtol=1e-6)


def test_a_sparse_table_is_refused():
    with pytest.raises(InputError, match="correlation_remover cannot work on a sparse X"):
        changed(rows_of(sparse.csr_matrix(X), Y, GROUPS))


def test_neither_the_order_of_rows_nor_the_names_of_groups_matter():
    same_rows_in_any_order(MITIGATOR, biased_rows(), {"strength": 0.7})
