from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from scipy import sparse

from fairautoml import FairAutoML
from fairautoml.data.dataset import FeatureSchema
from fairautoml.exceptions import InputError
from fairautoml.learners import LEARNERS
from fairautoml.plan import _learner_spaces

LEARNER = LEARNERS.get("checklist")


def two_of_three(n_rows=200):
    """Label 1 where at least two of: a number over 0, code 2, a number that is given."""
    rng = np.random.default_rng(0)
    X = np.column_stack((rng.integers(-3, 4, n_rows), rng.integers(4, size=n_rows)))
    X = np.column_stack(
        (X, np.where(rng.random(n_rows) < 0.5, np.nan, rng.random(n_rows)))
    ).astype(np.float32)
    y = ((X[:, 0] > 0).astype(int) + (X[:, 1] == 2) + ~np.isnan(X[:, 2]) >= 2).astype(np.int8)
    return X, y, FeatureSchema(n_features=3, categorical=(1,), cardinalities=(4,))


def test_a_checklist_is_found_and_can_be_read():
    X, y, feature_schema = two_of_three()
    model = LEARNER.build({}, feature_schema, 0).fit(X, y)
    assert np.array_equal(model.predict(X), y)
    assert model.model_.describe(["size", "kind", "date"]) == (
        "at least 2 of 3: size >= 1; kind is 2; date is given"
    )


def test_the_fitted_model_reports_its_optimality_gap():
    X, y, feature_schema = two_of_three()
    y[:30] = 1 - y[:30]
    short, long = (
        LEARNER.build({"seconds": seconds}, feature_schema, 0).fit(X, y).model_
        for seconds in (0.001, 60)
    )
    assert not short.optimal
    assert 0 < short.gap <= 1
    assert long.optimal
    assert long.mistakes <= short.mistakes


def test_the_bounds_on_a_list_are_kept():
    rng = np.random.default_rng(1)
    X = rng.normal(size=(150, 6)).astype(np.float32)
    y = (X.sum(axis=1) > 0).astype(np.int8)
    params = {"most_items": 3, "most_required": 1, "cuts": 1, "complements": False}
    found = LEARNER.build(params, FeatureSchema(n_features=6), 0).fit(X, y).model_
    assert len(found.items) <= 3
    assert found.required == 1
    assert {item.test for item in found.items} == {">="}
    assert len({item.column for item in found.items}) == len(found.items)


def test_a_sparse_table_is_refused():
    X = sparse.csr_matrix(np.eye(4, dtype=np.float32))
    feature_schema = FeatureSchema(n_features=4, sparse=True)
    with pytest.raises(InputError, match="items are made of dense columns"):
        LEARNER.build({}, feature_schema, 0).fit(X, np.array([0, 1, 0, 1]))


def test_only_who_names_the_checklist_searches_it():
    dataset = SimpleNamespace(
        weight=np.ones(4), feature_schema=FeatureSchema(n_features=2), task="binary"
    )
    assert "checklist" not in _learner_spaces(dataset, None)
    assert set(_learner_spaces(dataset, ["checklist"])) == {"checklist"}


def test_a_search_that_names_the_checklist_deploys_one():
    values, y, _ = two_of_three()
    X = pd.DataFrame(values, columns=["size", "kind", "date"])
    X["kind"] = X["kind"].map({0.0: "a", 1.0: "b", 2.0: "c", 3.0: "d"})
    model = FairAutoML(
        constraint=None, learners=["checklist"], n_trials=2, cv=2, random_state=0
    ).fit(X, y)
    assert model.best_entry_.config.learner == "checklist"
    assert (model.predict(X) == y).mean() > 0.95
