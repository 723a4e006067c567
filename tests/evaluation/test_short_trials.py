"""Trials that train fewer models than there are folds, each on rows of one fold."""

import numpy as np
import pytest
from sklearn.datasets import make_classification

from fairautoml.data.read import ReadOptions, build_dataset
from fairautoml.data.splits import stratified_folds
from fairautoml.evaluation.evaluate import TrialEvaluator
from fairautoml.evaluation.fitting import CVEnsemble, FoldData, Part
from fairautoml.records import Budget, Config, Trial, TrialState
from fairautoml.storage.artifacts import Artifacts

N_SEARCH = 12_000
FOLDS = 5
BOOSTER = Config(learner="lightgbm", params={"n_estimators": 60, "learning_rate": 0.1})
ACCEPTED = (0.1, 0.3, 0.6)
"""Shares of people that are accepted."""


@pytest.fixture(scope="module")
def individuals():
    X, y = make_classification(30_000, 12, n_informative=6, flip_y=0.2, random_state=0)
    return X, y, np.where(X[:, 0] > 0, "a", "b")


@pytest.fixture(scope="module")
def objective(individuals, tmp_path_factory):
    X, y, groups = (part[:N_SEARCH] for part in individuals)
    dataset = build_dataset(X, y, groups, options=ReadOptions(sensitive_in_X="allow"))
    artifacts = Artifacts(tmp_path_factory.mktemp("artifacts"))
    artifacts.prepare()
    folds = stratified_folds(dataset.y, dataset.cells, FOLDS, 0)
    return TrialEvaluator(data=dataset, folds=folds, artifacts=artifacts, root_seed=0)


def run(objective, config, *, folds, rows, rival=""):
    fraction = rows / (N_SEARCH * (FOLDS - 1) / FOLDS)
    budget = Budget(folds=folds, sample_fraction=fraction)
    trial = Trial(number=folds, config=config, budget=budget, rival=rival)
    result = objective(trial)
    assert (result.status, result.error) == (TrialState.SUCCESS, "")
    scores = objective.artifacts.scores(trial.key)
    return result, scores, objective.artifacts.models(trial.key)


def furthest_rate(objective, individuals, scores, models):
    """How far acceptance rates among new people are from those that thresholds were set for."""
    X, _, groups = (part[N_SEARCH:] for part in individuals)
    new = CVEnsemble(models).scores(X.astype(np.float32), np.zeros(len(X), dtype=np.int32))
    known = np.asarray(individuals[2][:N_SEARCH])
    found = [
        np.mean(new[groups == group] >= np.quantile(scores[known == group], 1 - rate)) - rate
        for group in ("a", "b")
        for rate in ACCEPTED
    ]
    return float(np.max(np.abs(found)))


def test_a_score_is_the_mean_of_the_models_that_saw_no_row_of_its_fold(objective):
    data = objective.dataset
    _, scores, models = run(objective, BOOSTER, folds=3, rows=500)
    assert len(models) == 3
    each = np.array([model.scores(data.X, data.cells) for model in models])
    for fold in range(FOLDS):
        inside = objective.folds == fold
        others = [model for at, model in enumerate(each) if at != fold]
        assert scores[inside] == pytest.approx(np.mean(others, axis=0)[inside], abs=1e-6)


@pytest.mark.parametrize("rows", [500, 2_000, 9_600])
def test_the_rows_of_a_short_trial_are_of_one_fold_and_as_many_as_it_has(objective, rows):
    data, fraction = objective.dataset, rows / 9_600
    part = Part(fold=2, fraction=fraction, own=True)
    train, held_out = objective.rows.train(part, "codes"), objective.rows.held_out(part, "codes")
    inside = np.flatnonzero(objective.folds == 2)
    assert len(train.train.y) == min(rows, len(inside))
    own = {row.tobytes() for row in data.X[inside]}
    assert {row.tobytes() for row in train.train.X} <= own
    assert np.array_equal(held_out.rows, np.flatnonzero(objective.folds != 2))


def test_a_fold_of_a_person_with_many_rows_leaves_the_others_as_many_as_they_have(objective):
    folds = np.where(np.arange(N_SEARCH) < 60 * 4, np.arange(N_SEARCH) % 4, 4)
    rows = FoldData(dataset=objective.dataset, folds=folds, root_seed=0)
    found = [
        len(rows.train(Part(fold=k, fraction=0.1, own=True), "codes").train.y) for k in (0, 4)
    ]
    assert found == [60, 960]


def test_the_loss_of_a_short_trial_is_that_of_what_it_serves(objective, individuals):
    result, _, models = run(objective, BOOSTER, folds=3, rows=2_000)
    X, y, _ = (part[N_SEARCH:] for part in individuals)
    new = CVEnsemble(models).scores(X.astype(np.float32), np.zeros(len(X), dtype=np.int32))
    found = -np.log(np.where(y == 1, new, 1 - new)).mean()
    assert result.log_loss == pytest.approx(found, rel=0.02)
    assert len(result.fold_log_loss) == FOLDS


def test_thresholds_of_a_short_trial_hold_for_what_it_serves(objective, individuals):
    _, short, models = run(objective, BOOSTER, folds=3, rows=1_000)
    _, crossed, five = run(objective, BOOSTER, folds=5, rows=1_000)
    assert furthest_rate(objective, individuals, short, models) < 0.02
    # What they are there for: a model that saw few rows is bolder than the mean of five.
    assert furthest_rate(objective, individuals, crossed, five) > 0.03


def test_a_short_trial_is_not_stopped_for_a_rival_that_is_far_ahead(objective):
    ahead = Trial(number=9, config=BOOSTER, budget=Budget(folds=FOLDS))
    assert objective(ahead).status is TrialState.SUCCESS
    weak = Config(learner="prior")
    run(objective, weak, folds=3, rows=500, rival=ahead.key)
