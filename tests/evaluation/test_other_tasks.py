import numpy as np
import pytest

from fairautoml.data.dataset import FeatureSchema
from fairautoml.data.encoders import fit_encoding
from fairautoml.data.read import ReadOptions, build_dataset
from fairautoml.evaluation.evaluate import TrialEvaluator
from fairautoml.evaluation.fitting import CVEnsemble, FittedModel, LearnerModel, encode, fit_config
from fairautoml.evaluation.postprocess import Column, expand_column
from fairautoml.evaluation.problem import Problem, tolerance_grid
from fairautoml.metrics import METRICS, Constraint, bind_constraints
from fairautoml.metrics.tasks import TASKS, NonFiniteScoresError
from fairautoml.mitigators import MITIGATORS, Goal
from fairautoml.records import Config, Fidelity, Trial, TrialState
from fairautoml.storage.artifacts import Artifacts

FOREST = Config(learner="extra_trees", params={"n_estimators": 10})


def table(task, n_rows=240, seed=0):
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(n_rows, 3))
    sex = np.where(rng.uniform(size=n_rows) < 0.4, "f", "m")
    worth = X[:, 0] + (sex == "m") + 0.5 * rng.normal(size=n_rows)
    y = worth if task == "regression" else np.digitize(worth, [-0.3, 0.9])
    return build_dataset(X, y, {"sex": sex}, options=ReadOptions(task=task))


def problem(task, metric, limit):
    data = table(task)
    constraint = Constraint(metric=METRICS.get(metric), bound=limit)
    targets = bind_constraints((constraint,), data.systems)
    goal = Goal(targets=targets, task=task)
    return Problem(
        dataset=data,
        folds=np.arange(data.n_rows) % 4,
        objective=METRICS.get("r2" if task == "regression" else "accuracy"),
        goal=goal,
        mitigators=tuple(
            MITIGATORS.get(name)
            for name in ("none", "class_offsets", "mean_shift", "distribution_repair")
            if MITIGATORS.get(name).can_serve(goal)
        ),
        tolerances=tolerance_grid(targets),
    )


@pytest.fixture
def artifacts(tmp_path):
    found = Artifacts(tmp_path)
    found.prepare()
    return found


def run(task, artifacts, config=FOREST):
    data = table(task)
    objective = TrialEvaluator(
        data=data, folds=np.arange(data.n_rows) % 4, artifacts=artifacts, root_seed=0
    )
    return data, objective(Trial(number=0, config=config, fidelity=Fidelity(folds=4)))


@pytest.mark.parametrize("task", ["multiclass", "regression"])
def test_scores_of_a_trial_have_the_shape_of_the_task_and_their_loss_is_reported(task, artifacts):
    data, result = run(task, artifacts)
    scores = artifacts.scores(result.trial.key)
    assert result.status is TrialState.SUCCESS
    assert scores.shape == data.score_shape
    assert artifacts.has_all_scores(result.trial.key, data.score_shape)
    losses = TASKS.get(task).row_losses(data.y, scores)
    assert result.log_loss == pytest.approx(losses.mean())


@pytest.mark.parametrize("task", ["multiclass", "regression"])
def test_a_trained_model_beats_the_baseline(task, artifacts):
    _, prior = run(task, artifacts, Config(learner="prior"))
    _, trained = run(task, artifacts, Config(learner="logistic_regression"))
    assert trained.log_loss < prior.log_loss


@pytest.mark.parametrize("task", ["multiclass", "regression"])
def test_a_bag_is_the_mean_of_its_models(task):
    data = table(task)
    models = tuple(fit_config(FOREST, encode("codes", data, seed), seed) for seed in (0, 1))
    each = [model.scores(data.X, data.cells) for model in models]
    found = CVEnsemble(models).scores(data.X, data.cells)
    assert found.shape == data.score_shape
    assert np.allclose(found, np.mean(each, axis=0), atol=1e-6)


