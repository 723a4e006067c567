"""No rows to decide give no decisions."""

import numpy as np
import pandas as pd
import pytest

from fairautoml import FairAutoMLRegressor
from fairautoml.cli.main import main
from fairautoml.exceptions import InputError
from quick_fits import N_ROWS, few_individuals, quick


@pytest.fixture(scope="module")
def table():
    X, y, group = few_individuals()
    day = pd.Series(pd.date_range("2020-01-01", periods=N_ROWS))
    region = np.resize(["north", "south", None], N_ROWS)
    return X.assign(region=region, day=day, sex=group), y


@pytest.fixture(scope="module")
def fitted(table):
    X, y = table
    return quick().fit(X, np.where(y == 1, "yes", "no"), "sex")


def test_no_rows_are_decided_by_no_labels_and_no_probabilities(fitted, table):
    X, _ = table
    none, some = X.iloc[:0], X.iloc[:3]
    assert fitted.predict(none).shape == (0,)
    assert fitted.predict(none).dtype == fitted.predict(some).dtype
    assert fitted.predict_proba(none).shape == (0, 2)
    assert fitted.predict_proba(none).dtype == fitted.predict_proba(some).dtype
    assert fitted.predict(none, X["sex"].iloc[:0]).shape == (0,)


@pytest.mark.parametrize("name", ["acceptance_proba", "decision_function"])
def test_no_rows_get_no_scores(fitted, table, name):
    none, some = (getattr(fitted, name)(table[0].iloc[:at]) for at in (0, 3))
    assert (none.shape, none.dtype) == ((0,), some.dtype)


def test_no_rows_without_column_names_are_decided(table):
    X, y = table
    numbers = X[["x", "z"]].to_numpy()
    model = quick(constraint=None).fit(numbers, y)
    assert model.predict(numbers[:0]).shape == (0,)
    assert model.predict_proba(np.empty((0, 2))).shape == (0, 2)
    with pytest.raises(InputError, match="expecting 2 features"):
        model.predict(np.empty((0, 3)))


def test_no_rows_without_the_columns_of_the_fit_are_refused(fitted, table):
    with pytest.raises(InputError, match="lacks 1 column"):
        fitted.predict(table[0].iloc[:0].drop(columns="x"))


@pytest.mark.parametrize("name", ["score", "evaluate"])
def test_no_rows_cannot_be_judged(fitted, table, name):
    X, y = table
    with pytest.raises(InputError, match="give at least one row to evaluate"):
        getattr(fitted, name)(X.iloc[:0], y[:0])


def test_no_rows_get_no_numbers(table):
    X, _ = table
    model = FairAutoMLRegressor(
        None, n_trials=2, cv=2, learners=["random_forest"], random_state=0
    ).fit(X[["x", "z"]], X["x"] + X["z"])
    assert model.predict(X[["x", "z"]].iloc[:0]).shape == (0,)
    assert model.predict(X[["x", "z"]].iloc[:0]).dtype == model.predict(X[["x", "z"]]).dtype


def test_a_file_of_a_header_gives_a_file_of_a_header(table, tmp_path, capsys):
    X, y = table
    X.assign(y=y).to_csv(tmp_path / "people.csv", index=False)
    run = str(tmp_path / "run")
    requested = ["--target", "y", "--sensitive", "sex", "--learner", "logistic_regression"]
    requested += ["--trials", "2", "--constraint", "demographic_parity_difference<=0.2"]
    assert main(["fit", str(tmp_path / "people.csv"), *requested, "--out", run]) in (0, 4)
    (tmp_path / "none.csv").write_text(",".join(X.columns) + "\n")
    X.iloc[:0].to_parquet(tmp_path / "none.parquet")
    capsys.readouterr()
    for name in ("none.csv", "none.parquet"):
        assert main(["predict", run, str(tmp_path / name), "--proba"]) == 0
        assert capsys.readouterr().out == "prediction,score,probability,threshold\n"
