"""Learners that skip scikit-learn's checks of the rows predict as scikit-learn does."""

import numpy as np
import pytest

from fairautoml.data.dataset import FeatureSchema
from fairautoml.learners import LEARNERS

SCHEMA = FeatureSchema(n_features=4, categorical=(3,), cardinalities=(6,))
TASKS = ("binary", "multiclass", "regression")
CASES = [
    ("hist_gradient_boosting", {"max_iter": 20, "min_samples_leaf": 5}, 1e-15),
    ("random_forest", {"n_estimators": 5}, 1e-15),
    ("extra_trees", {"n_estimators": 5}, 1e-15),
    ("logistic_regression", {"numeric": "scaled"}, 1e-12),
    ("logistic_regression", {"numeric": "piecewise"}, 1e-12),
]


def table():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(300, 4)).astype(np.float32)
    X[:, 3] = rng.integers(6, size=len(X))
    X[rng.uniform(size=X.shape) < 0.1] = np.nan
    latent = np.nan_to_num(X[:, 0]) + 0.3 * np.nan_to_num(X[:, 3]) + rng.normal(size=len(X))
    targets = (latent > 0.5, np.digitize(latent, [0.0, 1.0]), latent)
    return X, dict(zip(TASKS, targets, strict=True))


def fitted(name, params, task):
    X, targets = table()
    learner = LEARNERS.get(name).built(params, SCHEMA, 0, task=task, n_classes=3)
    return learner.fit(X, targets[task]), X


@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize(("name", "params", "apart"), CASES)
def test_predictions_are_those_of_scikit_learn(name, params, apart, task):
    learner, X = fitted(name, params, task)
    plain = learner.model_
    if task == "regression":
        expected = learner.mean_ + learner.scale_ * plain.predict(X)
        found = learner.predict(X)
    else:
        expected, found = plain.predict_proba(X), learner.predict_proba(X)
    np.testing.assert_allclose(found, expected, rtol=apart, atol=apart)


@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize(("name", "params", "apart"), CASES)
def test_a_row_is_scored_alike_alone_and_among_others(name, params, apart, task):
    del apart
    learner, X = fitted(name, params, task)
    predict = learner.predict if task == "regression" else learner.predict_proba
    alone = [predict(X[[at]])[0] for at in range(20)]
    np.testing.assert_array_equal(alone, predict(X)[:20])
