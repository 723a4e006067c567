import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from unittest import mock

import numpy as np
import pandas as pd
import pytest

from fairautoml import FairAutoML, LocalProcesses
from fairautoml.data.read import build_dataset
from fairautoml.exceptions import InputError, ParameterError
from fairautoml.plan import (
    SMALL,
    _executor,
    _n_workers,
    define_problem,
    initial_configs,
    make_plan,
    start_workers,
    terms_of,
)
from fairautoml.search.allocators.ladder import first_fidelity
from fairautoml.search.space import ParamSpace, SearchSpace
from fairautoml.search.space_files import load_space
from fairautoml.search.strategies import STRATEGIES
from fairautoml.settings import validate_settings
from quick_fits import few_individuals, quick

QUIET = pytest.mark.filterwarnings("ignore::fairautoml.exceptions.FairAutoMLWarning")
LEARNERS = {name: load_space("learners", name) for name in ("lightgbm", "logistic_regression")}


def test_the_portfolio_comes_first_and_every_learner_has_its_turn():
    found = initial_configs(SearchSpace(learners=LEARNERS))
    assert {config.learner for config in found} == set(LEARNERS)
    assert {config.mitigation for config in found} == {"none"}
    assert len({config.key for config in found}) == len(found)


def test_a_cheap_mitigation_of_the_space_is_tried_early_and_a_costly_one_is_not():
    names = ("reweighing", "exponentiated_gradient")
    spaces = {name: load_space("mitigators", name) for name in names}
    spaces = {"none": ParamSpace(name="none"), **spaces}
    found = initial_configs(SearchSpace(learners=LEARNERS, mitigations=spaces))
    assert [one.mitigation for one in found[:4]] == ["none", "none", "reweighing", "none"]
    assert found[2].params == found[1].params
    assert "exponentiated_gradient" not in {config.mitigation for config in found}


def test_a_mitigation_for_linear_learners_is_combined_with_no_other():
    remover = load_space("mitigators", "correlation_remover")
    spaces = {"none": ParamSpace(name="none"), "correlation_remover": remover}
    excluded = (("lightgbm", "correlation_remover"),)
    space = SearchSpace(learners=LEARNERS, mitigations=spaces, excluded=excluded)
    mitigated = [one for one in initial_configs(space) if one.mitigation != "none"]
    assert [one.learner for one in mitigated] == ["logistic_regression"]
    for strategy in ("random", "optuna_tpe", "admm", "cfo", "flaml_eci"):
        asked = STRATEGIES.get(strategy)(space, 0, ())
        for _ in range(10):
            config = asked.ask()
            if config is None:
                break
            assert (config.learner, config.mitigation) not in excluded


@QUIET
def test_a_mitigation_for_linear_learners_is_noted_and_trained_with_them_only():
    X, y, group = few_individuals()
    asked = {"learners": ["lightgbm", "logistic_regression"], "n_trials": 5, "ensemble": 0}
    model = quick(**asked, mitigators=["none", "correlation_remover"]).fit(X, y, group)
    assert "is combined with logistic_regression only" in " ".join(model.notes_)
    pairs = set(zip(model.trials_["learner"], model.trials_["mitigation"], strict=True))
    assert ("logistic_regression", "correlation_remover") in pairs
    assert ("lightgbm", "correlation_remover") not in pairs
    assert set(model.trials_["status"]) == {"success"}


@QUIET
def test_a_mitigation_for_linear_learners_needs_one():
    X, y, group = few_individuals()
    asked = {"learners": ["lightgbm"], "mitigators": ["fair_representation"]}
    with pytest.raises(InputError, match=r"needs a linear learner.*Add one of .*logistic"):
        quick(**asked).fit(X, y, group)


@pytest.mark.parametrize(
    ("requested", "message"),
    [
        ({"executor": 3}, "executor"),
        ({"n_jobs": 2, "executor": "serial"}, "n_jobs=2 needs trials in child processes"),
    ],
)
def test_a_limit_that_the_executor_would_pass_over_is_refused(requested, message):
    X, y, group = few_individuals()
    with pytest.raises(ParameterError, match=message):
        quick(**requested).fit(X, y, group)


def test_a_memory_limit_reaches_the_child_processes():
    X, y, group = few_individuals()
    with pytest.raises(InputError, match=r"memory_limit=1 is below the .* MiB floor"):
        quick(executor=LocalProcesses(memory_limit=1)).fit(X, y, group)


