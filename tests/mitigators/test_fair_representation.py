from dataclasses import replace

import numpy as np
import pytest
from pre_cases import Recorder, Watched, biased_rows, given, rows_of, same_rows_in_any_order
from scipy import sparse
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score

from fairautoml.exceptions import InputError
from fairautoml.mitigators.preprocessing.fair_representation import (
    MITIGATOR,
    Lesson,
    fit_erasure,
    fit_layer,
    indicators,
)

LINEAR = {"encoder": "linear", "strength": 1.0}
NETWORK = {"encoder": "network", "n_units": 6, "strength": 1.0}
both = pytest.mark.parametrize("params", [LINEAR, NETWORK], ids=["linear", "network"])


def group_means(rows, n_groups=3):
    return np.stack(
        [
            np.average(rows.X[rows.cells == g], axis=0, weights=rows.weight[rows.cells == g])
            for g in range(n_groups)
        ]
    )


def learnable_rows(n_rows=2000, seed=0):
    """The first column tells label and group, the second the label, the third the group."""
    rng = np.random.default_rng(seed)
    groups = rng.integers(2, size=n_rows)
    y = (rng.uniform(size=n_rows) < 0.3 + 0.4 * groups).astype(int)
    X = rng.normal(size=(n_rows, 4)) + np.outer(y, [1, 2, 0, 0]) + np.outer(groups, [1, 0, 3, 0])
    return rows_of(X, y, groups)


def auc(X, label):
    model = LogisticRegression(max_iter=500).fit(X, label)
    return roc_auc_score(label, model.decision_function(X))


@both
def test_all_groups_have_the_same_weighted_mean_afterwards(params):
    after = given(MITIGATOR, biased_rows(), params)
    assert np.ptp(group_means(after), axis=0).max() < 1e-5
    assert after.X.std(axis=0).max() > 0.1


@both
def test_no_linear_model_reveals_the_group_and_the_label_can_still_be_predicted(params):
    rows = learnable_rows()
    after = given(MITIGATOR, rows, params)
    assert auc(rows.X, rows.cells) > 0.95
    assert auc(after.X, rows.cells) < 0.52
    # Some of the label went with the group, which is related to it.
    assert auc(after.X, rows.y) > 0.85


@pytest.mark.parametrize("share", [0.25, 0.5])
def test_the_strength_is_the_share_of_the_distance_taken_off(share):
    rows = biased_rows()
    apart = [
        np.ptp(group_means(given(MITIGATOR, rows, {**LINEAR, "strength": s})), axis=0)
        for s in (1e-12, share)
    ]
    np.testing.assert_allclose(apart[1], (1 - share) * apart[0], atol=1e-5)


def test_the_erasure_moves_rows_least_of_all_maps_that_make_the_means_equal():
    # The least-squares map found by its definition: any other one in the same span moves more.
    rng = np.random.default_rng(0)
    group = rng.integers(3, size=400)
    matrix = rng.normal(size=(400, 5)) @ rng.normal(size=(5, 5)) + group[:, None] * [1, 0, 2, 0, 0]
    weight = rng.uniform(0.5, 2, size=400)
    erasure = fit_erasure(matrix, weight, group, 1.0)
    moved = np.average(((erasure.apply(matrix) - matrix) ** 2).sum(axis=1), weights=weight)
    # Plain orthogonal projection onto what no group mean points to is such a map, too.
    mean = np.average(matrix, axis=0, weights=weight)
    means = np.stack(
        [np.average(matrix[group == g], axis=0, weights=weight[group == g]) for g in range(3)]
    )
    directions = np.linalg.qr((means - mean).T)[0][:, :2]
    projected = np.average(
        ((matrix - mean) @ directions @ directions.T) ** 2, axis=0, weights=weight
    ).sum()
    assert moved < projected
    again = fit_erasure(erasure.apply(matrix), weight, group, 1.0)
    np.testing.assert_allclose(again.apply(erasure.apply(matrix)), erasure.apply(matrix))


def test_the_fisher_score_of_the_groups_falls_to_zero():
    # FLD = (m1 - m0)' (S0 + S1)^-1 (m1 - m0), methods.md, section 13.
    rows = learnable_rows()
    after = given(MITIGATOR, rows, LINEAR)
    found = []
    for X in (rows.X, after.X):
        zero, one = (X[rows.cells == g].astype(np.float64) for g in (0, 1))
        apart = one.mean(axis=0) - zero.mean(axis=0)
        spread = np.cov(zero.T, bias=True) + np.cov(one.T, bias=True)
        found.append(apart @ np.linalg.pinv(spread, rcond=1e-6) @ apart)
    assert found[0] > 3
    assert found[1] < 1e-6


def test_rows_whose_groups_have_equal_means_stay_as_they_are():
    matrix = np.array([[1.0, 0.0], [-1.0, 0.0], [0.0, 1.0], [0.0, -1.0]])
    erasure = fit_erasure(matrix, np.ones(4), np.array([0, 0, 1, 1]), 1.0)
    np.testing.assert_allclose(erasure.apply(matrix), matrix, atol=1e-12)


