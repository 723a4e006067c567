import pickle
from dataclasses import replace
from types import SimpleNamespace
from typing import ClassVar

import joblib
import numpy as np
import pytest
from sklearn.dummy import DummyClassifier
from sklearn.metrics import log_loss

from fairautoml.data.read import ReadOptions, build_dataset
from fairautoml.data.splits import stratified_folds
from fairautoml.evaluation import evaluate as module
from fairautoml.evaluation.evaluate import TrialEvaluator, refit
from fairautoml.evaluation.fitting import LONGEST_ERROR, CVEnsemble
from fairautoml.execution import EXECUTORS, ResourceLimits
from fairautoml.learners import LEARNERS, Learner
from fairautoml.mitigators import MITIGATORS
from fairautoml.records import Config, Fidelity, Trial, TrialState
from fairautoml.search.allocators._base import should_prune
from fairautoml.storage.artifacts import Artifacts

FOREST = Config(
    learner="extra_trees",
    params={
        "n_estimators": 20,
        "max_features": 0.5,
        "min_samples_leaf": 1,
        "max_leaf_nodes": 2048,
        "criterion": "gini",
    },
)
LINEAR = Config(
    learner="logistic_regression", params={"C": 1.0, "numeric": "scaled", "min_frequency": 10}
)
N_ROWS = 90


@pytest.mark.parametrize(("system", "counted"), [("linux", 3 * 1024), ("darwin", 3 * 1024**2)])
def test_memory_is_in_mebibytes_whatever_the_system_counts_in(system, counted, monkeypatch):
    monkeypatch.setattr(module.sys, "platform", system)
    used = SimpleNamespace(ru_maxrss=counted)
    monkeypatch.setattr("resource.getrusage", lambda _: used)
    assert module._peak_mb() == 3.0


@pytest.fixture
def dataset():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(N_ROWS, 4))
    y = (X[:, 0] + rng.normal(size=N_ROWS) > 0).astype(int)
    options = ReadOptions(sensitive_in_X="allow")
    return build_dataset(X, y, np.where(X[:, 1] > 0, "a", "b"), options=options)


@pytest.fixture
def artifacts(tmp_path):
    made = Artifacts(tmp_path / "artifacts")
    made.prepare()
    return made


@pytest.fixture
def objective(dataset, artifacts):
    folds = stratified_folds(dataset.y, dataset.cells, 3, 0)
    return TrialEvaluator(
        data=dataset, folds=folds, artifacts=artifacts, root_seed=7, prune=should_prune
    )


class Seen(DummyClassifier):
    """Writes down what it is given."""

    rows: ClassVar = []
    weights: ClassVar = []

    def fit(self, X, y, sample_weight=None):
        self.rows.append(np.asarray(X).copy())
        self.weights.append(sample_weight)
        return super().fit(X, y)


class Raises(DummyClassifier):
    error = None

    def fit(self, X, y, sample_weight=None):
        raise self.error


class Predicts(DummyClassifier):
    answer = None

    def predict_proba(self, X):
        return self.answer(len(X))


class Clock:
    """Stands still but for what is said to last."""

    def __init__(self):
        self.now = 100.0

    def monotonic(self):
        return self.now

    def pass_by(self, seconds):
        self.now += seconds


class Slow(DummyClassifier):
    clock: ClassVar = None

    def fit(self, X, y, sample_weight=None):
        self.clock.pass_by(0.12)
        return super().fit(X, y)


@pytest.fixture
def clock(monkeypatch):
    held = Clock()
    for name in ("evaluate", "fitting"):
        monkeypatch.setattr(f"fairautoml.evaluation.{name}.time", held)
    monkeypatch.setattr(Slow, "clock", held)
    return held


@pytest.fixture
def learners(monkeypatch):
    """Learners that misbehave, in this process only."""
    Seen.rows.clear()
    Seen.weights.clear()
    made = {"seen": Seen, "raises": Raises, "predicts": Predicts, "slow": Slow}
    known = {
        name: Learner(name=name, build=lambda params, feature_schema, seed, cls=cls: cls())
        for name, cls in made.items()
    }
    known["weightless"] = replace(known["seen"], handles_weights=False)
    monkeypatch.setattr(LEARNERS, "_loaded", known | LEARNERS._loaded)


def trial_of(config, seconds=None, **fidelity):
    if isinstance(config, str):
        config = Config(learner=config)
    fidelity = Fidelity(**{"folds": 3, **fidelity})
    return Trial(number=3, config=config, fidelity=fidelity, max_seconds=seconds)


