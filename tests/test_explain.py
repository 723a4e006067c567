"""``explain`` and ``members_``: what the decisions of a fitted model depend on."""

import json
import pickle

import numpy as np
import pandas as pd
import polars as pl
import pytest
from scipy import sparse
from sklearn.inspection import permutation_importance

from fairautoml import FairAutoMLRegressor, load_run
from fairautoml.automl import read_predictor
from fairautoml.cli.main import main
from fairautoml.exceptions import InputError, MissingSensitiveError, ParameterError
from fairautoml.run_files import storable
from quick_fits import quick

FEATURES = ["income", "history", "noise", "job"]
LIMIT = "demographic_parity_difference <= 0.5"


def people(n_rows=400, seed=0):
    """Income differs between the groups, history does not, and noise and job decide nothing."""
    rng = np.random.default_rng(seed)
    sex = rng.choice(["f", "m"], n_rows)
    X = pd.DataFrame(
        {
            "income": rng.normal(size=n_rows) + np.where(sex == "m", 0.8, -0.8),
            "history": rng.normal(size=n_rows),
            "noise": rng.normal(size=n_rows),
            "job": rng.choice(["a", "b", "c"], n_rows),
        }
    )
    X.loc[X.index[::17], "noise"] = np.nan
    y = (X["income"] + X["history"] + 0.3 * rng.normal(size=n_rows) > 0).astype(int)
    return X, y, pd.Series(sex, name="sex")


@pytest.fixture(scope="module")
def blind():
    return quick(LIMIT, sensitive_at_predict=False).fit(*people())


@pytest.fixture(scope="module")
def rows():
    return people(seed=1)


@pytest.fixture(scope="module")
def explained(blind, rows):
    return blind.explain(*rows, n_repeats=5)


def by_name(explanation):
    return {one.feature: one for one in explanation.importances}


def test_needed_features_are_told_from_noise(explained):
    found = by_name(explained)
    assert repr(explained) == explained.text()
    assert [one.feature for one in explained.importances[:2]] in (
        ["income", "history"], ["history", "income"],
    )  # fmt: skip
    assert found["income"].score_low > 0.05
    assert found["history"].score_low > 0.05
    for name in ("noise", "job"):
        assert found[name].score_low <= 0 <= found[name].score_high + 0.02


def test_the_feature_that_differs_between_groups_adds_to_the_gap(explained):
    found = by_name(explained)
    assert found["income"].gap_low > 0
    assert found["income"].gap > found["history"].gap + 0.1


def test_importances_are_those_of_scikit_learn_and_of_evaluate(blind, rows, explained):
    X, y, sex = rows

    def judged(model, X, y):
        found = model.evaluate(X, y, sex)
        return {"score": found["accuracy"], "gap": found["gap"]}

    draws = [
        permutation_importance(blind, X, y, scoring=judged, n_repeats=1, random_state=seed)
        for seed in range(5)
    ]
    for at, name in enumerate(FEATURES):
        one = by_name(explained)[name]
        for kind in ("score", "gap"):
            mean = np.mean([draw[kind].importances[at, 0] for draw in draws])
            assert getattr(one, kind) == pytest.approx(mean, abs=1e-12)
    whole = blind.evaluate(X, y, sex)
    assert (explained.score, explained.gap) == pytest.approx((whole["accuracy"], whole["gap"]))


def test_intervals_also_cover_the_choice_of_the_rows(blind, rows):
    few = blind.explain(*rows, n_repeats=20, max_rows=60)
    many = blind.explain(*rows, n_repeats=20)
    width = [by_name(one)["income"].score_high - by_name(one)["income"].score_low
             for one in (few, many)]  # fmt: skip
    assert (few.n_rows, many.n_rows) == (60, 400)
    assert width[0] > 1.5 * width[1]


def test_contributions_add_up_to_the_gap(explained):
    found = explained.contributions
    assert {found.high, found.low} == {"m", "f"}
    assert found.total == pytest.approx(explained.gap)
    assert sum(one.value for one in found.shares) == pytest.approx(found.total - found.without)
    assert max(found.shares, key=lambda one: one.value).block == "income"


def test_rows_of_unknown_groups_are_in_no_gap(blind, rows):
    X, y, sex = people(300, seed=2)
    known = blind.explain(X, y, sex, n_repeats=2)
    more_X, more_y, _ = people(40, seed=3)
    unknown = pd.Series(["x"] * 40, name="sex")
    frames = [pd.concat(pair, ignore_index=True) for pair in ((X, more_X), (y, more_y),
                                                              (sex, unknown))]  # fmt: skip
    found = blind.explain(*frames, n_repeats=2)
    assert found.gap == pytest.approx(known.gap)
    assert found.contributions.total == pytest.approx(known.gap)


