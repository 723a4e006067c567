"""What a fit does without the library of a learner."""

import sys

import pytest

from fairautoml.exceptions import MissingExtraError
from fairautoml.learners import LEARNERS
from fairautoml.mitigators import MITIGATORS
from quick_fits import few_individuals, quick

PACKAGES = {
    "lightgbm": "lightgbm",
    "xgboost": "xgboost" if sys.platform == "darwin" else "xgboost-cpu",
}
IMPORTERS = {
    "lightgbm": (
        "fairautoml.learners.lightgbm",
        "fairautoml.mitigators.inprocessing.fairgbm",
    ),
    "xgboost": ("fairautoml.learners.xgboost",),
    "catboost": (),
}


@pytest.fixture
def without(monkeypatch):
    """Return a function that makes a library one that cannot be imported."""

    def hide(library):
        monkeypatch.setitem(sys.modules, library, None)
        for name in IMPORTERS[library]:
            monkeypatch.delitem(sys.modules, name, raising=False)
        monkeypatch.setattr(LEARNERS, "_loaded", {})
        monkeypatch.setattr(MITIGATORS, "_loaded", {})

    return hide


@pytest.mark.parametrize("learner", PACKAGES)
def test_a_learner_without_its_library_leaves_the_search_with_one_sentence(learner, without):
    without(learner)
    X, y, group = few_individuals()
    package = PACKAGES[learner]
    with pytest.warns(UserWarning, match=rf"left out of the search: .*'{learner}'.*{package}$"):
        model = quick(learners=None, n_trials=4, executor="serial").fit(X, y, group)
    tried = model.trials_
    assert learner not in set(tried["learner"])
    assert (tried["status"] == "success").all()
    assert sum(f"learner '{learner}'" in note for note in model.notes_) == 1


@pytest.mark.parametrize("learner", PACKAGES)
def test_a_named_learner_without_its_library_is_an_error_with_the_package(learner, without):
    without(learner)
    X, y, group = few_individuals()
    way_out = f"learner '{learner}' needs {learner}.*pip install {PACKAGES[learner]}$"
    with pytest.raises(MissingExtraError, match=way_out):
        quick(learners=[learner]).fit(X, y, group)


def test_a_named_learner_without_its_extra_is_an_error_before_the_first_trial(without):
    without("catboost")
    X, y, group = few_individuals()
    with pytest.raises(MissingExtraError, match=r'pip install "fairautoml-search\[catboost\]"'):
        quick(learners=["catboost"]).fit(X, y, group)


def test_a_named_mitigator_without_its_library_is_an_error_with_the_package(without):
    without("lightgbm")
    X, y, group = few_individuals()
    with pytest.raises(MissingExtraError, match=r"mitigator 'fairgbm'.*pip install lightgbm$"):
        quick(mitigators=["fairgbm"]).fit(X, y, group)