@pytest.mark.parametrize(
    ("task", "metric", "limit"),
    [
        ("multiclass", "demographic_parity_difference", 0.05),
        ("regression", "mean_difference", 0.2),
        ("regression", "distribution_gap", 0.2),
    ],
)
def test_entries_are_judged_cross_fitted(task, metric, limit):
    cross_fitted = problem(task, metric, limit)
    model = fit_config(FOREST, encode("codes", cross_fitted.dataset, 0), 0)
    column = Column(
        trial_key="t",
        trial_number=0,
        config=FOREST,
        seconds=1.0,
        deployed=model.scores(cross_fitted.dataset.X, cross_fitted.dataset.cells),
    )
    entries = expand_column(column, cross_fitted)
    plain = next(entry for entry in entries if entry.mitigator == "none")
    fairest = min(entries, key=lambda entry: entry.gap)
    assert plain.gap > limit
    assert fairest.gap < plain.gap / 2
    assert fairest.mitigator != "none"
    data = cross_fitted.dataset
    outcome = plain.rule.decide(column.deployed, data.cells)
    tally = TASKS.get(task).tally(data.cells, data.y, outcome, data.weight, n_groups=2)
    assert plain.score == pytest.approx(cross_fitted.objective.value(tally))
    assert plain.measures[0].value == pytest.approx(METRICS.get(metric).value(tally))
    assert np.allclose(plain.counts, tally.table)


@pytest.mark.parametrize("task", ["binary", "multiclass", "regression"])
def test_a_constant_answer_is_constant_and_two_are_not(task):
    y = np.arange(6) % 3 if task == "multiclass" else np.arange(6) % 2
    kind, cells, weight = TASKS.get(task), np.arange(6) % 2, np.ones(6)
    for same in kind.constant_predictions(y, weight, 3):
        table_of_same = kind.tally(cells, y, same, weight, n_groups=2).table
        assert kind.is_constant(table_of_same)
    varied = np.eye(3)[y] if task == "multiclass" else y.astype(float)
    assert not kind.is_constant(kind.tally(cells, y, varied, weight, n_groups=2).table)


class Says:
    def __init__(self, found):
        self.found = found

    def predict_proba(self, X):
        return self.found

    predict = predict_proba


@pytest.mark.parametrize(
    ("task", "found", "match"),
    [
        ("multiclass", np.full((2, 2), 0.5), r"shape \(2, 2\), expected \(2, 3\)"),
        ("multiclass", np.full((2, 3), 0.9), "2 of 2 rows of scores are not probabilities"),
        ("multiclass", np.full((2, 3), np.nan), "2 of 2 rows of scores are not probabilities"),
        ("regression", np.ones((2, 1)), r"shape \(2, 1\), expected \(2,\)"),
        ("regression", np.array([1.0, np.inf]), "1 of 2 predictions are not finite"),
        ("regression", np.array([1.0, 1e300]), "1 of 2 predictions are not finite"),
    ],
)
def test_what_is_no_score_is_an_error(task, found, match):
    model = FittedModel(None, LearnerModel(Says(found), task, 3), task)
    with pytest.raises(NonFiniteScoresError, match=match):
        model.scores_encoded(np.zeros((2, 1), dtype=np.float32), np.zeros(2, dtype=np.int32))


def coded(n_rows=400):
    rng = np.random.default_rng(0)
    X = rng.integers(30, size=(n_rows, 1)).astype(np.float32)
    feature_schema = FeatureSchema(n_features=1, categorical=(0,), cardinalities=(30,))
    return X, feature_schema


def test_target_means_of_several_classes_are_one_column_each():
    X, feature_schema = coded()
    y = (X[:, 0] % 3).astype(np.int8)
    found, wider, encoder = fit_encoding("target", X, y, feature_schema, 0)
    assert wider.n_features == 4
    assert np.allclose(found[:, 1:].sum(axis=1), 1.0, atol=0.05)
    assert (found[:, 1:].argmax(axis=1) == y).mean() > 0.95
    assert encoder.transform(X).shape == (400, 4)


def test_target_means_of_numbers_are_one_column():
    X, feature_schema = coded()
    y = 100.0 + X[:, 0].astype(np.float64)
    found, wider, _ = fit_encoding("target", X, y, feature_schema, 0)
    assert wider.n_features == 2
    assert np.corrcoef(found[:, 1], y)[0, 1] > 0.95


def test_gaps_in_units_of_the_target_are_given_in_units_of_the_limit():
    grid = problem("regression", "mean_difference", 500.0).tolerances
    assert grid[0] == 0.0
    assert 500.0 in grid
    assert grid[-1] == 1500.0
