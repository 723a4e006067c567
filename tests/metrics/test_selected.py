from itertools import combinations
from time import process_time

import numpy as np
import pytest

from fairautoml import FairAutoML
from fairautoml.data import load
from fairautoml.exceptions import InputError, ParameterError
from fairautoml.metrics.selected import aggregated, diversity, presence, select_top_k


def brute_force(scores, k, groups, bounds):
    best = None
    for rows in combinations(range(len(scores)), k):
        shares = [np.mean(groups[list(rows)] == g) for g in np.unique(groups)]
        if all(bounds[0] - 1e-9 <= s <= bounds[1] + 1e-9 for s in shares):
            total = scores[list(rows)].sum()
            best = total if best is None else max(best, total)
    return best


@pytest.mark.parametrize("seed", range(200))
def test_the_selection_is_exact(seed):
    rng = np.random.default_rng(seed)
    n = int(rng.integers(4, 10))
    k = int(rng.integers(1, n))
    scores, groups = rng.integers(0, 8, n).astype(float), rng.integers(0, 3, n)
    bounds = (float(rng.choice([0, 0.2, 0.25])), float(rng.choice([0.5, 0.6, 1.0])))
    best = brute_force(scores, k, groups, bounds)
    if best is None:
        with pytest.raises(InputError, match="Widen the bounds"):
            select_top_k(scores, k, groups, bounds)
        return
    rows = select_top_k(scores, k, groups, bounds)
    assert len(set(rows.tolist())) == k
    assert scores[rows].sum() == best
    assert (np.diff(scores[rows]) <= 0).all()
    shares = [np.mean(groups[rows] == g) for g in np.unique(groups)]
    assert all(bounds[0] - 1e-9 <= s <= bounds[1] + 1e-9 for s in shares)


def test_a_million_rows_take_less_than_two_seconds():
    rng = np.random.default_rng(0)
    scores, groups = rng.uniform(size=1_000_000), rng.integers(0, 4, 1_000_000)
    start = process_time()
    rows = select_top_k(scores, 1000, groups, (0.2, 0.3))
    assert process_time() - start < 2
    assert np.bincount(groups[rows]).min() >= 200


def test_bounds_of_single_groups_leave_the_others_free():
    groups = np.array(["a", "a", "a", "b", "c"])
    rows = select_top_k([5, 4, 3, 2, 1], 3, groups, {"c": (0.3, 1.0)})
    assert rows.tolist() == [0, 1, 4]


@pytest.mark.parametrize("bounds", [(0.6, 0.4), (0, 2), 0.5, {"z": (0, 1)}])
def test_invalid_bounds_are_refused(bounds):
    with pytest.raises(ParameterError, match="bounds"):
        select_top_k([1.0, 2.0], 1, ["a", "b"], bounds)


def test_presence_and_aggregates_are_those_of_the_paper():
    assert presence(0.45, 0.4, 0.6) == 1
    assert presence(0.2, 0.4, 0.6) == pytest.approx(0.5)
    first, second = aggregated([0.2, 0.8, 0.8]), aggregated([0.5, 0.5, 0.5])
    assert first["mean"] == pytest.approx(0.6)
    assert first["nash"] == pytest.approx(0.5040, abs=1e-4)
    assert first["min"] < second["min"]


def test_a_set_that_mirrors_its_pool_has_full_diversity():
    assert diversity(["a", "b"], ["a", "b"] * 5) == {"mean": 1.0, "nash": 1.0, "min": 1.0}
    assert diversity(["a", "a"], ["a", "b"] * 5, 0)["min"] == 0


@pytest.fixture(scope="module")
def fitted():
    table = load("lending").frame.head(400)
    X, y = table.drop(columns="repaid"), table["repaid"]
    return FairAutoML(n_trials=2, n_jobs=1, random_state=0).fit(X, y, "sex"), X


def test_a_model_ranks_rows_within_bounds(fitted):
    model, X = fitted
    rows = model.rank(X, k=40, bounds={"sex": (0.5, 0.5)})
    assert X["sex"].iloc[rows].value_counts().tolist() == [20, 20]
    again = model.rank(X, X["sex"], k=40, bounds={"sex": (0.5, 0.5)})
    assert rows.tolist() == again.tolist()


def test_bounds_of_a_column_that_is_not_given_are_refused(fitted):
    model, X = fitted
    with pytest.raises(ParameterError, match="'race'"):
        model.rank(X, k=10, bounds={"race": (0.4, 0.6)})
