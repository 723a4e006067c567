import numpy as np
import pytest
from pre_cases import (
    Constant,
    Logistic,
    Recorder,
    biased_rows,
    given,
    label_rates,
    rows_of,
    same_rows_in_any_order,
)
from scipy import sparse

from fairautoml.mitigators.preprocessing.label_massaging import MITIGATOR

# As in Kamiran and Calders, KAIS 2012: five men, four hired, and five women, two hired; to be
# equal, one man is demoted and one woman promoted: M = 5 * 5 * (0.8 - 0.4) / 10 = 1.
SEX = np.repeat([0, 1], 5)
HIRED = np.array([1, 1, 1, 1, 0, 0, 0, 0, 1, 1])
SCORE = np.array([3.0, 2.0, 0.5, 1.0, -1.0, -3.0, 0.2, -1.0, 2.0, 1.0])


def labels(rows, strength=1.0, model=None, seed=0):
    ranker = Logistic(*np.eye(rows.X.shape[1])[0]) if model is None else model
    return given(MITIGATOR, rows, {"strength": strength}, seed=seed, model=ranker).y


def test_the_last_of_the_favoured_and_the_first_of_the_deprived_change_labels():
    after = labels(rows_of(SCORE[:, None], HIRED, SEX))
    assert np.flatnonzero(after != HIRED).tolist() == [2, 6]
    assert after[[2, 6]].tolist() == [0, 1]


def test_label_rates_come_within_half_a_row_of_the_overall_rate():
    rows = biased_rows()
    overall = (rows.weight @ rows.y) / rows.weight.sum()
    after = given(MITIGATOR, rows, {"strength": 1.0}, model=Logistic(1.0, 0.1, 0.0))
    half_a_row = rows.weight.max() / 2 / np.bincount(rows.cells, rows.weight)
    assert (np.abs(label_rates(after, 3) - overall) <= half_a_row + 1e-12).all()


def test_strength_closes_its_share_of_the_distance():
    y = np.r_[np.ones(80), np.zeros(20), np.ones(40), np.zeros(60)]
    X = np.random.default_rng(0).normal(size=(200, 1))
    after = labels(rows_of(X, y, np.repeat([0, 1], 100)), strength=0.5)
    assert np.bincount(np.repeat([0, 1], 100), after).tolist() == [70, 50]


def test_the_labels_of_three_groups_become_equal():
    y = np.r_[np.ones(80), np.zeros(20), np.ones(50), np.zeros(50), np.ones(20), np.zeros(80)]
    X = np.random.default_rng(0).normal(size=(300, 1))
    after = labels(rows_of(X, y, np.repeat([0, 1, 2], 100)))
    assert np.bincount(np.repeat([0, 1, 2], 100), after).tolist() == [50, 50, 50]


def test_a_group_without_positives_gets_some():
    after = labels(rows_of(SCORE[:, None], [1, 1, 1, 1, 0, 0, 0, 0, 0, 0], SEX))
    assert after[:5].sum() == after[5:].sum() == 2


def test_rows_of_unknown_group_and_of_weight_zero_keep_their_labels():
    groups = np.r_[SEX, -1, 1]
    rows = rows_of(
        np.r_[SCORE, 9.0, 9.0][:, None], np.r_[HIRED, 0, 0], groups, weight=np.r_[np.ones(11), 0]
    )
    assert labels(rows)[-2:].tolist() == [0, 0]


def test_the_ranker_is_trained_on_the_labels_as_they_are():
    rows, recorder = rows_of(SCORE[:, None], HIRED, SEX), Recorder()
    MITIGATOR.train(rows, recorder, {"strength": 1.0}, 0)
    assert len(recorder.given) == 2
    assert recorder.given[0] is rows


def test_strength_zero_trains_once():
    rows, recorder = rows_of(SCORE[:, None], HIRED, SEX), Recorder()
    MITIGATOR.train(rows, recorder, {"strength": 0.0}, 0)
    assert recorder.given == [rows]


def test_equal_scores_are_distinguished_by_the_seed():
    rows = biased_rows()
    first, again, other = (labels(rows, model=Constant(), seed=seed) for seed in (1, 1, 2))
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)


def test_a_sparse_table_will_do():
    rows = rows_of(sparse.csr_matrix(SCORE[:, None].astype(np.float32)), HIRED, SEX)
    assert (labels(rows, model=Constant()) != HIRED).sum() == 2


@pytest.mark.parametrize("model", [Constant(), Logistic(1.0, 0.1, 0.0)], ids=["ties", "scores"])
def test_neither_the_order_of_rows_nor_the_names_of_groups_matter(model):
    same_rows_in_any_order(MITIGATOR, biased_rows(), {"strength": 1.0}, model=model)
