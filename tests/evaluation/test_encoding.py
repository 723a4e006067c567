import pickle

import numpy as np
import pytest
from scipy import sparse
from sklearn.preprocessing import TargetEncoder

from fairautoml.data.dataset import FeatureSchema
from fairautoml.data.encoders import ENCODINGS, encodings_of, fit_encoding
from fairautoml.exceptions import UnknownNameError

FEATURE_SCHEMA = FeatureSchema(n_features=3, categorical=(0, 2), cardinalities=(40, 3))
FEW = FeatureSchema(n_features=3, categorical=(2,), cardinalities=(3,))


@pytest.fixture
def table():
    rng = np.random.default_rng(0)
    X = np.column_stack(
        (rng.integers(39, size=400), rng.normal(size=400), rng.integers(3, size=400))
    ).astype(np.float32)
    X[:20, 0] = np.nan
    y = (rng.uniform(size=400) < np.where(X[:, 0] < 20, 0.8, 0.2)).astype(np.int8)
    return X, y


def test_few_categories_stay_as_they_are(table):
    X, y = table
    encoded, feature_schema, encoder = fit_encoding("codes", X, y, FEW, 0)
    assert encoded is X
    assert feature_schema is FEW
    assert encoder.transform(X) is X


@pytest.mark.parametrize("name", ["codes", "target"])
def test_many_categories_are_numbered_by_falling_frequency(name):
    codes = np.repeat([7, 3, 20], [5, 50, 9]).astype(np.float32)
    X = np.append(codes, np.nan)[:, None].astype(np.float32)
    y = (np.arange(65) % 2).astype(np.int8)
    feature_schema = FeatureSchema(n_features=1, categorical=(0,), cardinalities=(21,))
    encoded, _, encoder = fit_encoding(name, X, y, feature_schema, 0)
    assert np.array_equal(encoded[:, 0], np.repeat([2, 0, 1, np.nan], [5, 50, 9, 1]), True)
    new = np.array([[3.0], [20.0], [7.0], [8.0], [np.nan]], dtype=np.float32)
    assert np.array_equal(encoder.transform(new)[:, 0], [0, 1, 2, np.nan, np.nan], True)


@pytest.mark.parametrize("name", ["codes", "target"])
def test_many_categories_that_are_whole_numbers_keep_their_order(name):
    codes = np.repeat([7, 3, 20], [5, 50, 9]).astype(np.float32)[:, None]
    y = (np.arange(64) % 2).astype(np.int8)
    feature_schema = FeatureSchema(
        n_features=1, categorical=(0,), cardinalities=(21,), numbered=(0,)
    )
    _, _, encoder = fit_encoding(name, codes, y, feature_schema, 0)
    new = np.array([[3.0], [20.0], [7.0], [8.0]], dtype=np.float32)
    assert np.array_equal(encoder.transform(new)[:, 0], [3, 20, 7, np.nan], equal_nan=True)


def test_whole_numbers_that_all_occur_have_target_means_too():
    codes = np.arange(84, dtype=np.float32)[:, None] % 21
    y = (codes[:, 0] > 10).astype(np.int8)
    feature_schema = FeatureSchema(
        n_features=1, categorical=(0,), cardinalities=(21,), numbered=(0,)
    )
    encoded, wider, _ = fit_encoding("target", codes, y, feature_schema, 0)
    assert encoded.shape[1] == wider.n_features == 2


def test_rows_without_weight_do_not_change_the_order_of_the_categories():
    codes = np.repeat([7, 3, 20], [9, 5, 50]).astype(np.float32)[:, None]
    y = (np.arange(64) % 2).astype(np.int8)
    feature_schema = FeatureSchema(n_features=1, categorical=(0,), cardinalities=(21,))
    weight = np.where(codes[:, 0] == 20, 0.0, 1.0)
    encoded, _, _ = fit_encoding("codes", codes, y, feature_schema, 0, weight)
    assert np.array_equal(encoded[:14, 0], np.repeat([0, 1], [9, 5]))


def test_target_appends_one_column_per_column_of_many_categories(table):
    X, y = table
    before = X.tobytes()
    encoded, feature_schema, encoder = fit_encoding("target", X, y, FEATURE_SCHEMA, 0)
    assert np.array_equal(encoded[:, 1:3], X[:, 1:])
    assert np.array_equal(np.isnan(encoded[:, 0]), np.isnan(X[:, 0]))
    assert encoded.dtype == np.float32
    assert encoded.flags.c_contiguous
    assert feature_schema == FeatureSchema(n_features=4, categorical=(0, 2), cardinalities=(40, 3))
    new = encoder.transform(X[:7])
    assert new.shape == (7, 4)
    assert np.array_equal(new[:, :3], encoded[:7, :3], equal_nan=True)
    assert X.tobytes() == before


