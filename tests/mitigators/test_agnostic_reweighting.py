from dataclasses import replace

import numpy as np
import pytest
from pre_cases import Recorder, biased_rows, in_order, label_rates, renamed, rows_of
from scipy import sparse

from fairautoml.evaluation.fitting import BaseFit
from fairautoml.exceptions import (
    DegenerateGroupError,
    InputError,
    MissingSensitiveError,
    ParameterError,
)
from fairautoml.learners import LEARNERS
from fairautoml.mitigators.inprocessing.agnostic_reweighting import MITIGATOR, _adversary
from fairautoml.records import Config

SEGMENTS = {
    "adversary": "segments",
    "n_segments": 4,
    "low": 0.5,
    "high": 2.0,
    "rounds": 6,
    "strength": 1.0,
    "predictor": "mixture",
}
KERNEL = {
    "adversary": "kernel",
    "width": 0.5,
    "bound": 5.0,
    "rounds": 6,
    "strength": 1.0,
    "predictor": "mixture",
}
both = pytest.mark.parametrize("params", [SEGMENTS, KERNEL], ids=["segments", "kernel"])
LOGISTIC = BaseFit(
    config=Config(learner="logistic_regression", params={"numeric": "scaled"}),
    seed=0,
    deadline=None,
)


def train(rows, params, fit_base=LOGISTIC, **changed):
    return MITIGATOR.train(rows, fit_base, {**params, **changed}, 0)


def rows_with_a_small_world(seed=0, n_rows=1500):
    """A tenth of the rows lies apart and follows the opposite rule; two groups in both worlds."""
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(n_rows, 2))
    apart = rng.uniform(size=n_rows) < 0.1
    X[apart, 0] += 4
    y = np.where(apart, X[:, 1] < 0, X[:, 1] > 0)
    y = np.where(rng.uniform(size=n_rows) < 0.1, ~y, y)
    return rows_of(X, y, rng.integers(2, size=n_rows)), apart


@both
def test_the_worst_loss_falls_and_the_mean_loss_may_rise(params):
    rows, _ = rows_with_a_small_world()
    adversary = _adversary(rows, params, 0)
    mean, worst = [], []
    for rounds in (1, 10):
        scores = train(rows, params, strength=0.0, rounds=rounds).scores(rows.X, rows.cells)
        loss = -np.log(np.where(rows.y == 1, scores, 1 - scores).astype(float).clip(1e-6))
        mean.append(adversary.share @ loss)
        worst.append((adversary.worst(loss) * adversary.share) @ loss)
    assert worst[1] < worst[0] - 0.01
    assert mean[1] >= mean[0] - 1e-3
    assert min(worst[0] - mean[0], worst[1] - mean[1]) >= 0


def test_the_rows_that_lie_apart_are_served_better():
    rows, apart = rows_with_a_small_world()
    lost = []
    for rounds in (1, 10):
        scores = train(rows, KERNEL, strength=0.0, rounds=rounds).scores(rows.X, rows.cells)
        said = np.where(rows.y == 1, scores, 1 - scores)
        lost.append(-np.log(said[apart]).mean())
    assert lost[1] < lost[0] - 0.05


@both
def test_the_first_training_is_on_the_plain_weights_and_later_ones_keep_their_total(params):
    rows = biased_rows()
    recorder = Recorder()
    train(rows, params, recorder, strength=0.0)
    assert len(recorder.given) == 6
    assert np.array_equal(recorder.given[0].weight, rows.weight)
    for given in recorder.given:
        assert given.weight.sum() == pytest.approx(rows.weight.sum(), rel=1e-6)
        assert given.weight.min() >= 0
    assert not np.allclose(recorder.last.weight, rows.weight)


@both
def test_at_full_strength_labels_and_groups_are_independent_in_every_round(params):
    recorder = Recorder()
    train(biased_rows(), params, recorder)
    for given in recorder.given:
        assert np.ptp(label_rates(given, 3)) == pytest.approx(0, abs=1e-9)


def test_segments_free_to_move_nowhere_are_plain_training():
    rows = biased_rows()
    recorder = Recorder()
    train(rows, SEGMENTS, recorder, strength=0.0, low=1.0, high=1.0)
    for given in recorder.given:
        np.testing.assert_allclose(given.weight, rows.weight)


@both
def test_rows_that_are_all_equal_are_plain_training(params):
    rows = biased_rows()
    rows = replace(rows, X=np.ones_like(rows.X))
    recorder = Recorder()
    train(rows, params, recorder, strength=0.0)
    np.testing.assert_allclose(recorder.last.weight, rows.weight)


