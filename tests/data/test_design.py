import numpy as np
import pytest

from fairautoml.data.dataset import FeatureSchema
from fairautoml.data.encoders import FARTHEST, MOST_LEVELS, fit_design

X = np.array([[1, 0, 5], [3, 1, 5], [np.nan, np.nan, 5], [5, 1, 5]], dtype=np.float32)
MIXED = FeatureSchema(n_features=3, categorical=(1,), cardinalities=(3,))


def test_numbers_are_scaled_and_gaps_filled_with_the_mean_and_flagged():
    matrix = fit_design(X, MIXED).matrix(X)
    np.testing.assert_allclose(matrix[:, 0], np.sqrt(1.5) * np.array([-1, 0, 0, 1]))
    assert matrix[:, 2].tolist() == [0, 0, 1, 0]


def test_a_constant_becomes_zero_whatever_its_size():
    for value in (5.0, 3e38, 0.0):
        constant = np.full((6, 1), value, dtype=np.float32)
        matrix = fit_design(constant, FeatureSchema(n_features=1)).matrix(constant)
        assert matrix.tolist() == [[0.0]] * 6


def test_each_level_has_a_column_and_missing_is_a_level():
    matrix = fit_design(X, MIXED).matrix(X)
    # After two numbers and a flag: missing, 0, 1.
    assert matrix[:, 3:].tolist() == [[0, 1, 0], [0, 0, 1], [1, 0, 0], [0, 0, 1]]


def test_a_level_not_seen_before_has_no_column():
    design = fit_design(X, MIXED)
    new = np.array([[3, 2, 5]], dtype=np.float32)
    assert design.matrix(new)[0].tolist() == [0, 0, 0, 0, 0, 0]


def test_only_the_levels_of_most_weight_have_columns():
    codes = np.repeat(np.arange(80), np.arange(1, 81)).astype(np.float32)[:, None]
    feature_schema = FeatureSchema(n_features=1, categorical=(0,), cardinalities=(80,))
    (levels,) = fit_design(codes, feature_schema).levels
    assert levels.tolist() == list(range(80 - MOST_LEVELS, 80))


def test_every_column_knows_the_feature_it_is_made_of():
    assert fit_design(X, MIXED).source.tolist() == [0, 2, 0, 1, 1, 1]


def test_outliers_are_cut():
    values = np.append(np.zeros(999), 1e6).astype(np.float32)[:, None]
    matrix = fit_design(values, FeatureSchema(n_features=1)).matrix(values)
    assert matrix.max() == FARTHEST


def test_an_empty_column_is_zero_and_has_no_flag():
    empty = np.full((3, 1), np.nan, dtype=np.float32)
    design = fit_design(empty, FeatureSchema(n_features=1))
    assert design.matrix(empty).tolist() == [[0.0]] * 3


def test_weight_two_is_the_row_twice():
    rng = np.random.default_rng(0)
    values = rng.normal(size=(40, 2)).astype(np.float32)
    weight = rng.integers(1, 4, size=40)
    feature_schema = FeatureSchema(n_features=2)
    weighted = fit_design(values, feature_schema, weight.astype(float)).matrix(values)
    repeated = fit_design(np.repeat(values, weight, axis=0), feature_schema).matrix(values)
    assert weighted == pytest.approx(repeated)


def test_a_column_without_weight_on_its_values_is_zero():
    values = np.array([[7], [np.nan]], dtype=np.float32)
    design = fit_design(values, FeatureSchema(n_features=1), np.array([0.0, 1.0]))
    assert np.isfinite(design.matrix(values)).all()
