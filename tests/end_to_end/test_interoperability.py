"""A fitted estimator passes through skops, MLflow and ONNX, and decides as before."""

import pickle
import subprocess
import sys
import textwrap

import numpy as np
import pandas as pd
import pytest

from fairautoml import FairAutoML
from fairautoml.data import load
from fairautoml.exceptions import MissingExtraError, ParameterError

TABLES = ("leaderboard_", "pareto_front_", "trials_")


def individuals():
    table = load("lending").frame.iloc[:600]
    return table.drop(columns="repaid"), table["repaid"]


@pytest.fixture(scope="module")
def fitted():
    model = FairAutoML(
        "demographic_parity_difference <= 0.1", n_trials=4, cv=2, random_state=0, n_jobs=1,
        learners=["lightgbm", "logistic_regression", "hist_gradient_boosting"],
    )  # fmt: skip
    return model.fit(*individuals(), "sex")


@pytest.fixture(scope="module")
def new_rows():
    X = load("lending").frame.iloc[600:3000].drop(columns="repaid")
    X.iloc[::7, X.columns.get_loc("income")] = np.nan
    X.iloc[::5, X.columns.get_loc("occupation")] = None
    X.iloc[::11, X.columns.get_loc("purpose")] = "unseen"
    return X


def test_a_pickled_estimator_has_the_same_tables(fitted):
    again = pickle.loads(pickle.dumps(fitted))
    for name in TABLES:
        pd.testing.assert_frame_equal(getattr(again, name), getattr(fitted, name))


def test_skops_stores_the_estimator(fitted, new_rows):
    skops = pytest.importorskip("skops.io")
    content = skops.dumps(fitted)
    types = skops.get_untrusted_types(data=content)
    known = ("fairautoml.", "lightgbm.", "sklearn.", "builtins.frozenset", "numpy.dtype")
    assert [name for name in types if not name.startswith(known)] == []
    again = skops.loads(content, trusted=types)
    np.testing.assert_array_equal(again.predict_proba(new_rows), fitted.predict_proba(new_rows))
    for name in TABLES:
        pd.testing.assert_frame_equal(getattr(again, name), getattr(fitted, name))
    assert again.select(max_gap=0.2).evaluate(*individuals(), "sex")["gap"] <= 0.25


LOG = """
    import pickle
    import mlflow.sklearn
    import skops.io
    mlflow.set_tracking_uri("sqlite:///runs.db")
    model = pickle.load(open("model.pkl", "rb"))
    types = skops.io.get_untrusted_types(data=skops.io.dumps(model))
    with mlflow.start_run():
        logged = mlflow.sklearn.log_model(
            model, name="model", skops_trusted_types=types, pip_requirements=["fairautoml"]
        )
    open("uri", "w").write(logged.model_uri)
"""
RELOAD = """
    import mlflow.sklearn
    import pandas as pd
    mlflow.set_tracking_uri("sqlite:///runs.db")
    model = mlflow.sklearn.load_model(open("uri").read())
    X = pd.read_pickle("rows.pkl")
    pd.DataFrame(model.predict_proba(X)).to_pickle("scores.pkl")
    assert (mlflow.pyfunc.load_model(open("uri").read()).predict(X) == model.predict(X)).all()
"""


@pytest.mark.slow
def test_the_default_flavour_of_mlflow_reloads_the_estimator_in_another_process(
    fitted, new_rows, tmp_path
):
    pytest.importorskip("mlflow")
    pytest.importorskip("skops")
    (tmp_path / "model.pkl").write_bytes(pickle.dumps(fitted))
    new_rows.to_pickle(tmp_path / "rows.pkl")
    for code in (LOG, RELOAD):
        command = [sys.executable, "-c", textwrap.dedent(code)]
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
    found = pd.read_pickle(tmp_path / "scores.pkl").to_numpy()
    np.testing.assert_array_equal(found, fitted.predict_proba(new_rows))


def test_the_onnx_graph_of_an_estimator_decides_the_same(fitted, new_rows, tmp_path):
    onnxruntime = pytest.importorskip("onnxruntime")
    pytest.importorskip("onnx")
    session = onnxruntime.InferenceSession(fitted.to_onnx(tmp_path / "model.onnx"))
    given = {}
    for one in session.get_inputs():
        column = new_rows[[one.name]]
        text = one.type == "tensor(string)"
        given[one.name] = (
            column.fillna("").to_numpy(object) if text else column.to_numpy(np.float32)
        )
    decided, fair, base = session.run(["decision", "fair_score", "base_score"], given)
    np.testing.assert_array_equal(decided, fitted.predict(new_rows))
    at = fitted.classes_.tolist().index(fitted.positive_class_)
    np.testing.assert_allclose(fair, fitted.predict_proba(new_rows)[:, at], atol=1e-6, rtol=0)
    np.testing.assert_allclose(base, fitted.base_proba(new_rows)[:, at], atol=1e-6, rtol=0)


def test_a_graph_is_not_written_into_a_folder_that_does_not_exist(fitted, tmp_path):
    pytest.importorskip("onnx")
    with pytest.raises(ParameterError, match=r"to_onnx: .* must be a file in a folder"):
        fitted.to_onnx(tmp_path / "none" / "model.onnx")


def test_without_onnx_the_extra_to_install_is_named(fitted, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "onnx", None)
    monkeypatch.delitem(sys.modules, "fairautoml.inference.onnx_graph", raising=False)
    with pytest.raises(MissingExtraError, match=r"pip install 'fairautoml-search\[onnx\]'"):
        fitted.to_onnx(tmp_path / "model.onnx")
