import numpy as np
import pytest

from fairautoml.data.splits import stratified_folds
from fairautoml.metrics import METRICS
from fairautoml.selection.ensemble import (
    mean_shares,
    select_greedily,
    shares_by_fold,
    worth_their_cost,
)

N_ROWS = 600


@pytest.fixture
def table():
    """Three noisy views of one truth, and a column that knows nothing."""
    rng = np.random.default_rng(0)
    z = rng.normal(size=N_ROWS)
    y = (z + 0.5 * rng.normal(size=N_ROWS) > 0).astype(np.int8)
    views = [1 / (1 + np.exp(-1.5 * (z + rng.normal(size=N_ROWS)))) for _ in range(3)]
    columns = np.array([*views, np.full(N_ROWS, y.mean())], dtype=np.float32)
    return columns, y, rng.uniform(0.5, 2.0, size=N_ROWS)


def loss(scores, y, weight):
    return METRICS.get("log_loss").value(y, np.asarray(scores), weight)


def test_the_mean_is_better_than_every_column_of_it(table):
    columns, y, weight = table
    shares = select_greedily(columns, y, weight, most=None)
    assert shares.sum() == pytest.approx(1.0)
    best = min(loss(column, y, weight) for column in columns)
    assert loss(shares @ columns, y, weight) < best - 0.02


def test_a_limit_of_one_takes_the_best_column(table):
    columns, y, weight = table
    shares = select_greedily(columns, y, weight, most=1)
    losses = [loss(column, y, weight) for column in columns]
    assert shares.tolist() == np.eye(4)[np.argmin(losses)].tolist()


@pytest.mark.parametrize("most", [2, 3])
def test_no_more_columns_are_taken_than_allowed(table, most):
    columns, y, weight = table
    assert np.count_nonzero(select_greedily(columns, y, weight, most=most)) <= most
    by_fold = shares_by_fold(columns, y, weight, np.arange(N_ROWS) % 5, most=most)
    assert np.count_nonzero(mean_shares(by_fold, most=most)) <= most


def test_the_best_round_is_kept():
    # One round is perfect; whatever is added afterwards can only be the same column again.
    y = np.array([0, 1, 0, 1], dtype=np.int8)
    perfect, wrong = y * 0.98 + 0.01, 0.9 - 0.8 * y
    columns = np.array([wrong, perfect], dtype=np.float32)
    assert select_greedily(columns, y, np.ones(4), most=None).tolist() == [0.0, 1.0]


def test_the_best_round_is_returned_and_not_the_last():
    # Each column is right about one half of the rows: equal shares are best, and only an even
    # number of rounds has them.
    y = np.array([0, 1, 0, 1], dtype=np.int8)
    columns = np.array([[0.1, 0.9, 0.6, 0.4], [0.6, 0.4, 0.1, 0.9]], dtype=np.float32)
    shares = select_greedily(columns, y, np.ones(4), most=None, rounds=3)
    assert shares.tolist() == [0.5, 0.5]


def test_weights_decide_which_column_is_best():
    y = np.array([1, 1], dtype=np.int8)
    columns = np.array([[0.9, 0.2], [0.2, 0.9]], dtype=np.float32)
    first = select_greedily(columns, y, np.array([9.0, 1.0]), most=1)
    second = select_greedily(columns, y, np.array([1.0, 9.0]), most=1)
    assert (first.tolist(), second.tolist()) == ([1.0, 0.0], [0.0, 1.0])


def test_certain_and_wrong_scores_do_not_make_the_loss_infinite():
    y = np.array([1, 0], dtype=np.int8)
    columns = np.array([[0.0, 1.0], [0.5, 0.5]], dtype=np.float32)
    shares = select_greedily(columns, y, np.ones(2), most=None)
    assert shares.tolist() == [0.0, 1.0]


def test_the_shares_of_a_fold_do_not_depend_on_its_labels(table):
    columns, y, weight = table
    folds = stratified_folds(y, np.zeros(N_ROWS, dtype=np.int32), 5, 0)
    other = np.where(folds == 2, 1 - y, y)
    found = shares_by_fold(columns, y, weight, folds, most=None)
    turned = shares_by_fold(columns, other, weight, folds, most=None)
    assert np.array_equal(found[2], turned[2])
    assert not np.array_equal(found[0], turned[0])


def test_of_the_mean_shares_the_largest_stay_and_sum_to_one():
    by_fold = np.array([[0.5, 0.5, 0.0], [0.5, 0.2, 0.3]])
    assert mean_shares(by_fold, most=None) == pytest.approx([0.5, 0.35, 0.15])
    assert mean_shares(by_fold, most=2) == pytest.approx([0.5 / 0.85, 0.35 / 0.85, 0.0])


def kept_of(table, cost, **limits):
    columns, y, weight = table
    folds = np.arange(N_ROWS) % 5
    shares = shares_by_fold(columns[:3], y, weight, folds, most=None)[folds].T
    return worth_their_cost(columns[:3], y, weight, shares, np.array(cost), **limits).tolist()


def test_a_column_that_hardly_lowers_the_loss_is_left_out(table):
    columns, y, weight = table
    # The third column is the first one again, with a little noise.
    noise = np.random.default_rng(1).normal(scale=0.01, size=N_ROWS)
    columns[2] = np.clip(columns[0] + noise, 0.01, 0.99)
    assert kept_of((columns, y, weight), [100.0, 100.0, 900.0]) == [0, 1]


def test_columns_that_lower_the_loss_are_kept(table):
    assert kept_of(table, [100.0, 100.0, 100.0]) == [0, 1, 2]
    assert len(kept_of(table, [100.0, 100.0, 100.0], tolerance=1.0)) == 2


def test_the_column_that_is_left_out_first_lowers_the_loss_least_for_its_cost(table):
    assert kept_of(table, [100.0, 100.0, 9000.0], most=300.0) == [0, 1]
    assert kept_of(table, [9000.0, 100.0, 100.0], most=300.0) == [1, 2]
    assert len(kept_of(table, [100.0, 100.0, 100.0], most=10.0)) == 2