def test_the_gradient_of_the_network_is_that_of_its_loss():
    rng = np.random.default_rng(0)
    lesson = Lesson(
        matrix=rng.normal(size=(30, 4)),
        y=rng.integers(2, size=30).astype(float),
        share=rng.dirichlet(np.ones(30)),
        member=indicators(rng.integers(3, size=30)),
        n_units=3,
        price=5.0,
    )
    theta = rng.normal(size=sum(int(np.prod(shape)) for shape in lesson.shapes))
    steps = 1e-6 * np.eye(len(theta))
    slopes = [
        (lesson.value_and_gradient(theta + s)[0] - lesson.value_and_gradient(theta - s)[0]) / 2e-6
        for s in steps
    ]
    np.testing.assert_allclose(lesson.value_and_gradient(theta)[1], slopes, atol=1e-7)


def test_units_that_pay_for_the_group_tell_less_of_it():
    rows = learnable_rows(600)
    leaks = []
    for price in (0.0, 10.0):
        lesson = Lesson(
            matrix=rows.X.astype(np.float64),
            y=rows.y.astype(np.float64),
            share=np.full(600, 1 / 600),
            member=indicators(rows.cells),
            n_units=4,
            price=price,
        )
        units = fit_layer(lesson, 0).apply(lesson.matrix)
        means = np.stack([units[rows.cells == g].mean(axis=0) for g in (0, 1)])
        leaks.append((np.ptp(means, axis=0) / units.std(axis=0)).mean())
    assert leaks[1] < 0.3 * leaks[0]


def test_other_values_of_a_column_that_is_constant_in_training_do_not_change_the_units():
    rows = learnable_rows(300)
    lesson = Lesson(
        matrix=np.column_stack((rows.X.astype(np.float64), np.zeros(300))),
        y=rows.y.astype(np.float64),
        share=np.full(300, 1 / 300),
        member=indicators(rows.cells),
        n_units=4,
        price=1.0,
    )
    layer, other = fit_layer(lesson, 0), lesson.matrix.copy()
    other[:, 4] = 5.0
    np.testing.assert_array_equal(layer.apply(other), layer.apply(lesson.matrix))


@both
def test_the_learner_sees_numbers_without_gaps(params):
    after = given(MITIGATOR, biased_rows(), params)
    assert np.isfinite(after.X).all()
    assert after.X.dtype == np.float32
    assert after.feature_schema.n_features == after.X.shape[1]
    assert after.feature_schema.categorical == ()


@both
def test_new_rows_are_encoded_the_same_whatever_their_group(params):
    rows = biased_rows()
    watched = Watched()
    recorder = Recorder(watched)
    model = MITIGATOR.train(rows, recorder, params, 0)
    model.scores(rows.X, np.full(240, -1))
    np.testing.assert_allclose(watched.seen[-1], recorder.last.X, atol=1e-6)


@both
def test_rows_of_unknown_group_have_no_say(params):
    rows = biased_rows()
    known = rows.cells != 2
    unknown = replace(rows, cells=np.where(known, rows.cells, -1).astype(np.int32))
    alone = replace(
        rows, X=rows.X[known], y=rows.y[known], weight=rows.weight[known], cells=rows.cells[known]
    )
    found = given(MITIGATOR, unknown, params).X[known]
    np.testing.assert_allclose(found, given(MITIGATOR, alone, params).X, atol=1e-6)


def test_the_seed_decides_where_the_network_starts():
    first, second, third = (given(MITIGATOR, biased_rows(), NETWORK, seed=s).X for s in (0, 0, 1))
    assert np.array_equal(first, second)
    assert not np.allclose(first, third)


def test_a_table_of_categories_only_is_encoded():
    rng = np.random.default_rng(0)
    codes, groups = rng.integers(3, size=(90, 1)), np.repeat([0, 1, 2], 30)
    rows = rows_of(codes, rng.integers(2, size=90), groups, categorical=(0,), cardinalities=(3,))
    after = given(MITIGATOR, rows, LINEAR)
    assert after.X.shape == (90, 3)
    assert np.ptp(group_means(after), axis=0).max() < 1e-5


@both
def test_rows_that_are_all_equal_are_no_obstacle(params):
    rows = biased_rows()
    rows = replace(rows, X=np.ones_like(rows.X))
    assert np.isfinite(given(MITIGATOR, rows, params).X).all()


def test_a_sparse_table_is_refused():
    rows = rows_of(sparse.csr_matrix(np.eye(4)), [0, 1, 0, 1], [0, 0, 1, 1])
    with pytest.raises(InputError, match="fair_representation cannot work on a sparse X"):
        given(MITIGATOR, rows, LINEAR)


@both
def test_neither_the_order_of_rows_nor_the_names_of_groups_matter(params):
    same_rows_in_any_order(MITIGATOR, biased_rows(), params)
