"""Objectives of the user: cost matrices, functions and scorers."""

import numpy as np
import pytest
from sklearn import metrics as sk

from fairautoml import CostMatrix, FairAutoML, load_run
from fairautoml.exceptions import ParameterError
from fairautoml.metrics import METRICS, ClassCounts, GroupCounts, custom_metric
from fairautoml.mitigators import ScoreRows
from fairautoml.mitigators._thresholds import gain_weights
from fairautoml.settings import check_objective

RNG = np.random.default_rng(0)
Y, D, W = RNG.integers(0, 2, 200), RNG.integers(0, 2, 200), RNG.uniform(0.5, 2, 200)
NONE = np.zeros(200, dtype=int)


def counts(weight=W):
    return GroupCounts.from_rows(NONE, Y, D.astype(float), weight, n_groups=1)


@pytest.mark.parametrize(
    ("name", "reference"),
    [
        ("precision", sk.precision_score),
        ("recall", sk.recall_score),
        ("mcc", sk.matthews_corrcoef),
        ("f1_weighted", lambda *a, **k: sk.f1_score(*a, average="weighted", **k)),
    ],
)
def test_a_metric_on_decisions_is_that_of_scikit_learn(name, reference):
    found = METRICS.get(name).value(counts())
    assert found == pytest.approx(reference(Y, D, sample_weight=W))


def test_metrics_of_several_classes_are_those_of_scikit_learn():
    y, d = RNG.integers(0, 3, 200), RNG.integers(0, 3, 200)
    table = ClassCounts.from_rows(NONE, y, np.eye(3)[d], W, n_groups=1)
    assert METRICS.get("mcc").value(table) == pytest.approx(
        sk.matthews_corrcoef(y, d, sample_weight=W)
    )
    assert METRICS.get("f1_weighted").value(table) == pytest.approx(
        sk.f1_score(y, d, average="weighted", sample_weight=W)
    )


def test_the_brier_score_is_that_of_scikit_learn():
    scores = RNG.uniform(size=200)
    found = METRICS.get("brier").value(Y, scores, W)
    assert found == pytest.approx(sk.brier_score_loss(Y, scores, sample_weight=W))


def test_names_of_scikit_learn_are_read():
    assert check_objective("neg_brier_score").name == "brier"
    assert check_objective("matthews_corrcoef").name == "mcc"


def test_the_gains_of_a_cost_matrix_are_its_cost_differences():
    rows = ScoreRows(
        scores=RNG.uniform(size=200).astype(np.float32), y=Y, weight=W, cells=NONE, n_cells=1
    )
    metric = CostMatrix([[0, 1], [4, 0]]).metric
    assert gain_weights(rows, metric) == pytest.approx((1.6, 0.4))


@pytest.mark.parametrize("costs", [[[0, 1]], [[0]], [[0, np.nan], [1, 0]], "no", [[0, 1], [1]]])
def test_a_cost_matrix_that_is_not_square_and_finite_is_refused(costs):
    with pytest.raises(ParameterError, match="square table of finite numbers"):
        CostMatrix(costs)


def test_a_scorer_of_decisions_scores_the_counts_with_its_keywords():
    metric = custom_metric(sk.make_scorer(sk.fbeta_score, beta=2))
    assert metric.on == "decisions"
    assert metric.value(counts()) == pytest.approx(sk.fbeta_score(Y, D, beta=2, sample_weight=W))


def test_a_scorer_of_probabilities_scores_them_and_a_loss_is_negated():
    metric, scores = custom_metric(sk.get_scorer("neg_log_loss")), RNG.uniform(size=200)
    assert metric.on == "scores"
    assert metric.value(Y, scores, W) == pytest.approx(-sk.log_loss(Y, scores, sample_weight=W))


def test_a_function_without_weights_receives_each_row():
    metric = custom_metric(lambda y, d: float(np.sum(y == d)))
    assert metric.value(counts(np.ones(200))) == (Y == D).sum()
    assert "sample_weight" in metric.value(counts()).reason


def test_a_function_that_raises_ends_the_fit_before_the_first_trial():
    with pytest.raises(ParameterError, match=r"raised TypeError.*positional argument"):
        check_objective(lambda estimator, X, y: 0.0)
    with pytest.raises(ParameterError, match=r"1 for the positive class.* without pos_label"):
        check_objective(sk.make_scorer(sk.f1_score, pos_label="yes"))


def test_a_function_with_the_name_of_a_loss_is_still_a_gain():
    def rmse(y_true, y_pred):
        return float(np.mean(y_true == y_pred))

    assert check_objective(rmse).name == "custom_rmse"
    assert check_objective(rmse).greater_is_better


def profit(y_true, y_pred):
    """Earn 10 for a true acceptance, lose 1 for a false one."""
    return float(np.sum(y_pred * np.where(y_true == 1, 10.0, -1.0)) / len(y_true))


def fitted(objective, tmp_path):
    rng = np.random.default_rng(1)
    sex = rng.choice(["a", "b"], 300)
    X = rng.normal(size=(300, 3)) + (sex == "a")[:, None] * 0.5
    y = (X[:, 0] + rng.normal(size=300) > 0.8).astype(int)
    model = FairAutoML(
        "demographic_parity_difference <= 0.1", objective=objective, n_trials=3, n_jobs=1,
        learners=["logistic_regression"], random_state=0, run_dir=tmp_path / "run", cv=3,
    )  # fmt: skip
    return model.fit(X, y, sex), X, y, sex


@pytest.mark.parametrize("objective", [CostMatrix([[0, 1], [10, 0]]), profit])
def test_a_costly_miss_under_a_constraint_accepts_most_positives(objective, tmp_path):
    model, X, y, sex = fitted(objective, tmp_path)
    assert y[model.predict(X, sex) == 0].mean() < 0.2
    assert model.predict(X, sex)[y == 1].mean() > 0.9
    loaded = load_run(tmp_path / "run")
    np.testing.assert_array_equal(loaded.predict(X, sex), model.predict(X, sex))
    name = model.summary_["best"]["objective"]
    assert loaded.objective == (objective if isinstance(objective, CostMatrix) else name)
    assert name in model._repr_html_()
    assert model.leaderboard()[name].iloc[0] == model.best_entry_.score
    if isinstance(objective, CostMatrix):
        assert loaded.explain(X, y, sex, n_repeats=2).objective == name
