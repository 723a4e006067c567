"""A fit over learners and folds of the user."""

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.ensemble import RandomForestClassifier
from sklearn.model_selection import GroupKFold, KFold
from sklearn.naive_bayes import GaussianNB
from sklearn.svm import SVC

from fairautoml import AllExcept, FairAutoML, RunStorage, load_run
from fairautoml.auditing.stability import retrained
from fairautoml.exceptions import (
    InputError,
    NotPortableError,
    ParameterError,
    ResumeMismatchError,
    UnknownNameError,
)
from fairautoml.learners import LEARNERS, Learner
from fairautoml.plan import _executor
from fairautoml.settings import plain_parameters, restored_parameters, validate_settings
from quick_fits import N_ROWS, few_individuals, quick


def bayes(params, feature_schema, seed):
    """Build the estimator of a learner."""
    return GaussianNB(var_smoothing=params["smoothing"])


SPACE = "params: {smoothing: {type: real, low: 1.0e-9, high: 1.0, default: 0.1, log: true}}"
WITH_SPACE = Learner(name="bayes", build=bayes, space=SPACE)
LEARNT = [SVC(), GaussianNB, WITH_SPACE, "logistic_regression"]


@pytest.fixture(scope="module")
def individuals():
    return few_individuals()


@pytest.fixture(scope="module")
def stored(individuals, tmp_path_factory):
    folder = tmp_path_factory.mktemp("own") / "run"
    given = {"learners": LEARNT, "n_trials": 9, "cv": KFold(2, shuffle=True, random_state=0)}
    return quick(run_dir=folder, **given).fit(*individuals), folder, given


def test_names_estimators_classes_and_learners_are_searched_together(stored):
    model, _, _ = stored
    assert set(model.trials_["status"]) == {"success"}
    names = ["svc", "gaussian_nb", "bayes", "logistic_regression"]
    assert set(model.trials_["learner"]) == {*names, "prior"}
    counts = model.trials_["learner"].value_counts()
    assert counts["svc"] == counts["gaussian_nb"] == 1  # their hyperparameters are fixed
    assert counts["bayes"] > 1
    assert not {*names[:3]} & {*LEARNERS.names()}


def test_the_run_is_loaded_as_a_pickle_and_has_names_in_place_of_objects(stored, individuals):
    model, folder, _ = stored
    X, _, group = individuals
    loaded = load_run(folder, trust_pickle=True)
    assert np.array_equal(loaded.predict_proba(X, group), model.predict_proba(X, group))
    assert loaded.learners == ["svc", "gaussian_nb", "bayes", "logistic_regression"]
    assert loaded.cv == 5
    with pytest.raises(NotPortableError, match="has no portable form"):
        model.export(folder / "model.fair")
    assert model.learners is LEARNT
    assert clone(model).learners[1] is GaussianNB


def test_a_resumed_run_needs_the_same_learners(stored, individuals):
    _, folder, given = stored
    again = RunStorage(folder, "resume")
    for learners in ([SVC(C=2.0), *LEARNT[1:]], [LEARNT[0], LEARNT[1], "logistic_regression"]):
        with pytest.raises(ResumeMismatchError, match="different learners"):
            quick(run_dir=again, **{**given, "learners": learners}).fit(*individuals)
    with pytest.raises(UnknownNameError, match="given as objects, also to resume a run"):
        quick(run_dir=again, **{**given, "learners": ["svc"]}).fit(*individuals)


def test_a_resumed_run_continues_with_them(stored, individuals):
    model, folder, given = stored
    given = {**given, "n_trials": 10, "run_dir": RunStorage(folder, "resume")}
    longer = quick(**given).fit(*individuals)
    assert len(longer.trials_) == 10
    assert longer.trials_["learner"][:9].tolist() == model.trials_["learner"].tolist()


def test_a_resumed_run_needs_the_same_folds(stored, individuals):
    _, folder, given = stored
    given = {**given, "cv": KFold(2), "run_dir": RunStorage(folder, "resume")}
    with pytest.raises(ResumeMismatchError, match="different folds"):
        quick(**given).fit(*individuals)


def test_a_splitter_of_entities_gets_the_groups_of_fit(individuals):
    entities = np.arange(N_ROWS) // 3
    model = quick(cv=GroupKFold(3)).fit(*individuals, groups=entities)
    assert model.trials_["folds"].max() == 3
    with pytest.raises(ParameterError, match="groups= of fit"):
        quick(cv=GroupKFold(3)).fit(*individuals)


def test_learners_can_be_left_out(individuals):
    others = [n for n in LEARNERS.names() if n not in ("logistic_regression", "prior")]
    model = quick(learners=AllExcept(others)).fit(*individuals)
    assert set(model.trials_["learner"]) == {"prior", "logistic_regression"}
    plain = plain_parameters(model)
    assert plain["learners"] == {"AllExcept": others}
    assert restored_parameters(plain)["learners"] == AllExcept(others)
    with pytest.raises(Exception, match="AllExcept leaves none; left out are"):
        quick(learners=AllExcept([*others, "logistic_regression"])).fit(*individuals)


def test_a_learner_that_does_not_exist_cannot_be_left_out():
    with pytest.raises(UnknownNameError, match="did you mean xgboost"):
        AllExcept("xgbost")
    with pytest.raises(ParameterError, match=r"AllExcept\(\(\)\): give names out of"):
        AllExcept(())
    with pytest.raises(ParameterError, match=r"AllExcept\(3\): give names out of"):
        AllExcept(3)
    with pytest.raises(TypeError, match=r"learners=AllExcept\('xgboost'\)"):
        FairAutoML(exclude_learners="xgboost")


def test_an_audit_trains_own_learners_again(stored, individuals):
    model, _, _ = stored
    X, _, group = individuals
    again = retrained(model, *individuals)
    assert (again.predict(X, group) == model.predict(X, group)).mean() > 0.9


def test_a_learner_that_processes_cannot_import_is_trained_here_unless_they_are_asked_for(
    individuals,
):
    local = Learner(name="local", build=lambda *_: GaussianNB())
    for learner, executor in ((local, "serial"), (SVC(), "local")):
        settings = validate_settings(FairAutoML(learners=[learner], time_budget=60))
        assert _executor(settings, 100_000, 10) == executor
    with pytest.raises(InputError, match=r"cannot send the objective .*learners.* module"):
        quick(learners=[local], executor="local", n_jobs=1).fit(*individuals)


@pytest.mark.slow
def test_worker_processes_train_own_learners(individuals):
    learners = [RandomForestClassifier(5), WITH_SPACE]
    here, there = (
        quick(learners=learners, n_trials=4, n_jobs=n_jobs, executor=executor).fit(*individuals)
        for n_jobs, executor in ((1, "serial"), (2, "local"))
    )
    assert here.trials_["status"].tolist() == ["success"] * 4
    assert here.trials_["learner"].tolist() == there.trials_["learner"].tolist()
    X, _, group = individuals
    assert np.array_equal(here.predict_proba(X, group), there.predict_proba(X, group))
