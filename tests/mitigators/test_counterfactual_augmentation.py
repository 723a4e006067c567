import numpy as np
import pytest
from pre_cases import (
    Logistic,
    Recorder,
    Watched,
    biased_rows,
    given,
    rows_of,
    same_rows_in_any_order,
)
from scipy import sparse
from scipy.special import expit

from fairautoml.exceptions import DegradedWarning, InputError
from fairautoml.mitigators.preprocessing import counterfactual_augmentation
from fairautoml.mitigators.preprocessing.counterfactual_augmentation import MITIGATOR

# p(x, s) = sigmoid(w x + c_s); the first case has two values, weighted alike, the second three,
# weighted by their shares in training.
X_TWO, S_TWO = np.array([-1.0, 0.0, 0.5, 2.0]), np.array([0, 1, 1, 0])
TWO = [0.359553712, 0.5949872406, 0.7041471571, 0.911736451]
X_THREE = np.array([-1.0, 0.3])
THREE = [0.1943875654, 0.6194839076]
SHARES = np.repeat([0, 1, 2], [5, 3, 2])


class Additive:
    """sigmoid(w x + c_s) of a table with the columns x and s."""

    def __init__(self, w, c):
        self.w, self.c = w, np.array(c)

    def scores(self, X, cells):
        del cells
        return expit(self.w * X[:, 0] + self.c[X[:, 1].astype(int)])


def requested(fraction=1.0, average="uniform"):
    return {"fraction": fraction, "average": average}


def with_group(x, s):
    return rows_of(np.column_stack((x, s)), np.arange(len(s)) % 2, s, None, (1,), (max(s) + 1,))


def trained(rows, model, **params):
    return MITIGATOR.train(rows, Recorder(model), requested(**params), 0)


# known answer: average_over_values
def test_scores_are_the_mean_whatever_the_row_itself_says():
    model = trained(with_group(X_TWO, S_TWO), Additive(1.0, [0.0, 0.8]))
    for s in (S_TWO, 1 - S_TWO, np.full(4, np.nan)):
        X = np.column_stack((X_TWO, s)).astype(np.float32)
        np.testing.assert_allclose(model.scores(X, np.full(4, -1)), TWO, atol=1e-6)


# known answer: three_values_prior_weights
def test_values_are_weighted_by_their_training_shares_on_request():
    model = trained(
        with_group(np.zeros(10), SHARES), Additive(1.5, [-0.2, 0.1, 0.6]), average="shares"
    )
    X = np.column_stack((X_THREE, [2, 0])).astype(np.float32)
    np.testing.assert_allclose(model.scores(X, np.array([2, 0])), THREE, atol=1e-6)


@pytest.mark.parametrize(("s", "n_rows"), [(S_TWO, 8), (SHARES, 30)])
def test_every_row_is_there_once_per_value(s, n_rows):
    after = given(MITIGATOR, with_group(np.arange(len(s)), s), requested())
    assert len(after.y) == n_rows
    pairs = {(float(x), float(v)) for x, v in after.X}
    assert len(pairs) == n_rows


def test_every_value_has_the_same_label_rate_and_totals_stay():
    rows = with_group(np.random.default_rng(0).normal(size=10), SHARES)
    after = given(MITIGATOR, rows, requested())
    mass = np.bincount(after.X[:, 1].astype(int), after.weight)
    ones = np.bincount(after.X[:, 1].astype(int), after.weight * after.y)
    np.testing.assert_allclose(ones / mass, rows.y.mean())
    assert after.weight.sum() == pytest.approx(rows.weight.sum())


def test_at_fraction_zero_the_rows_stay_and_scores_are_averaged():
    rows, recorder = with_group(X_TWO, S_TWO), Recorder(Additive(1.0, [0.0, 0.8]))
    model = MITIGATOR.train(rows, recorder, requested(fraction=0.0), 0)
    assert np.array_equal(recorder.last.X, rows.X)
    assert np.array_equal(recorder.last.weight, rows.weight)
    np.testing.assert_allclose(model.scores(rows.X, rows.cells), TWO, atol=1e-6)


def test_a_fraction_of_the_rows_is_flipped():
    s = np.arange(2000) % 2
    after = given(MITIGATOR, with_group(np.arange(2000), s), requested(fraction=0.3))
    assert 2500 < len(after.y) < 2700
    assert after.weight.sum() == pytest.approx(2000)
    assert set(np.unique(after.weight)) == {0.5, 1.0}


