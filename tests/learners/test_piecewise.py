import numpy as np
import pytest

from fairautoml.learners.logistic_regression import PiecewiseLinearEncoder


def test_components_say_how_far_a_number_has_come_through_each_bin():
    X = np.arange(5, dtype=np.float64)[:, None]
    encoder = PiecewiseLinearEncoder(n_bins=2).fit(X)
    found = encoder.transform(np.array([[0.0], [1.0], [2.0], [3.0], [9.0], [-9.0]]))
    assert found.tolist() == [[0, 0], [0.5, 0], [1, 0], [1, 0.5], [1, 1], [0, 0]]


def test_a_constant_column_gives_no_component():
    X = np.column_stack((np.ones(8), np.arange(8.0)))
    assert PiecewiseLinearEncoder(n_bins=4).fit(X).transform(X).shape == (8, 4)


def test_a_column_that_is_nearly_always_zero_keeps_edges_in_its_tail():
    X = np.concatenate((np.zeros(990), np.arange(1.0, 11.0)))[:, None]
    tail = PiecewiseLinearEncoder(n_bins=4).fit(X).transform(np.array([[2.0], [4.0], [7.0]]))
    assert len(np.unique(tail.round(6), axis=0)) == 3
    assert tail.shape[1] >= 4


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_the_sum_rises_with_the_number(dtype):
    X = np.random.default_rng(0).exponential(size=(200, 1)).astype(dtype)
    total = PiecewiseLinearEncoder().fit_transform(X).sum(axis=1)
    assert (np.diff(total[np.argsort(X[:, 0])]) >= 0).all()
