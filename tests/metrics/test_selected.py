from itertools import combinations
from time import process_time

import numpy as np
import pytest

from fairautoml import FairAutoML
from fairautoml.data import load
from fairautoml.exceptions import InputError, ParameterError
from fairautoml.metrics.selected import aggregated, diversity, presence, select_top_k
from fairautoml.metrics.streaming import select_representative


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


@pytest.mark.parametrize("seed", range(40))
def test_bounds_on_two_or_three_columns_are_exact(seed):
    """The integer program finds the best sum of all sets that meet every column's bounds."""
    rng = np.random.default_rng(seed)
    n, k = int(rng.integers(6, 10)), int(rng.integers(2, 6))
    scores = rng.normal(size=n)
    columns = {name: rng.integers(0, 2 + (name == "b"), n) for name in "abc"[: 2 + seed % 2]}
    bounds = {name: (float(rng.choice([0, 0.2, 0.4])), 0.8) for name in columns}
    allowed = [
        scores[list(rows)].sum()
        for rows in combinations(range(n), k)
        if all(
            low - 1e-9 <= np.mean(groups[list(rows)] == group) <= high + 1e-9
            for (low, high), groups in zip(bounds.values(), columns.values(), strict=True)
            for group in np.unique(groups)
        )
    ]
    if not allowed:
        with pytest.raises(InputError, match="Widen the bounds"):
            select_top_k(scores, k, columns, bounds)
        return
    rows = select_top_k(scores, k, columns, bounds)
    assert len(set(rows.tolist())) == k
    assert scores[rows].sum() == pytest.approx(max(allowed), abs=1e-8)


def test_too_many_candidates_on_several_columns_are_refused():
    """Beyond the stated size the message gives the number of candidates and the way out."""
    rng = np.random.default_rng(0)
    columns = {"a": rng.integers(0, 20, 250_000), "b": rng.integers(0, 20, 250_000)}
    with pytest.raises(InputError, match=r"candidates.*smaller k"):
        select_top_k(rng.uniform(size=250_000), 600, columns, {"a": (0, 0.9), "b": (0, 0.9)})


@pytest.mark.parametrize("bounds", [(0.6, 0.4), (0, 2), 0.5, {"z": (0, 1)}])
def test_invalid_bounds_are_refused(bounds):
    with pytest.raises(ParameterError, match="bounds"):
        select_top_k([1.0, 2.0], 1, ["a", "b"], bounds)


@pytest.mark.parametrize("missing", [None, np.nan])
def test_bounds_with_a_missing_group_are_refused(missing):
    groups = np.array(["a", missing, "b"], dtype=object)
    with pytest.raises(InputError, match=r"1 row\(s\) have no label in groups"):
        select_top_k([3.0, 2.0, 1.0], 2, groups, (0.0, 1.0))
    with pytest.raises(InputError, match=r"1 row\(s\) have no label in groups"):
        select_representative(np.zeros((3, 1)), 2, groups)


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
    return FairAutoML(
        n_trials=3, n_jobs=1, cv=3, objective="precision_at_10%", random_state=0
    ).fit(X, y, "sex"), X


def test_a_model_ranks_rows_within_bounds(fitted):
    model, X = fitted
    rows = model.rank(X, k=40, bounds={"sex": (0.5, 0.5)})
    assert X["sex"].iloc[rows].value_counts().tolist() == [20, 20]
    for sensitive in (X["sex"], X["sex"].to_numpy(), X["sex"].tolist(), ["sex"]):
        again = model.rank(X.copy(), sensitive, k=40, bounds={"sex": (0.5, 0.5)})
        assert rows.tolist() == again.tolist()


def test_a_model_ranks_rows_within_bounds_of_several_columns(fitted):
    """Bounds of two columns hold together; labels are matched by their type."""
    model, X = fitted
    X = X.assign(site=np.arange(len(X)) % 3)
    bounds = {"sex": (0.5, 0.5), "site": {2: (0.6, 1.0)}}
    rows = model.rank(X.drop(columns="site"), X[["sex", "site"]], k=40, bounds=bounds)
    assert X["sex"].iloc[rows].value_counts().tolist() == [20, 20]
    assert (X["site"].iloc[rows] == 2).sum() >= 24
    with pytest.raises(ParameterError, match=r"'site' name '2'; its groups are 0, 1, 2"):
        model.rank(X.drop(columns="site"), X[["sex", "site"]], bounds={"site": {"2": (0, 1)}})


@pytest.mark.parametrize("sensitive", [None, "named"])
def test_bounds_of_a_column_that_is_not_given_are_refused(fitted, sensitive):
    """Also where a column of another name is given, which is never taken for it."""
    model, X = fitted
    given = None if sensitive is None else X["sex"]
    with pytest.raises(ParameterError, match="'race'"):
        model.rank(X, given, k=10, bounds={"race": (0.4, 0.6)})


def test_precision_at_k_is_an_objective_of_the_search(fitted):
    """Its name is the column of the leaderboard, and the best entry has the highest value."""
    model, _ = fitted
    values = model.leaderboard(all=True)["precision_at_10%"]
    assert values.iloc[0] == values.max() == model.best_entry_.score > 0.8
