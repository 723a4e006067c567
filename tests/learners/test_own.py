"""Estimators of the user as learners."""

import numpy as np
import pytest
from sklearn.base import BaseEstimator, ClassifierMixin, clone
from sklearn.cluster import KMeans
from sklearn.ensemble import (
    HistGradientBoostingClassifier,
    RandomForestClassifier,
    VotingClassifier,
)
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.naive_bayes import GaussianNB
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC, LinearSVC

from fairautoml.data.dataset import FeatureSchema
from fairautoml.evaluation.fitting import _fit_learner
from fairautoml.exceptions import NotPortableError, ParameterError, UnknownNameError
from fairautoml.explain import _leaves
from fairautoml.learners import LEARNERS, Learner
from fairautoml.learners._own import can_be_sent, chosen_learners, described, without_objects
from fairautoml.mitigators._base import TrainRows
from fairautoml.portable import Dump
from fairautoml.records import Config
from fairautoml.testing import check_learner

PLAIN = FeatureSchema(n_features=2)


@pytest.fixture(scope="module")
def rows():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(120, 2)).astype(np.float32)
    return X, (X[:, 0] + 0.5 * rng.normal(size=120) > 0).astype(np.int8)


def own(*given, regression=False):
    return chosen_learners(list(given), regression=regression)[1]


def one(given, regression=False):
    (learner,) = own(given, regression=regression).values()
    return learner


def test_names_come_from_the_class_and_are_distinct():
    pipeline = make_pipeline(StandardScaler(), SVC())
    names, found = chosen_learners(
        ["lightgbm", SVC(), pipeline, LogisticRegression(), KNeighborsClassifier], regression=False
    )
    assert names == ("lightgbm", "svc", "svc_2", "logistic_regression_2", "k_neighbors_classifier")
    assert [*found] == [*names[1:]]
    assert without_objects([SVC()], regression=False) == ["svc"]
    assert without_objects(["lightgbm"], regression=False) == ["lightgbm"]


def test_a_single_estimator_and_a_class_are_accepted():
    assert [*chosen_learners(GaussianNB, regression=False)[1]] == ["gaussian_nb"]
    assert chosen_learners("lightgbm", regression=False) == (("lightgbm",), {})
    assert chosen_learners(None, regression=False) == (None, {})


def test_the_scores_are_those_of_a_clone_of_the_estimator(rows):
    given = RandomForestClassifier(5, random_state=3, n_jobs=7)
    model = one(given).build({}, PLAIN, 0).fit(*rows)
    expected = RandomForestClassifier(5, random_state=3).fit(*rows).predict_proba(rows[0])
    np.testing.assert_allclose(model.predict_proba(rows[0]), expected, atol=1e-12)
    assert not hasattr(given, "estimators_")
    assert given.n_jobs == 7


@pytest.mark.parametrize("as_learner", [False, True])
def test_boosting_of_scikit_learn_is_trained_though_a_column_is_left_out(rows, as_learner):
    X, y = rows[0].copy(), rows[1]
    X[:, 1] = np.nan
    given = HistGradientBoostingClassifier(max_iter=5)
    learner = Learner(name="plain", build=lambda *_: given) if as_learner else one(given)
    train_rows = TrainRows(
        X=X, y=y, weight=np.ones(len(y)), cells=np.zeros(len(y), dtype=np.int32), systems=(),
        feature_schema=PLAIN,
    )  # fmt: skip
    model = _fit_learner(learner, Config(learner=learner.name), train_rows, 0)
    expected = clone(given).fit(X[:, :1], y).predict_proba(X[:, :1])[:, 1]
    np.testing.assert_allclose(model.scores(X, train_rows.cells), expected, atol=1e-6)
    new = np.where(np.arange(2) == 1, 1000.0, X)
    np.testing.assert_allclose(model.scores(new, train_rows.cells), expected, atol=1e-6)


def test_values_of_a_column_that_is_empty_in_training_do_not_change_the_score(rows):
    X, y = rows[0].copy(), rows[1]
    X[:, 1] = np.nan
    new = X.copy()
    new[:, 1] = 1000.0
    model = one(SVC()).build({}, PLAIN, 0).fit(X, y)
    np.testing.assert_array_equal(model.predict_proba(new), model.predict_proba(X))


@pytest.mark.parametrize("as_learner", [False, True])
def test_a_member_takes_rows_without_the_columns_that_are_empty_in_training(rows, as_learner):
    X, y = rows[0].copy(), rows[1]
    X[:, 1] = np.nan
    learner = Learner(name="nb", build=lambda *_: GaussianNB()) if as_learner else one(GaussianNB)
    cells = np.zeros(len(y), dtype=np.int32)
    train_rows = TrainRows(
        X=X, y=y, weight=np.ones(len(y)), cells=cells, systems=(), feature_schema=PLAIN
    )
    model = _fit_learner(learner, Config(learner=learner.name), train_rows, 0)
    matrix = new = np.where(np.arange(2) == 1, np.float32(1000.0), X)
    ((estimator, weight, steps),) = _leaves(model, 1.0, ())
    for step in steps:
        matrix = step(matrix, cells)
    assert weight == 1.0
    found = estimator.predict_proba(matrix)[:, 1]
    np.testing.assert_allclose(found, model.scores(new, cells), atol=1e-6)


