import importlib

import numpy as np
import pytest
from scipy import sparse
from sklearn.base import clone

from fairautoml.data.dataset import FeatureSchema
from fairautoml.exceptions import MissingExtraError
from fairautoml.learners import LEARNERS
from fairautoml.search.space_files import load_space

NAMES = (
    "catboost",
    "explainable_boosting",
    "extra_trees",
    "hist_gradient_boosting",
    "lightgbm",
    "logistic_regression",
    "mixture_of_experts",
    "random_forest",
    "xgboost",
)
SPARSE = [name for name in NAMES if LEARNERS.get(name).handles_sparse]
LIBRARY = {"catboost": "catboost", "explainable_boosting": "interpret.glassbox"}


def build(name, feature_schema, params=None, seed=0):
    if name in LIBRARY:
        pytest.importorskip(LIBRARY[name])
    if params is None:
        params = load_space("learners", name).defaults()
    return LEARNERS.get(name).build(params, feature_schema, seed)


@pytest.mark.parametrize("name", NAMES)
def test_codes_keep_their_meaning_when_new_rows_hold_few_of_them(name):
    # Libraries that infer the categories anew from each table read b, f as a, b.
    X = np.repeat(np.arange(6, dtype=np.float32), 60)[:, None]
    y = (X[:, 0] % 2 == 1).astype(np.int8)
    feature_schema = FeatureSchema(n_features=1, categorical=(0,), cardinalities=(6,))
    model = build(name, feature_schema).fit(X, y)
    some = np.flatnonzero(np.isin(X[:, 0], (1.0, 5.0)))
    assert np.array_equal(model.predict_proba(X[some]), model.predict_proba(X)[some])
    assert model.predict(X[some]).mean() == 1.0
    assert np.array_equal(model.predict(X), y)


@pytest.mark.parametrize("name", NAMES)
def test_ten_hard_rows_can_be_learned(name):
    # A constant column, an empty one, an empty category column, and codes up to 299.
    rng = np.random.default_rng(0)
    X = rng.normal(size=(10, 5)).astype(np.float32)
    X[:, 1] = 1.0
    X[:, 2] = np.nan
    X[:, 3] = np.nan
    X[:, 4] = rng.integers(300, size=10)
    y = np.array([0, 1] * 5, dtype=np.int8)
    feature_schema = FeatureSchema(n_features=5, categorical=(3, 4), cardinalities=(4, 300))
    model = build(name, feature_schema).fit(X, y, sample_weight=rng.uniform(size=10))
    later = X.copy()
    later[:, 2:4] = 1.0
    assert np.isfinite(model.predict_proba(later)).all()


@pytest.mark.parametrize("name", NAMES)
def test_a_column_of_300_categories_can_be_learned(name):
    rng = np.random.default_rng(0)
    X = np.column_stack((rng.integers(300, size=600), rng.normal(size=600))).astype(np.float32)
    y = (X[:, 1] > 0).astype(np.int8)
    feature_schema = FeatureSchema(n_features=2, categorical=(0,), cardinalities=(300,))
    model = build(name, feature_schema).fit(X, y)
    assert (model.predict(X) == y).mean() > 0.9


@pytest.mark.parametrize("name", ["hist_gradient_boosting", "lightgbm", "xgboost"])
@pytest.mark.parametrize(("n_codes", "as_numbers"), [(20, False), (21, True)])
def test_boosters_take_more_than_twenty_categories_as_numbers(name, n_codes, as_numbers):
    rng = np.random.default_rng(0)
    X = np.column_stack((rng.integers(n_codes, size=2000), rng.normal(size=2000)))
    X = X.astype(np.float32)
    y = (rng.random(2000) < 0.1 + 0.8 * (X[:, 0] % 2)).astype(np.int8)
    feature_schema = FeatureSchema(n_features=2, categorical=(0,), cardinalities=(n_codes,))
    found = build(name, feature_schema).fit(X, y).predict_proba(X)
    numbers = build(name, FeatureSchema(n_features=2)).fit(X, y).predict_proba(X)
    assert np.array_equal(found, numbers) is as_numbers


@pytest.mark.parametrize("name", [*NAMES, "prior"])
@pytest.mark.parametrize("only", [0, 1])
def test_rows_of_one_class_give_a_model_that_always_says_it(name, only):
    X = np.arange(12, dtype=np.float32)[:, None]
    model = build(name, FeatureSchema(n_features=1)).fit(X, np.full(12, only, dtype=np.int8))
    assert np.array_equal(model.predict_proba(X)[:, 1], np.full(12, float(only)))


@pytest.mark.parametrize("name", NAMES)
def test_a_clone_learns_the_same(name):
    rng = np.random.default_rng(0)
    X = rng.normal(size=(60, 2)).astype(np.float32)
    y = (X[:, 0] > 0).astype(np.int8)
    model = build(name, FeatureSchema(n_features=2)).fit(X, y)
    again = clone(model).fit(X, y)
    assert np.array_equal(again.predict_proba(X), model.predict_proba(X))