def test_out_of_fold_scores_are_those_of_models_that_did_not_see_the_row(objective, dataset):
    trial = trial_of(FOREST)
    result = objective(trial)
    assert (result.status, result.error) == (TrialState.SUCCESS, "")
    scores = objective.artifacts.scores(trial.key)
    models = objective.artifacts.models(trial.key)
    assert len(models) == 3
    for fold, model in enumerate(models):
        held_out = objective.folds == fold
        part = dataset.X[held_out], dataset.cells[held_out]
        assert np.array_equal(scores[held_out], model.scores(*part))
        # Twenty trees that are grown to the end know their own rows by heart.
        own = model.scores(dataset.X[~held_out], dataset.cells[~held_out])
        assert np.array_equal(own >= 0.5, dataset.y[~held_out] == 1)
    assert not np.array_equal(scores >= 0.5, dataset.y == 1)


def test_the_log_loss_is_that_of_the_out_of_fold_scores(objective, dataset):
    trial = trial_of(LINEAR)
    result = objective(trial)
    scores = objective.artifacts.scores(trial.key).astype(float)
    assert result.log_loss == pytest.approx(log_loss(dataset.y, scores), rel=1e-9)
    per_fold = [
        log_loss(dataset.y[objective.folds == k], scores[objective.folds == k]) for k in range(3)
    ]
    assert result.fold_log_loss == pytest.approx(per_fold, rel=1e-9)


def test_the_same_trial_gives_the_same_bits_whatever_its_number(objective):
    one, other = trial_of(FOREST), replace(trial_of(FOREST), number=8)
    assert objective(one).log_loss == objective(other).log_loss
    assert np.array_equal(
        objective.artifacts.scores(one.key), objective.artifacts.scores(other.key)
    )


def test_another_root_seed_gives_another_model(objective):
    trial = trial_of(FOREST)
    first = objective(trial).log_loss
    assert replace(objective, root_seed=8)(trial).log_loss != first


@pytest.mark.parametrize("config", [FOREST, LINEAR], ids=["extra_trees", "logistic_regression"])
def test_a_trial_gives_the_same_bits_here_and_in_a_child(objective, tmp_path, config):
    trial = trial_of(config)
    file = tmp_path / "data.joblib"
    joblib.dump(objective.data, file)
    found = []
    for name in ("serial", "local"):
        executor = EXECUTORS.get(name)(ResourceLimits())
        data = objective.data if name == "serial" else file
        result = executor.submit(replace(objective, data=data), trial).result(timeout=60)
        executor.shutdown()
        found.append((result.log_loss, objective.artifacts.scores(trial.key).tobytes()))
        assert result.status is TrialState.SUCCESS
    assert found[0] == found[1]


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (ValueError("no luck " * 1000), TrialState.FAILED),
        (MemoryError("too large"), TrialState.OUT_OF_MEMORY),
        (SystemExit(3), TrialState.FAILED),
        (RecursionError("too deep"), TrialState.FAILED),
    ],
)
def test_a_learner_that_raises_is_a_result_with_the_reason(
    objective, learners, monkeypatch, error, status
):
    monkeypatch.setattr(Raises, "error", error)
    result = objective(trial_of("raises"))
    assert result.status is status
    assert result.error == repr(error)[:LONGEST_ERROR]
    assert result.log_loss is None
    assert list((objective.artifacts.folder / "scores").iterdir()) == []


def test_an_interrupt_is_no_result(objective, learners, monkeypatch):
    monkeypatch.setattr(Raises, "error", KeyboardInterrupt("the user"))
    with pytest.raises(KeyboardInterrupt, match="the user"):
        objective(trial_of("raises"))


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (lambda n: np.full((n, 2), np.nan), "30 of 30 scores are not probabilities"),
        (lambda n: np.full((n, 2), np.inf), "scores are not probabilities"),
        (lambda n: np.full((n, 2), 1.5), "scores are not probabilities"),
        (lambda n: np.full((n, 1), 0.5), r"shape (30, 1), expected (30, 2)"),
        (lambda n: np.full((n - 1, 2), 0.5), r"shape (29, 2), expected (30, 2)"),
        (lambda n: np.full(n, 0.5), r"shape (30,), expected (30, 2)"),
    ],
)
def test_scores_that_are_no_probabilities_fail_the_trial(
    objective, learners, monkeypatch, answer, reason
):
    monkeypatch.setattr(Predicts, "answer", staticmethod(answer))
    result = objective(trial_of("predicts"))
    assert result.status is TrialState.FAILED
    assert reason in result.error


def test_an_unknown_learner_fails_the_trial_with_the_known_ones(objective):
    result = objective(trial_of("lightgmb"))
    assert result.status is TrialState.FAILED
    assert "no learner is called 'lightgmb'; did you mean lightgbm" in result.error


def test_a_trial_whose_folds_would_take_too_long_ends_between_two_folds(
    objective, learners, clock
):
    result = objective(trial_of("slow", seconds=0.2))
    assert result.status is TrialState.TIMEOUT
    assert "1 of 3 folds took" in result.error
    assert result.seconds == pytest.approx(0.12)


