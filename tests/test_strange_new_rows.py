"""New rows that say little to a model are decided, and it is said once what is missing."""

import warnings

import numpy as np
import pandas as pd
import pytest

from fairautoml import GroupPolicy
from fairautoml.exceptions import DegradedWarning
from quick_fits import N_ROWS, few_individuals, quick


@pytest.fixture(scope="module")
def fitted():
    X, y, group = few_individuals()
    X = X.assign(region=np.resize(["north", "south", None], N_ROWS), sex=group)
    return quick().fit(X, y, "sex"), X, y


def reported(answer):
    with warnings.catch_warnings(record=True) as found:
        warnings.simplefilter("always")
        answer()
    assert all(issubclass(one.category, DegradedWarning) for one in found)
    return [str(one.message) for one in found]


def quiet(answer, X):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return answer(X)


@pytest.mark.parametrize("name", ["predict", "predict_proba", "score", "evaluate"])
def test_unseen_categories_are_reported_once_with_share_and_example(fitted, name):
    model, X, y = fitted
    new = X.assign(region=X["region"].replace({"north": "mars"}).replace({"south": "venus"}))
    labels = () if name.startswith("predict") else (y,)
    (text,) = reported(lambda: getattr(model, name)(new, *labels))
    assert "not seen: 'region' (100% of the values, for example 'mars'). They are read as" in text
    assert (quiet(model.predict, X.assign(region=None)) == quiet(model.predict, new)).all()


def test_one_unseen_row_is_reported():
    X, y, group = few_individuals()
    X = X.assign(region=np.resize(["north", "south"], N_ROWS), sex=group)
    model = quick().fit(X, y, "sex")
    (text,) = reported(lambda: model.predict(X[:1].assign(region="mars")))
    assert "for example 'mars'" in text


def test_as_many_seen_as_unseen_are_not_reported(fitted):
    model, X, _ = fitted
    assert (
        reported(lambda: model.predict(X.assign(region=X["region"].replace("north", "mars"))))
        == []
    )


@pytest.mark.parametrize("column", ["x", "region"])
@pytest.mark.parametrize("none", [None, np.nan, pd.NA])
def test_a_column_without_any_value_is_reported(fitted, column, none):
    model, X, _ = fitted
    (text,) = reported(lambda: model.predict(X.assign(**{column: none})))
    assert f"none in these rows: '{column}'. They are read as missing." in text


def test_a_few_rows_may_lack_a_value(fitted):
    model, X, _ = fitted
    assert reported(lambda: model.predict(X[:19].assign(x=None))) == []
    assert len(reported(lambda: model.predict(X[:20].assign(x=None)))) == 1


def test_a_column_of_an_array_without_any_value_is_reported():
    X, y, group = few_individuals()
    model = quick().fit(X.to_numpy(), y, group)
    new = X.to_numpy().copy()
    new[:, 1] = np.nan
    (text,) = reported(lambda: model.predict(new, group))
    assert "none in these rows: 'x1'" in text


@pytest.fixture(scope="module")
def by_name():
    X, y, group = few_individuals()
    X = X.assign(sex=group)
    model = quick(mitigators=["group_thresholds"]).fit(X, y, "sex")
    assert model.model_.needs_sensitive
    return model, X


def test_groups_that_contradict_the_features_are_reported(by_name):
    model, X = by_name
    other = np.where(np.arange(N_ROWS) < 7, X["sex"], X["sex"].map({"a": "b", "b": "a"}))
    (text,) = reported(lambda: model.predict(X, other))
    assert f"'sex' of X, from which fit took the groups, differ in {N_ROWS - 7} of" in text
    assert "first in row 7: the rule reads sensitive and the models read the column(s)" in text


@pytest.mark.parametrize("given", [None, "sex", ["sex"], "values", "table"])
def test_groups_that_are_those_of_the_features_are_not_reported(by_name, given):
    model, X = by_name
    values = {"values": X["sex"].to_numpy(), "table": X[["sex"]]}
    given = values.get(given, given) if isinstance(given, str) else given
    assert reported(lambda: model.predict(X, given)) == []


def test_groups_in_place_of_missing_ones_are_not_reported(by_name):
    model, X = by_name
    assert (
        reported(lambda: model.predict(X.assign(sex=X["sex"].where(X.index > 9)), X["sex"])) == []
    )


def test_groups_that_are_no_features_may_differ():
    X, y, group = few_individuals()
    X = X.assign(sex=group)
    model = quick(
        mitigators=["group_thresholds"], group_policy=GroupPolicy(in_features="drop")
    ).fit(X, y, "sex")
    other = X["sex"].map({"a": "b", "b": "a"})
    assert "sex" not in model.model_.schema.names
    assert reported(lambda: model.predict(X, other)) == []
