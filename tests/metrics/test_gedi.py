"""GeDI on numbers: known answers, traps and degenerate input."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fairautoml.exceptions import InputError
from fairautoml.metrics import METRICS, Constraint, GroupCounts, Undefined, bootstrap_interval
from fairautoml.metrics.gedi import solver
from fairautoml.metrics.rates import values_of

FIVE = np.array([-2.0, -1.0, 0.0, 1.0, 2.0])
SKEWED = np.array([-2.0, -1.0, 0.0, 1.0, 3.0])
V = np.array([1.0, 0.0, 2.0, 5.0, 3.0])
NUMBERS = [name for name in METRICS.names() if METRICS.get(name).degree]


def gedi_coefficients(x, v, degree=1, weight=None):
    """Return alpha, the coefficients of the powers of x that fit v best."""
    return solver(x.astype(float), np.ones(len(x)) if weight is None else weight, degree) @ v


def gedi_value(x, v, degree=1, weight=None):
    """Return the sum of the absolute coefficients."""
    return np.abs(gedi_coefficients(x, v, degree, weight)).sum()


def gedi_gradient(x, v, degree):
    """How GeDI changes with each value of v: ``Phi (Phi'Phi)^-1 sign(alpha)``."""
    return np.sign(gedi_coefficients(x, v, degree)) @ solver(x, np.ones(len(x)), degree)


@pytest.mark.parametrize(
    ("v", "expected"),
    [([4, 1, 0, 1, 4], (0.0, 1.0, 1.0)), ([-1, 1, 3, 5, 7], (2.0, 2.0, 2.0))],
    ids=["square", "line"],
)
def test_a_square_and_a_line_give_the_known_answers(v, expected):
    # The square also tells GeDI from that of maxcorr, which is 1.1832 at degree 2.
    found = [gedi_value(FIVE, np.array(v), degree) for degree in (1, 2, 3)]
    assert found == pytest.approx(expected, abs=1e-9)


# known answer: binary_is_dp_gap
def test_of_a_binary_number_it_is_the_difference_of_selection_rates():
    x, v = np.array([0, 0, 0, 1, 1]), np.array([1, 0, 0, 1, 1])
    assert gedi_value(x, v) == pytest.approx(2 / 3, abs=1e-9)
    counts = GroupCounts.from_rows(x, np.array([0, 1, 0, 1, 0]), v, n_groups=2)
    parity = METRICS.get("demographic_parity_difference").value(counts)
    bound = METRICS.get("gedi").bound(np.array([0.0, 1.0]))
    assert bound.value(counts) == pytest.approx(parity, abs=1e-12)


# known answer: gradient
def test_coefficients_and_gradient_give_the_known_answers():
    assert gedi_coefficients(SKEWED, V, 2) == pytest.approx([0.8858615611, -0.206921944], abs=1e-8)
    assert gedi_value(SKEWED, V, 2) == pytest.approx(1.0927835052, abs=1e-8)
    assert gedi_gradient(SKEWED, V, 2) == pytest.approx(
        [-0.3402061856, -0.0412371134, 0.1443298969, 0.2164948454, 0.0206185567], abs=1e-8
    )


@settings(max_examples=30)
@given(seed=st.integers(0, 2**32 - 1), factor=st.floats(0.1, 10), degree=st.integers(1, 3))
def test_the_gradient_is_the_slope(seed, factor, degree):
    rng = np.random.default_rng(seed)
    x, v, step = rng.normal(size=12), rng.normal(size=12) * factor, 1e-6
    gradient = gedi_gradient(x, v, degree)
    if np.abs(gedi_coefficients(x, v, degree)).min() < 1e-3:
        return
    for at in range(3):
        moved = np.where(np.arange(12) == at, step, 0.0)
        slope = (gedi_value(x, v + moved, degree) - gedi_value(x, v - moved, degree)) / (2 * step)
        assert gradient[at] == pytest.approx(slope, rel=1e-4, abs=1e-6)


@settings(max_examples=30)
@given(seed=st.integers(0, 2**32 - 1), factor=st.floats(-50, 50).filter(lambda c: abs(c) > 0.02))
def test_the_unit_of_the_number_divides_it(seed, factor):
    rng = np.random.default_rng(seed)
    x, v = rng.normal(size=20), rng.integers(2, size=20).astype(float)
    assert gedi_value(factor * x, v) == pytest.approx(gedi_value(x, v) / abs(factor), rel=1e-9)


@pytest.mark.parametrize("degree", [1, 2, 3])
def test_weight_two_is_a_row_twice(degree):
    weight = np.array([1, 2, 3, 1, 2])
    twice = np.repeat(np.arange(5), weight)
    heavy = gedi_value(SKEWED, V, degree, weight.astype(float))
    assert gedi_value(SKEWED[twice], V[twice], degree) == pytest.approx(heavy, rel=1e-12)


def test_the_degree_is_lowered_to_what_the_values_allow():
    x = np.array([0.0, 1.0, 0.0, 1.0, 1.0])
    assert gedi_value(x, V, degree=3) == pytest.approx(gedi_value(x, V))
    assert solver(np.ones(5), np.ones(5), 1) is None


# --- as a metric on counts ---------------------------------------------------------------------


def counted(seed=0, n_rows=400):
    rng = np.random.default_rng(seed)
    values = np.array([-1.5, -0.5, 0.25, 1.0, 2.0])
    at = rng.integers(5, size=n_rows)
    y = (rng.random(n_rows) < 0.3 + 0.1 * values[at]).astype(int)
    decision = (rng.random(n_rows) < 0.4 + 0.1 * values[at] ** 2).astype(int)
    weight = rng.uniform(0.5, 2.0, n_rows)
    counts = GroupCounts.from_rows(at, y, decision, weight, n_groups=5)
    return values, at, y, decision, weight, counts


@pytest.mark.parametrize("name", ["gedi", "gedi_2", "gedi_3"])
def test_counts_give_what_the_rows_give(name):
    values, at, _, decision, weight, counts = counted()
    metric = METRICS.get(name)
    expected = gedi_value(values[at], decision, metric.degree, weight)
    assert metric.bound(values).value(counts) == pytest.approx(expected, rel=1e-9)


def test_the_relative_form_divides_by_the_slope_of_the_labels():
    values, at, y, decision, weight, counts = counted()
    expected = gedi_value(values[at], decision, 1, weight) / gedi_value(values[at], y, 1, weight)
    found = METRICS.get("gedi_relative").bound(values).value(counts)
    assert found == pytest.approx(expected, rel=1e-9)


def test_the_relative_form_is_undefined_where_labels_do_not_depend_on_the_number():
    # The published code returns 0 here, which hides everything.
    table = np.array([[[4.0, 4], [4, 4]], [[2, 6], [1, 7]], [[1, 7], [2, 6]]])
    found = METRICS.get("gedi_relative").bound(np.array([-1.0, 0.0, 1.0]))
    assert isinstance(found.value(GroupCounts(table)), Undefined)
    assert np.isnan(found.many(table[None])).all()


@pytest.mark.parametrize("name", NUMBERS)
def test_without_numbers_it_is_undefined_and_says_so(name):
    metric, table = METRICS.get(name), counted()[-1].table
    found = metric.value(GroupCounts(table))
    assert isinstance(found, Undefined)
    assert "numeric sensitive column" in found.reason
    assert np.isnan(values_of(metric, table[None])).all()
    assert metric.bound(None) is metric


def test_a_value_without_rows_changes_nothing():
    values, *_, counts = counted()
    more = np.concatenate([counts.table, np.zeros((1, 2, 2))])
    for name in NUMBERS:
        metric = METRICS.get(name)
        wide = metric.bound(np.append(values, 9.0)).value(GroupCounts(more))
        assert wide == pytest.approx(metric.bound(values).value(counts), rel=1e-9), name


def test_the_interval_covers_the_truth_about_as_often_as_it_says():
    values = np.linspace(-1.7, 1.7, 12)
    rates, hits = 0.4 + 0.1 * values, 0
    metric = METRICS.get("gedi").bound(values)
    for seed in range(150):
        yes = np.random.default_rng(seed).binomial(40, rates).astype(float)
        table = np.zeros((12, 2, 2))
        table[:, 1, 1], table[:, 1, 0] = yes, 40 - yes
        low, high = bootstrap_interval(metric, table, seed=seed)
        hits += low <= 0.1 <= high
    assert 0.88 <= hits / 150 <= 1.0


def test_a_constraint_may_bound_it():
    constraint = Constraint.parse("gedi_3[age] <= 0.1")
    assert constraint.label == "gedi_3[age] <= 0.1"
    assert (constraint.limit, constraint.metric.degree) == (0.1, 3)
    with pytest.raises(InputError, match="bounded by '<='"):
        Constraint.parse("gedi[age] >= 0.1")
