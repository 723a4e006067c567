"""Networks: PyTorch trains them, NumPy scores and stores them."""

import pickle
import subprocess
import sys

import numpy as np
import pytest

from fairautoml.data.dataset import FeatureSchema
from fairautoml.learners import LEARNERS

pytest.importorskip("torch", reason="the networks need the extra nn")

NAMES = ("realmlp", "tabm")
SCHEMA = FeatureSchema(n_features=4, categorical=(2, 3), cardinalities=(3, 20))
QUICK = {"n_epochs": 24, "width": 32, "n_layers": 2}


def table(n_rows=1000):
    """Return rows whose label depends on a number and on a category, with missing values."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(n_rows, 4)).astype(np.float32)
    X[:, 2], X[:, 3] = rng.integers(2, size=n_rows), rng.integers(19, size=n_rows)
    y = (np.sin(3 * X[:, 0]) + X[:, 2] + 0.2 * rng.normal(size=n_rows) > 0.5).astype(np.int8)
    X[rng.random(n_rows) < 0.1, 1] = np.nan
    return X, y


@pytest.fixture(scope="module", params=NAMES)
def fitted(request):
    X, y = table()
    return LEARNERS.get(request.param).build(QUICK, SCHEMA, 0).fit(X, y)


def test_a_network_learns_a_wave_that_no_linear_model_does(fitted):
    X, y = table()
    new, labels = X[:200], y[:200]
    linear = LEARNERS.get("logistic_regression").build({}, SCHEMA, 0).fit(X, y)
    right = [(model.predict(new) == labels).mean() for model in (fitted, linear)]
    assert right[0] > right[1] + 0.05


def test_codes_without_training_rows_have_the_score_of_missing_values(fitted):
    rows = np.tile(table()[0][:1], (3, 1))
    rows[:, 3] = 19, 25, np.nan
    found = fitted.predict_proba(rows)[:, 1]
    assert found[0] == found[1] == found[2]


@pytest.mark.parametrize("name", NAMES)
def test_values_of_a_column_that_is_empty_in_training_do_not_change_the_score(name):
    X, y = table(200)
    X[:, 1] = np.nan
    model = LEARNERS.get(name).build({**QUICK, "n_epochs": 2}, SCHEMA, 0).fit(X, y)
    new = X.copy()
    new[:, 1] = 5.0
    assert np.array_equal(model.predict_proba(new), model.predict_proba(X))


def test_a_stored_network_scores_without_torch(fitted):
    X, _ = table()
    code = (
        "import pickle, sys; model, rows = pickle.load(sys.stdin.buffer); "
        "sys.stdout.buffer.write(model.predict_proba(rows)[:, 1].tobytes()); "
        "sys.exit('torch' in sys.modules)"
    )
    given = pickle.dumps((fitted, X[:5]))
    run = subprocess.run(
        [sys.executable, "-c", code], input=given, capture_output=True, check=True
    )
    assert np.array_equal(np.frombuffer(run.stdout), fitted.predict_proba(X[:5])[:, 1])


def test_the_epoch_is_chosen_on_rows_that_the_network_does_not_learn_from():
    X, y = table(200)
    noise = np.random.default_rng(1).permutation(y)
    losses = []
    for epochs in (4, 60):
        params = {"n_epochs": epochs, "width": 64, "dropout": 0.0, "weight_decay": 0.001}
        model = LEARNERS.get("tabm").build(params, SCHEMA, 0).fit(X, noise)
        p = np.where(noise == 1, *model.predict_proba(X).T[::-1])
        losses.append(-np.log(p).mean())
    # More epochs on noise would fit it; the best epoch is an early one.
    assert losses[1] > 0.4