def test_an_estimator_without_a_seed_gets_that_of_the_trial(rows):
    learner = one(RandomForestClassifier(5))
    first, same, other = (
        learner.build({}, PLAIN, seed).fit(*rows).predict_proba(rows[0]) for seed in (0, 0, 1)
    )
    assert np.array_equal(first, same)
    assert not np.array_equal(first, other)


@pytest.mark.parametrize("given", [LinearSVC(), RandomForestClassifier(5)])
def test_any_classifier_keeps_the_contract_of_a_learner(given):
    check_learner(one(given))


@pytest.mark.parametrize("n_known", [2, 3])
def test_decision_values_become_probabilities_of_several_classes(rows, n_known):
    X, y = rows[0], (np.arange(120) % n_known).astype(np.int8)
    found = one(SVC()).build_multiclass({}, PLAIN, 0, 3).fit(X, y).predict_proba(X)
    assert found.shape == (120, 3)
    np.testing.assert_allclose(found.sum(axis=1), 1.0)
    assert (found.argmax(axis=1) == SVC().fit(X, y).predict(X)).mean() > 0.9


def test_an_estimator_that_refuses_gaps_gets_none_and_no_codes_as_numbers():
    codes = np.tile([0.0, 1.0, 2.0, np.nan], 30).astype(np.float32)
    numbers = np.where(np.arange(120) % 7 == 0, np.nan, 1.0).astype(np.float32)
    y = np.isin(codes, (0.0, 2.0)).astype(np.int8)
    schema = FeatureSchema(n_features=2, categorical=(1,), cardinalities=(3,))
    X = np.column_stack([numbers, codes])
    model = one(LogisticRegression(C=100.0)).build({}, schema, 0).fit(X, y)
    assert np.array_equal(model.predict(X), y)


@pytest.mark.parametrize(
    "given", [GaussianNB(), make_pipeline(StandardScaler(with_mean=False), GaussianNB())]
)
def test_weights_reach_the_estimator(rows, given):
    X, y = rows
    weight, learner = 1.0 + 20 * (X[:, 1] > 0), one(given)
    assert learner.handles_weights
    plain, weighted = (
        learner.build({}, PLAIN, 0).fit(X, y, **more).predict_proba(X)
        for more in ({}, {"sample_weight": weight})
    )
    assert np.abs(plain - weighted).max() > 0.01
    assert not one(KNeighborsClassifier()).handles_weights


def test_a_regressor_keeps_the_unit_of_the_target(rows):
    X, y = rows[0], 1000.0 + 50.0 * rows[0][:, 0]
    found = one(Ridge(alpha=5.0), regression=True).build_regressor({}, PLAIN, 0).fit(X, y)
    np.testing.assert_allclose(found.predict(X), Ridge(alpha=5.0).fit(X, y).predict(X), rtol=1e-6)


class Local(ClassifierMixin, BaseEstimator):
    """Cannot be pickled with a function that has no name."""

    def __init__(self, call=None):
        self.call = call

    def predict_proba(self, X):
        return self.call(X)


@pytest.mark.parametrize(
    ("given", "why"),
    [
        (Ridge(), "is not a classifier; give a classifier, or use FairAutoMLRegressor"),
        (KMeans(), "is not a classifier"),
        (VotingClassifier([("a", GaussianNB())]), "neither predict_proba nor decision_function"),
        (3, "neither a registered name nor a Learner, nor an estimator of scikit-learn"),
        (VotingClassifier, "missing 1 required positional argument"),
        (Local(lambda X: X), "cannot be pickled .* top level of a module"),
        (Learner(name="lightgbm", build=GaussianNB), "already a learner 'lightgbm'"),
    ],
)
def test_what_cannot_be_a_learner_is_refused(given, why):
    with pytest.raises(ParameterError, match=rf"^learners: .*{why}"):
        own(given)


def test_a_classifier_is_no_regressor_and_an_unknown_name_hints_at_objects():
    with pytest.raises(ParameterError, match="is not a regressor; give a regressor, or use Fair"):
        own(GaussianNB(), regression=True)
    with pytest.raises(UnknownNameError, match=r"'svc'.*given as objects, also to resume a run"):
        own("svc")


def test_own_learners_are_known_inside_the_context_only():
    learners = own(SVC())
    with LEARNERS.adding(learners):
        assert LEARNERS.get("svc") is learners["svc"]
    with pytest.raises(UnknownNameError):
        LEARNERS.get("svc")


def test_a_description_tells_parameters_apart_and_is_equal_in_every_process():
    texts = [described(one(given)) for given in (SVC(), SVC(), SVC(C=2.0))]
    assert texts[0] == texts[1] != texts[2]
    pairs = [described(Learner(name="a", build=build)) for build in (lambda *_: 1, lambda *_: 1)]
    assert pairs[0] == pairs[1]
    assert " at 0x" not in pairs[0]


def test_another_process_cannot_read_what_a_function_defines():
    assert can_be_sent(own(SVC()))
    assert not can_be_sent({"a": Learner(name="a", build=lambda *_: None)})


def test_an_estimator_has_no_portable_form(rows):
    model = one(GaussianNB()).build({}, PLAIN, 0).fit(*rows)
    with pytest.raises(NotPortableError, match="the learner GaussianNB has no portable form"):
        model.dump(Dump(2), np.arange(2))