def test_the_added_column_distinguishes_the_categories(table):
    X, y = table
    encoded, _, _ = fit_encoding("target", X, y, FEATURE_SCHEMA, 0)
    assert np.corrcoef(encoded[20:, 3], X[20:, 0] < 20)[0, 1] > 0.8


def test_the_labels_of_rows_without_weight_teach_nothing(table):
    X, y = table
    weight = np.where(np.arange(400) % 2, 1.0, 0.0)
    spoilt = np.where(weight > 0, y, X[:, 0] % 2 == 0).astype(np.int8)
    encoded, _, encoder = fit_encoding("target", X, spoilt, FEATURE_SCHEMA, 0, weight)
    other, _, same = fit_encoding(
        "target", X, np.where(weight > 0, y, 0), FEATURE_SCHEMA, 0, weight
    )
    assert np.array_equal(encoded, other, equal_nan=True)
    assert np.array_equal(encoder.transform(X), same.transform(X), equal_nan=True)
    _, _, alone = fit_encoding("target", X[1::2], y[1::2], FEATURE_SCHEMA, 0)
    assert np.allclose(encoder.transform(X), alone.transform(X), equal_nan=True)


def test_the_training_encoding_of_a_unique_column_does_not_leak_the_label():
    # Encoded with its own label, each row of a column of unique values would show it.
    n = 500
    X = np.arange(n, dtype=np.float32)[:, None]
    y = np.random.default_rng(0).integers(2, size=n).astype(np.int8)
    feature_schema = FeatureSchema(n_features=1, categorical=(0,), cardinalities=(n,))
    encoded, _, _ = fit_encoding("target", X, y, feature_schema, 0)
    rates = [y[encoded[:, 1] == value].mean() for value in np.unique(encoded[:, 1])]
    assert np.ptp(rates) < 0.05
    assert np.ptp(encoded[:, 1]) < 0.05


@pytest.mark.parametrize("name", ["codes", "target"])
def test_a_code_that_no_training_row_has_is_missing_as_it_is_to_new_rows(table, name):
    X, y = table
    _, _, encoder = fit_encoding(name, X, y, FEATURE_SCHEMA, 0)
    rows = np.array([[39.0, 0.5, 1.0], [7.0, 0.5, 1.0], [np.nan, 0.5, 1.0]], dtype=np.float32)
    as_new = rows.copy()
    as_new[0, 0] = np.nan
    before = rows.tobytes()
    found = encoder.transform(rows)
    assert np.array_equal(found, encoder.transform(as_new), equal_nan=True)
    assert np.array_equal(np.isnan(found[:, 0]), [True, False, True])
    assert np.array_equal(found[:, 1:3], rows[:, 1:])
    assert rows.tobytes() == before


def test_an_unseen_category_gets_the_overall_mean(table):
    X, y = table[0][20:], table[1][20:]
    _, _, encoder = fit_encoding("target", X, y, FEATURE_SCHEMA, 0)
    unseen = np.array([[39.0, 0.0, 0.0]], dtype=np.float32)
    assert encoder.transform(unseen)[0, 3] == pytest.approx(y.mean(), abs=1e-6)


@pytest.mark.parametrize("gaps", [True, False])
def test_new_rows_get_the_means_of_scikit_learn_to_the_last_bit(table, gaps, monkeypatch):
    X, y = (part[0 if gaps else 20 :] for part in table)
    _, _, encoder = fit_encoding("target", X, y, FEATURE_SCHEMA, 0)
    own = TargetEncoder(target_type="binary", smooth="auto").fit(X[:, :1], y)
    new = np.column_stack([np.arange(40), np.zeros(40), np.zeros(40)]).astype(np.float32)
    new = np.vstack((new, [[np.nan, 0.0, 0.0]])).astype(np.float32)
    as_trained = np.where(np.isin(new[:, :1], X[:, 0]), new[:, :1], np.nan)
    expected = own.transform(as_trained).astype(np.float32)
    monkeypatch.delattr(TargetEncoder, "transform")
    assert np.array_equal(encoder.transform(new)[:, 3:], expected)


