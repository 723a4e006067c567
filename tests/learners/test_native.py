"""Native categories of boosted trees, and models that do not read a sensitive column."""

import numpy as np
import pytest

from fairautoml.data.dataset import FeatureSchema
from fairautoml.data.encoders import UNLIMITED
from fairautoml.learners import LEARNERS
from fairautoml.search.loop import propose
from fairautoml.search.space import ParamSpace, SearchSpace
from tests.quick_fits import few_individuals, quick


@pytest.mark.parametrize("name", ["lightgbm", "xgboost", "hist_gradient_boosting"])
@pytest.mark.parametrize("n_codes", [60, 700])
def test_boosted_trees_train_on_many_native_categories(name, n_codes):
    rng = np.random.default_rng(0)
    X = rng.integers(n_codes, size=(20 * n_codes, 1)).astype(np.float32)
    odd = (X[:, 0] % 2).astype(np.int8)
    schema = FeatureSchema(
        n_features=1, categorical=(0,), cardinalities=(n_codes,), most_native=UNLIMITED
    )
    model = LEARNERS.get(name).build({}, schema, 0).fit(X, odd)
    assert (model.predict(X) == odd).mean() > 0.55


def test_a_learner_without_native_categories_gets_codes():
    space = SearchSpace(
        learners={"a": ParamSpace(name="a"), "b": ParamSpace(name="b")},
        encodings=("native",),
        native_learners=("a",),
    )
    made = [propose(space, lambda _, _range, name=name: name) for name in ("a", "b")]
    assert [config.encoding for config in made] == ["native", "codes"]


def test_a_search_tries_models_that_do_not_read_the_sensitive_column():
    X, y, sensitive = few_individuals()
    X = X.assign(group=np.asarray(sensitive).ravel())
    model = quick(n_trials=8, strategy="random").fit(X, y, "group")
    read = model.leaderboard_.groupby("encoding")["sensitive_read_by"].unique()
    assert "codes_without_groups" in read.index
    assert not any("features" in parts for parts in read["codes_without_groups"])
    assert all("features" in parts for parts in read["codes"])