def test_the_groups_that_a_rule_reads_are_shuffled_but_not_the_true_ones(rows):
    model = quick("demographic_parity_difference <= 0.02", mitigators=["group_thresholds"])
    model = model.fit(*people())
    assert model.model_.needs_sensitive
    one = by_name(model.explain(*rows, n_repeats=3))["sex (sensitive)"]
    # With another person's threshold the groups differ again.
    assert one.gap < -0.05


def test_a_sensitive_column_of_the_table_is_shuffled_as_one_feature(rows):
    X, y, sex = rows
    table = X.assign(sex=sex)
    model = quick(LIMIT, mitigators=["group_thresholds"]).fit(table, y, "sex")
    names = [one.feature for one in model.explain(table, y, n_repeats=2).importances]
    assert sorted(names) == sorted([*FEATURES, "sex"])


def test_polars_and_pandas_give_one_answer(blind, rows, explained):
    X, y, sex = rows
    table = pl.from_pandas(X.astype({"job": object}))
    assert blind.explain(table, y, sex, n_repeats=5).to_frame().equals(explained.to_frame())


def test_arrays_are_explained_by_position():
    X, y, sex = people()
    values = X[["income", "history"]].to_numpy()
    model = quick(LIMIT, sensitive_at_predict=False).fit(values, y, sex)
    assert {one.feature for one in model.explain(values, y, sex, n_repeats=2).importances} == {
        "x0", "x1",
    }  # fmt: skip


def test_weights_count(blind, rows):
    X, y, sex = rows
    half = np.arange(len(X)) < 200
    found = blind.explain(X, y, sex, half.astype(float), n_repeats=2)
    assert found.gap == pytest.approx(blind.evaluate(X[half], y[half], sex[half])["gap"])


def test_an_objective_of_scores_is_explained_in_scores(rows):
    model = quick(LIMIT, objective="roc_auc", sensitive_at_predict=False).fit(*people())
    found = model.explain(*rows, n_repeats=2)
    assert found.objective == "roc_auc"
    assert found.score > 0.9
    assert by_name(found)["income"].score > 0.05


def right(y, decision):
    return float(np.mean(y == decision))


def test_a_function_of_which_only_the_name_was_stored_is_asked_for(rows):
    model = quick(LIMIT, objective=right, sensitive_at_predict=False).fit(*people())
    loaded = storable(model)
    with pytest.raises(InputError, match=r"the function 'right'.*set_params\(objective="):
        loaded.explain(*rows, n_repeats=2)
    found = loaded.set_params(objective=right).explain(*rows, n_repeats=2)
    assert found.objective == "right"


def test_several_classes_and_numbers_have_importances_and_no_contributions():
    X, y, sex = people()
    three = np.where(X["history"] > 0.8, 2, y)
    model = quick(LIMIT, sensitive_at_predict=False).fit(X, three, sex)
    several = model.explain(X, three, sex, n_repeats=2)
    number = X["income"] + X["history"]
    regressor = FairAutoMLRegressor(
        "mean_difference <= 3", n_trials=2, cv=2, random_state=0, sensitive_at_predict=False,
        learners=["lightgbm"], objective="rmse",
    ).fit(X, number, sex)  # fmt: skip
    numbers = regressor.explain(X, number, sex, n_repeats=2)
    for found in (several, numbers):
        assert found.contributions is None
        assert found.gap is not None
        assert by_name(found)["income"].score > 0
    assert numbers.score > 0  # the rmse itself, while a fall of it is an importance


def test_without_groups_only_the_score_is_explained():
    X, y, _ = people()
    found = quick(None).fit(X, y).explain(X, y, n_repeats=2)
    assert (found.gap, found.contributions) == (None, None)
    assert by_name(found)["income"].gap is None


def test_of_many_features_the_rest_is_one_block():
    X, y, sex = people()
    rng = np.random.default_rng(5)
    X = X.assign(**{f"more {at}": rng.normal(size=len(X)) for at in range(5)})
    model = quick(LIMIT, sensitive_at_predict=False).fit(X, y, sex)
    found = model.explain(X, y, sex, n_repeats=2).contributions
    assert [one.block for one in found.shares][-1] == "(other columns)"
    assert len(found.shares) == 6


def test_bad_requests_are_refused_by_name(blind, rows, tmp_path):
    X, y, sex = rows
    with pytest.raises(ParameterError, match="n_repeats=1"):
        blind.explain(X, y, sex, n_repeats=1)
    with pytest.raises(MissingSensitiveError, match="sex"):
        blind.explain(X, y)
    with pytest.raises(InputError, match=r"X\.toarray"):
        blind.explain(sparse.csr_matrix(np.eye(4)), [0, 1, 0, 1], list("fmfm"))
    file = read_predictor(blind.export(tmp_path / "model.fair"))
    with pytest.raises(InputError, match="not a model file"):
        file.explain(X, y, sex)
    with pytest.raises(InputError, match="members_ needs the estimator that was fitted"):
        _ = file.members_