def test_all_columns_that_are_the_attribute_are_flipped_together():
    s = np.array([0, 1, 0, 1])
    X = np.column_stack((np.arange(4), np.where(s == 0, np.nan, 3), 7.0 + s, [0, 1, 1, 1]))
    after = given(MITIGATOR, rows_of(X, [0, 1, 1, 0], s), requested())
    assert np.array_equal(np.isnan(after.X[:, 1]), after.X[:, 2] == 7)
    assert len(after.y) == 8
    assert np.array_equal(after.X[4:, 3][np.argsort(after.X[4:, 0])], X[:, 3])


def test_a_group_that_is_no_feature_becomes_one_for_training_only():
    X = np.random.default_rng(0).normal(size=(6, 1))
    rows, recorder = rows_of(X, [0, 1] * 3, [0, 0, 1, 1, 2, 2]), Recorder(Watched())
    model = MITIGATOR.train(rows, recorder, requested(), 0)
    assert recorder.last.X.shape == (18, 2)
    assert recorder.last.feature_schema.categorical == (1,)
    assert recorder.last.feature_schema.cardinalities == (3,)
    model.scores(rows.X, rows.cells)
    assert [float(X[0, 1]) for X in recorder.model.seen] == [0.0, 1.0, 2.0]


def test_rows_of_unknown_group_are_left_as_they_are():
    rows = rows_of(np.arange(5.0)[:, None], [0, 1, 0, 1, 1], [0, 0, 1, 1, -1])
    after = given(MITIGATOR, rows, requested())
    mine = after.X[:, 0] == 4
    assert mine.sum() == 1
    assert np.isnan(after.X[mine, 1]).all()
    assert after.weight[mine] == 1.0


def test_more_groups_than_can_be_averaged_are_refused():
    s = np.tile(np.arange(65), 2)
    with pytest.raises(InputError, match="'sex' has 65 groups, but at most 64"):
        given(MITIGATOR, with_group(np.arange(130), s), requested())


def test_a_sparse_table_is_refused():
    rows = rows_of(sparse.eye(4, format="csr", dtype=np.float32), [0, 1, 0, 1], S_TWO)
    with pytest.raises(InputError, match="counterfactual_augmentation cannot work on a sparse X"):
        given(MITIGATOR, rows, requested())


def test_the_order_of_rows_and_the_names_of_groups_do_not_matter_to_flipped_features():
    rows = biased_rows()
    shape = rows.feature_schema
    X = np.column_stack((rows.X, rows.cells * 2.0))
    rows = rows_of(X, rows.y, rows.cells, rows.weight, shape.categorical, shape.cardinalities)
    same_rows_in_any_order(MITIGATOR, rows, requested(fraction=0.5))


def test_the_score_is_the_plain_one_where_the_attribute_has_no_effect():
    rows = with_group(X_TWO, S_TWO)
    plain = Logistic(1.0, 0.0)
    found = trained(rows, plain).scores(rows.X, rows.cells)
    np.testing.assert_allclose(found, plain.scores(rows.X, rows.cells), atol=1e-6)


@pytest.mark.parametrize("seed", range(4))
def test_proxies_are_found_among_many_equal_rows(seed, monkeypatch):
    monkeypatch.setattr(counterfactual_augmentation, "LOOKED_AT", 100)
    s = np.arange(2000) % 2
    proxy = np.where(np.arange(2000) < 40, 1 - s, s)
    rows = rows_of(proxy[:, None], np.arange(2000) // 2 % 2, s)
    with pytest.warns(DegradedWarning, match=r"1 feature\(s\), at position\(s\) 0, nearly"):
        given(MITIGATOR, rows, requested(), seed=seed)


def test_a_feature_that_nearly_reveals_the_group_is_warned_of():
    s = np.arange(400) % 2
    proxy = np.where(np.arange(400) < 8, 1 - s, s)
    noise = np.random.default_rng(0).normal(size=400)
    rows = rows_of(np.column_stack((s, noise, proxy)), np.arange(400) // 2 % 2, s)
    with pytest.warns(DegradedWarning, match=r"1 feature\(s\), at position\(s\) 2, nearly"):
        given(MITIGATOR, rows, requested())
