import pickle

import numpy as np
import pytest

from fairautoml.data.read import build_dataset
from fairautoml.data.splits import stratified_folds
from fairautoml.evaluation import membership as module
from fairautoml.evaluation.evaluate import TrialEvaluator
from fairautoml.evaluation.membership import kept_membership, learn, with_membership
from fairautoml.evaluation.problem import Problem
from fairautoml.exceptions import DegradedWarning
from fairautoml.metrics import METRICS
from fairautoml.mitigators import Goal, Mitigator
from fairautoml.records import TrialResult, TrialState
from fairautoml.storage.artifacts import Artifacts

READER = Mitigator(
    name="reader", stage="post", needs_sensitive_at_predict=False, needs_membership=True
)
OTHER = Mitigator(name="other", stage="post", needs_sensitive_at_predict=False)


def population(n_rows=900, seed=0):
    """Three groups told apart by the first feature, labels by the second."""
    rng = np.random.default_rng(seed)
    group = rng.integers(0, 3, n_rows)
    X = rng.normal(size=(n_rows, 3)).astype(np.float32)
    X[:, 0] += 2.5 * group
    y = (X[:, 1] + rng.normal(0, 0.3, n_rows) > 0).astype(int)
    return X, y, group


@pytest.fixture
def data():
    X, y, group = population()
    return build_dataset(X, y, group.astype(str))


@pytest.fixture
def objective(data, tmp_path):
    artifacts = Artifacts(tmp_path)
    artifacts.prepare()
    folds = stratified_folds(data.y, data.cells, 3, 0)
    return TrialEvaluator(data=data, folds=folds, artifacts=artifacts, root_seed=1)


def problem_of(objective, *mitigators):
    return Problem(
        dataset=objective.dataset,
        folds=objective.folds,
        objective=METRICS.get("accuracy"),
        goal=Goal(targets=()),
        mitigators=mitigators,
        tolerances=(),
    )


def no_check(done):
    del done


def test_the_shares_of_a_row_sum_to_one_and_tell_groups_and_labels(objective):
    found, _ = learn(objective.rows, 1.0, no_check)
    data = objective.dataset
    assert found.shape == (data.n_rows, 3, 2)
    assert np.allclose(found.sum(axis=(1, 2)), 1.0, atol=1e-5)
    assert (found.sum(axis=2).argmax(axis=1) == data.cells).mean() > 0.75
    assert (found.sum(axis=1).argmax(axis=1) == data.y).mean() > 0.85


def test_a_rows_own_label_and_group_are_in_their_shares(objective):
    noise = np.random.default_rng(5)
    group, y = noise.integers(0, 2, 900).astype(str), noise.integers(0, 2, 900)
    data = build_dataset(noise.normal(size=(900, 3)), y, group)
    blind = TrialEvaluator(
        data=data, folds=objective.folds, artifacts=objective.artifacts, root_seed=1
    )
    found, _ = learn(blind.rows, 1.0, no_check)
    guessed = found.reshape(900, 4).argmax(axis=1) == data.cells * 2 + data.y
    assert guessed.mean() < 0.33


def test_the_deployed_model_is_the_mean_over_the_folds_and_pickles(objective):
    _, model = learn(objective.rows, 1.0, no_check)
    X = objective.dataset.X[:50]
    stored = pickle.loads(pickle.dumps(model))
    mean = np.mean([fold.membership(X) for fold in model.folds], axis=0)
    assert np.allclose(stored.membership(X), mean)


def test_it_is_learned_only_when_a_post_processor_needs_it(objective):
    def fail(trial):
        raise AssertionError("nobody needs it")

    problem = problem_of(objective, OTHER)
    assert with_membership(problem, objective.artifacts, fail) is problem


def test_it_is_learned_once_and_found_again(objective):
    ran = []

    def run(trial):
        ran.append(trial)
        return objective(trial)

    for _ in range(2):
        found = with_membership(
            problem_of(objective, READER), objective.artifacts, run, lambda: 100.0
        )
        assert found.membership.shape == (objective.dataset.n_rows, 3, 2)
    assert [trial.max_seconds for trial in ran] == [15.0]
    assert kept_membership(objective.artifacts, [False, True]) is not None
    assert kept_membership(objective.artifacts, [False]) is None


