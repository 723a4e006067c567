import numpy as np
import pytest
from pre_cases import biased_rows, given, label_rates, rows_of, same_rows_in_any_order
from scipy import sparse

from fairautoml.mitigators.preprocessing.reweighing import MITIGATOR, independence_factors

# Kamiran and Calders, KAIS 2012: ten applicants, table 1 and the weights of section 5.1.
MALE, FEMALE = 0, 1
SEX = np.repeat([MALE, FEMALE], 5)
HIRED = np.array([1, 1, 1, 1, 0, 0, 0, 0, 1, 1])


def weights(rows, strength=1.0):
    return given(MITIGATOR, rows, {"strength": strength}).weight


def test_the_weights_of_the_published_example_are_found():
    rows = rows_of(np.zeros((10, 1)), HIRED, SEX)
    expected = {(MALE, 1): 0.75, (MALE, 0): 2.0, (FEMALE, 1): 1.5, (FEMALE, 0): 2 / 3}
    by_row = [expected[cell] for cell in zip(SEX, HIRED, strict=True)]
    np.testing.assert_allclose(weights(rows), by_row, rtol=1e-12)


def test_weighted_label_rates_are_equal_in_all_groups():
    rows = biased_rows()
    after = given(MITIGATOR, rows, {"strength": 1.0})
    overall = (rows.weight @ rows.y) / rows.weight.sum()
    np.testing.assert_allclose(label_rates(after, 3), overall, rtol=1e-12)


@pytest.mark.parametrize("strength", [0.25, 0.5, 1.0])
def test_groups_and_labels_keep_their_weight_at_every_strength(strength):
    rows = biased_rows()
    after = weights(rows, strength)
    for part in (rows.cells, rows.y):
        np.testing.assert_allclose(np.bincount(part, after), np.bincount(part, rows.weight))


def test_strength_closes_its_share_of_the_gap_in_label_rates():
    rows = biased_rows()
    before = label_rates(rows, 3)
    half = label_rates(given(MITIGATOR, rows, {"strength": 0.5}), 3)
    overall = (rows.weight @ rows.y) / rows.weight.sum()
    np.testing.assert_allclose(half, (before + overall) / 2)


def test_weight_two_is_a_row_twice():
    rows = rows_of(np.zeros((5, 1)), [0, 1, 1, 0, 1], [0, 0, 0, 1, 1], weight=[1, 2, 1, 1, 1])
    twice = rows_of(np.zeros((6, 1)), [0, 1, 1, 1, 0, 1], [0, 0, 0, 0, 1, 1])
    merged = weights(twice)
    merged[1] += merged[2]
    np.testing.assert_allclose(weights(rows), np.delete(merged, 2))


def test_rows_of_unknown_group_keep_their_weight():
    rows = rows_of(np.zeros((7, 1)), [0, 1, 1, 0, 0, 1, 1], [0, 0, 0, 1, 1, 1, -1])
    assert weights(rows)[-1] == 1.0


def test_independent_labels_are_left_alone():
    rows = rows_of(np.zeros((6, 1)), [0, 1, 0, 1, 0, 1], [0, 0, 1, 1, 2, 2])
    np.testing.assert_allclose(weights(rows), 1.0)


def test_an_empty_cell_has_factor_one():
    assert independence_factors(np.array([[2.0, 2.0], [0.0, 0.0]])).tolist() == [[1, 1], [1, 1]]


def test_a_sparse_table_will_do():
    X = sparse.csr_matrix(np.eye(10, dtype=np.float32))
    assert given(MITIGATOR, rows_of(X, HIRED, SEX), {"strength": 1.0}).X is not None
    assert weights(rows_of(X, HIRED, SEX))[0] == pytest.approx(0.75)


def test_neither_the_order_of_rows_nor_the_names_of_groups_matter():
    same_rows_in_any_order(MITIGATOR, biased_rows(), {"strength": 0.7})
