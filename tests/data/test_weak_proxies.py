import json

import numpy as np
import pandas as pd
import pytest
from sklearn.ensemble import GradientBoostingClassifier, RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.naive_bayes import GaussianNB
from sklearn.neighbors import KNeighborsClassifier
from sklearn.svm import LinearSVC
from sklearn.tree import DecisionTreeClassifier

import fairautoml
from fairautoml.data import load
from fairautoml.data.noisy_groups import consensus, hidden_rates, tabulate, weak_proxy_gap
from fairautoml.exceptions import DegradedWarning, InputError

T = [[0.8, 0.2], [0.3, 0.7]]


def proxies_of(group, accuracies, rng, shared=0.0):
    """Guesses of a group 0 or 1 that are right that often; some errors may be common to all."""
    common = rng.uniform(size=len(group))
    return {
        f"proxy {i}": np.where(
            np.where(rng.uniform(size=len(group)) < shared, common, rng.uniform(size=len(group)))
            < accuracy,
            group,
            1 - group,
        )
        for i, accuracy in enumerate(accuracies)
    }


def population(n, accuracies, seed, shared=0.0):
    """Two groups, of which 30 % and 70 % are accepted."""
    rng = np.random.default_rng(seed)
    group = (rng.uniform(size=n) < 0.4).astype(int)
    decision = (rng.uniform(size=n) < np.where(group == 1, 0.7, 0.3)).astype(int)
    return decision, proxies_of(group, accuracies, rng, shared)


def rows_from(joint, n=1_000_000):
    """Rows with exactly the given shares, [decision, proxy]."""
    counts = np.rint(np.asarray(joint) * n).astype(int)
    assert np.allclose(counts / n, joint, atol=1e-12)
    decision, proxy = np.divmod(np.repeat(np.arange(counts.size), counts.ravel()), counts.shape[1])
    return decision, proxy


def measured_by_the_proxy(joint):
    """Return shares of the groups and their rates when the proxy is taken for the attribute."""
    table = tabulate(*rows_from(joint), None, "demographic_parity")
    (counts,) = table.of_proxy(0)
    said = counts.sum(axis=0)
    return said / said.sum(), (counts / said).T


# --- known answers -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("p", "errors", "rates"),
    [
        ([0.6, 0.4], T, [[0.7, 0.3], [0.3, 0.7]]),
        (
            [0.5, 0.3, 0.2],
            [[0.8, 0.15, 0.05], [0.2, 0.7, 0.1], [0.1, 0.2, 0.7]],
            [[0.8, 0.2], [0.5, 0.5], [0.4, 0.6]],
        ),
    ],
    ids=["binary_global", "three_groups_global"],
)
def test_the_correction_undoes_the_errors_of_a_proxy(p, errors, rates):
    joint = (np.array(p)[:, None] * rates).T @ np.array(errors)
    found, shares = hidden_rates(joint, np.array([errors]))
    assert found == pytest.approx(np.array(rates), abs=1e-9)
    assert shares == pytest.approx(p, abs=1e-9)


@pytest.mark.parametrize(
    ("p", "errors", "rates", "proxy_gap", "said", "said_rates"),
    [
        (
            [0.6, 0.4],
            T,
            [[0.7, 0.3], [0.3, 0.7]],
            0.2,
            [0.6, 0.4],
            [[0.62, 0.38], [0.42, 0.58]],
        ),
        (
            [0.5, 0.3, 0.2],
            [[0.8, 0.15, 0.05], [0.2, 0.7, 0.1], [0.1, 0.2, 0.7]],
            [[0.8, 0.2], [0.5, 0.5], [0.4, 0.6]],
            0.2791666667,
            [0.48, 0.325, 0.195],
            [
                [0.7458333333, 0.2541666667],
                [0.5569230769, 0.4430769231],
                [0.4666666667, 0.5333333333],
            ],
        ),
    ],
    ids=["binary_global", "three_groups_global"],
)
def test_a_known_error_matrix_gives_the_gap_behind_a_proxy(
    p, errors, rates, proxy_gap, said, said_rates
):
    joint = (np.array(p)[:, None] * rates).T @ np.array(errors)
    shares, by_proxy = measured_by_the_proxy(joint)
    assert shares == pytest.approx(said, abs=1e-9)
    assert by_proxy == pytest.approx(np.array(said_rates), abs=1e-9)
    found = weak_proxy_gap(*rows_from(joint), errors=errors)
    assert found.gap == pytest.approx(0.4, abs=1e-9)
    assert found.proxy_gap == pytest.approx(proxy_gap, abs=1e-9)
    assert found.shares == pytest.approx(p, abs=1e-9)
    assert not found.clipped