@pytest.mark.parametrize("name", SPARSE)
def test_a_sparse_table_is_learned(name):
    rng = np.random.default_rng(0)
    dense = (rng.uniform(size=(200, 30)) < 0.2).astype(np.float32)
    y = (dense[:, 0] > 0).astype(np.int8)
    X = sparse.csr_matrix(dense)
    model = build(name, FeatureSchema(n_features=30, sparse=True)).fit(X, y)
    scores = model.predict_proba(X)[:, 1]
    assert scores[y == 1].min() > scores[y == 0].max()
    assert np.array_equal(model.predict_proba(X[50:60]), model.predict_proba(X)[50:60])


EXACT = {
    "hist_gradient_boosting": {"min_samples_leaf": 1, "max_leaf_nodes": 8},
    # A leaf's rows are estimated from its hessian, so any least number of them is inexact.
    "lightgbm": {"min_data_in_leaf": 0, "min_data_in_bin": 1, "num_leaves": 8},
    "logistic_regression": {"max_iter": 2000},
    "mixture_of_experts": {"n_experts": 1},
    "xgboost": {"max_depth": 3},
}
INEXACT = {
    "catboost": "its borders are quantiles of the rows",
    "explainable_boosting": "its bins are quantiles of the rows",
    "extra_trees": "its random thresholds follow the order of the rows",
    "random_forest": "its bootstrap draws rows, not weight",
}


@pytest.mark.parametrize("name", NAMES)
def test_weight_two_is_the_row_twice(name):
    if name in INEXACT:
        pytest.skip(INEXACT[name])
    rng = np.random.default_rng(0)
    dense = rng.integers(1, 5, size=(120, 3)).astype(np.float32)
    y = (dense.sum(axis=1) + rng.normal(size=120) > 7.5).astype(np.int8)
    weight = rng.integers(1, 4, size=120)
    # Of scaled numbers only those of the sparse path do not depend on how often a row occurs.
    is_sparse = name == "logistic_regression"
    X = sparse.csr_matrix(dense) if is_sparse else dense
    feature_schema = FeatureSchema(n_features=3, sparse=is_sparse)
    twice = np.repeat(np.arange(120), weight)
    weighted = build(name, feature_schema, EXACT[name]).fit(
        X, y, sample_weight=weight.astype(float)
    )
    repeated = build(name, feature_schema, EXACT[name]).fit(X[twice], y[twice])
    found, expected = weighted.predict_proba(X), repeated.predict_proba(X)
    assert found == pytest.approx(expected, abs=1e-3)


@pytest.mark.parametrize(
    ("name", "extra"),
    [
        ("catboost", "catboost"),
        ("explainable_boosting", "ebm"),
        ("realmlp", "nn"),
        ("tabicl", "tabicl"),
        ("tabm", "nn"),
    ],
)
def test_a_missing_library_names_the_extra_that_brings_it(name, extra, monkeypatch):
    def missing(module):
        raise ImportError(module)

    learner = LEARNERS.get(name)
    monkeypatch.setattr(importlib, "import_module", missing)
    with pytest.raises(MissingExtraError, match=rf'pip install "fairautoml-search\[{extra}\]"'):
        learner.build({}, FeatureSchema(n_features=1), 0)
    assert learner.extra == extra


def test_the_bootstrap_of_a_forest_does_not_depend_on_the_scale_of_the_weights():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(200, 2)).astype(np.float32)
    y = (X[:, 0] > 0).astype(np.int8)
    forest = build("random_forest", FeatureSchema(n_features=2))
    small, large = (
        clone(forest).fit(X, y, sample_weight=np.full(200, scale)).predict_proba(X)
        for scale in (0.25, 4.0)
    )
    assert np.array_equal(small, large)


def test_lightgbm_bins_as_finely_as_its_parameters_say():
    X = np.linspace(0, 1, 400, dtype=np.float32)[:, None]
    y = (np.arange(400) % 8 < 4).astype(np.int8)
    few, many = (
        build("lightgbm", FeatureSchema(n_features=1), {"max_bin": bins, "min_data_in_leaf": 1})
        .fit(X, y)
        .predict_proba(X)[:, 1]
        for bins in (4, 255)
    )
    assert len(np.unique(few)) <= 4 < len(np.unique(many))


def test_the_trees_of_xgboost_that_grow_leaf_by_leaf_have_as_many_leaves_as_are_requested():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(6000, 3)).astype(np.float32)
    y = (rng.random(6000) < 0.5).astype(np.int8)
    given = {"grow_policy": "lossguide", "n_estimators": 1, "learning_rate": 0.3}
    sizes = [
        len(
            np.unique(
                build("xgboost", FeatureSchema(n_features=3), {**given, "max_leaves": most})
                .fit(X, y)
                .predict_proba(X)[:, 1]
            )
        )
        for most in (20, 127)
    ]
    assert sizes[0] <= 20
    assert 64 < sizes[1] <= 127
