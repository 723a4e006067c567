from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binom

from fairautoml.certification.bounds import cp_lower, cp_upper
from fairautoml.certification.exact_test import (
    all_pairs_pass,
    largest_tail,
    pair_test,
    rejection_region,
    statistic,
)

KNOWN = [
    ((30, 100, 30, 100), 0.1, -1.552656, 0.065911, 0.072451, False),
    ((90, 300, 90, 300), 0.1, -2.678141, 0.003807, 0.010145, True),
    ((85, 300, 95, 300), 0.1, -3.567266, 0.000193, 0.001374, True),
    ((0, 60, 0, 60), 0.05, -2.209925, 0.046070, 0.046070, True),
    ((0, 59, 0, 59), 0.05, -2.174574, 0.048495, 0.048495, False),
    ((3, 60, 6, 60), 0.1, -2.916360, 0.006138, 0.013777, True),
    ((2, 50, 1, 50), 0.05, -0.734130, 0.285980, 0.285980, False),
    ((12, 40, 130, 400), 0.1, -1.549913, 0.062001, 0.080474, False),
    ((130, 400, 12, 40), 0.1, -1.114385, 0.154834, 0.284859, False),
    ((450, 1500, 450, 1500), 0.05, -2.989305, 0.001409, 0.003905, True),
    ((470, 1500, 450, 1500), 0.05, -2.179922, 0.014731, 0.022956, True),
    ((10, 10, 0, 10), 0.1, 6.499231, 1, 1, False),
    ((0, 3000, 0, 30), 0.1, -4.256125, 0, 0.003481, True),
]


@pytest.mark.parametrize(("counts", "eps", "t", "tail", "anywhere", "passes"), KNOWN)
def test_the_pair_test_gives_the_known_answers(counts, eps, t, tail, anywhere, passes):
    assert float(statistic(*counts, eps)) == pytest.approx(t, abs=1e-6)
    low, high = largest_tail(counts, eps, range_level=0.001)
    assert low == pytest.approx(tail, abs=1e-5)
    assert low <= high <= low + 1e-4
    assert largest_tail(counts, eps, range_level=0)[0] == pytest.approx(anywhere, abs=1e-5)
    assert pair_test(*counts, eps, 0.05).passed is passes


def test_the_region_gives_the_known_answer():
    t = float(statistic(3, 10, 5, 10, 0.1))
    assert t == pytest.approx(-1.344269, abs=1e-6)
    assert rejection_region(t, 10, 10, 0.1).tolist() == [1, 3, 4, 5, 7, 7, 8, 9, 10, 10, 11]


def test_the_region_is_right_where_the_statistic_is_not_monotone():
    k = np.arange(4)
    values = statistic(0, 3000, k, 30, 0.1)
    assert values == pytest.approx([-4.256125, -3.789644, -3.753623, -3.842802], abs=1e-6)
    assert rejection_region(float(values[2]), 3000, 30, 0.1)[0] == 0


@settings(max_examples=40)
@given(
    st.integers(1, 12),
    st.integers(1, 12),
    st.sampled_from([(0.05, 1.0), (0.1, 1.0), (0.3, 1.0), (0.0, 0.8), (0.0, 0.5), (0.1, 0.6)]),
    st.data(),
)
def test_region_and_largest_tail_agree_with_a_scan_of_the_whole_table(n1, n2, margins, data):
    eps, tau = margins
    x1, x2 = data.draw(st.integers(0, n1)), data.draw(st.integers(0, n2))
    range_level = data.draw(st.sampled_from([0.0, 0.001]))
    t = float(statistic(x1, n1, x2, n2, eps, tau))
    every = np.arange(n1 + 1)[:, None], n1, np.arange(n2 + 1), n2
    table = statistic(*every, eps, tau) <= t + 1e-12
    closed = np.zeros_like(table)
    for a, b in zip(*np.nonzero(table), strict=True):
        closed[: a + 1, b:] = True
    region = rejection_region(t, n1, n2, eps, tau)
    assert np.array_equal(np.arange(n2 + 1) >= region[:, None], closed)

    low, high = largest_tail((x1, n1, x2, n2), eps, tau, range_level=range_level)
    if range_level or t > 0:
        assert low <= high
        return
    rates = np.linspace(0, tau - eps, 401)
    firsts = np.minimum((rates + eps) / tau, 1)
    one = binom.pmf(np.arange(n1 + 1), n1, firsts[:, None])
    other = binom.pmf(np.arange(n2 + 1), n2, rates[:, None])
    scanned = ((one @ closed) * other).sum(axis=1).max()
    assert scanned <= high + 1e-9
    assert low <= scanned + 0.005


def decided(n1, n2, eps, rows, columns, tau=1.0):
    """Whether the ordered pair, and whether both pass at 0.05, by events of the two cells."""
    one, both = np.zeros((2, len(rows), len(columns)))
    for (i, x1), (j, x2) in product(enumerate(rows), enumerate(columns)):
        one[i, j] = pair_test(int(x1), n1, int(x2), n2, eps, 0.05, tau).passed
        both[i, j] = one[i, j] and pair_test(int(x2), n2, int(x1), n1, eps, 0.05, tau).passed
    return one, both


def chances(decisions, n1, n2, rates1, rates2):
    one = binom.pmf(np.arange(n1 + 1), n1, np.asarray(rates1)[:, None])
    other = binom.pmf(np.arange(n2 + 1), n2, np.asarray(rates2)[:, None])
    return np.einsum("qa,ab,qb->q", one, decisions, other)