# known answer: binary_local
def test_errors_that_depend_on_the_decision_need_local_matrices():
    p, rates = np.array([0.6, 0.4]), np.array([[0.7, 0.3], [0.3, 0.7]])
    by_decision = np.array([[[0.85, 0.15], [0.35, 0.65]], [[0.7, 0.3], [0.2, 0.8]]])
    mass = p[:, None] * rates
    joint = np.stack([mass[:, k] @ by_decision[k] for k in range(2)])
    said, said_rates = measured_by_the_proxy(joint)
    assert said == pytest.approx([0.581, 0.419], abs=1e-9)
    expected = np.array([[0.686746988, 0.313253012], [0.3365155131, 0.6634844869]])
    assert said_rates == pytest.approx(expected, abs=1e-9)
    local, _ = hidden_rates(joint, by_decision[None])
    assert local == pytest.approx(rates, abs=1e-9)
    overall = np.einsum("ak,kab->ab", rates, by_decision)
    wrong, _ = hidden_rates(joint, overall[None])
    assert wrong == pytest.approx(np.array([[0.79375, 0.20625], [0.159375, 0.840625]]), abs=1e-9)
    found = weak_proxy_gap(*rows_from(joint), errors=by_decision)
    assert found.gap == pytest.approx(0.4, abs=1e-9)
    assert found.proxy_gap == pytest.approx(0.686746988 - 0.3365155131, abs=1e-9)


# known answer: shrink_factor
def test_a_proxy_shrinks_a_gap_by_the_stated_factor():
    p, errors = np.array([0.6, 0.4]), np.array(T)
    said = p @ errors
    factor = p.prod() * (errors[0, 0] + errors[1, 1] - 1) / said.prod()
    joint = (p[:, None] * [[0.7, 0.3], [0.3, 0.7]]).T @ errors
    found = weak_proxy_gap(*rows_from(joint), errors=errors)
    assert factor == pytest.approx(0.5, abs=1e-12)
    assert found.proxy_gap == pytest.approx(factor * found.gap, abs=1e-9)


# known answer: hoc_exact_table
def test_the_agreement_of_three_proxies_reports_how_often_each_is_wrong():
    table = [0.2604, 0.1236, 0.1176, 0.0984, 0.0826, 0.0634, 0.0994, 0.1546]
    found = consensus(np.reshape(table, (2, 2, 2)))
    assert found.shares == pytest.approx([0.6, 0.4], abs=1e-5)
    expected = [T, [[0.75, 0.25], [0.2, 0.8]], [[0.7, 0.3], [0.35, 0.65]]]
    assert found.errors == pytest.approx(np.array(expected), abs=1e-5)


# --- finite samples ----------------------------------------------------------------------------


# known answer: finite_sample_error
@pytest.mark.parametrize(("n", "most"), [(2_000, 0.06), (20_000, 0.02)])
@pytest.mark.parametrize("accuracies", [(0.75, 0.7, 0.7), (0.9, 0.85, 0.8)])
def test_three_weak_proxies_find_the_gap_in_a_sample(accuracies, n, most):
    found = [weak_proxy_gap(*population(n, accuracies, seed)) for seed in range(10)]
    off = np.mean([abs(one.gap - 0.4) for one in found])
    raw = np.mean([abs(one.proxy_gap - 0.4) for one in found])
    assert off <= most
    assert off < raw / 2


def test_shared_errors_leave_a_bias_that_is_still_smaller_than_that_of_the_proxy():
    accuracies = (0.75, 0.7, 0.7)
    found = [weak_proxy_gap(*population(20_000, accuracies, s, shared=0.4)) for s in range(5)]
    assert all(abs(one.gap - 0.4) < abs(one.proxy_gap - 0.4) for one in found)
    assert "err independently" in " ".join(found[0].assumptions)


def test_with_two_groups_the_residual_does_not_show_that_errors_are_shared():
    found = weak_proxy_gap(*population(20_000, (0.75, 0.7, 0.7), 0, shared=0.4))
    assert found.residual == pytest.approx(0.0, abs=1e-6)
    assert abs(found.gap - 0.4) > 0.03


def test_three_groups_are_distinguished_by_three_proxies():
    rng = np.random.default_rng(0)
    group = rng.integers(3, size=40_000)
    decision = (rng.uniform(size=len(group)) < 0.2 + 0.2 * group).astype(int)
    guesses = {}
    for i in range(3):
        own = rng.uniform(size=len(group))
        guesses[f"p{i}"] = np.where(own < 0.75, group, (group + 1 + (own < 0.9)) % 3)
    found = weak_proxy_gap(decision, guesses)
    assert found.gap == pytest.approx(0.4, abs=0.03)
    assert found.proxy_gap < 0.3
    assert found.shares == pytest.approx([1 / 3] * 3, abs=0.02)
    assert found.residual < 0.005