@pytest.mark.parametrize(
    ("seconds", "place"), [(2, "serial"), (3, "local"), (5, "local"), (None, "local")]
)
def test_two_workers_are_started_only_for_a_budget_that_repays_their_start(seconds, place):
    trials = 4 if seconds is None else None
    settings = validate_settings(quick(time_budget=seconds, n_trials=trials, n_jobs=2))
    assert _executor(settings, 240, 2) == place


@pytest.mark.parametrize(
    ("seconds", "n_rows", "n_columns", "place"),
    [
        (4, 3_000, 10, "serial"),
        (4, 40_000, 10, "serial"),
        (5, 40_000, 10, "local"),
        (4, 40_000, 100, "local"),
        (4, 3_000, 4_000, "local"),
        (2, 3_000, 4_000, "serial"),
    ],
)
def test_one_worker_is_started_sooner_for_a_table_whose_folds_may_take_seconds(
    seconds, n_rows, n_columns, place
):
    settings = validate_settings(quick(time_budget=seconds, n_trials=None, n_jobs=1))
    assert _executor(settings, n_rows, n_columns) == place


@pytest.mark.parametrize("budget", [{"n_trials": 4}, {"time_budget": 5}])
def test_one_given_worker_differs_from_the_default_but_runs_in_the_same_place(
    budget,
):
    # A cluster gives all its threads to whoever said nothing, and one to whoever asked for one.
    unsaid, one = (validate_settings(quick(**budget, n_jobs=n_jobs)) for n_jobs in (None, 1))
    assert (unsaid.n_workers, one.n_workers) == (None, 1)
    assert _executor(unsaid, 240, 2) == _executor(one, 240, 2) == "serial"


@pytest.mark.parametrize(
    ("budget", "n_rows", "place", "n_workers"),
    [
        ({"time_budget": 10}, 240, "local", 16),
        ({"time_budget": 9}, 240, "serial", 1),
        ({"time_budget": 5}, 40_000, "local", 16),
        ({"n_trials": 20}, 240, "serial", 1),
        ({"n_trials": 20}, 40_000, "local", 8),
        ({"n_trials": 20, "executor": "serial"}, 40_000, "serial", 1),
        ({"time_budget": 10, "executor": "serial"}, 240, "serial", 1),
    ],
)
def test_all_cores_are_used_by_default_where_the_search_takes_longer_than_to_start_them(
    budget, n_rows, place, n_workers, monkeypatch
):
    monkeypatch.setattr("fairautoml.plan.cpu_count", lambda: 16)
    monkeypatch.setattr("fairautoml.plan.available_mb", lambda: 64_000.0)
    settings = validate_settings(FairAutoML(**budget))
    found = _executor(settings, n_rows, 9)
    assert (found, _n_workers(settings, found)) == (place, n_workers)


@pytest.mark.parametrize(("n_cores", "memory_mb", "n_workers"), [(64, 4_000, 8), (4, 300, 1)])
def test_no_more_workers_are_started_by_default_than_memory_has_room_for(
    n_cores, memory_mb, n_workers, monkeypatch
):
    monkeypatch.setattr("fairautoml.plan.cpu_count", lambda: n_cores)
    monkeypatch.setattr("fairautoml.plan.available_mb", lambda: memory_mb)
    settings = validate_settings(FairAutoML(time_budget=30))
    assert _n_workers(settings, "local") == n_workers


def test_all_threads_of_a_cluster_are_used_by_default():
    assert _n_workers(validate_settings(FairAutoML(executor="dask")), "dask") is None


def test_a_single_core_trains_in_this_process_where_there_is_no_time_budget(monkeypatch):
    monkeypatch.setattr("fairautoml.plan.cpu_count", lambda: 1)
    assert _executor(validate_settings(FairAutoML(n_trials=20)), 40_000, 9) == "serial"


def test_the_portfolio_begins_with_what_a_large_table_tries_on_few_rows():
    found = initial_configs(SearchSpace(learners=LEARNERS))
    assert found[0].learner == SMALL.learner
    assert SMALL.params.items() <= found[0].params.items()
    assert found[0].params.keys() >= SMALL.params.keys()


