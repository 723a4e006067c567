"""The constructor: 20 parameters, option objects, removed names and the alias of ``sensitive``."""

import inspect
import json
import pickle
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import sklearn
from sklearn.base import clone
from sklearn.model_selection import cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from fairautoml import (
    Dask,
    FairAutoML,
    FairAutoMLRegressor,
    GroupPolicy,
    LocalProcesses,
    RunStorage,
    load_run,
)
from fairautoml.cli.tables import resumed_estimator_of
from fairautoml.exceptions import InputError, ParameterError, SmallGroupWarning
from fairautoml.settings import (
    OTHER_NAMES,
    check_selection,
    plain_parameters,
    restored_parameters,
    validate_settings,
)
from quick_fits import N_ROWS, few_individuals, quick

PARAMETERS = {
    "constraint", "objective", "time_budget", "n_trials", "learners", "mitigators",
    "sensitive_at_predict", "strategy", "allocator", "executor", "n_jobs", "cv", "ensemble",
    "refit", "confidence", "group_policy", "pos_label", "run_dir", "callbacks", "random_state",
}  # fmt: skip
"""Parameters that move to ``certify``."""

POLICY = GroupPolicy(missing="own_group", min_size=30, bins={"age": [25, 60]})
ESTIMATORS = pytest.mark.parametrize("estimator", [FairAutoML, FairAutoMLRegressor])


@pytest.fixture(scope="module")
def individuals():
    return few_individuals()


@pytest.fixture(scope="module")
def fitted(individuals):
    return quick(mitigators=["group_thresholds"]).fit(*individuals)


# --- names ------------------------------------------------------------------------------------


@ESTIMATORS
def test_the_constructor_has_twenty_parameters(estimator):
    names = set(inspect.signature(estimator).parameters)
    assert names == PARAMETERS
    assert names == set(estimator().get_params())
    assert len(PARAMETERS) == 20


@ESTIMATORS
@pytest.mark.parametrize("name", sorted(OTHER_NAMES))
def test_a_name_of_another_library_is_a_type_error_with_the_name_here(estimator, name):
    with pytest.raises(TypeError, match=rf"^{name} is (given as|called|an argument of)") as caught:
        estimator(**{name: 5})
    with pytest.raises(ValueError, match=f"^{name} ") as of_set_params:
        estimator().set_params(**{name: 5})
    assert str(of_set_params.value) == str(caught.value)


def test_the_name_here_has_the_given_value():
    with pytest.raises(TypeError, match=r"^n_splits is called cv=3; seed is .*random_state=4"):
        FairAutoML(n_splits=3, seed=4)


def test_an_address_with_a_password_is_not_repeated():
    with pytest.raises(TypeError, match="run_dir=RunStorage") as caught:
        FairAutoML(storage="postgresql://someone:secret@host/name")
    assert "secret" not in str(caught.value)
    url = "postgresql://someone:secret@host/name"
    assert "secret" not in repr(FairAutoML(run_dir=RunStorage("run", url=url)))


def test_an_unknown_parameter_is_the_usual_error():
    with pytest.raises(TypeError, match="unexpected keyword argument 'n_fold'"):
        FairAutoML(n_fold=3)
    with pytest.raises(ValueError, match="Invalid parameter 'n_fold'"):
        FairAutoML().set_params(n_fold=3)


def test_a_subclass_may_have_a_parameter_of_such_a_name():
    class Own(FairAutoML):
        def __init__(self, verbose=False, **given):
            super().__init__(**given)
            self.verbose = verbose

    assert Own(verbose=True).verbose
    with pytest.raises(TypeError, match="is called cv=3"):
        Own(n_splits=3)


# --- option objects ---------------------------------------------------------------------------

OPTIONS = [
    {"group_policy": POLICY},
    {"executor": Dask("tcp://host:8786", memory_limit=900)},
    {"executor": LocalProcesses(memory_limit=900)},
    {"run_dir": RunStorage("run", "resume", "postgresql://host/name")},
    {"callbacks": [print]},
]


