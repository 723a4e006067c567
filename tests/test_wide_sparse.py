"""A sparse table costs time and memory by its stored values, however wide it is."""

import numpy as np
import pytest
import scipy.sparse as sp

from fairautoml import load_predictor, load_run
from fairautoml.exceptions import InputError
from fairautoml.runtime import NewRowsError
from quick_fits import quick

N_ROWS, N_COLUMNS, STORED = 300, 1_000_000, 50


@pytest.fixture(scope="module")
def hashed():
    rng = np.random.default_rng(0)
    rows = np.repeat(np.arange(N_ROWS), STORED)
    columns = rng.integers(100, N_COLUMNS, N_ROWS * STORED)
    y, group = rng.integers(0, 2, N_ROWS), rng.choice(["a", "b"], N_ROWS)
    columns[::STORED] = np.where(y == 1, 3, 5)
    X = sp.csr_matrix((np.ones(len(rows)), (rows, columns)), shape=(N_ROWS, N_COLUMNS))
    return X, y, group


def test_a_million_hashed_columns_train_a_linear_model_on_all_of_them(hashed, tmp_path):
    X, y, group = hashed
    model = quick(run_dir=tmp_path / "run").fit(X, y, group)
    assert model.score(X, y) == 1.0
    assert model.n_features_in_ == N_COLUMNS
    assert any("of 1,000,000 columns of the sparse X are not used" in n for n in model.notes_)
    assert len(model.model_.schema.columns) == len(np.unique(X.indices))
    assert (tmp_path / "run" / "model.fair").stat().st_size < 2**20
    again = load_predictor(tmp_path / "run" / "model.fair")
    np.testing.assert_array_equal(again.predict(X, group), model.predict(X, group))
    loaded = load_run(tmp_path / "run")
    np.testing.assert_array_equal(loaded.predict(X, group), model.predict(X, group))
    infinite = X[:3].copy()
    infinite.data[0] = np.inf
    for read, error in ((model, InputError), (again, NewRowsError)):
        assert len(read.predict(X[:0], group[:0])) == 0
        with pytest.raises(error, match="infinity"):
            read.predict(infinite, group[:3])


@pytest.mark.slow
def test_a_short_budget_holds_on_a_million_columns(hashed):
    X, y, group = hashed
    model = quick(n_trials=None, time_budget=5, learners=None).fit(X, y, group)
    assert model.summary_["seconds"] < 8
    assert model.best_entry_.score > 0.9