def planned(n_rows, *, n_columns=1, n_trials=None, blind=False, late=0.0, **requested):
    """The plan of a fit to so many rows, made so many seconds after its start."""
    rng = np.random.default_rng(0)
    requested = {"constraint": "demographic_parity_difference<=0.1", "cv": 5, **requested}
    model = FairAutoML(n_trials=n_trials, sensitive_at_predict=not blind, **requested)
    settings = validate_settings(model)
    X = pd.DataFrame(rng.normal(size=(n_rows, n_columns))).add_prefix("x")
    data = build_dataset(X, rng.integers(0, 2, n_rows), rng.choice(["f", "m"], n_rows))
    problem = define_problem(data, settings)
    with mock.patch("fairautoml.plan.time", SimpleNamespace(monotonic=lambda: 100.0 + late)):
        return make_plan(problem, settings, 100.0)


@pytest.mark.parametrize(
    ("requested", "by_loss"),
    [
        ({}, True),
        ({"constraint": None}, True),
        ({"objective": "balanced_accuracy"}, True),
        ({"objective": "roc_auc"}, False),
        ({"objective": lambda y, p: 0.5}, False),
        ({"blind": True}, False),
        ({"mitigators": ("none", "common_threshold")}, False),
        ({"mitigators": ("group_thresholds", "exponentiated_gradient")}, False),
        ({"mitigators": ("group_thresholds", "reweighing")}, False),
    ],
)
def test_configurations_are_compared_by_log_loss_where_thresholds_by_group_serve_any_of_them(
    requested, by_loss
):
    assert planned(7_000, n_trials=20, **requested).problem.by_loss is by_loss


def test_on_a_small_table_whose_trials_have_all_folds_the_objective_compares_them():
    assert not planned(5_000, n_trials=20).problem.by_loss


def test_the_text_of_the_search_space_is_the_same_in_every_process():
    folders = [str(Path(__file__).parent), str(Path(__file__).parents[1])]
    script = (
        f"import sys; sys.path[:0] = {folders!r}\n"
        "from test_planning import planned\n"
        "print(planned(200, n_trials=2, learners=['lightgbm', 'xgboost']).space)\n"
    )
    # Python orders the two names of a set differently under these seeds.
    found = {
        subprocess.run(
            [sys.executable, "-W", "ignore", "-c", script],
            env={**os.environ, "PYTHONHASHSEED": seed},
            check=True,
            capture_output=True,
            text=True,
        ).stdout
        for seed in ("0", "1")
    }
    assert len(found) == 1
    assert "native_learners=('lightgbm', 'xgboost')" in found.pop()


def first_rows(plan, seconds):
    """The share of the rows of the first model."""
    return first_fidelity(terms_of(plan), seconds).rows


@pytest.mark.parametrize("seconds", [30, 3600])
def test_a_large_table_begins_with_a_fast_model_of_a_sample(seconds):
    plan = planned(40_000, time_budget=seconds)
    terms = terms_of(plan)
    assert terms.first == plan.early
    assert [config.learner for config in terms.first] == ["logistic_regression", "lightgbm"]
    assert terms.quick
    assert first_rows(plan, seconds) * terms.n_train_rows == pytest.approx(10_000)
    assert plan.here


@pytest.mark.parametrize(
    ("learners", "first", "quick"),
    [
        (None, ["logistic_regression", "lightgbm"], True),
        (["lightgbm"], ["lightgbm"], True),
        (["logistic_regression"], ["logistic_regression"], False),
        (["random_forest"], ["random_forest"], False),
    ],
)
def test_a_short_budget_begins_with_fast_models_of_the_learners_allowed(learners, first, quick):
    plan = planned(60_000, time_budget=2, learners=learners)
    terms = terms_of(plan)
    assert first_rows(plan, 2) < 0.25
    assert terms.quick == quick
    assert [config.learner for config in terms.first] == first
    if "lightgbm" in first:
        assert SMALL.params.items() <= terms.first[-1].params.items()


def test_one_fold_ranks_nothing_where_it_has_few_rows_of_a_class():
    assert terms_of(planned(3_000, time_budget=30)).screens
    plan = planned(3_000, time_budget=30)
    rare = np.where(np.arange(3_000) < 60, 1, 0)
    problem = replace(plan.problem, dataset=replace(plan.problem.dataset, y=rare))
    assert not terms_of(replace(plan, problem=problem)).screens