def test_who_needs_it_is_left_out_with_a_warning_when_it_cannot_be_had(objective):
    def run(trial):
        return TrialResult(trial=trial, status=TrialState.TIMEOUT, error="too slow")

    with pytest.warns(DegradedWarning, match=r"Dropped reader: .*timeout: too slow.*Increase"):
        found = with_membership(
            problem_of(objective, OTHER, READER), objective.artifacts, run, lambda: 1.0
        )
    assert found.mitigators == (OTHER,)
    assert found.membership is None


def test_too_many_cells_are_not_learned(objective, monkeypatch):
    monkeypatch.setattr(module, "MOST_CELLS", 2)
    with pytest.warns(DegradedWarning, match="3 intersectional groups, at most 2 are supported"):
        found = with_membership(problem_of(objective, READER), objective.artifacts, objective)
    assert found.mitigators == ()


def trials_of(objective, seconds_left, statuses=(TrialState.SUCCESS,)):
    """Return the trials that learn the groups, the first ones ending as said."""
    ran = []

    def run(trial):
        ran.append(trial)
        status = statuses[min(len(ran), len(statuses)) - 1]
        done = status is TrialState.SUCCESS
        return objective(trial) if done else TrialResult(trial=trial, status=status)

    found = with_membership(
        problem_of(objective, READER), objective.artifacts, run, lambda: seconds_left
    )
    return found, ran


@pytest.mark.filterwarnings("ignore:Dropped reader")
def test_with_little_time_the_effort_is_a_power_of_a_half(objective):
    efforts = []
    for seconds in (100.0, 1.0, 0.9, 0.3, 1e-9):
        _, (trial,) = trials_of(objective, seconds, statuses=(TrialState.FAILED,))
        efforts.append(trial.fidelity.rows)
    assert efforts[0] == 1.0
    assert efforts == sorted(efforts, reverse=True)
    assert efforts[1] == efforts[2]
    assert np.log2(efforts) == pytest.approx(np.round(np.log2(efforts)))
    assert 0.0 < efforts[-1] < efforts[1] < 1.0


def test_without_a_time_budget_nothing_is_saved(objective):
    _, (trial,) = trials_of(objective, None)
    assert (trial.fidelity.rows, trial.max_seconds) == (1.0, None)


def test_half_the_effort_is_half_the_trees_and_less_is_fewer_rows_too(objective, monkeypatch):
    monkeypatch.setattr(module, "FEWEST_ROWS_OF_MODEL", 100)
    trained = []

    def look(rows, n_cells, fit):
        trained.append((len(rows.train.y), fit.config.params["n_estimators"]))
        return fit_fold(rows, n_cells, fit)

    fit_fold = module._fit_fold
    monkeypatch.setattr(module, "_fit_fold", look)
    for effort in (1.0, 0.5, 0.25):
        found, _ = learn(objective.rows, effort, no_check)
        assert np.allclose(found.sum(axis=(1, 2)), 1.0, atol=1e-5)
    assert [trees for _, trees in trained[::3]] == [60, 30, 30]
    full, half, quarter = (n for n, _ in trained[::3])
    assert full == half
    assert quarter == pytest.approx(full / 2, abs=3)


def test_what_took_too_long_is_tried_once_more_with_less(objective):
    found, ran = trials_of(objective, 100.0, statuses=(TrialState.TIMEOUT, TrialState.SUCCESS))
    assert found.membership is not None
    assert [trial.fidelity.rows for trial in ran] == [1.0, 0.25]


def test_what_took_too_long_twice_is_left_out(objective):
    with pytest.warns(DegradedWarning, match="Dropped reader"):
        _, ran = trials_of(objective, 100.0, statuses=(TrialState.TIMEOUT,))
    assert len(ran) == 2


def test_what_would_be_the_same_training_is_not_tried_again(objective):
    with pytest.warns(DegradedWarning, match="Dropped reader"):
        _, ran = trials_of(objective, 0.1, statuses=(TrialState.TIMEOUT,))
    assert len(ran) == 1


def test_what_failed_is_not_tried_again(objective):
    with pytest.warns(DegradedWarning, match="Dropped reader"):
        _, ran = trials_of(objective, 100.0, statuses=(TrialState.FAILED,))
    assert len(ran) == 1
