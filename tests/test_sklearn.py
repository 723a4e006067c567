import pickle

import numpy as np
import pandas as pd
import pytest
import sklearn
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.metrics import accuracy_score, make_scorer
from sklearn.model_selection import GridSearchCV, cross_validate
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler
from sklearn.utils.estimator_checks import parametrize_with_checks

from fairautoml import FairAutoML, FairAutoMLRegressor

WEIGHT_REASON = (
    "cross-validation folds are drawn from rows: a row given twice may lie in two folds, a row of "
    "weight two lies in one, so the fold models differ"
)
EXPECTED_FAILURES = {
    "check_sample_weight_equivalence_on_dense_data": WEIGHT_REASON,
    "check_sample_weight_equivalence_on_sparse_data": WEIGHT_REASON,
}
CONSTRAINT = "demographic_parity_difference <= 0.3"


@pytest.fixture
def routing():
    with sklearn.config_context(enable_metadata_routing=True):
        yield


@pytest.fixture(scope="module")
def individuals():
    rng = np.random.default_rng(0)
    group = rng.choice(["a", "b"], 300)
    X = pd.DataFrame({"x": rng.normal(size=300), "z": rng.normal(size=300)})
    y = np.where(X["x"] + 0.3 * rng.normal(size=300) > 0, "yes", "no")
    return X, y, group


def quick(**parameters):
    settings = {
        "constraint": CONSTRAINT,
        "n_trials": 2,
        "learners": ["logistic_regression"],
        "cv": 2,
        "sensitive_at_predict": False,
        "random_state": 0,
    }
    return FairAutoML(**{**settings, **parameters})


# The checks give columns of nothing but ones, tables in another order, and too few rows for five
# folds; the estimator says so.
@pytest.mark.filterwarnings("ignore::fairautoml.exceptions.DegradedWarning")
@parametrize_with_checks(
    [
        FairAutoML(constraint=None, n_trials=2, cv=2, random_state=0),
        FairAutoMLRegressor(constraint=None, n_trials=2, cv=2, random_state=0),
    ],
    expected_failed_checks=lambda estimator: EXPECTED_FAILURES,
)
def test_every_check_of_scikit_learn_passes(estimator, check):
    check(estimator)


def test_a_fresh_estimator_is_not_fitted():
    with pytest.raises(NotFittedError, match="not fitted yet"):
        quick().predict([[1.0, 2.0]])


def test_the_constructor_stores_what_it_is_given_and_nothing_else():
    parameters = quick().get_params()
    assert vars(quick()) == parameters


def test_set_params_changes_a_parameter_and_clone_keeps_it():
    model = clone(quick().set_params(objective="f1", n_trials=5))
    assert (model.objective, model.n_trials, model.constraint) == ("f1", 5, CONSTRAINT)


def test_fit_changes_no_parameter(individuals):
    model = quick()
    before = dict(model.get_params())
    model.fit(*individuals)
    assert model.get_params() == before


def test_a_pickled_model_decides_the_same(individuals):
    X, _, _ = individuals
    model = quick().fit(*individuals)
    again = pickle.loads(pickle.dumps(model))
    assert (again.predict(X) == model.predict(X)).all()
    assert again.leaderboard_.equals(model.leaderboard_)


def test_a_pickled_model_holds_no_training_rows(individuals):
    X, y, group = individuals
    # The models that tell groups from features grow with what there is to tell.
    plain = {"mitigators": ["common_threshold"]}
    small = len(pickle.dumps(quick(**plain).fit(X, y, group)))
    more = pd.concat([X] * 10, ignore_index=True)
    large = len(pickle.dumps(quick(**plain).fit(more, np.tile(y, 10), np.tile(group, 10))))
    assert large < small + more.to_numpy().nbytes / 4


def test_a_second_fit_forgets_the_first(individuals):
    X, y, group = individuals
    fresh = quick().fit(X.to_numpy(), y, group)
    model = quick().fit(X.assign(extra=1.0 * np.arange(300)), y, group)
    assert list(model.feature_names_in_) == ["x", "z", "extra"]
    model.fit(X.to_numpy(), y, group)
    assert model.n_features_in_ == 2
    assert not hasattr(model, "feature_names_in_")
    assert (model.predict(X.to_numpy()) == fresh.predict(X.to_numpy())).all()


def test_the_inputs_are_not_modified(individuals):
    X, y, group = (part.copy() for part in individuals)
    quick().fit(X, y, group).predict(X)
    for now, before in zip((X, y, group), individuals, strict=True):
        assert np.array_equal(now, before)