def test_the_report_shows_the_explanation_of_the_served_model(blind, rows, tmp_path):
    fresh = pickle.loads(pickle.dumps(blind))
    fresh.explain(*rows, n_repeats=2)
    text = fresh.report(tmp_path / "report.html").read_text()
    assert "What the decisions depend on" in text
    assert "What the gap is made of" in text
    other = fresh.select(max_gap=1.0)
    assert other.explanation_ is None
    assert "What the decisions depend on" not in other.report(tmp_path / "b.html").read_text()


def test_the_command_writes_what_the_report_of_the_run_shows(tmp_path, capsys):
    X, y, sex = people()
    table = X.assign(sex=sex, repaid=y)
    for name, part in (("old", table[:250]), ("new", table[250:])):
        part.to_csv(tmp_path / f"{name}.csv", index=False)
    run = tmp_path / "run"
    fit = ["fit", str(tmp_path / "old.csv"), "--target", "repaid", "--sensitive", "sex",
           "--constraint", LIMIT, "--trials", "2", "--out", str(run), "--seed", "0",
           "--learner", "logistic_regression", "--cv", "2", "--blind"]  # fmt: skip
    assert main(fit) == 0
    capsys.readouterr()
    assert main(["explain", str(run), str(tmp_path / "new.csv"), "--repeats", "2", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert {one["feature"] for one in found["importances"]} == {*FEATURES}
    assert main(["report", str(run)]) == 0
    assert "What the decisions depend on" in (run / "report.html").read_text()
    with pytest.raises(InputError, match="run folders and model files hold models as arrays"):
        _ = load_run(run).members_


LEARNERS = [
    "lightgbm",
    "xgboost",
    "logistic_regression",
    "hist_gradient_boosting",
    "random_forest",
]


@pytest.fixture(scope="module")
def ensemble():
    X, y, sex = people()
    return quick(LIMIT, learners=LEARNERS, n_trials=6, sensitive_at_predict=False).fit(X, y, sex)


def positive(member, matrix):
    """P(y = 1) by the model of another library."""
    kind = type(member.estimator).__module__.split(".")[0]
    if kind == "xgboost":
        return member.estimator.inplace_predict(matrix)
    if kind == "lightgbm":
        return member.estimator.predict(matrix)
    return member.estimator.predict_proba(matrix)[:, 1]


@pytest.mark.parametrize("learner", [*LEARNERS, "catboost", "extra_trees"])
def test_the_members_of_each_learner_make_up_the_base_scores(learner, rows):
    if learner == "catboost":
        pytest.importorskip("catboost")
    X, y, sex = people()
    model = quick(LIMIT, learners=[learner], sensitive_at_predict=False, n_trials=2).fit(X, y, sex)
    members, new = model.members_, rows[0]
    assert sum(member.weight for member in members) == pytest.approx(1)
    mean = sum(member.weight * positive(member, member.transform(new)) for member in members)
    np.testing.assert_allclose(mean, model.base_proba(new)[:, 1], atol=1e-6)


def test_the_members_of_an_ensemble_make_up_the_base_scores(ensemble, rows):
    members = ensemble.members_
    mean = sum(one.weight * positive(one, one.transform(rows[0])) for one in members)
    np.testing.assert_allclose(mean, ensemble.base_proba(rows[0])[:, 1], atol=1e-6)
    assert {one.trial for one in members} == {*ensemble.best_entry_.sources}


@pytest.fixture(scope="module")
def trees():
    X, y, sex = people()
    return quick(LIMIT, learners=["lightgbm"], sensitive_at_predict=False).fit(X, y, sex)


def test_tree_shap_values_of_a_member_add_up_to_its_log_odds(trees, rows):
    member = trees.members_[0]
    matrix = member.transform(rows[0])
    # LightGBM computes the same values as shap.TreeExplainer.
    values = member.estimator.predict(matrix, pred_contrib=True)
    odds = member.estimator.predict(matrix, raw_score=True)
    np.testing.assert_allclose(values.sum(axis=1), odds, atol=1e-9)
    assert member.feature_names == tuple(FEATURES)
    assert repr(member).startswith("Member(trial=")
    assert "function" not in repr(member)
    assert values.shape[1] >= len(FEATURES) + 1


@pytest.mark.filterwarnings("ignore:LightGBM binary classifier with TreeExplainer")
def test_shap_explains_a_member(trees, rows):
    shap = pytest.importorskip("shap")
    member = trees.members_[0]
    matrix = member.transform(rows[0])
    values = shap.TreeExplainer(member.estimator).shap_values(matrix)
    values = values[1] if isinstance(values, list) else values
    known = member.estimator.predict(matrix, pred_contrib=True)[:, :-1]
    np.testing.assert_allclose(values, known, atol=1e-6)
