"""Slices: a planted one is found, and chance is not called a finding."""

from functools import cache

import numpy as np
import pandas as pd
import pytest

from fairautoml.auditing.rows import AuditReadOptions, Given, read_rows
from fairautoml.auditing.slices import balanced_parts, slice_rows
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


def test_a_number_that_no_proposing_row_has_is_in_no_slice():
    rows, X, _ = table(0, 0.4)
    measuring = np.random.default_rng(0).permutation(len(X)) >= len(X) // 2
    rare = np.full(len(X), np.nan)
    rare[np.flatnonzero(measuring)[:20]] = np.arange(20)
    found = found_in(rows, X.assign(rare=rare))
    assert not any("rare" in text for row in found for text in row.conditions)


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


def with_cluster(seed, gap=0.3, n=6_000):
    """Return rows whose groups differ in one cluster of nine columns, which is no box."""
    rng = np.random.default_rng(seed)
    planted = rng.random(n) < 0.13
    X = pd.DataFrame(rng.random((n, 9)), columns=list("abcdefghi"))
    X[planted] = rng.uniform(0.2, 0.8, 9) + 0.12 * rng.normal(size=(planted.sum(), 9))
    sex = rng.choice(["F", "M"], n)
    accepted = rng.random(n) < 0.5 - gap * (planted & (sex == "F"))
    given = Given(y_true=None, y_pred=accepted.astype(int), sensitive=pd.Series(sex, name="sex"))
    return read_rows(given, AuditReadOptions()), X, planted


def findings(tables, most):
    found = (slice_rows(*t, [SELECTION], t[0].systems, 0.05, most=most, seed=0) for t in tables)
    return [[row for row in rows if row.interval.low > 0] for rows in found]


def test_a_planted_cluster_is_found_by_the_hierarchy_and_not_by_the_tree():
    """It has no wall along a column, and the description names three columns."""
    tables = [with_cluster(seed)[:2] for seed in range(2, 7)]
    by_clusters, by_tree = findings(tables, "hierarchy"), findings(tables, 3)
    assert sum(map(bool, by_clusters)) >= sum(map(bool, by_tree)) + 2
    worst = next(filter(None, by_clusters))[0]
    assert len(worst.conditions) == 3
    assert all(" about " in text for text in worst.conditions)
    assert worst.gap > worst.overall


def test_parts_are_balanced_and_cover_the_rows():
    """Each division passes on at least a third; the first two parts are all rows."""
    rng = np.random.default_rng(0)
    X = pd.DataFrame({"x": rng.normal(size=600) ** 3, "job": rng.choice(["a", "b"], 600)})
    clustered = np.arange(600) % 2 == 0
    parts = [part.inside for part in balanced_parts(X, clustered, 0)]
    assert (parts[0] ^ parts[1]).all()
    assert min((part & clustered).sum() for part in parts[:2]) >= 99
    assert min((part & clustered).sum() for part in parts) >= 60


@pytest.mark.slow
def test_clusters_of_equal_groups_are_no_finding_in_at_least_38_of_40_tables():
    """The rows that measure are not those that are clustered."""
    tables = [with_cluster(seed, gap=0.0)[:2] for seed in range(40)]
    assert sum(map(bool, findings(tables, "hierarchy"))) <= 2
