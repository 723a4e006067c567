import pickle

import numpy as np
import pytest
from scipy import sparse

from fairautoml.evaluation.fitting import LruCache, freeze, memory_of, writable


def bytes_of(n):
    return np.zeros(n, dtype=np.uint8)


def test_a_value_is_made_once():
    kept = LruCache(100)
    first = kept.get("a", lambda: bytes_of(40))
    assert kept.get("a", lambda: pytest.fail("made again")) is first


def test_the_least_recently_used_value_goes_first():
    kept = LruCache(100)
    made = []

    def get(key):
        return kept.get(key, lambda: made.append(key) or bytes_of(40))

    for key in ("a", "b", "a", "c", "a", "b"):
        get(key)
        assert kept.nbytes <= 100
    assert made == ["a", "b", "c", "b"]


def requested_in_turn(kept, keys, rounds):
    """Return how many values were made."""
    made = []
    for key in keys * rounds:
        kept.get(key, lambda key=key: made.append(key) or bytes_of(40))
        assert kept.nbytes <= kept.most_bytes
    return len(made)


@pytest.mark.parametrize(("n_keys", "each_round"), [(2, 0), (3, 1), (5, 3)])
def test_of_values_wanted_in_turn_that_do_not_fit_some_stay(n_keys, each_round):
    assert requested_in_turn(LruCache(100), list("abcde"[:n_keys]), 11) == n_keys + 10 * each_round


def test_values_that_are_no_longer_wanted_make_room():
    kept = LruCache(100)
    requested_in_turn(kept, list("ab"), 3)
    assert requested_in_turn(kept, list("cd"), 3) == 2
    # Back to what was wanted before, which is told from a scan when it comes for the second time.
    assert requested_in_turn(kept, list("ab"), 5) <= 4


def test_a_value_that_is_too_large_is_returned_and_drives_nothing_out():
    kept = LruCache(100)
    small = kept.get("small", lambda: bytes_of(40))
    assert kept.get("large", lambda: bytes_of(101)).nbytes == 101
    assert kept.nbytes == 40
    assert kept.get("small", lambda: pytest.fail("driven out")) is small


def test_nothing_that_is_kept_is_pickled():
    kept = LruCache(10**7)
    kept.get("a", lambda: bytes_of(10**6))
    packed = pickle.dumps(kept)
    assert len(packed) < 1000
    again = pickle.loads(packed)
    assert (again.most_bytes, again.nbytes) == (10**7, 0)


@pytest.mark.parametrize("dense", [True, False], ids=["dense", "sparse"])
def test_a_frozen_matrix_refuses_writing_and_its_writable_copy_does_not(dense):
    X = np.eye(3, dtype=np.float32)
    if not dense:
        X = sparse.csr_matrix(X)
    assert writable(X) is X
    freeze(X)
    with pytest.raises(ValueError, match="read-only"):
        X[0, 0] = 5.0
    copy = writable(X)
    copy[0, 0] = 5.0
    assert (copy[0, 0], X[0, 0]) == (5.0, 1.0)


def test_the_memory_of_a_sparse_matrix_is_that_of_its_three_parts():
    X = sparse.csr_matrix(np.eye(3, dtype=np.float32))
    assert memory_of(X) == X.data.nbytes + X.indices.nbytes + X.indptr.nbytes
    assert memory_of(np.eye(3, dtype=np.float32)) == 36
