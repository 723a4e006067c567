"""Slices: a planted one is found, and chance is not called a finding."""

from functools import cache

import numpy as np
import pandas as pd
import pytest

from fairautoml.auditing.rows import AuditReadOptions, Given, read_rows
from fairautoml.auditing.slices import slice_rows
from fairautoml.exceptions import ParameterError
from fairautoml.metrics.rates import SELECTION

TABLES = 100


def table(seed, gap, n=6_000):
    """Return rows whose groups differ in one slice only: x > 0.6 and job = 'b'."""
    rng = np.random.default_rng(seed)
    X = pd.DataFrame({
        "x": rng.random(n), "z": rng.normal(size=n), "age": rng.integers(18, 70, n),
        "job": rng.choice(["a", "b", "c"], n), "home": rng.choice(["own", "rent"], n),
    })  # fmt: skip
    sex = rng.choice(["F", "M"], n)
    planted = ((X["x"] > 0.6) & (X["job"] == "b")).to_numpy()
    accepted = rng.random(n) < 0.5 - gap * (planted & (sex == "F"))
    rows = read_rows(
        Given(y_true=None, y_pred=accepted.astype(int), sensitive=pd.Series(sex, name="sex")),
        AuditReadOptions(),
    )
    return rows, X, planted


def found_in(rows, X, most=3):
    return slice_rows(rows, X, [SELECTION], rows.systems, 0.05, most=most, seed=0)


@cache
def share_of_findings(gap):
    """Return the share of tables with a slice whose joint interval is above 0."""
    found = (found_in(*table(seed, gap)[:2]) for seed in range(TABLES))
    return sum(any(row.interval.low > 0 for row in rows) for rows in found) / TABLES


@pytest.mark.slow
def test_a_planted_slice_is_found_in_at_least_95_of_100_tables():
    assert share_of_findings(0.4) >= 0.95


@pytest.mark.slow
def test_equal_groups_have_no_finding_in_at_least_95_of_100_tables():
    assert share_of_findings(0.0) <= 0.05


def test_the_worst_slice_is_the_planted_one_and_says_so():
    rows, X, _ = table(0, 0.4)
    worst = found_in(rows, X)[0]
    assert any(text.startswith("x > ") for text in worst.conditions)
    assert "job = b" in worst.conditions
    assert (worst.lowest, worst.highest, worst.rate) == ("F", "M", "selection")
    assert 0 < worst.interval.low < worst.gap < worst.interval.high
    assert worst.gap > worst.overall


def test_hidden_groups_and_sensitive_columns_are_not_in_a_slice():
    rows, X, _ = table(1, 0.4)
    alone = [rows.systems[0].without(["F"])]
    assert slice_rows(rows, X, [SELECTION], alone, 0.05, most=3, seed=0) == ()
    known = X.assign(sex=np.where(rows.codes(rows.systems[0]) == 0, "F", "M"))
    assert found_in(rows, known) == found_in(rows, X)


def test_a_number_of_slices_below_one_is_refused():
    rows, X, _ = table(0, 0.0, n=200)
    with pytest.raises(ParameterError, match="at least 1"):
        found_in(rows, X, most=0)