def test_a_table_of_many_columns_is_left_to_the_workers():
    assert planned(3_000, time_budget=30, n_columns=80).here
    assert not planned(3_000, time_budget=30, n_columns=2_000).here


def test_what_comes_after_the_search_is_left_its_time():
    for seconds, after in ((2, 0.4), (5, 0.8), (60, 4.8)):
        plan = planned(40_000, time_budget=seconds)
        assert plan.start + seconds - plan.limits.deadline == pytest.approx(after)
        again = planned(40_000, time_budget=seconds, refit=True)
        more = again.start + seconds - again.limits.deadline
        assert more == pytest.approx(after + 0.07 * seconds)


def test_a_large_table_that_ate_its_budget_up_is_searched_for_a_moment_all_the_same():
    assert planned(40_000, time_budget=2, late=1.8).limits.deadline == pytest.approx(102.7)


def test_rules_that_weigh_how_likely_groups_are_have_more_time_after_the_search():
    plan = planned(40_000, time_budget=10, blind=True)
    assert plan.start + 10 - plan.limits.deadline == pytest.approx(0.4 + 2 * 0.4)


def test_a_small_table_begins_with_a_small_model_of_all_rows_in_this_process():
    plan = planned(3_000, time_budget=30)
    assert plan.early == plan.first[:1]
    assert first_rows(plan, 30) == 1.0
    assert plan.here


@pytest.mark.parametrize(
    "requested", [{"n_trials": 5}, {"time_budget": 600, "learners": ["random_forest"]}]
)
def test_neither_a_number_of_trials_nor_another_learner_trains_in_this_process(requested):
    assert not planned(40_000, **requested).here


def test_with_a_number_of_trials_the_strategy_proposes_the_first_model():
    assert terms_of(planned(40_000, n_trials=5)).first == ()


@pytest.mark.parametrize(
    "requested",
    [{"time_budget": 2}, {"executor": "serial"}, {"executor": LocalProcesses(memory_limit=4000)}],
)
def test_only_local_workers_without_a_memory_limit_are_waited_for_in_this_process(requested):
    for n_rows in (3_000, 40_000):
        assert not planned(n_rows, **{"time_budget": 30, **requested}).here


def test_workers_are_made_ready_only_where_there_will_be_some(monkeypatch):
    made = []
    monkeypatch.setattr("fairautoml.plan.preload", lambda: made.append(1))
    monkeypatch.setattr("fairautoml.plan.cpu_count", lambda: 16)
    for requested, shape, expected in (
        ({"time_budget": 30}, (), 1),
        ({"time_budget": 5}, (), 0),
        ({"time_budget": 5}, (50_000,), 1),
        ({"time_budget": 5}, (3_000, 2_000), 1),
        ({"n_trials": 5}, (50_000,), 1),
        ({"n_trials": 5}, (500,), 0),
        ({"n_trials": 5, "n_jobs": 1}, (50_000,), 0),
        ({"n_trials": 5, "executor": "local"}, (), 1),
        ({"time_budget": 30, "executor": "serial"}, (), 0),
    ):
        made.clear()
        start_workers(validate_settings(FairAutoML(**requested)), *shape)
        assert len(made) == expected, requested


@QUIET
def test_a_budget_that_is_over_before_the_search_begins_still_gives_the_baseline():
    X, y, group = few_individuals()
    model = quick(n_trials=None, time_budget=1e-6).fit(X, y, group)
    assert model.best_entry_.constant
    assert model.predict(X, group).shape == (len(y),)


LEAST_SERVED = {"constraint": "accuracy_parity_difference<=0.1", "blind": True}


@pytest.mark.parametrize(
    ("requested", "allocator"),
    [
        ({"time_budget": 30}, "ladder"),
        ({"time_budget": 30, "constraint": None}, "ladder"),
        ({"time_budget": 30, **LEAST_SERVED, "blind": False}, "ladder"),
        ({"time_budget": 30, **LEAST_SERVED}, "cost_aware"),
        ({"n_trials": 9, **LEAST_SERVED}, "ladder"),
        ({"time_budget": 30, "allocator": "flat"}, "flat"),
    ],
)
def test_training_time_mitigation_joins_where_no_post_processor_serves(requested, allocator):
    assert planned(3_000, **requested).allocator == allocator
