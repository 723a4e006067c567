import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binom

from fairautoml.certification.bounds import (
    cp_lower,
    cp_upper,
    hoeffding_margin,
    largest_difference,
    smallest_ratio,
    weighted_bounds,
)


@pytest.mark.parametrize(
    ("x", "n", "level", "lower", "upper"),
    [
        (0, 10, 0.025, 0, 0.308497),
        (1, 10, 0.05, 0.005116, 0.394163),
        (3, 10, 0.025, 0.066740, 0.652453),
        (10, 10, 0.025, 0.691503, 1),
        (5, 20, 0.025, 0.086571, 0.491046),
        (0, 30, 0.025, 0, 0.115703),
        (2, 50, 0.0125, 0.003370, 0.152810),
        (0, 60, 0.05, 0, 0.048703),
        (30, 100, 0.025, 0.212406, 0.399815),
        (90, 300, 0.025, 0.248682, 0.355320),
        (600, 2000, 0.025, 0.279972, 0.320616),
    ],
)
def test_clopper_pearson_gives_the_known_answers(x, n, level, lower, upper):
    assert cp_lower(x, n, level) == pytest.approx(lower, abs=1e-6)
    assert cp_upper(x, n, level) == pytest.approx(upper, abs=1e-6)


def test_without_rows_clopper_pearson_says_nothing():
    assert (float(cp_lower(0, 0, 0.05)), float(cp_upper(0, 0, 0.05))) == (0.0, 1.0)


@pytest.mark.parametrize("n", [1, 7, 40])
@pytest.mark.parametrize("level", [0.025, 0.1])
def test_clopper_pearson_errs_at_most_as_often_as_it_says(n, level):
    x = np.arange(n + 1)
    for rate in np.linspace(0.001, 0.999, 97):
        chance = binom.pmf(x, n, rate)
        assert chance[cp_lower(x, n, level) > rate].sum() <= level + 1e-12
        assert chance[cp_upper(x, n, level) < rate].sum() <= level + 1e-12


@pytest.mark.parametrize(
    ("cells", "gap"),
    [
        (((30, 100), (30, 100)), 0.187408),
        (((90, 300), (90, 300)), 0.106638),
        (((600, 2000), (600, 2000)), 0.040645),
        (((0, 30), (0, 30)), 0.115703),
        (((0, 100), (0, 100)), 0.036217),
        (((5, 20), (300, 1000)), 0.242890),
        (((900, 3000), (85, 300)), 0.083714),
        (((10, 10), (0, 10)), 1),
        (((60, 200), (55, 200), (30, 80)), 0.275977),
    ],
)
def test_the_gap_bound_gives_the_known_answers(cells, gap):
    x, n = np.array(cells).T
    found = largest_difference(cp_upper(x, n, 0.025), cp_lower(x, n, 0.025))
    assert found == pytest.approx(gap, abs=1e-6)


@given(st.lists(st.tuples(st.floats(0, 1), st.floats(0.01, 1)), min_size=2, max_size=8))
def test_the_extreme_pair_is_found_without_looking_at_all(bounds):
    one, other = np.array(bounds).T
    pairs = [(g, h) for g in range(len(one)) for h in range(len(one)) if g != h]
    assert largest_difference(one, other) == max(one[g] - other[h] for g, h in pairs)
    assert smallest_ratio(one, other) == min(one[g] / other[h] for g, h in pairs)


@pytest.mark.parametrize(
    ("cells", "ratio"),
    [(((300, 1000), (310, 1000)), 0.799900), (((900, 3000), (930, 3000)), 0.867667)],
)
def test_the_ratio_bound_gives_the_known_answers(cells, ratio):
    x, n = np.array(cells).T
    found = smallest_ratio(cp_lower(x, n, 0.025), cp_upper(x, n, 0.025))
    assert found == pytest.approx(ratio, abs=1e-6)


def test_hoeffding_gives_the_known_answers():
    assert 0.32 - 0.30 + hoeffding_margin(0.05, 500, 2000) == pytest.approx(
        0.081194 + 0.0, abs=2e-6
    )
    assert hoeffding_margin(0.05, 100, 100) == pytest.approx(0.173082, abs=1e-6)


def test_weighted_bounds_give_the_known_answers():
    found = weighted_bounds(150, 500, 480, 3, 0.025)
    assert found == pytest.approx((0.121473, 0.478527), abs=1e-6)
