"""Trials of some of the folds, and what a promotion takes over from them."""

from dataclasses import replace

import numpy as np
import pytest
from sklearn.datasets import make_classification

from fairautoml.data.read import ReadOptions, build_dataset
from fairautoml.data.splits import stratified_folds
from fairautoml.evaluation.evaluate import TrialEvaluator
from fairautoml.evaluation.fitting import Part
from fairautoml.evaluation.postprocess import judged
from fairautoml.evaluation.problem import Problem
from fairautoml.metrics import METRICS, bind_constraints
from fairautoml.metrics.constraint import Constraint
from fairautoml.mitigators import MITIGATORS, Goal
from fairautoml.records import Config, Fidelity, Origin, Trial, TrialState
from fairautoml.storage.artifacts import Artifacts

N_ROWS, FOLDS = 3_000, 5
BOOSTER = Config(learner="lightgbm", params={"n_estimators": 20})


@pytest.fixture
def objective(tmp_path):
    X, y = make_classification(N_ROWS, 6, n_informative=4, flip_y=0.2, random_state=0)
    groups = np.where(X[:, 0] > 0, "a", "b")
    dataset = build_dataset(X, y, groups, options=ReadOptions(sensitive_in_X="allow"))
    artifacts = Artifacts(tmp_path / "artifacts")
    artifacts.prepare()
    folds = stratified_folds(dataset.y, dataset.cells, FOLDS, 0)
    return TrialEvaluator(data=dataset, folds=folds, artifacts=artifacts, root_seed=0)


def trial_of(number, **more):
    return Trial(**{"number": number, "config": BOOSTER, "fidelity": Fidelity(folds=1), **more})


def promoted(parent, **more):
    return trial_of(
        9, fidelity=Fidelity(folds=FOLDS), origin=Origin.PROMOTION, parent=parent.key, n_taken=1,
        **more,
    )  # fmt: skip


def files(objective, trial):
    scores, models = objective.artifacts.scores(trial.key), objective.artifacts.models(trial.key)
    data = objective.dataset
    return np.array(scores), [model.scores(data.X, data.cells) for model in models]


def test_a_trial_of_one_fold_scores_the_rows_of_that_fold_only(objective):
    trial = trial_of(1)
    result = objective(trial)
    scores, models = files(objective, trial)
    inside = objective.folds == 0
    assert result.status is TrialState.SUCCESS
    assert len(models) == len(result.fold_log_loss) == 1
    assert np.array_equal(scores[inside], models[0][inside])
    assert np.isnan(scores[~inside]).all()
    y, found = objective.dataset.y[inside], scores[inside].astype(float)
    loss = -np.log(np.where(y == 1, found, 1 - found)).mean()
    assert result.log_loss == pytest.approx(loss, rel=1e-6)


def test_a_promotion_trains_the_other_folds_and_equals_a_trial_of_all_folds(
    objective, monkeypatch
):
    whole, parent = trial_of(0, fidelity=Fidelity(folds=FOLDS)), trial_of(1)
    expected = objective(whole)
    objective(parent)
    trained = []
    fold_data = type(objective.rows)
    train = fold_data.train
    monkeypatch.setattr(
        fold_data, "train", lambda self, part, encoding: (
            trained.append(part.fold), train(self, part, encoding)
        )[1],
    )  # fmt: skip
    result = objective(promoted(parent))
    assert trained == [1, 2, 3, 4]
    assert (result.log_loss, result.fold_log_loss) == (expected.log_loss, expected.fold_log_loss)
    found, wanted = files(objective, promoted(parent)), files(objective, whole)
    assert np.array_equal(found[0], wanted[0])
    assert np.array_equal(found[1], wanted[1])


def test_a_promotion_whose_parent_lost_its_files_trains_all_folds(objective):
    parent = trial_of(1)
    objective(parent)
    objective.artifacts.drop_models(parent.key)
    result = objective(promoted(parent))
    assert result.status is TrialState.SUCCESS
    assert not np.isnan(files(objective, promoted(parent))[0]).any()


def test_the_rows_of_a_sample_are_outside_the_fold_and_part_of_every_larger_one(objective):
    few, more = (
        objective.rows.train(Part(fold=2, fraction=share), "codes").train.X for share in (0.2, 0.6)
    )
    outside = {row.tobytes() for row in objective.dataset.X[objective.folds != 2]}
    rows, larger = ({row.tobytes() for row in X} for X in (few, more))
    assert len(few) == 480
    assert rows <= larger <= outside


def test_a_trial_of_one_fold_has_a_value_and_violations_and_no_entry(objective):
    dataset = objective.dataset
    constraint = Constraint.parse("demographic_parity_difference <= 0.05")
    targets = bind_constraints((constraint,), dataset.systems)
    problem = Problem(
        dataset=dataset,
        folds=objective.folds,
        objective=METRICS.get("accuracy"),
        goal=Goal(targets=targets, objective=METRICS.get("accuracy")),
        mitigators=(MITIGATORS.get("none"), MITIGATORS.get("group_thresholds")),
        tolerances=(0.0, 0.05),
    )
    record = judged(objective(trial_of(1)), objective.artifacts, problem, 1.0)
    whole = trial_of(2, fidelity=Fidelity(folds=FOLDS))
    full = judged(objective(whole), objective.artifacts, problem, 1.0)
    assert record.entries == ()
    assert full.entries
    assert record.result.value == pytest.approx(full.result.value, abs=0.05)
    assert len(record.result.violations) == 1
    assert record.result.plain_value is not None
    rows, part = problem.on_folds(1)
    assert np.array_equal(rows, objective.folds == 0)
    assert part.dataset.n_rows == rows.sum()
    assert part.tolerances == problem.tolerances == (0.0, 0.05)
    grid = replace(problem, tolerances=(0.0, 0.01, 0.02, 0.03, 0.05, 0.1))
    assert grid.on_folds(1)[1].tolerances == (0.02, 0.05)
    by_loss = replace(problem, by_loss=True)
    short = judged(objective(trial_of(3)), objective.artifacts, by_loss, 1.0).result
    assert (short.status, short.value, short.violations) == (TrialState.SUCCESS, None, ())
    assert short.plain_value == record.result.plain_value
    assert short.plain_violations == record.result.plain_violations
    again = judged(objective(whole), objective.artifacts, by_loss, 1.0)
    assert again.result.value == full.result.value
