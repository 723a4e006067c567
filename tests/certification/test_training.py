"""Rows of fit are recognized among the rows of a certificate, natural twins are not refused."""

import pickle

import numpy as np
import pytest
from scipy import sparse

from fairautoml.certification.rows import TrainingRows
from fairautoml.exceptions import DegradedWarning, InputError


def drawn(n_rows, seed, levels):
    """Rows of a population; with few levels many of them are equal."""
    rng = np.random.default_rng(seed)
    X = rng.integers(levels, size=(n_rows, 3)).astype(np.float32)
    X[rng.random(X.shape) < 0.05] = np.nan
    return X, rng.integers(2, size=n_rows)


def refuses(training, X, y):
    try:
        training.refuse(X, y)
    except InputError:
        return True
    return False


@pytest.mark.filterwarnings("ignore:.*cannot be recognized:UserWarning")
@pytest.mark.parametrize("levels", [4, 12, 1000])
def test_new_rows_are_never_refused_and_training_rows_always(levels):
    training = TrainingRows.of(*drawn(5000, 0, levels))
    assert not any(refuses(training, *drawn(n, 7 + n, levels)) for n in range(20, 2020, 20))
    X, y = drawn(5000, 0, levels)
    if training.twins < 0.9:
        assert refuses(training, X, y)
        assert refuses(training, X[:300], y[:300])


def test_rows_that_cannot_be_told_from_training_rows_are_warned_about():
    X, y = drawn(5000, 0, 2)
    training = TrainingRows.of(X, y)
    assert training.twins > 0.99
    with pytest.warns(DegradedWarning, match="cannot be recognized"):
        training.refuse(X, y)


def test_a_few_training_rows_among_many_new_ones_are_found():
    training = TrainingRows.of(*drawn(5000, 0, 1000))
    X, y = drawn(4000, 1, 1000)
    mixed, labels = X.copy(), y.copy()
    mixed[:40], labels[:40] = (part[:40] for part in drawn(5000, 0, 1000))
    assert refuses(training, mixed, labels)
    assert not refuses(training, X, y)


def test_a_row_with_another_label_or_feature_is_another_row():
    X, y = drawn(500, 0, 10_000)
    training = TrainingRows.of(X, y)
    assert not refuses(training, X, 1 - y)
    assert not refuses(training, X + 1, y)
    assert refuses(training, X[::-1], y[::-1])


def test_the_share_of_twins_is_that_of_the_training_rows():
    X, y = drawn(100, 0, 10_000)
    twice = TrainingRows.of(np.r_[X, X[:25]], np.r_[y, y[:25]])
    assert twice.twins == pytest.approx(50 / 125)


def test_the_keys_are_salted_and_take_eight_bytes_a_row():
    X, y = drawn(5000, 0, 10_000)
    one, other = TrainingRows.of(X, y), TrainingRows.of(X, y)
    assert not np.isin(one.keys, other.keys).any()
    assert one.keys.dtype == np.uint64
    assert len(pickle.dumps(one)) < 8 * len(y) + 1000


def test_sparse_rows_are_recognized_too():
    X = sparse.random(300, 20, density=0.3, format="csr", random_state=0, dtype=np.float32)
    y = np.arange(300) % 2
    training = TrainingRows.of(X, y)
    assert refuses(training, X, y)
    other = sparse.random(300, 20, density=0.3, format="csr", random_state=1, dtype=np.float32)
    assert not refuses(training, other, y)
