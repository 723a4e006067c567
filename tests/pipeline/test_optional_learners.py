"""Which optional learners are searched by default."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from fairautoml.data.read import build_dataset
from fairautoml.exceptions import MissingExtraError
from fairautoml.learners import LEARNERS
from fairautoml.plan import _learner_spaces

OPTIONAL = "catboost"


@pytest.fixture(scope="module")
def dataset():
    rng = np.random.default_rng(0)
    X = pd.DataFrame({"a": rng.normal(size=80), "b": rng.normal(size=80)})
    return build_dataset(X, (X["a"] > 0).astype(int).to_numpy())


@pytest.fixture
def changed(monkeypatch):
    """Return a function that changes the optional learner."""

    def change(**fields):
        learner = replace(LEARNERS.get(OPTIONAL), **fields)
        monkeypatch.setitem(LEARNERS._loaded, OPTIONAL, learner)

    return change


def test_an_installed_optional_learner_is_searched_by_default_in_a_long_budget(dataset, changed):
    changed(build=lambda params, schema, seed: None, least_seconds=300.0)
    assert OPTIONAL in _learner_spaces(dataset, None, 300.0)
    assert OPTIONAL not in _learner_spaces(dataset, None, 299.0)
    # With a number of trials alone there is no budget of seconds.
    assert OPTIONAL not in _learner_spaces(dataset, None)


def test_an_optional_learner_is_left_out_on_a_larger_table_and_used_when_named(dataset, changed):
    changed(build=lambda params, schema, seed: None, most_rows=79)
    assert OPTIONAL not in _learner_spaces(dataset, None, 1e6)
    assert set(_learner_spaces(dataset, [OPTIONAL])) == {OPTIONAL}


def test_an_optional_learner_that_is_not_installed_is_left_out_and_refused_when_named(
    dataset, changed
):
    def missing(params, schema, seed):
        raise MissingExtraError("not installed")

    changed(build=missing)
    assert OPTIONAL not in _learner_spaces(dataset, None, 1e6)
    with pytest.raises(MissingExtraError, match="not installed"):
        _learner_spaces(dataset, [OPTIONAL])