def test_local_errors_are_estimated_within_each_decision():
    rng = np.random.default_rng(1)
    group = (rng.uniform(size=60_000) < 0.4).astype(int)
    decision = (rng.uniform(size=len(group)) < np.where(group == 1, 0.7, 0.3)).astype(int)
    guesses = {}
    for i in range(3):
        right = np.where(decision == group, 0.85, 0.65)
        guesses[f"p{i}"] = np.where(rng.uniform(size=len(group)) < right, group, 1 - group)
    local = weak_proxy_gap(decision, guesses, local=True)
    everywhere = weak_proxy_gap(decision, guesses)
    assert local.local
    assert abs(local.gap - 0.4) < abs(everywhere.gap - 0.4) / 2


def test_equalized_odds_is_the_larger_gap_of_both_labels():
    rng = np.random.default_rng(2)
    group = rng.integers(2, size=50_000)
    y = rng.integers(2, size=len(group))
    rate = np.where(y == 1, 0.7 - 0.1 * group, 0.2 + 0.3 * group)
    decision = (rng.uniform(size=len(group)) < rate).astype(int)
    guesses = proxies_of(group, (0.8, 0.75, 0.75), rng)
    odds = weak_proxy_gap(decision, guesses, y=y, compare="equalized_odds")
    opportunity = weak_proxy_gap(decision, guesses, y=y, compare="equal_opportunity")
    assert odds.gap == pytest.approx(0.3, abs=0.03)
    assert opportunity.gap == pytest.approx(0.1, abs=0.03)
    assert odds.n_rows == 50_000 > opportunity.n_rows


def test_the_interval_covers_the_truth_about_as_often_as_it_says():
    found = [weak_proxy_gap(*population(2_000, (0.8, 0.75, 0.75), s), draws=60) for s in range(12)]
    assert sum(low <= 0.4 <= high for low, high in (one.interval for one in found)) >= 9
    assert all(one.interval[0] <= one.gap <= one.interval[1] for one in found)


COMPAS_MODELS = {
    "tree": DecisionTreeClassifier(max_depth=5, random_state=0),
    "logistic": LogisticRegression(max_iter=2_000),
    "forest": RandomForestClassifier(100, max_depth=8, random_state=0),
    "boosting": GradientBoostingClassifier(random_state=0),
    "bayes": GaussianNB(),
    "neighbours": KNeighborsClassifier(25),
    "linear": LinearSVC(random_state=0),
}