def test_a_trial_whose_last_fold_would_not_fit_ends_after_its_first(objective, learners, clock):
    assert objective(trial_of("slow")).status is TrialState.SUCCESS
    result = objective(trial_of("slow", seconds=0.28))
    assert result.status is TrialState.TIMEOUT
    assert "1 of 3 folds took" in result.error


def test_the_first_fold_of_a_learner_in_a_process_does_not_speak_for_all_others(
    objective, learners, clock, monkeypatch
):
    waits = [0.5, 0.0, 0.0]
    monkeypatch.setattr(Slow, "fit", lambda self, X, y: clock.pass_by(waits.pop(0)) or self)
    monkeypatch.setattr(Slow, "predict_proba", lambda self, X: np.full((len(X), 2), 0.5))
    assert objective(trial_of("slow", seconds=1.2)).status is TrialState.SUCCESS


def test_a_mitigation_that_keeps_its_deadlines_is_given_all_its_folds(
    objective, learners, clock, monkeypatch
):
    def train(rows, fit_base, params, seed):
        model = fit_base(rows)
        clock.pass_by(max(0.0, fit_base.seconds_left()) + 0.02)
        return model

    slow = replace(MITIGATORS.get("reweighing"), name="slow", train=train)
    monkeypatch.setitem(MITIGATORS._loaded, "slow", slow)
    result = objective(trial_of(Config(learner="seen", mitigation="slow"), seconds=1.2))
    assert (result.status, result.error) == (TrialState.SUCCESS, "")


def test_a_trial_without_any_time_does_not_start(objective, learners):
    assert objective(trial_of("seen", seconds=0.0)).status is TrialState.TIMEOUT
    assert Seen.rows == []


def test_the_rows_of_a_fidelity_are_the_share_of_rows_trained_on(objective, learners):
    assert objective(trial_of("seen", rows=0.5)).status is TrialState.SUCCESS
    assert [len(rows) for rows in Seen.rows] == [30, 30, 30]
    # All rows are scored all the same.
    assert not np.isnan(objective.artifacts.scores(trial_of("seen").key)).any()


def test_weights_reach_the_learner_and_the_log_loss(objective, dataset, learners):
    weight = np.arange(1.0, N_ROWS + 1)
    weighted = replace(objective, data=replace(dataset, weight=weight))
    trial = trial_of("seen")
    result = weighted(trial)
    for fold, seen in enumerate(Seen.weights):
        assert np.array_equal(seen, weight[objective.folds != fold])
    scores = objective.artifacts.scores(trial.key).astype(float)
    expected = log_loss(dataset.y, scores, sample_weight=weight)
    assert result.log_loss == pytest.approx(expected, rel=1e-9)


def test_a_learner_without_weights_fails_on_weighted_rows_and_not_on_equal_ones(
    objective, dataset, learners
):
    assert objective(trial_of("weightless")).status is TrialState.SUCCESS
    weight = np.arange(1.0, N_ROWS + 1)
    result = replace(objective, data=replace(dataset, weight=weight))(trial_of("weightless"))
    assert result.status is TrialState.FAILED
    assert "cannot use sample weights" in result.error


def test_the_rows_are_not_modified(objective, dataset):
    before = dataset.X.tobytes(), dataset.y.tobytes()
    objective(trial_of(FOREST))
    assert (dataset.X.tobytes(), dataset.y.tobytes()) == before


def test_what_a_trial_made_in_this_process_is_not_sent_to_the_workers(objective, tmp_path):
    file = tmp_path / "data.joblib"
    joblib.dump(objective.data, file)
    mapped = replace(objective, data=file)
    bare = pickle.dumps(mapped)
    trial = Trial(number=0, config=Config(learner="prior"), fidelity=Fidelity(folds=3))
    assert mapped(trial).status is TrialState.SUCCESS
    assert pickle.dumps(mapped) == bare
    sent = pickle.loads(bare)
    assert isinstance(sent.dataset.X, np.memmap)
    assert sent(trial).status is TrialState.SUCCESS


def test_refit_trains_one_model_on_all_rows_with_the_seed_of_the_search(dataset, learners):
    (model,) = refit(FOREST, dataset, 7)
    (again,) = refit(FOREST, dataset, 7)
    (other,) = refit(FOREST, dataset, 8)
    new = np.random.default_rng(1).normal(size=(40, 4)).astype(np.float32)
    cells = np.zeros(40, dtype=np.int32)
    assert np.array_equal(model.scores(new, cells), again.scores(new, cells))
    assert not np.array_equal(model.scores(new, cells), other.scores(new, cells))
    refit(Config(learner="seen"), dataset, 7)
    assert [len(rows) for rows in Seen.rows] == [N_ROWS]


