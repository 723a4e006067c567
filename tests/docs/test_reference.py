"""The examples of docs/reference.md that need a fitted model run."""

import numpy as np
import pytest

from fairautoml import FairAutoML
from fairautoml.data import load
from readme_blocks import DOCS, blocks


@pytest.fixture(scope="module")
def seen():
    table = load("lending").frame.head(900)
    X, y = table.drop(columns="repaid"), table["repaid"]
    model = FairAutoML(
        "demographic_parity_difference <= 0.1", n_trials=2, cv=2, random_state=0, n_jobs=1,
        learners=["lightgbm"],
    )  # fmt: skip
    model.fit(X[:500], y[:500], "sex")
    return {"model": model, "X_test": X[500:], "y_test": y[500:]}


def run(text, seen):
    (example,) = (one for one in blocks("python", DOCS / "reference.md") if text in one)
    exec(example, seen)


def test_the_example_of_explain_runs(seen, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    run("model.explain(", seen)
    assert len(seen["found"].importances) == len(seen["X_test"].columns)
    assert "What the gap is made of" in (tmp_path / "report.html").read_text()


def test_the_example_of_tree_shap_adds_up(seen):
    run("pred_contrib", seen)
    odds = seen["member"].estimator.predict(seen["matrix"], raw_score=True)
    np.testing.assert_allclose(seen["values"].sum(axis=1), odds, atol=1e-9)
