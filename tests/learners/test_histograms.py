import pickle

import numpy as np
import pytest
from sklearn.ensemble import HistGradientBoostingClassifier

from fairautoml.data.dataset import FeatureSchema
from fairautoml.learners import LEARNERS
from fairautoml.learners.hist_gradient_boosting import direct_trees

FEATURE_SCHEMA = FeatureSchema(n_features=5, categorical=(1, 3), cardinalities=(6, 4))
NUMBERS = FeatureSchema(n_features=5)


def table(n_rows, seed, codes):
    """Numbers and two category columns with gaps; the first has the given codes."""
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(n_rows, 5)).astype(np.float32)
    X[:, 1] = rng.choice(codes, n_rows)
    X[:, 3] = rng.integers(4, size=n_rows)
    X[rng.random((n_rows, 5)) < 0.1] = np.nan
    return X


def labels(X, task):
    rng = np.random.default_rng(1)
    z = np.nan_to_num(X[:, 0]) + (X[:, 1] == 4) - (X[:, 3] == 2) + rng.normal(size=len(X)) / 2
    if task == "regression":
        return z.astype(np.float64)
    return np.digitize(z, [0.0] if task == "binary" else [-0.5, 0.5]).astype(np.int8)


def trained(task, feature_schema, X):
    learner = LEARNERS.get("hist_gradient_boosting")
    model = learner.built({"max_iter": 20}, feature_schema, 0, task=task, n_classes=3)
    return model.fit(X, labels(X, task))


@pytest.mark.parametrize("feature_schema", [FEATURE_SCHEMA, NUMBERS])
@pytest.mark.parametrize("task", ["binary", "multiclass", "regression"])
def test_scores_equal_those_of_scikit_learn_to_the_last_bit(task, feature_schema):
    # Codes 1 and 3 are not among the training rows, 5 is the largest; new rows have all, and 7.
    model = trained(task, feature_schema, table(600, 0, (0, 2, 4, 5)))
    new = table(500, 2, (0, 1, 2, 3, 4, 5, 7))
    new[0], new[1] = np.nan, 0.0
    again = pickle.loads(pickle.dumps(model))
    if task == "regression":
        direct = model.trees_.sums(new)[:, 0]
        assert np.array_equal(direct, model.model_.predict(new))
        assert np.array_equal(model.predict(new), again.predict(new))
        model.trees_ = None
        assert np.array_equal(model.predict(new), again.predict(new))
        return
    expected = model.model_.predict_proba(new)
    found = model.predict_proba(new)
    assert np.array_equal(found[:, 1], expected[:, 1])
    assert np.array_equal(found, again.predict_proba(new))
    for at in range(5):
        assert np.array_equal(model.predict_proba(new[at : at + 1]), found[at : at + 1])
    model.trees_ = None
    assert np.array_equal(model.predict_proba(new), found)


def test_a_column_that_is_empty_in_training_counts_for_nothing():
    X = table(300, 0, (0, 2, 4, 5))
    X[:, 1] = X[:, 2] = np.nan
    model = trained("binary", FEATURE_SCHEMA, X)
    new = table(200, 2, (0, 1, 2))
    found = model.predict_proba(new)
    model.trees_ = None
    assert np.array_equal(model.predict_proba(new), found)


def test_the_trees_are_called_without_the_checks_of_scikit_learn(monkeypatch):
    X = table(300, 0, (0, 2, 4, 5))
    model = trained("binary", FEATURE_SCHEMA, X)
    expected = model.predict_proba(X)

    def refuse(self, X):
        raise AssertionError("predict_proba was called")

    monkeypatch.setattr(HistGradientBoostingClassifier, "predict_proba", refuse)
    assert np.array_equal(model.predict_proba(X), expected)


@pytest.mark.parametrize("name", ["_predictors", "_bin_mapper", "_baseline_prediction"])
def test_where_scikit_learn_keeps_its_trees_otherwise_its_own_method_is_used(name, monkeypatch):
    X = table(300, 0, (0, 2, 4, 5))
    model = trained("binary", FEATURE_SCHEMA, X)
    before = model.predict_proba(X)
    found = vars(model.model_).pop(name)
    assert direct_trees(model.model_, X) is None
    setattr(model.model_, name, found)
    monkeypatch.setattr("fairautoml.learners.hist_gradient_boosting.direct_trees", lambda *_: None)
    other = trained("binary", FEATURE_SCHEMA, X)
    assert other.trees_ is None
    assert np.array_equal(other.predict_proba(X), before)


def test_other_sums_than_those_of_scikit_learn_are_not_used():
    X = table(300, 0, (0, 2, 4, 5))
    model = trained("binary", FEATURE_SCHEMA, X).model_
    model._raw_predict = lambda rows: np.zeros((len(rows), 1))
    assert direct_trees(model, X) is None