@pytest.mark.parametrize(
    ("n1", "n2", "eps", "size"),
    [
        (10, 10, 0.1, 0.0412),
        (20, 20, 0.05, 0.0423),
        (10, 40, 0.2, 0.0470),
        (40, 10, 0.3, 0.0467),
        pytest.param(60, 60, 0.2, 0.0476, marks=pytest.mark.slow),
    ],
)
def test_enumerated_size_is_at_most_the_level_and_the_known_one(n1, n2, eps, size):
    ordered, both = decided(n1, n2, eps, range(n1 + 1), range(n2 + 1))
    largest = 0.0
    for gap in (eps, eps + 0.01, eps + 0.05, eps + 0.2):
        rates = np.linspace(0, 1 - gap, 301)
        largest = max(largest, chances(ordered, n1, n2, rates + gap, rates).max())
        assert chances(both, n1, n2, rates, rates + gap).max() <= 0.05
    assert largest <= 0.05
    assert largest == pytest.approx(size, abs=2e-4)


@pytest.mark.parametrize(
    ("n1", "n2", "tau", "size"),
    [
        (10, 10, 0.5, 0.0319),
        (20, 20, 0.8, 0.0470),
        (12, 40, 0.8, 0.0451),
        (40, 12, 0.8, 0.0454),
        (60, 5, 0.3, 0.0479),
        (40, 40, 0.6, 0.0449),
        (30, 30, 1.0, 0.0462),
    ],
)
def test_the_enumerated_size_for_a_ratio_is_at_most_the_level_and_the_known_one(n1, n2, tau, size):
    ordered, both = decided(n1, n2, 0.0, range(n1 + 1), range(n2 + 1), tau)
    largest = 0.0
    for share in (1.0, 0.99, 0.9, 0.5, 0.0):
        first = np.r_[np.geomspace(1e-6, 0.02, 100), np.linspace(0.02, 1, 401)]
        second = share * tau * first
        largest = max(largest, chances(ordered, n1, n2, first, second).max())
        assert chances(both, n1, n2, second, first).max() <= 0.05
    assert largest <= 0.05
    assert largest == pytest.approx(size, abs=5e-4)


@pytest.mark.parametrize("tau", [0.01, 0.5, 0.99])
def test_a_ratio_of_nothing_to_nothing_is_never_shown(tau):
    for n1, n2 in product((1, 50, 10**5), repeat=2):
        assert not pair_test(0, n1, 0, n2, 0.0, 0.05, tau).passed


def test_the_exact_test_shows_a_ratio_with_fewer_rows_than_two_bounds():
    x, n = np.array([450, 465]), np.array([1500, 1500])
    bounds = cp_lower(x, n, 0.025)[0] / cp_upper(x, n, 0.025)[1]
    assert bounds < 0.84
    assert all_pairs_pass(x, n, 0.0, 0.05, 0.86).passed
    assert not all_pairs_pass(x, n, 0.0, 0.05, 0.95).passed


def test_the_last_rate_is_the_numerator_of_the_ratio():
    assert pair_test(200, 400, 300, 400, 0.0, 0.05, 0.9).passed
    assert not pair_test(300, 400, 200, 400, 0.0, 0.05, 0.9).passed
    assert pair_test(5, 400, 0, 400, 0.0, 0.05, 0.0).passed


@pytest.mark.slow
@pytest.mark.parametrize(("n", "rate", "eps"), [(300, 0.3, 0.1), (600, 0.3, 0.05)])
def test_from_300_rows_the_boundary_is_certified_in_two_to_five_of_a_hundred_runs(n, rate, eps):
    def near(p):
        reach = 3.5 * np.sqrt(n * p * (1 - p))
        return np.arange(int(n * p - reach), int(n * p + reach) + 1)

    rows, columns = near(rate + eps), near(rate)
    _, decisions = decided(n, n, eps, rows, columns)
    weights = np.outer(binom.pmf(rows, n, rate + eps), binom.pmf(columns, n, rate))
    outside = 1 - weights.sum()
    certified_share = float((weights * decisions).sum())
    assert certified_share >= 0.02
    assert certified_share + outside <= 0.05


def test_a_looser_margin_never_takes_a_pass_away():
    passed = [pair_test(90, 300, 85, 300, eps, 0.05).passed for eps in np.arange(0.01, 0.3, 0.01)]
    assert passed == sorted(passed)
    assert True in passed
    assert False in passed


@given(st.integers(0, 40), st.integers(0, 40))
@settings(max_examples=40)
def test_what_passes_at_a_level_has_a_tail_below_it(x1, x2):
    result = pair_test(x1, 40, x2, 40, 0.2, 0.05)
    assert (result.tail <= 0.048) is result.passed


def test_an_empty_cell_never_passes():
    assert not pair_test(0, 0, 5, 100, 0.9, 0.05).passed
    assert not all_pairs_pass(np.array([0, 5]), np.array([0, 100]), 0.9, 0.05).passed


def test_all_pairs_pass_exactly_when_each_does():
    x, n = np.array([30, 33, 36]), np.array([300, 320, 310])
    for eps in (0.03, 0.06, 0.08, 0.1, 0.2):
        each = [
            pair_test(int(x[g]), int(n[g]), int(x[h]), int(n[h]), eps, 0.05).passed
            for g, h in product(range(3), repeat=2)
            if g != h
        ]
        assert all_pairs_pass(x, n, eps, 0.05).passed is all(each)


def test_a_million_rows_are_decided():
    assert pair_test(300_000, 10**6, 300_500, 10**6, 0.002, 0.05).passed
    assert not pair_test(300_500, 10**6, 299_000, 10**6, 0.002, 0.05).passed


def test_many_groups_are_screened_and_not_tested_one_by_one():
    rng = np.random.default_rng(0)
    n = np.full(300, 200_000)
    assert all_pairs_pass(rng.binomial(n, 0.3), n, 0.05, 0.05).passed
