"""What becomes of rows whose sensitive value is missing: the three policies, all the way."""

import numpy as np
import pandas as pd
import pytest

from fairautoml import GroupPolicy
from fairautoml.exceptions import InputError
from quick_fits import N_ROWS, few_individuals, quick

N_MISSING = 40


@pytest.fixture
def individuals():
    """As few people as possible, of whom forty did not say."""
    X, y, group = few_individuals()
    incomplete = group.astype(object)
    incomplete[:N_MISSING] = None
    return X, y, incomplete


@pytest.mark.parametrize("nothing", [None, np.nan, pd.NA])
def test_a_missing_value_is_refused_by_default(individuals, nothing):
    X, y, group = individuals
    group[:N_MISSING] = nothing
    with pytest.raises(InputError, match=r"has 40 missing value\(s\).*'own_group'.*'exclude'"):
        quick().fit(X, y, group)


def test_a_group_of_their_own_is_constrained_shown_and_decided(individuals):
    X, y, group = individuals
    model = quick(group_policy=GroupPolicy(missing="own_group")).fit(X, y, group)
    rates = model.evaluate(X, y, group)["rates"]["sensitive"]
    assert set(rates) == {"a", "b", "(missing)"}
    assert rates["(missing)"]["weight"] == N_MISSING
    decided = model.predict(X, group)
    selection = [decided[mask].mean() for mask in masks_of(group)]
    assert [rates[label]["selection"] for label in ("a", "b", "(missing)")] == pytest.approx(
        selection
    )
    gap = model.evaluate(X, y, group)["gaps"]["demographic_parity_difference[sensitive]"]
    assert gap == pytest.approx(max(selection) - min(selection))


def test_excluded_rows_are_decided_but_count_in_no_group(individuals):
    X, y, group = individuals
    model = quick(group_policy=GroupPolicy(missing="exclude")).fit(X, y, group)
    found = model.evaluate(X, y, group)
    decided = model.predict(X, group)
    assert len(decided) == N_ROWS == found["n_rows"]
    rates = found["rates"]["sensitive"]
    assert set(rates) == {"a", "b"}
    selection = [decided[mask].mean() for mask in masks_of(group)[:2]]
    gap = found["gaps"]["demographic_parity_difference[sensitive]"]
    assert gap == pytest.approx(max(selection) - min(selection))
    assert sum(rate["weight"] for rate in rates.values()) == N_ROWS - N_MISSING


def test_excluded_rows_have_no_say_in_what_is_compared_with_all_rows(individuals):
    X, y, group = individuals
    model = quick(
        "demographic_parity_to_overall <= 0.2",
        group_policy=GroupPolicy(missing="exclude"),
    ).fit(X, y, group)
    decided = model.predict(X, group)
    known = masks_of(group)[:2]
    overall = decided[np.any(known, axis=0)].mean()
    expected = max(abs(decided[mask].mean() - overall) for mask in known)
    gaps = model.evaluate(X, y, group)["gaps"]
    assert gaps["demographic_parity_to_overall[sensitive]"] == pytest.approx(expected)


@pytest.mark.parametrize("policy", ["own_group", "exclude"])
def test_the_leaderboard_measures_the_groups_of_the_policy(individuals, policy):
    X, y, group = individuals
    model = quick(group_policy=GroupPolicy(missing=policy)).fit(X, y, group)
    board = model.leaderboard_
    labels = {"own_group": ("a", "b", "(missing)"), "exclude": ("a", "b")}[policy]
    assert model.pool_.groups.systems[0].labels == labels
    assert board["demographic_parity_difference[sensitive]"].notna().any()


def test_a_value_that_is_missing_at_predict_only_is_refused_or_decided_without_group():
    X, y, group = few_individuals()
    incomplete = group.astype(object)
    incomplete[:3] = None
    fitted = quick(mitigators=["group_thresholds"]).fit(X, y, group)
    assert fitted.best_entry_.rule.needs_sensitive
    with pytest.raises(InputError, match=r"has 3 missing value\(s\)"):
        fitted.predict(X, incomplete)
    lenient = quick(
        mitigators=["group_thresholds"],
        group_policy=GroupPolicy(unseen="base_model"),
    ).fit(X, y, group)
    decided = lenient.predict(X, incomplete)
    assert decided[3:].tolist() == fitted.predict(X, group)[3:].tolist()
    assert set(decided) <= {0, 1}


def test_a_column_with_missing_values_is_outside_every_system_that_uses_it(individuals):
    X, y, group = individuals
    other = np.where(np.arange(N_ROWS) % 2, "p", "q")
    sensitive = pd.DataFrame({"first": group, "second": other})
    model = quick(group_policy=GroupPolicy(missing="exclude")).fit(X, y, sensitive)
    rates = model.evaluate(X, y, sensitive)["rates"]
    total = {name: sum(r["weight"] for r in rates[name].values()) for name in rates}
    assert total == {
        "first": N_ROWS - N_MISSING,
        "second": N_ROWS,
        "first & second": N_ROWS - N_MISSING,
    }


def masks_of(group):
    values = pd.Series(group)
    return np.array([values == "a", values == "b", values.isna()])


@pytest.mark.parametrize(
    ("policy", "labels"), [("own_group", ("(missing)", "a", "b")), ("exclude", ("a", "b"))]
)
def test_the_certificate_speaks_about_the_groups_of_the_policy(policy, labels):
    rng = np.random.default_rng(0)
    group = rng.choice(["a", "b"], 1_600).astype(object)
    group[rng.uniform(size=1_600) < 0.3] = None
    X = pd.DataFrame(rng.normal(size=(1_600, 2)), columns=["x", "z"])
    y = (X["x"] + rng.normal(size=1_600) > 0).astype(int)
    model = quick(
        "demographic_parity_difference <= 0.5", group_policy=GroupPolicy(missing=policy)
    ).fit(X[:1_000], y[:1_000], group[:1_000])
    new = slice(1_000, None)
    (claim,) = model.certify(X[new], y[new], group[new]).claims
    assert tuple(sorted(claim.groups)) == labels
    known = sum(cell["n"] for cell in claim.cells[0])
    assert known == (600 if policy == "own_group" else pd.Series(group[new]).notna().sum())
