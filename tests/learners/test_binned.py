import gc

import numpy as np
import pytest
from scipy import sparse

from fairautoml.data.dataset import FeatureSchema
from fairautoml.learners import LEARNERS, lightgbm, xgboost
from fairautoml.learners._base import BYTES_PER_VALUE, Binned

FEATURE_SCHEMA = FeatureSchema(n_features=5, categorical=(0,), cardinalities=(8,))
PARAMS = {"n_estimators": 15}
LIBRARIES = {"lightgbm": lightgbm, "xgboost": xgboost}


@pytest.fixture(autouse=True)
def nothing_kept(monkeypatch):
    for library in LIBRARIES.values():
        monkeypatch.setattr(library, "_BINNED", Binned())


@pytest.fixture
def table():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(600, 5)).astype(np.float32)
    X[:, 0] = rng.integers(8, size=600)
    X[:30, 1] = np.nan
    y = (X[:, 0] % 2 + X[:, 2] + rng.normal(size=600) > 0.5).astype(np.int8)
    return X, y, rng.uniform(0.1, 3.0, size=600)


def shared(X):
    copy = X.copy()
    (copy.data if sparse.issparse(copy) else copy).flags.writeable = False
    return copy


def scores(name, X, y, weight=None, feature_schema=FEATURE_SCHEMA, seed=0, **params):
    model = LEARNERS.get(name).build({**PARAMS, **params}, feature_schema, seed)
    return model.fit(X, y, sample_weight=weight).predict_proba(X)[:, 1]


@pytest.mark.parametrize("name", LIBRARIES)
def test_an_unweighted_model_after_a_weighted_one_equals_a_fresh_one(name, table):
    X, y, weight = table
    rows = shared(X)
    fresh, weighted = scores(name, X, y), scores(name, X, y, weight)
    assert not np.array_equal(fresh, weighted)
    for given, expected in ((None, fresh), (weight, weighted), (None, fresh), (weight, weighted)):
        assert np.array_equal(scores(name, rows, y, given), expected)
    assert len(LIBRARIES[name]._BINNED) == 1


@pytest.mark.parametrize("ones", [None, np.ones(600)], ids=["none", "ones"])
def test_weights_of_one_are_no_weights_for_lightgbm_even_after_others(ones, table):
    X, y, weight = table
    rows = shared(X)
    scores("lightgbm", rows, y, weight)
    assert np.array_equal(scores("lightgbm", rows, y, ones), scores("lightgbm", X, y))


@pytest.mark.parametrize("name", LIBRARIES)
def test_other_labels_on_the_same_rows_give_the_model_of_those_labels(name, table):
    X, y, _ = table
    rows = shared(X)
    scores(name, rows, y)
    assert np.array_equal(scores(name, rows, 1 - y), scores(name, X, 1 - y))
    assert np.array_equal(scores(name, rows, y), scores(name, X, y))


CHANGES = [
    ("lightgbm", {"num_leaves": 4, "min_data_in_leaf": 2}, 1),
    ("lightgbm", {"min_data_in_leaf": 150}, 1),
    ("lightgbm", {"feature_fraction": 0.5, "extra_trees": True, "seed": 4}, 1),
    ("lightgbm", {"data_sample_strategy": "goss", "top_rate": 0.3, "other_rate": 0.2}, 1),
    ("lightgbm", {"cat_smooth": 50.0, "min_data_per_group": 10}, 1),
    ("lightgbm", {"early_stopping_rounds": 5}, 1),
    ("lightgbm", {"max_bin": 15}, 2),
    ("lightgbm", {"linear_tree": True}, 2),
    ("xgboost", {"max_depth": 2, "lambda": 10.0, "subsample": 0.5, "seed": 4}, 1),
    ("xgboost", {"max_bin": 15}, 2),
]


@pytest.mark.parametrize(("name", "change", "n_kept"), CHANGES)
def test_a_change_of_parameters_on_known_rows_gives_what_fresh_rows_give(
    name, change, n_kept, table
):
    X, y, _ = table
    rows = shared(X)
    before = scores(name, rows, y)
    found = scores(name, rows, y, **change)
    assert np.array_equal(found, scores(name, X, y, **change))
    assert not np.array_equal(found, before)
    assert len(LIBRARIES[name]._BINNED) == n_kept


@pytest.mark.parametrize("name", LIBRARIES)
def test_rows_of_a_sparse_table_are_kept_too(name, table):
    _, y, weight = table
    X = sparse.random(600, 5, density=0.4, format="csr", dtype=np.float32, rng=1)
    feature_schema = FeatureSchema(n_features=5, sparse=True)
    rows = shared(X)
    for given in (None, weight, None):
        found = scores(name, rows, y, given, feature_schema=feature_schema)
        assert np.array_equal(found, scores(name, X, y, given, feature_schema=feature_schema))
    assert len(LIBRARIES[name]._BINNED) == 1


@pytest.mark.parametrize("name", LIBRARIES)
def test_writable_rows_are_never_kept(name, table):
    X, y, _ = table
    before = scores(name, X, y)
    X[:, 2] *= -1.0
    assert not np.array_equal(scores(name, X, y), before)
    assert len(LIBRARIES[name]._BINNED) == 0


@pytest.mark.parametrize("name", LIBRARIES)
def test_freed_rows_are_forgotten(name, table):
    X, y, _ = table
    rows = shared(X)
    scores(name, rows, y)
    scores(name, rows, y, max_bin=15)
    assert len(LIBRARIES[name]._BINNED) == 2
    del rows
    gc.collect()
    assert len(LIBRARIES[name]._BINNED) == 0


def test_the_least_recently_used_rows_go_when_there_are_too_many():
    tables = [shared(np.zeros((10, 1), dtype=np.float32)) for _ in range(3)]
    binned = Binned(most_bytes=2 * BYTES_PER_VALUE * 10)
    made = []

    def get(at):
        return binned.get(tables[at], "bins", lambda: made.append(at) or at)

    assert [get(at) for at in (0, 1, 0, 2, 0, 1)] == [0, 1, 0, 2, 0, 1]
    assert made == [0, 1, 2, 1]
    assert len(binned) == 2


def test_rows_larger_than_the_limit_are_not_kept():
    X = shared(np.zeros((10, 1), dtype=np.float32))
    binned = Binned(most_bytes=BYTES_PER_VALUE * 10 - 1)
    assert binned.get(X, "bins", lambda: "made") == "made"
    assert len(binned) == 0