def test_the_mixture_is_the_mean_of_the_rounds_and_last_is_the_last():
    rows = biased_rows()
    ones = [train(rows, SEGMENTS, predictor="last", rounds=n) for n in (1, 2, 3)]
    mean = np.mean([one.scores(rows.X, rows.cells) for one in ones], axis=0)
    mixture = train(rows, SEGMENTS, rounds=3).scores(rows.X, rows.cells)
    np.testing.assert_allclose(mixture, mean, atol=1e-6)
    assert not np.allclose(mixture, ones[2].scores(rows.X, rows.cells), atol=1e-4)


class Hurried(Recorder):
    """A learner whose time is over after two trainings."""

    def seconds_left(self):
        return 1e6 if len(self.given) < 2 else 0.0


@both
def test_it_ends_with_what_there_is_when_the_time_is_over(params):
    recorder = Hurried()
    model = train(biased_rows(), params, recorder)
    assert len(recorder.given) == 2
    assert (model.scores(biased_rows().X, None) == 0.5).all()


@both
def test_neither_the_order_of_rows_nor_the_names_of_groups_matter(params):
    rows = biased_rows()
    expected = train(rows, params).scores(rows.X, rows.cells)
    order = np.random.default_rng(1).permutation(len(rows.y))
    mixed = train(in_order(rows, order), params).scores(rows.X, rows.cells)
    np.testing.assert_allclose(mixed, expected, atol=1e-4)
    named = train(renamed(rows, [2, 0, 1]), params).scores(rows.X, rows.cells)
    np.testing.assert_allclose(named, expected, atol=1e-4)


@both
def test_rows_of_unknown_group_are_weighted_by_the_adversary_only(params):
    rows = biased_rows()
    rows = replace(rows, cells=np.where(np.arange(240) % 5 == 4, -1, rows.cells).astype(np.int32))
    fair, bare = Recorder(), Recorder()
    train(rows, params, fair)
    train(rows, params, bare, strength=0.0)
    unknown = rows.cells < 0
    np.testing.assert_allclose(fair.last.weight[unknown], bare.last.weight[unknown])
    assert not np.allclose(fair.last.weight[~unknown], bare.last.weight[~unknown])


def test_it_is_used_only_when_named_and_is_costly():
    assert (MITIGATOR.stage, MITIGATOR.cost, MITIGATOR.opt_in) == ("in", "costly", True)


def test_rows_without_groups_are_refused():
    with pytest.raises(MissingSensitiveError, match="agnostic_reweighting needs the groups"):
        train(replace(biased_rows(), systems=()), SEGMENTS)


def test_a_single_group_is_refused():
    rows = replace(biased_rows(), cells=np.zeros(240, dtype=np.int32))
    with pytest.raises(DegenerateGroupError, match="two groups or more, found: 'group 0'"):
        train(rows, SEGMENTS)


def test_a_group_with_one_label_is_refused_unless_fairness_is_left_out():
    rows = biased_rows()
    rows = replace(rows, y=np.where(rows.cells == 2, 0, rows.y).astype(np.int8))
    with pytest.raises(DegenerateGroupError, match=r"'group 2' .* no training rows of label 1"):
        train(rows, SEGMENTS)
    scores = train(rows, SEGMENTS, strength=0.0).scores(rows.X, rows.cells)
    assert np.isfinite(scores).all()


def test_a_sparse_table_is_refused():
    rows = rows_of(sparse.csr_matrix(np.eye(4)), [0, 1, 0, 1], [0, 0, 1, 1])
    with pytest.raises(InputError, match="agnostic_reweighting cannot work on a sparse X"):
        train(rows, SEGMENTS)


def test_a_bound_too_small_for_a_mean_of_one_is_refused():
    with pytest.raises(ParameterError, match="it must be 1"):
        train(biased_rows(), KERNEL, bound=1e-3)


def test_a_learner_that_cannot_use_weights_is_not_eligible(monkeypatch):
    blind = replace(LEARNERS.get("logistic_regression"), handles_weights=False)
    monkeypatch.setitem(LEARNERS._loaded, "logistic_regression", blind)
    with pytest.raises(TypeError, match="cannot use sample weights"):
        train(biased_rows(), SEGMENTS)


@pytest.mark.parametrize("n_features", [10, 50])
def test_narrow_bumps_in_many_dimensions_leave_room_for_every_bound_of_the_space(n_features):
    rng = np.random.default_rng(0)
    X = rng.normal(size=(300, n_features))
    rows = rows_of(X, (X[:, 0] > 0).astype(int), rng.integers(2, size=300))
    recorder = Recorder()
    train(rows, {**KERNEL, "width": 0.3, "bound": 1.0}, recorder, strength=0.0, rounds=2)
    for given in recorder.given:
        assert given.weight.sum() == pytest.approx(rows.weight.sum(), rel=1e-6)
