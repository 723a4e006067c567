"""Representative rows: bounds hold, and the utility is within the bound of the paper."""

from itertools import combinations
from time import process_time

import numpy as np
import pytest

from fairautoml.exceptions import InputError, ParameterError
from fairautoml.metrics.streaming import select_representative

GUARANTEE = 1 / 4


def utility(X, rows):
    """Return by how much the rows bring the table closer than its mean does."""
    start = ((X - X.mean(axis=0)) ** 2).sum(axis=1)
    to_rows = ((X[:, None] - X[list(rows)]) ** 2).sum(axis=2).min(axis=1)
    return np.maximum(start - to_rows, 0).sum()


def instance(seed):
    """Return a small table with clusters and outliers, its groups and bounds."""
    rng = np.random.default_rng(seed)
    n, k = int(rng.integers(7, 12)), int(rng.integers(2, 5))
    X = rng.normal(size=(n, 2)) * rng.choice([0.1, 1, 8], size=(n, 1))
    groups = rng.integers(0, 3, n)
    least = rng.choice([0.0, 0.25])
    return X, groups, k, (float(least), float(rng.choice([0.5, 0.75, 1.0])))


def meets(groups, rows, bounds):
    shares = [np.mean(groups[list(rows)] == g) for g in np.unique(groups)]
    return all(bounds[0] - 1e-9 <= s <= bounds[1] + 1e-9 for s in shares)


def ratio(seed):
    """Return the utility over that of the best set, None if no set meets the bounds."""
    X, groups, k, bounds = instance(seed)
    sets = (s for s in combinations(range(len(X)), k) if meets(groups, s, bounds))
    best = max((utility(X, rows) for rows in sets), default=None)
    if best is None:
        with pytest.raises(InputError, match="Widen the bounds"):
            select_representative(X, k, groups, bounds, reference=X)
        return None
    rows = select_representative(X, k, groups, bounds, reference=X)
    assert len(set(rows.tolist())) == k
    assert meets(groups, rows, bounds)
    return utility(X, rows) / best


def test_the_utility_is_at_least_a_quarter_of_the_best():
    """On random instances against all sets; most are far above the guarantee of the paper."""
    found = [one for one in map(ratio, range(150)) if one is not None]
    assert len(found) > 60
    assert min(found) >= GUARANTEE - 1e-6
    assert np.mean(found) > 0.7


def test_a_better_row_at_the_end_of_the_stream_replaces_one_at_its_beginning():
    """The far cluster, which comes last, is represented."""
    X = np.concatenate([np.zeros((50, 2)), np.full((50, 2), 10.0)])
    rows = select_representative(X, 2, np.zeros(100), reference=X)
    assert (rows >= 50).sum() == 1


def test_the_lower_bound_of_a_group_at_the_end_is_kept_free():
    """Ten of the rows that come last are selected, although others had filled the set."""
    rng = np.random.default_rng(0)
    groups = np.repeat(["a", "b"], [900, 100])
    rows = select_representative(rng.normal(size=(1000, 3)), 20, groups, {"b": (0.5, 1.0)})
    assert len(rows) == 20
    assert (groups[rows] == "b").sum() >= 10


@pytest.mark.slow
def test_a_million_rows_take_less_than_ten_seconds():
    """One pass over a million rows of ten columns for 1,000 representatives."""
    rng = np.random.default_rng(0)
    X, groups = rng.normal(size=(1_000_000, 10)), rng.integers(0, 4, 1_000_000)
    start = process_time()
    rows = select_representative(X, 1000, groups, (0.2, 0.3))
    assert process_time() - start < 10
    assert np.bincount(groups[rows]).min() >= 200


@pytest.mark.parametrize("k", [0, 5, 1.5, True])
def test_a_wrong_k_is_refused(k):
    """The message names the rows that there are."""
    with pytest.raises(ParameterError, match="from 1 to 4"):
        select_representative(np.zeros((4, 1)), k, [1, 1, 2, 2])


def test_a_table_that_is_not_finite_is_refused():
    """Distances from a missing value are undefined."""
    with pytest.raises(InputError, match="finite"):
        select_representative([[1.0], [np.nan]], 1, [1, 1])
