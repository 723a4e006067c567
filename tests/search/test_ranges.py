import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fairautoml.exceptions import SpaceError
from fairautoml.search.space import Choice, Integer, Real


@given(
    low=st.floats(1e-6, 1.0), factor=st.floats(1.01, 1e6), log=st.booleans(), seed=st.integers(0)
)
def test_a_real_range_contains_what_it_samples(low, factor, log, seed):
    allowed = Real(low=low, high=low * factor, log=log, default=low)
    drawn = allowed.sample(np.random.default_rng(seed))
    assert type(drawn) is float
    assert allowed.contains(drawn)


@given(
    low=st.integers(1, 1000), width=st.integers(1, 10**6), log=st.booleans(), seed=st.integers(0)
)
def test_an_integer_range_contains_what_it_samples(low, width, log, seed):
    allowed = Integer(low=low, high=low + width, log=log, default=low)
    drawn = allowed.sample(np.random.default_rng(seed))
    assert type(drawn) is int
    assert allowed.contains(drawn)


@pytest.mark.parametrize("log", [False, True])
def test_an_integer_range_samples_both_bounds(log):
    allowed = Integer(low=1, high=4, log=log, default=1)
    rng = np.random.default_rng(0)
    assert {allowed.sample(rng) for _ in range(200)} == {1, 2, 3, 4}


def test_a_log_range_is_uniform_in_the_logarithm():
    allowed = Real(low=1e-4, high=1.0, log=True, default=0.1)
    rng = np.random.default_rng(0)
    logs = [math.log10(allowed.sample(rng)) for _ in range(2000)]
    assert np.mean(logs) == pytest.approx(-2.0, abs=0.1)
    assert np.mean(np.array(logs) < -3) == pytest.approx(0.25, abs=0.04)


def test_a_choice_samples_all_its_values_as_they_are():
    allowed = Choice(values=(False, 1, "gbdt"), default=1)
    rng = np.random.default_rng(0)
    drawn = {(type(v), v) for v in (allowed.sample(rng) for _ in range(100))}
    assert drawn == {(bool, False), (int, 1), (str, "gbdt")}


@pytest.mark.parametrize(
    ("allowed", "value"),
    [
        (Real(low=0.0, high=2.0, default=1.0), 1),
        (Real(low=0.0, high=2.0, default=1.0), True),
        (Real(low=0.0, high=2.0, default=1.0), math.nan),
        (Real(low=0.0, high=2.0, default=1.0), np.float64(1.0)),
        (Integer(low=0, high=2, default=1), 1.0),
        (Integer(low=0, high=2, default=1), True),
        (Integer(low=0, high=2, default=1), np.int64(1)),
        (Integer(low=0, high=2, default=1), 3),
        (Choice(values=(0, 1), default=0), False),
        (Choice(values=(0, 1), default=0), "0"),
    ],
)
def test_a_value_of_another_type_or_outside_is_not_contained(allowed, value):
    assert not allowed.contains(value)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Real(low=1.0, high=1.0, default=1.0), "low must be less than high"),
        (lambda: Real(low=0.0, high=1.0, log=True, default=0.5), "needs low > 0"),
        (lambda: Real(low=0.0, high=1.0, default=1.5), r"default must lie in \[0.0, 1.0\]"),
        (lambda: Real(low=0.0, high=math.inf, default=1.5), "must be finite"),
        (lambda: Integer(low=5, high=2, default=3), "low must be less than high"),
        (lambda: Choice(values=(), default=0), "values is empty"),
        (lambda: Choice(values=("a", "a"), default="a"), "'a' twice"),
        (lambda: Choice(values=(0, 1), default=True), "default must be one of"),
    ],
)
def test_a_contradictory_range_cannot_be_made(make, message):
    with pytest.raises(SpaceError, match=message):
        make()