@pytest.mark.parametrize("options", OPTIONS, ids=lambda options: next(iter(options)))
def test_option_objects_are_cloned_and_pickled(options):
    model = FairAutoML(**options)
    for copied in (clone(model), pickle.loads(pickle.dumps(model))):
        assert copied.get_params() == model.get_params()
    ((name, value),) = options.items()
    assert model.get_params()[name] is value


def test_an_option_object_cannot_be_changed():
    with pytest.raises(AttributeError):
        POLICY.missing = "error"


def test_the_executor_objects_are_a_name_with_limits():
    found = validate_settings(FairAutoML(executor=Dask("tcp://host:8786", 900)))
    assert (found.executor, found.scheduler, found.memory_mb) == ("dask", "tcp://host:8786", 900)
    found = validate_settings(FairAutoML(executor=LocalProcesses(900)))
    assert (found.executor, found.scheduler, found.memory_mb) == ("local", None, 900)
    assert validate_settings(FairAutoML(executor="dask")).executor == "dask"


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Dask(5), r"Dask\.address=5 must be None or an address"),
        (lambda: Dask(memory_limit=0), "memory_limit=0 must be None or a positive number"),
        (lambda: LocalProcesses("2 GB"), "memory_limit='2 GB' must be None or a positive"),
    ],
)
def test_a_limit_that_cannot_be_kept_is_refused(make, message):
    with pytest.raises(ParameterError, match=message):
        make()


def test_the_written_parameters_give_the_same_estimator():
    policy = replace(POLICY, max_groups=np.int64(9))
    numbers = {"n_trials": np.int64(3), "time_budget": np.float64(5)}
    model = quick(executor=Dask("tcp://host:8786"), group_policy=policy, **numbers)
    plain = json.loads(json.dumps(plain_parameters(model)))
    again = FairAutoML().set_params(**restored_parameters(plain))
    assert again.group_policy == policy
    assert (again.n_trials, again.time_budget) == (3, 5.0)
    assert again.executor == model.executor
    assert plain_parameters(again) == plain


def test_a_stored_run_has_its_parameters_and_is_resumed_with_them(individuals, tmp_path):
    class Arguments:
        run_dir, time, trials, storage = str(tmp_path / "run"), None, None, None
        scheduler = None

    policy = GroupPolicy(in_features="allow", max_groups=9)
    quick(run_dir=tmp_path / "run", group_policy=policy, callbacks=print).fit(*individuals)
    config = json.loads((tmp_path / "run" / "config.json").read_text())
    names = {*PARAMETERS, "task", "seed"} - {"callbacks", "random_state"}
    assert set(config) == names
    assert config["group_policy"]["max_groups"] == 9
    assert config["run_dir"] == {"path": str(tmp_path / "run"), "url": None}
    stored = load_run(tmp_path / "run")
    assert (stored.group_policy, stored.callbacks) == (policy, None)
    resumed = resumed_estimator_of(Arguments)
    assert resumed.group_policy == policy
    assert resumed.run_dir == RunStorage(str(tmp_path / "run"), "resume")


def test_all_callbacks_are_called_and_one_that_raises_is_dropped(individuals):
    seen, broken = [], []

    def fail(progress):
        broken.append(progress.n_trials)
        raise KeyError("mine")

    with pytest.warns(UserWarning, match="a callback raised KeyError"):
        quick(callbacks=[fail, lambda progress: seen.append(progress.n_trials)]).fit(*individuals)
    assert (broken, seen) == ([1], [1, 2])


# --- minimum size of groups -------------------------------------------------------------------


def with_a_small_group():
    X, y, group = few_individuals()
    return X, y, np.where(np.arange(N_ROWS) < 12, "small", group)