def test_the_same_seed_gives_the_same_model(individuals):
    X = individuals[0]
    one, two = (quick(random_state=7).fit(*individuals) for _ in range(2))
    assert (one.predict_proba(X) == two.predict_proba(X)).all()
    seconds = ["seconds"]
    assert one.leaderboard_.drop(columns=seconds).equals(two.leaderboard_.drop(columns=seconds))


def test_random_states_of_numpy_are_seeds(individuals):
    model = quick(random_state=np.random.RandomState(3)).fit(*individuals)
    again = quick(random_state=model.seed_).fit(*individuals)
    assert (again.predict_proba(individuals[0]) == model.predict_proba(individuals[0])).all()


def test_no_seed_draws_one_that_is_kept(individuals):
    one, two = (quick(random_state=None).fit(*individuals) for _ in range(2))
    assert one.seed_ != two.seed_


def test_probabilities_are_in_the_order_of_the_classes(individuals):
    X, y, _ = individuals
    model = quick(constraint=None).fit(X, y)
    assert model.classes_.tolist() == ["no", "yes"]
    probability = model.predict_proba(X)
    assert np.allclose(probability.sum(axis=1), 1)
    assert probability[y == "yes", 1].mean() > 0.8


def test_score_is_the_accuracy(individuals):
    X, y, group = individuals
    model = quick().fit(X, y, group)
    assert model.score(X, y) == accuracy_score(y, model.predict(X))


def test_cross_validate_routes_the_sensitive_column(individuals, routing):
    X, y, group = individuals
    found = cross_validate(quick(), X, y, params={"sensitive": group}, cv=2, return_estimator=True)
    assert found["test_score"].mean() > 0.85
    assert [list(m.pool_.groups.columns) for m in found["estimator"]] == [["sensitive"]] * 2


def test_cross_validate_slices_the_sensitive_column_without_routing_too(individuals):
    X, y, group = individuals
    found = cross_validate(quick(), X, y, params={"sensitive": group}, cv=2, error_score="raise")
    assert found["test_score"].mean() > 0.85


def test_a_pipeline_routes_the_sensitive_column(individuals, routing):
    X, y, group = individuals
    pipe = make_pipeline(StandardScaler(), quick()).fit(X, y, sensitive=group)
    assert pipe.score(X, y) > 0.85
    assert pipe[-1].pool_.groups is not None


def test_a_pipeline_takes_the_sensitive_column_by_the_name_of_the_step(individuals):
    X, y, group = individuals
    pipe = make_pipeline(StandardScaler(), quick()).fit(X, y, fairautoml__sensitive=group)
    assert pipe[-1].pool_.groups is not None


def test_a_grid_search_routes_the_sensitive_column(individuals, routing):
    X, y, group = individuals
    search = GridSearchCV(quick(), {"objective": ["accuracy", "balanced_accuracy"]}, cv=2)
    search.fit(X, y, sensitive=group)
    assert search.best_estimator_.objective in {"accuracy", "balanced_accuracy"}
    assert search.best_estimator_.pool_.groups is not None
    assert search.best_score_ > 0.85


def test_sensitive_can_go_by_another_name(individuals, routing):
    X, y, group = individuals
    renamed = quick().set_fit_request(sensitive="sensitive_features")
    pipe = make_pipeline(StandardScaler(), renamed).fit(X, y, sensitive_features=group)
    assert pipe[-1].pool_.groups is not None


def test_a_scorer_can_read_the_groups_that_the_model_was_fitted_with(individuals, routing):
    X, y, group = individuals

    def parity(truth, decided, *, sensitive_features):
        rates = [(decided[sensitive_features == g] == "yes").mean() for g in ("a", "b")]
        return -abs(rates[0] - rates[1])

    scorer = make_scorer(parity).set_score_request(sensitive_features="sensitive")
    found = cross_validate(quick(), X, y, params={"sensitive": group}, cv=2, scoring=scorer)
    assert (found["test_score"] > -0.5).all()


@pytest.mark.parametrize("learner", ["logistic_regression", "random_forest", "lightgbm"])
def test_output_settings_of_scikit_learn_do_not_reach_the_learners(individuals, learner):
    X, y, group = individuals
    X = X.assign(town=np.where(group == "a", "north", "south"))
    with sklearn.config_context(transform_output="pandas", enable_metadata_routing=True):
        model = quick(constraint=None, learners=[learner]).fit(X, y)
        inside = model.predict(X)
    assert set(model.trials_["status"]) == {"success"}
    assert (model.predict(X) == inside).all()