@pytest.mark.slow
def test_weak_proxies_on_compas_halve_the_error_of_the_measured_gap_at_least():
    """Seven models, proxies as weak as the paper's (68.85 % right), drawn ten times.

    The table has no names of people, from which the paper made its proxies, so race is guessed
    by lot: right that often, wrong independently.
    """
    table = load("compas_two_years").frame
    table = table[table["race"].isin(["African-American", "Caucasian"])]
    numbers = ["age", "priors_count", "juv_fel_count", "juv_misd_count", "juv_other_count"]
    X = pd.get_dummies(table[[*numbers, "sex", "c_charge_degree"]]).to_numpy(float)
    y = table["two_year_recid"].astype(int).to_numpy()
    race = (table["race"] == "African-American").astype(int).to_numpy()
    order = np.random.default_rng(0).permutation(len(y))
    train, test = order[: len(y) // 2], order[len(y) // 2 :]
    errors = {
        compare: [] for compare in ("demographic_parity", "equal_opportunity", "equalized_odds")
    }
    for model in COMPAS_MODELS.values():
        decision = model.fit(X[train], y[train]).predict(X[test])
        for seed in range(10):
            guesses = proxies_of(race[test], [0.6885] * 3, np.random.default_rng(seed))
            for compare, found in errors.items():
                true = true_gap(decision, race[test], y[test], compare)
                one = weak_proxy_gap(decision, guesses, y=y[test], compare=compare)
                found.append((abs(one.gap - true) / true, abs(one.proxy_gap - true) / true))
    for compare, found in errors.items():
        corrected, raw = np.mean(found, axis=0)
        assert corrected <= raw / 2, (compare, corrected, raw)


def true_gap(decision, group, y, compare):
    labels = {"demographic_parity": (), "equal_opportunity": (1,), "equalized_odds": (0, 1)}
    parts = [y == label for label in labels[compare]] or [np.ones(len(y), dtype=bool)]
    return max(
        abs(decision[part & (group == 1)].mean() - decision[part & (group == 0)].mean())
        for part in parts
    )


# --- what it refuses, and says -----------------------------------------------------------------


@pytest.mark.parametrize("n_proxies", [1, 2])
def test_fewer_than_three_proxies_without_errors_are_not_identified(n_proxies):
    decision, guesses = population(500, (0.8,) * n_proxies, 0)
    with pytest.raises(InputError, match="not identified"):
        weak_proxy_gap(decision, guesses)


@pytest.mark.parametrize(
    ("errors", "match"),
    [
        ([[0.8, 0.3], [0.3, 0.7]], "add up to 1"),
        ([[1.2, -0.2], [0.3, 0.7]], "add up to 1"),
        ([[0.52, 0.48], [0.48, 0.52]], "hardly better than chance"),
        (np.eye(3), "allowed are"),
    ],
)
def test_an_error_matrix_must_be_one(errors, match):
    decision, guesses = population(500, (0.8,), 0)
    with pytest.raises(InputError, match=match):
        weak_proxy_gap(decision, guesses, errors=errors)


def test_proxies_that_are_chance_are_refused():
    rng = np.random.default_rng(0)
    guesses = {f"p{i}": rng.integers(2, size=4_000) for i in range(3)}
    with pytest.raises(InputError, match="agree no more than by chance"):
        weak_proxy_gap(rng.integers(2, size=4_000), guesses)


def test_errors_that_leave_no_room_for_a_group_are_refused():
    with pytest.raises(InputError, match="a share must be positive"):
        weak_proxy_gap([0, 1] * 50, [0] * 98 + [1] * 2, errors=[[0.8, 0.2], [0.2, 0.8]])


def test_rows_without_a_guess_are_left_out_and_counted():
    decision, guesses = population(3_000, (0.8, 0.75, 0.75), 0)
    columns = pd.DataFrame(guesses).astype(object)
    columns.iloc[:100, 0] = None
    columns.iloc[50:150, 2] = np.nan
    found = weak_proxy_gap(decision, columns)
    rest = weak_proxy_gap(decision[150:], columns.iloc[150:])
    assert (found.n_rows, found.n_dropped) == (2_850, 150)
    assert found.gap == rest.gap


def test_an_impossible_rate_is_moved_inside_and_said():
    said = np.array([0] * 50 + [1] * 50)
    with pytest.warns(DegradedWarning, match="outside"):
        found = weak_proxy_gap(said, said, errors=[[0.8, 0.2], [0.2, 0.8]])
    assert found.clipped
    assert found.gap <= 1


def test_too_few_rows_of_a_decision_are_no_base_for_local_errors():
    decision, guesses = population(3_000, (0.85, 0.85, 0.85), 0)
    rare = np.zeros_like(decision)
    rare[:50] = 1
    with pytest.warns(DegradedWarning, match="needs 100 rows of each decision, found 50"):
        assert not weak_proxy_gap(rare, guesses, local=True).local


@pytest.mark.parametrize(
    ("arguments", "match"),
    [
        ({"decision": [0, 1, 2] * 10}, "decision holds 2"),
        ({"decision": [0, 1]}, "one per row"),
        ({"compare": "accuracy"}, "compare='accuracy'"),
        ({"compare": "equalized_odds"}, "y is needed"),
        ({"proxies": {f"p{i}": ["a"] * 30 for i in range(3)}}, "at least two"),
        ({"y": [1] * 30, "compare": "equalized_odds"}, "no rows with a proxy and the label"),
    ],
)
def test_what_is_no_use_is_refused(arguments, match):
    decision, guesses = population(30, (0.9, 0.9, 0.9), 0)
    given = {"decision": decision, "proxies": guesses, **arguments}
    with pytest.raises(InputError, match=match):
        weak_proxy_gap(**given)


def test_names_and_order_of_groups_and_rows_do_not_matter():
    decision, guesses = population(2_000, (0.8, 0.75, 0.7), 3)
    plain = weak_proxy_gap(decision, guesses)
    order = np.random.default_rng(0).permutation(2_000)
    named = {name: np.where(column == 1, "a", "b")[order] for name, column in guesses.items()}
    found = weak_proxy_gap(decision[order], named)
    assert found.gap == pytest.approx(plain.gap, abs=1e-6)
    assert found.groups == ("a", "b")


def test_it_is_public_and_its_numbers_are_plain():
    decision, guesses = population(2_000, (0.8, 0.75, 0.7), 3)
    found = fairautoml.weak_proxy_gap(decision, guesses)
    assert json.dumps([found.gap, found.proxy_gap, found.residual, found.n_rows])
    assert found.proxy == "proxy 0"