@pytest.mark.filterwarnings("ignore::fairautoml.exceptions.FairAutoMLWarning")
@pytest.mark.parametrize(
    ("min_size", "outside"), [("auto", ("small",)), (12, ()), (13, ("small",)), (1, ())]
)
def test_groups_below_the_minimum_size_are_outside_the_constraint(min_size, outside):
    policy = GroupPolicy(min_size=min_size)
    model = quick("demographic_parity_difference <= 0.1", group_policy=policy)
    model.fit(*with_a_small_group())
    found = [label for one in model.pool_.groups.small_groups for label in one.outside]
    assert tuple(found) == outside


def test_a_large_minimum_size_is_named_in_the_warning():
    with pytest.warns(SmallGroupWarning, match="50"):
        quick(group_policy=GroupPolicy(min_size=50)).fit(*with_a_small_group())


@pytest.mark.parametrize("cuts", [[3, 1], [3, 3], [], [float("nan")], "thirds", 25, [True]])
def test_bins_that_do_not_rise_are_refused_by_the_policy(cuts):
    with pytest.raises(InputError, match=r"GroupPolicy.bins\['age'\] is .*give rising numbers"):
        GroupPolicy(bins={"age": cuts})


# --- the alias --------------------------------------------------------------------------------


def test_sensitive_features_is_another_name_of_sensitive(individuals, fitted):
    X, y, group = individuals
    model = quick(mitigators=["group_thresholds"]).fit(X, y, sensitive_features=group)
    named = {"sensitive_features": group}
    assert np.array_equal(model.predict(X, **named), fitted.predict(X, group))
    assert np.array_equal(model.predict_proba(X, **named), fitted.predict_proba(X, group))
    assert model.score(X, y, **named) == fitted.score(X, y, group)
    assert model.evaluate(X, y, **named) == fitted.evaluate(X, y, group)


@pytest.mark.parametrize("method", ["fit", "predict", "predict_proba", "score", "evaluate"])
def test_both_names_of_sensitive_at_once_are_a_type_error(individuals, fitted, method):
    X, y, group = individuals
    labels = (y,) if method in {"fit", "score", "evaluate"} else ()
    model = clone(fitted) if method == "fit" else fitted
    with pytest.raises(TypeError, match="two names of one argument"):
        getattr(model, method)(X, *labels, sensitive=group, sensitive_features=group)


@pytest.mark.parametrize("name", ["sensitive", "sensitive_features"])
def test_both_names_are_routed_as_metadata(individuals, name):
    X, y, group = individuals
    request = {name: True}
    model = quick(mitigators=["group_thresholds"])
    with sklearn.config_context(enable_metadata_routing=True):
        for set_request in (model.set_fit_request, model.set_predict_request):
            set_request(**request)
        model.set_score_request(**request)
        found = cross_val_score(model, X, y, cv=2, params={name: group}, error_score="raise")
        pipe = make_pipeline(StandardScaler(), model).fit(X, y, **{name: group})
        assert len(pipe.predict(X, **{name: group})) == N_ROWS
    assert (found > 0.5).all()


def test_the_alias_is_routed_only_on_request(individuals):
    X, y, group = individuals
    pipe = make_pipeline(StandardScaler(), quick())
    with (
        sklearn.config_context(enable_metadata_routing=True),
        pytest.raises(TypeError, match="sensitive_features"),
    ):
        pipe.fit(X, y, sensitive_features=group)


def test_a_policy_of_another_type_is_refused():
    with pytest.raises(InputError, match="must be None or a GroupPolicy"):
        FairAutoML(group_policy="exclude").check_parameters()


def test_the_gap_to_select_exceeds_one_only_for_a_sum_over_groups():
    def pool(metric):
        return SimpleNamespace(best=SimpleNamespace(measures=(SimpleNamespace(metric=metric),)))

    check_selection(pool("fned"), 1.2, None)
    with pytest.raises(ParameterError, match=r"max_gap=1\.2"):
        check_selection(pool("demographic_parity_difference"), 1.2, None)