def test_sample_weights_are_routed_on_request(individuals, routing):
    X, y, group = individuals
    model = quick().set_fit_request(sample_weight=True)
    pipe = make_pipeline(FunctionTransformer(), model)
    pipe.fit(X, y, sensitive=group, sample_weight=np.linspace(1, 2, len(y)))
    assert pipe.score(X, y) > 0.85


def test_a_constraint_without_groups_fails_in_cross_validation_with_its_own_message(individuals):
    X, y, _ = individuals
    with pytest.raises(ValueError, match="needs the groups"):
        cross_validate(quick(), X, y, cv=2, error_score="raise")


def test_a_named_column_of_x_needs_no_routing(individuals):
    X, y, group = individuals
    model = quick().fit(X.assign(sex=group), y, "sex")
    assert model.predict(X.assign(sex=group)).shape == (300,)


@pytest.mark.parametrize("labels", [("no", "yes"), (1, 2), (False, True), (-1.0, 1.0)])
@pytest.mark.parametrize("positive", [0, 1])
def test_the_positive_class_turns_no_scorer_around(individuals, labels, positive):
    X, y, _ = individuals
    own = np.array(labels)[(y == "yes").astype(int)]
    model = quick(constraint=None, pos_label=labels[positive])
    found = cross_validate(
        model,
        X,
        own,
        cv=2,
        scoring=["roc_auc", "neg_log_loss", "accuracy"],
        return_estimator=True,
        error_score="raise",
    )
    assert found["test_roc_auc"].min() > 0.9
    assert found["test_neg_log_loss"].min() > -0.6
    assert found["test_accuracy"].min() > 0.85
    for fitted in found["estimator"]:
        assert fitted.classes_.tolist() == list(labels)
        assert fitted.positive_class_ == labels[positive]
        assert fitted.evaluate(X, own)["accuracy"] == fitted.score(X, own)


def test_rates_are_of_the_positive_class(individuals):
    X, y, group = individuals
    model = quick(pos_label="no").fit(X, y, group)
    rates = model.evaluate(X, y, group)["rates"]["sensitive"]
    refused = model.predict(X, group) == "no"
    for name in ("a", "b"):
        assert rates[name]["selection"] == pytest.approx(refused[group == name].mean())


def test_the_score_is_weighted(individuals):
    X, y, group = individuals
    model = quick().fit(X, y, group)
    weight = np.linspace(0, 3, len(y))
    expected = accuracy_score(y, model.predict(X), sample_weight=weight)
    assert model.score(X, y, sample_weight=weight) == pytest.approx(expected)


@pytest.fixture(scope="module")
def unequal():
    rng = np.random.default_rng(0)
    group = rng.choice(["a", "b"], 300)
    X = pd.DataFrame({"x": rng.normal(size=300) + (group == "a"), "z": rng.normal(size=300)})
    y = np.where(X["x"] + 0.3 * rng.normal(size=300) > 0.5, "yes", "no")
    return X, y, group


def group_aware():
    constraint = "demographic_parity_difference <= 0.1"
    return FairAutoML(constraint, n_trials=2, learners=["logistic_regression"], random_state=0)


def test_cross_validate_scores_winners_that_read_the_groups(unequal, routing):
    X, y, group = unequal
    found = cross_validate(
        group_aware(),
        X,
        y,
        params={"sensitive": group},
        cv=2,
        return_estimator=True,
        error_score="raise",
    )
    assert all(model.model_.needs_sensitive for model in found["estimator"])
    assert found["test_score"].min() > 0.7


def test_a_grid_search_scores_winners_that_read_the_groups(unequal, routing):
    X, y, group = unequal
    search = GridSearchCV(group_aware(), {"cv": [2, 3]}, cv=2, error_score="raise")
    search.fit(X, y, sensitive=group)
    assert search.best_estimator_.model_.needs_sensitive
    assert search.best_score_ > 0.7
    decided = search.best_estimator_.predict(X, group)
    assert search.score(X, y, sensitive=group) == accuracy_score(y, decided)


def test_a_pipeline_hands_the_groups_on_to_every_answer(unequal, routing):
    X, y, group = unequal
    pipe = make_pipeline(StandardScaler(), group_aware()).fit(X, y, sensitive=group)
    assert pipe[-1].model_.needs_sensitive
    decided = pipe.predict(X, sensitive=group)
    assert pipe.score(X, y, sensitive=group) == accuracy_score(y, decided)
    assert pipe.predict_proba(X, sensitive=group).shape == (len(y), 2)
