"""Known answers: methods.md, section 5 (AgnosticFair)."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.optimize import linprog

from fairautoml.exceptions import ParameterError
from fairautoml.mitigators.inprocessing.agnostic_reweighting import (
    kernel_adversary,
    segment_adversary,
)

POINTS = np.array([[0, 0], [1, 0], [0, 1], [2, 1], [-1, 1], [3, -1]], dtype=float)
REFERENCES = np.array([[0, 0], [2, 0], [-1, 1]], dtype=float)


def even(n):
    return np.full(n, 1 / n)


@pytest.mark.parametrize(
    ("sizes", "low", "high", "weights", "worst", "mean"),
    [
        ((6, 4), 0.5, 1.5, (2 / 3, 1.5), 0.56, 0.44),
        ((5, 5), 0.5, 2.0, (0.5, 1.5), 0.65, 0.50),
    ],
    ids=["two_segments_upper_binds", "two_segments_lower_binds"],
)
def test_segments_of_high_loss_get_what_the_bounds_leave(sizes, low, high, weights, worst, mean):
    segment = np.repeat([0, 1], sizes)
    loss = np.where(segment == 0, 0.2, 0.8)
    found = segment_adversary(segment, even(10), low=low, high=high).worst(loss)
    np.testing.assert_allclose(found, np.array(weights)[segment], atol=1e-8)
    assert (found * loss).mean() == pytest.approx(worst, abs=1e-8)
    assert loss.mean() == pytest.approx(mean)


# known answer: kernel_adversary
def test_the_kernel_adversary_puts_its_weight_where_the_loss_is():
    distances = ((POINTS[:, None] - REFERENCES) ** 2).sum(axis=2)
    adversary = kernel_adversary(distances, even(6), sigma=2.0, bound=5.0)
    loss = np.array([0.2, 0.9, 0.4, 1.5, 0.3, 0.7])
    found = adversary.worst(loss)
    expected = [0.9161883564, 1.3330461927, 0.8085333867, 1.3330461927, 0.4327767356, 1.176409136]
    np.testing.assert_allclose(found, expected, atol=1e-6)
    assert (found * loss).mean() == pytest.approx(0.776546884, abs=1e-6)
    assert 5.0 * adversary.basis.sum() == pytest.approx(59.7047443355, abs=1e-6)


# known answer: constant_kernel
def test_a_constant_kernel_leaves_all_weights_at_one():
    adversary = kernel_adversary(np.zeros((4, 2)), even(4), sigma=1.0, bound=1.0)
    found = adversary.worst(np.array([0.1, 0.2, 0.3, 0.8]))
    np.testing.assert_allclose(found, 1.0, atol=1e-9)


@given(seed=st.integers(0, 10_000), low=st.floats(0, 1), high=st.floats(1, 6))
def test_the_answer_is_that_of_the_linear_program(seed, low, high):
    rng = np.random.default_rng(seed)
    share, loss = rng.dirichlet(np.ones(40)), rng.exponential(size=40)
    segment = rng.integers(5, size=40)
    adversary = segment_adversary(segment, share, low=low, high=high)
    found = adversary.worst(loss)
    mass = share @ adversary.basis
    solved = linprog(
        -(share * loss) @ adversary.basis, A_eq=mass[None], b_eq=[1.0], bounds=(low, high)
    )
    assert share * found @ loss == pytest.approx(-solved.fun, abs=1e-7)
    assert share @ found == pytest.approx(1.0, abs=1e-6)
    assert found.min() >= 0
    assert share * found @ loss >= share @ loss - 1e-9


def test_a_segment_without_rows_changes_nothing():
    loss = np.array([0.2, 0.8])
    found = segment_adversary(np.array([0, 2]), even(2), low=0.5, high=2.0).worst(loss)
    np.testing.assert_allclose(found, [0.5, 1.5])


def test_a_bound_too_small_for_a_mean_of_one_is_refused():
    with pytest.raises(ParameterError, match=r"between 0 and 0\.5, but it must be 1.*raise high"):
        kernel_adversary(np.zeros((4, 5)), even(4), sigma=1.0, bound=0.1)


@pytest.mark.parametrize(("low", "high"), [(1.1, 2.0), (0.2, 0.9), (-0.5, 2.0), (0.8, 0.7)])
def test_bounds_that_do_not_enclose_one_are_refused(low, high):
    with pytest.raises(ParameterError, match=rf"low={low}, high={high}: .* Lower low or raise"):
        segment_adversary(np.array([0, 1]), even(2), low=low, high=high)
