import numpy as np
import pytest

from fairautoml import FairAutoML
from fairautoml.exceptions import InputError, ParameterError
from fairautoml.options import check_wishes
from fairautoml.planning import SMALL, _executor, first_candidates, get_ready
from fairautoml.spaces import ParamSpace, SearchSpace, load_space
from quick_fits import few_people, quick

QUIET = pytest.mark.filterwarnings("ignore::fairautoml.exceptions.FairAutoMLWarning")
LEARNERS = {name: load_space("learners", name) for name in ("lightgbm", "logistic_regression")}


def test_the_portfolio_comes_first_and_every_learner_has_its_turn():
    found = first_candidates(SearchSpace(learners=LEARNERS))
    assert {candidate.learner for candidate in found} == set(LEARNERS)
    assert {candidate.mitigation for candidate in found} == {"none"}
    assert len({candidate.key for candidate in found}) == len(found)


def test_a_cheap_mitigation_of_the_space_is_tried_early_and_a_costly_one_is_not():
    names = ("reweighing", "exponentiated_gradient")
    spaces = {name: load_space("mitigators", name) for name in names}
    spaces = {"none": ParamSpace(name="none"), **spaces}
    found = first_candidates(SearchSpace(learners=LEARNERS, mitigations=spaces))
    assert [candidate.mitigation for candidate in found[:3]] == ["none", "reweighing", "none"]
    assert found[1].params == found[0].params
    assert "exponentiated_gradient" not in {candidate.mitigation for candidate in found}


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ({"scheduler": "tcp://127.0.0.1:1"}, "scheduler='tcp://127.0.0.1:1' is for executor='das"),
        ({"memory_limit": 900, "executor": "serial"}, "memory_limit=900 needs trials in child"),
    ],
)
def test_a_limit_that_the_executor_would_pass_over_is_refused(asked, message):
    X, y, group = few_people()
    with pytest.raises(ParameterError, match=message):
        quick(**asked).fit(X, y, group)


def test_a_memory_limit_is_kept_without_the_executor_being_named():
    X, y, group = few_people()
    with pytest.raises(InputError, match=r"memory_limit=1 is below the .* MiB floor"):
        quick(memory_limit=1, executor="auto").fit(X, y, group)


@pytest.mark.parametrize(("seconds", "place"), [(2, "serial"), (5, "local"), (None, "local")])
def test_two_workers_are_started_only_for_a_budget_that_repays_their_start(seconds, place):
    trials = 4 if seconds is None else None
    wishes = check_wishes(quick(time_budget=seconds, n_trials=trials, n_jobs=2))
    assert _executor(wishes, 240, 2) == place


@pytest.mark.parametrize("budget", [{"n_trials": 4}, {"time_budget": 5}])
def test_one_trial_at_a_time_is_told_from_a_number_that_nobody_gave_but_runs_in_the_same_place(
    budget,
):
    # A cluster gives all its threads to whoever said nothing, and one to whoever asked for one.
    unsaid, one = (check_wishes(quick(**budget, n_jobs=n_jobs)) for n_jobs in (None, 1))
    assert (unsaid.n_workers, one.n_workers) == (None, 1)
    assert _executor(unsaid, 240, 2) == _executor(one, 240, 2) == "serial"


@pytest.mark.parametrize(("learners", "small"), [(None, True), (["logistic_regression"], False)])
def test_a_short_budget_begins_with_a_small_model_of_the_learners_allowed(learners, small):
    X, y, group = few_people()
    rows = np.resize(np.arange(len(y)), 60_000)
    model = quick(time_budget=2, n_trials=None, learners=learners, n_folds=5)
    model.fit(X.iloc[rows].reset_index(drop=True), y[rows], group[rows])
    first = model.trials_[model.trials_["trial"] == 1].iloc[0]
    assert first["sample_fraction"] < 0.2
    assert (first["params"] == SMALL.params) == small


def test_workers_are_made_ready_only_where_there_will_be_some(monkeypatch):
    made = []
    monkeypatch.setattr("fairautoml.planning.warm_up", lambda: made.append(1))
    for asked, shape, expected in (
        ({"time_budget": 30}, (), 1),
        ({"time_budget": 5}, (), 0),
        ({"time_budget": 5}, (50_000,), 1),
        ({"time_budget": 5}, (3_000, 2_000), 1),
        ({"n_trials": 5}, (50_000,), 0),
        ({"n_trials": 5, "executor": "local"}, (), 1),
        ({"time_budget": 30, "executor": "serial"}, (), 0),
    ):
        made.clear()
        get_ready(check_wishes(FairAutoML(**asked)), *shape)
        assert len(made) == expected, asked


@QUIET
def test_a_run_that_goes_on_begins_as_it_began(tmp_path):
    X, y, group = few_people()
    rows = np.resize(np.arange(len(y)), 40_000)
    table = X.iloc[rows].reset_index(drop=True), y[rows], group[rows]
    asked = {"n_trials": None, "learners": ["prior"], "n_folds": 5, "run_dir": tmp_path / "run"}
    first = quick(time_budget=1.5, **asked).fit(*table).trials_["sample_fraction"]
    assert first.iloc[0] < 0.5
    for seconds in (1.5, 3):
        again = quick(time_budget=seconds, **asked, resume=True).fit(*table).trials_
        # The baseline is on record; a larger budget would have begun with more rows.
        assert again["sample_fraction"].iloc[0] == first.iloc[0]
        assert (again["trial"] == 0).sum() == 1


@QUIET
def test_a_budget_that_is_over_before_the_search_begins_still_gives_the_baseline():
    X, y, group = few_people()
    model = quick(n_trials=None, time_budget=1e-6).fit(X, y, group)
    assert model.best_entry_.constant
    assert model.predict(X, group).shape == (len(y),)
