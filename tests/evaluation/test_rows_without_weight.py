"""Rows of weight 0 are left out, as people are advised to leave rows out."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from fairautoml.data.read import build_dataset
from fairautoml.evaluation.fitting import encode, fit_config
from fairautoml.learners import LEARNERS
from fairautoml.records import Config

FEW_ROUNDS = {"explainable_boosting": {"max_rounds": 100}, "catboost": {"iterations": 50}}


def individuals(n_rows=300):
    rng = np.random.default_rng(0)
    X = pd.DataFrame({"a": rng.normal(size=n_rows), "b": rng.normal(size=n_rows)})
    return X, (X["a"] + rng.normal(0, 0.5, n_rows) > 0).astype(int).to_numpy()


@pytest.mark.parametrize(
    "learner", [n for n in LEARNERS.names() if LEARNERS.get(n).handles_weights]
)
def test_a_row_without_weight_does_not_shape_a_model(learner):
    if "binary" not in LEARNERS.get(learner).tasks:
        pytest.skip("is of another task")
    if LEARNERS.get(learner).extra == "nn":
        pytest.importorskip("torch")
    X, y = individuals()
    odd = np.arange(len(y)) % 15 == 0
    spoilt = X.assign(a=X["a"].where(~odd, 1e6))
    weighted = build_dataset(spoilt, y, sample_weight=(~odd).astype(float))
    without = build_dataset(X[~odd], y[~odd])
    config = Config(learner=learner, params=FEW_ROUNDS.get(learner, {}))
    models = [fit_config(config, encode("codes", d, 0), 0) for d in (weighted, without)]
    cells = np.zeros(len(y), dtype=np.int32)
    first, second = (model.scores(np.asarray(X, dtype=np.float32), cells) for model in models)
    np.testing.assert_allclose(first, second, atol=1e-5)


def test_a_class_without_weight_stays_known():
    X, y = individuals()
    data = build_dataset(X, y)
    encoded = encode("codes", replace(data, weight=np.where(y == 1, 0.0, 1.0)), 0)
    model = fit_config(Config(learner="logistic_regression", params={}), encoded, 0)
    assert model.scores(data.X, data.cells).shape == (len(y),)