def test_a_bag_scores_with_the_mean_of_its_models(objective, dataset):
    trial = trial_of(FOREST)
    objective(trial)
    models = objective.artifacts.models(trial.key)
    parts = [model.scores(dataset.X, dataset.cells) for model in models]
    mean = np.mean(parts, axis=0, dtype=float).astype(np.float32)
    assert np.allclose(CVEnsemble(models).scores(dataset.X, dataset.cells), mean, rtol=1e-6)


def wrong_way(n):
    return np.column_stack((np.full(n, 0.01), np.full(n, 0.99)))


@pytest.fixture
def rival(objective):
    """The key of a good trial, and of one that is not known."""
    trial = replace(trial_of(LINEAR), number=0)
    assert objective(trial).status is TrialState.SUCCESS
    return trial.key


def test_a_trial_far_behind_its_rival_stops_after_two_folds(
    objective, rival, learners, monkeypatch
):
    monkeypatch.setattr(Predicts, "answer", staticmethod(wrong_way))
    trial = replace(trial_of("predicts"), rival=rival)
    result = objective(trial)
    assert result.status is TrialState.PRUNED
    assert "stopped after 2 of 3 folds: its loss" in result.error
    assert result.log_loss is None
    plain = objective(trial_of("predicts"))
    assert result.fold_log_loss == plain.fold_log_loss[:2]


def test_a_first_fold_of_many_rows_is_enough_to_stop_a_trial(
    objective, rival, learners, monkeypatch
):
    monkeypatch.setattr("fairautoml.search.allocators._base.ENOUGH_ROWS", 30)
    monkeypatch.setattr(Predicts, "answer", staticmethod(wrong_way))
    result = objective(replace(trial_of("predicts"), rival=rival))
    assert result.status is TrialState.PRUNED
    assert "stopped after 1 of 3 folds: its loss" in result.error


def test_a_stopped_trial_writes_nothing(objective, rival, learners, monkeypatch):
    monkeypatch.setattr(Predicts, "answer", staticmethod(wrong_way))
    before = sorted(objective.artifacts.folder.rglob("*"))
    assert objective(replace(trial_of("predicts"), rival=rival)).status is TrialState.PRUNED
    assert sorted(objective.artifacts.folder.rglob("*")) == before


def test_a_trial_near_its_rival_gives_what_it_gives_alone(objective, rival):
    alone = objective(trial_of(LINEAR))
    found = objective(replace(trial_of(LINEAR), rival=rival))
    assert found.status is TrialState.SUCCESS
    assert (found.log_loss, found.fold_log_loss) == (alone.log_loss, alone.fold_log_loss)


def test_a_trial_whose_rival_has_no_scores_here_continues(objective, learners, monkeypatch):
    monkeypatch.setattr(Predicts, "answer", staticmethod(wrong_way))
    assert objective(replace(trial_of("predicts"), rival="gone")).status is TrialState.SUCCESS


def test_two_folds_are_never_stopped_between(objective, dataset, rival, learners, monkeypatch):
    monkeypatch.setattr(Predicts, "answer", staticmethod(wrong_way))
    halves = replace(objective, folds=stratified_folds(dataset.y, dataset.cells, 2, 0))
    result = halves(replace(trial_of("predicts", folds=2), rival=rival))
    assert result.status is TrialState.SUCCESS


@pytest.mark.parametrize("name", ["lightgbm", "xgboost"])
def test_what_ran_before_in_the_process_does_not_change_a_trial(objective, name):
    def trial(number, **params):
        config = Config(learner=name, params={"n_estimators": 10, **params})
        return Trial(number=number, config=config, fidelity=Fidelity(folds=3))

    wanted = trial(0)
    cold = replace(objective)(wanted)
    for other in (trial(1, max_bin=15), trial(2, learning_rate=0.5)):
        assert objective(other).status is TrialState.SUCCESS
    warm = objective(wanted)
    assert cold.log_loss == warm.log_loss


class Writes(DummyClassifier):
    def fit(self, X, y, sample_weight=None):
        X[:] = 0.0
        y[:5] = 1
        return super().fit(X, y)

    def predict_proba(self, X):
        X[:] = 0.0
        return super().predict_proba(X)


def test_a_learner_may_write_to_the_rows_that_it_is_given(objective, learners, monkeypatch):
    before = objective(trial_of(LINEAR)).log_loss
    writes = Learner(name="writes", build=lambda params, feature_schema, seed: Writes())
    monkeypatch.setitem(LEARNERS._loaded, "writes", writes)
    assert objective(trial_of("writes")).status is TrialState.SUCCESS
    assert objective(trial_of(LINEAR)).log_loss == before


def test_a_fold_whose_rows_all_weigh_nothing_has_a_loss_all_the_same():
    losses = np.array([1.0, 3.0])
    assert module._mean(losses, np.array([3.0, 1.0])) == 1.5
    assert module._mean(losses, np.zeros(2)) == 2.0
