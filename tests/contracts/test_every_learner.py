import pytest

from fairautoml.learners import LEARNERS
from fairautoml.testing import check_learner

LIBRARY = {"catboost": "catboost", "ebm": "interpret.glassbox", "nn": "torch"}
NEEDS_A_FILE = {"tabicl"}
"""Tested with a file of their own in tests/learners."""


@pytest.mark.parametrize("name", sorted({*LEARNERS.names()} - NEEDS_A_FILE))
def test_every_learner_keeps_the_contract(name):
    learner = LEARNERS.get(name)
    if learner.extra:
        pytest.importorskip(LIBRARY[learner.extra])
    check_learner(learner)


@pytest.mark.parametrize("name", LEARNERS.names())
def test_every_learner_is_called_like_its_file(name):
    assert LEARNERS.get(name).name == name


def test_all_eight_families_are_listed():
    assert set(LEARNERS.names()) >= {
        "catboost",
        "explainable_boosting",
        "extra_trees",
        "hist_gradient_boosting",
        "lightgbm",
        "logistic_regression",
        "random_forest",
        "xgboost",
    }
