import pickle

import numpy as np
import pytest
from scipy import sparse

from fairautoml.data.dataset import FeatureSchema
from fairautoml.learners import LEARNERS
from fairautoml.learners._base import STOPPING_SHARE, stopping_parts

NAMES = ("lightgbm", "xgboost")
FEATURE_SCHEMA = FeatureSchema(n_features=4)


@pytest.fixture
def noise():
    """Labels that are mostly chance: two hundred trees know them by heart."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(400, 4)).astype(np.float32)
    return X, (X[:, 0] + 3.0 * rng.normal(size=400) > 0).astype(np.int8)


def fitted(name, X, y, weight=None, feature_schema=FEATURE_SCHEMA, seed=0, **params):
    model = LEARNERS.get(name).build({"n_estimators": 200, **params}, feature_schema, seed)
    return model.fit(X, y, sample_weight=weight)


def n_rounds(model):
    model = model.model_
    return model.num_trees() if hasattr(model, "num_trees") else model.num_boosted_rounds()


@pytest.mark.parametrize("name", NAMES)
def test_training_on_noise_stops_early_and_keeps_the_best_round(name, noise):
    X, y = noise
    assert n_rounds(fitted(name, X, y)) == 200
    stopped = fitted(name, X, y, early_stopping_rounds=25)
    assert 1 <= n_rounds(stopped) < 100
    again = pickle.loads(pickle.dumps(stopped))
    assert np.array_equal(again.predict_proba(X), stopped.predict_proba(X))


@pytest.mark.parametrize("name", NAMES)
def test_zero_rounds_of_patience_change_nothing(name, noise):
    X, y = noise
    plain, zero = fitted(name, X, y), fitted(name, X, y, early_stopping_rounds=0)
    assert np.array_equal(plain.predict_proba(X), zero.predict_proba(X))


@pytest.mark.parametrize("name", NAMES)
def test_the_same_rows_stop_the_same_whether_they_are_shared_or_not(name, noise):
    X, y = noise
    weight = np.random.default_rng(1).uniform(0.1, 2.0, size=400)
    shared = X.copy()
    shared.flags.writeable = False
    for given in (None, weight, None):
        fresh = fitted(name, X, y, given, early_stopping_rounds=10).predict_proba(X)
        found = fitted(name, shared, y, given, early_stopping_rounds=10).predict_proba(X)
        assert np.array_equal(fresh, found)


@pytest.mark.parametrize("name", NAMES)
def test_early_stopping_works_on_a_sparse_table_and_on_ten_rows(name):
    X = sparse.random(10, 4, density=0.5, format="csr", dtype=np.float32, rng=0)
    y = np.array([0] * 9 + [1], dtype=np.int8)
    feature_schema = FeatureSchema(n_features=4, sparse=True)
    model = fitted(name, X, y, feature_schema=feature_schema, early_stopping_rounds=25)
    assert np.isfinite(model.predict_proba(X)).all()


def test_the_rows_to_stop_by_are_a_seeded_share_of_each_label():
    y = (np.arange(1000) % 4 == 0).astype(np.int8)
    learned, held = stopping_parts(y, 3)
    assert np.array_equal(np.sort(np.concatenate((learned, held))), np.arange(1000))
    assert len(held) == 1000 * STOPPING_SHARE
    assert y[held].mean() == 0.25
    assert np.array_equal(stopping_parts(y, 3)[1], held)
    assert not np.array_equal(stopping_parts(y, 4)[1], held)