def test_missing_is_a_category_of_its_own(table):
    X, y = table
    y = y.copy()
    y[:20] = 1
    _, _, encoder = fit_encoding("target", X, y, FEATURE_SCHEMA, 0)
    assert encoder.transform(X[:1])[0, 3] > 0.9


def test_the_same_seed_gives_the_same_encoding_and_it_survives_pickling(table):
    X, y = table
    first, _, encoder = fit_encoding("target", X, y, FEATURE_SCHEMA, 3)
    second, _, _ = fit_encoding("target", X, y, FEATURE_SCHEMA, 3)
    other, _, _ = fit_encoding("target", X, y, FEATURE_SCHEMA, 4)
    assert np.array_equal(first, second, equal_nan=True)
    assert not np.array_equal(first, other, equal_nan=True)
    again = pickle.loads(pickle.dumps(encoder))
    assert np.array_equal(again.transform(X), encoder.transform(X), equal_nan=True)


@pytest.mark.parametrize(("n_positive", "width"), [(0, 3), (1, 3), (2, 4), (4, 4), (5, 4)])
def test_few_rows_of_a_class_mean_fewer_inner_folds_or_none(table, n_positive, width):
    X, _ = table
    y = (np.arange(30) < n_positive).astype(np.int8)
    encoded, feature_schema, encoder = fit_encoding("target", X[:30], y, FEATURE_SCHEMA, 0)
    assert encoded.shape[1] == feature_schema.n_features == encoder.transform(X).shape[1] == width


def test_a_sparse_table_has_nothing_to_encode():
    X = sparse.csr_matrix(np.eye(4, dtype=np.float32))
    feature_schema = FeatureSchema(n_features=4, sparse=True)
    encoded, _, encoder = fit_encoding("target", X, np.array([0, 1, 0, 1]), feature_schema, 0)
    assert encoded is X
    assert encoder.is_identity


@pytest.mark.parametrize(("cardinality", "expected"), [(20, False), (21, True)])
def test_more_than_twenty_categories_are_many(cardinality, expected):
    feature_schema = FeatureSchema(n_features=1, categorical=(0,), cardinalities=(cardinality,))
    assert (feature_schema.high_cardinality == (0,)) is expected
    assert (feature_schema.native == ()) is expected


def test_an_unknown_encoding_is_refused_with_the_known_ones(table):
    X, y = table
    with pytest.raises(UnknownNameError, match="called 'onehot'; known: codes, target"):
        fit_encoding("onehot", X, y, FEATURE_SCHEMA, 0)


def test_native_leaves_many_categories_to_the_learner(table):
    X, y = table
    _, codes, _ = fit_encoding("codes", X, y, FEATURE_SCHEMA, 0)
    encoded, native, _ = fit_encoding("native", X, y, FEATURE_SCHEMA, 0)
    assert codes.native == (2,)
    assert native.native == (0, 2)
    assert encoded.shape == X.shape


@pytest.mark.parametrize("name", ["codes_without_groups", "target_without_groups"])
def test_hidden_group_columns_are_missing_in_old_and_new_rows(table, name):
    X, y = table
    encoded, _, encoder = fit_encoding(name, X, y, FEATURE_SCHEMA, 0, group_columns=(2,))
    for rows in (encoded, encoder.transform(X[:7])):
        assert np.isnan(rows[:, 2]).all()
        assert not np.isnan(rows[20:, :2]).any()


def test_a_hidden_column_has_no_target_means(table):
    X, y = table
    encoded, _, _ = fit_encoding("target_without_groups", X, y, FEATURE_SCHEMA, 0)
    hidden, _, _ = fit_encoding(
        "target_without_groups", X, y, FEATURE_SCHEMA, 0, group_columns=(0,)
    )
    assert (encoded.shape[1], hidden.shape[1]) == (4, 3)


def test_a_table_offers_only_encodings_that_differ_on_it():
    assert encodings_of(FEW, group_columns=False) == ("codes",)
    assert encodings_of(FEW, group_columns=True) == ("codes", "codes_without_groups")
    assert encodings_of(FEATURE_SCHEMA, group_columns=False) == ("codes", "target", "native")
    whole = encodings_of(FEATURE_SCHEMA, group_columns=True)
    assert whole == ("codes", "target", "native", "target_without_groups")
    assert set(whole) < set(ENCODINGS)
