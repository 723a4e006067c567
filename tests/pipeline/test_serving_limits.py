"""Limits on the trees and the time of the deployed model."""

import pytest

from fairautoml import FairAutoML, ServingOptions
from fairautoml.data import load
from fairautoml.exceptions import DegradedWarning, ParameterError
from fairautoml.learners._base import count_trees
from fairautoml.settings import validate_settings

pytestmark = pytest.mark.filterwarnings("ignore::fairautoml.exceptions.FairAutoMLWarning")


@pytest.fixture(scope="module")
def individuals():
    table = load("lending").frame.head(700)
    return table.drop(columns="repaid"), table["repaid"]


@pytest.fixture(scope="module")
def fitted_with(individuals):
    def fit(**limits):
        options = ServingOptions(tolerance=0.0, **limits)
        model = FairAutoML(
            "demographic_parity_difference <= 0.1", n_trials=5, cv=3, random_state=0,
            learners=["xgboost", "lightgbm"], ensemble=options, n_jobs=1,
        )  # fmt: skip
        return model.fit(*individuals, "sex")

    return fit


@pytest.fixture(scope="module")
def free(fitted_with):
    return fitted_with()


def test_the_trees_are_counted_over_trials_and_folds(free):
    models = [model for bag in free.pool_.bags.values() for model in bag.models]
    assert all(count_trees(model) > 0 for model in models)
    parts = [bag for key, bag in free.pool_.bags.items() if key in free.best_entry_.sources]
    assert free.summary_["n_trees"] == sum(map(count_trees, parts)) > 0


def test_the_trees_of_a_selected_model_are_its_own(free):
    for other in (free.select(max_gap=gap) for gap in free.pareto_front_["gap"]):
        assert other.summary_["n_trees"] == count_trees(other.model_.models)


def test_the_model_has_at_most_max_trees(individuals, free, fitted_with):
    most = free.summary_["n_trees"] // 4
    small = fitted_with(max_trees=most)
    assert 0 < count_trees(small.model_.models) <= most
    assert small.summary_["n_trees"] == count_trees(small.model_.models)
    assert len(small.predict(individuals[0])) == len(individuals[0])


def test_a_model_that_cannot_be_fast_enough_is_reported(fitted_with):
    with pytest.warns(DegradedWarning, match="more than predict_latency_ms=0.0001"):
        model = fitted_with(predict_latency_ms=0.0001)
    assert {len(bag.models) for bag in model.pool_.bags.values()} == {1}
    assert len(model.best_entry_.sources) <= 2


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"max_trials": 1}, "at least 2, or 0 for a single trial"),
        ({"max_trees": 0}, "max_trees=0 must be None or a whole number of at least 1"),
        ({"tolerance": 2.0}, r"tolerance=2.0 must be a number in \[0, 1\]"),
        ({"predict_latency_ms": -1}, "predict_latency_ms=-1 must be None or a positive number"),
    ],
)
def test_a_wrong_limit_is_refused(options, message):
    with pytest.raises(ParameterError, match=message):
        ServingOptions(**options)


def test_a_refit_builds_no_ensemble_and_keeps_the_limits():
    options = ServingOptions(max_trees=9)
    serving = validate_settings(FairAutoML(ensemble=options, refit=True)).serving
    assert (serving.max_trials, serving.max_trees) == (0, 9)
