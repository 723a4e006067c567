"""Known answers: methods.md, section 7 (FEAMOE)."""

import copy

import numpy as np
import pytest
from scipy.special import ndtr
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.linear_model import LogisticRegression

from fairautoml.data.dataset import FeatureSchema
from fairautoml.exceptions import InputError, ParameterError
from fairautoml.learners.mixture_of_experts import (
    FAIRNESS,
    LEARNER,
    DriftMonitor,
    Measured,
    Mixture,
    MixtureOfExperts,
    Price,
    Window,
    fitted,
    lost,
    unfairness,
)

X_ONE = np.array([[1.0, -2.0]])
MU = np.array([0.2, -0.5])
FIRST, SECOND = ([1.0, 0.5], 0.1, [0.4, 0.0], 0.0), ([-0.5, 2.0], -0.3, [0.0, -0.2], 0.1)
TWO = FeatureSchema(n_features=2)


def mixture_of(*experts):
    w, b, v, c = (np.array(part, dtype=float) for part in zip(*experts, strict=True))
    return Mixture(w=w, b=b, v=v, c=c)


def margin(mixture, matrix):
    """Return the gate-weighted log-odds, which the contributions add up to."""
    return (mixture.gates(matrix) * mixture.margins(matrix)).sum(axis=1)


@pytest.mark.parametrize(
    ("experts", "gate", "margins"),
    [
        ((FIRST, SECOND), [0.4750208125, 0.5249791875], [0.1, -4.8]),
        ((SECOND, FIRST), [0.5249791875, 0.4750208125], [-4.8, 0.1]),
    ],
    ids=["two_experts", "two_experts_swapped"],
)
def test_two_experts_in_either_order_say_the_same(experts, gate, margins):
    mixture = mixture_of(*experts)
    np.testing.assert_allclose(mixture.gates(X_ONE)[0], gate, atol=1e-9)
    np.testing.assert_allclose(mixture.margins(X_ONE)[0], margins, atol=1e-9)
    assert mixture.probability(X_ONE)[0] == pytest.approx(0.2536612202, abs=1e-9)
    assert margin(mixture, X_ONE)[0] == pytest.approx(-2.4723980186, abs=1e-9)
    phi = mixture.shapley(X_ONE, MU)[0]
    np.testing.assert_allclose(phi, [0.170024975, -1.9312031718], atol=1e-9)
    assert phi.sum() == pytest.approx(-1.7611781968, abs=1e-9)


# known answer: one_expert_is_logistic
def test_one_expert_is_logistic_whatever_its_gate():
    mixture = mixture_of(([1.0, 0.5], 0.1, [3.0, -1.0], 7.0))
    assert mixture.gates(X_ONE).tolist() == [[1.0]]
    assert mixture.probability(X_ONE)[0] == pytest.approx(0.5249791875, abs=1e-9)
    assert margin(mixture, X_ONE)[0] == pytest.approx(0.1, abs=1e-9)
    np.testing.assert_allclose(mixture.shapley(X_ONE, MU)[0], [0.8, -0.75], atol=1e-9)


# known answer: drift_shift_gap
@pytest.mark.parametrize(("shift", "expected"), [(0.0, 0.0), (1.0, 0.5204998778)])
def test_a_fixed_rule_has_the_gap_that_the_normal_distribution_gives(shift, expected):
    # Quantiles instead of draws: x0 + x1 is N(+-shift, 2).
    n = 20_000
    grid = (np.arange(n) + 0.5) / n
    levels = np.linspace(-8, 8, 200_001)
    quantiles = np.sqrt(2) * np.interp(grid, ndtr(levels), levels)
    sums = np.concatenate((quantiles + shift, quantiles - shift))
    window = window_of(np.column_stack((sums, np.zeros(2 * n))), group=np.repeat([0, 1], n))
    rule = mixture_of(([1.0, 1.0], 0.0, [0.0, 0.0], 0.0))
    assert unfairness(rule, window, "demographic_parity") == pytest.approx(expected, abs=1e-4)


def window_of(matrix, y=None, group=None, weight=None):
    n = len(matrix)
    return Window(
        matrix=np.asarray(matrix, dtype=float),
        y=np.zeros(n) if y is None else np.asarray(y, dtype=float),
        weight=np.ones(n) if weight is None else weight,
        group=np.zeros(n, dtype=np.int64) if group is None else np.asarray(group),
    )


def random_window(seed=0, n=60, n_groups=3):
    rng = np.random.default_rng(seed)
    return window_of(
        rng.normal(size=(n, 3)),
        rng.integers(2, size=n),
        rng.integers(-1, n_groups, size=n),
        rng.uniform(0.5, 2, size=n),
    )


def random_mixture(seed=0, n_experts=3):
    rng = np.random.default_rng(seed)
    return Mixture.from_flat(rng.normal(size=n_experts * 8), n_experts)


@pytest.mark.parametrize("fairness", FAIRNESS)
@pytest.mark.parametrize("lam", [0.0, 20.0])
def test_the_gradient_is_that_of_the_loss(fairness, lam):
    window, theta = random_window(), random_mixture().flat()
    price = Price(fairness=fairness, lam=lam, l2=0.3)

    def value(at):
        return lost(Mixture.from_flat(at, 3), window, price)[0]

    slopes = [(value(theta + s) - value(theta - s)) / 2e-6 for s in 1e-6 * np.eye(len(theta))]
    found = lost(Mixture.from_flat(theta, 3), window, price)[1].flat()
    np.testing.assert_allclose(found, slopes, atol=1e-6)


def test_the_penalty_is_the_squared_difference_of_two_groups():
    window = random_window(n_groups=2)
    mixture = random_mixture()
    plain, priced = (lost(mixture, window, Price(lam=lam))[0] for lam in (0.0, 20.0))
    p = mixture.probability(window.matrix)
    means = [
        np.average(p[window.group == g], weights=window.weight[window.group == g]) for g in (0, 1)
    ]
    assert priced - plain == pytest.approx(20 * (means[0] - means[1]) ** 2)


def test_the_penalty_does_not_depend_on_the_names_of_groups():
    window, mixture = random_window(), random_mixture()
    price = Price(lam=20.0)
    to = np.array([2, 0, 1, -1])
    named = window_of(window.matrix, window.y, to[window.group], window.weight)
    assert lost(mixture, named, price)[0] == pytest.approx(lost(mixture, window, price)[0])


def test_equalized_odds_looks_within_each_label():
    # Group 0 accepts all positives and no negatives, group 1 the other way round.
    matrix = np.array([[1.0], [-1.0], [-1.0], [1.0]])
    window = window_of(matrix, y=[1, 0, 1, 0], group=[0, 0, 1, 1])
    rule = mixture_of(([1.0], 0.0, [0.0], 0.0))
    assert unfairness(rule, window, "demographic_parity") == 0.0
    assert unfairness(rule, window, "equalized_odds") == 1.0


def test_recourse_is_the_distance_of_those_refused():
    matrix = np.array([[-1.0], [-3.0], [-2.0], [5.0]])
    window = window_of(matrix, group=[0, 0, 1, 1])
    rule = mixture_of(([2.0], 0.0, [0.0], 0.0))
    # Means 2 and 2; the accepted row does not count.
    assert unfairness(rule, window, "recourse") == pytest.approx(0.0, abs=1e-6)
    window = window_of(matrix, group=[0, 1, 1, 1])
    assert unfairness(rule, window, "recourse") == pytest.approx(1.5, abs=1e-5)


@pytest.mark.parametrize("fairness", FAIRNESS)
def test_a_gap_of_a_single_group_is_undefined(fairness):
    rule = mixture_of(([1.0, 0.0, 0.0], 0.0, [0.0, 0.0, 0.0], 0.0))
    window = window_of(random_window().matrix)
    assert unfairness(rule, window, fairness) is None


@pytest.mark.parametrize("fairness", FAIRNESS)
def test_a_price_narrows_the_gap_it_is_for(fairness):
    rng = np.random.default_rng(0)
    group = rng.integers(3, size=900)
    matrix = rng.normal(size=(900, 2)) + np.outer(group, [0, 1])
    y = (matrix.sum(axis=1) + rng.normal(size=900) > 1).astype(float)
    window = window_of(matrix, y, group)
    blank = mixture_of(([0.0, 0.0], 0.0, [0.0, 0.0], 0.0))
    gaps = [
        unfairness(fitted(blank, window, Price(fairness=fairness, lam=lam)), window, fairness)
        for lam in (0.0, 100.0)
    ]
    assert gaps[1] < 0.5 * gaps[0]


# ------------------------------------------------------------------------------------ the table


def crossed_rows(n_rows=1500, seed=0):
    """No line parts these labels; two lines do."""
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(n_rows, 2)).astype(np.float32)
    return X, (X[:, 0] * X[:, 1] > 0).astype(np.int8)


def test_two_experts_learn_what_one_cannot():
    X, y = crossed_rows()
    right = [
        (MixtureOfExperts({"n_experts": n}, TWO, 0).fit(X, y).predict(X) == y).mean()
        for n in (1, 2)
    ]
    assert right[0] < 0.75
    assert right[1] > 0.95


def test_other_values_of_a_column_that_is_constant_in_training_do_not_change_the_score():
    X, y = crossed_rows(300)
    constant, other = (np.column_stack((X, np.full(300, v, np.float32))) for v in (3.0, 4.0))
    model = MixtureOfExperts({}, FeatureSchema(n_features=3), 0).fit(constant, y)
    assert np.array_equal(model.predict_proba(other), model.predict_proba(constant))


def test_one_expert_equals_logistic_regression():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(400, 2)).astype(np.float32)
    y = (X.sum(axis=1) + rng.normal(size=400) > 0).astype(np.int8)
    model = MixtureOfExperts({"n_experts": 1, "C": 0.5}, TWO, 0).fit(X, y)
    matrix = model.design_.matrix(X)
    oracle = LogisticRegression(C=0.5, tol=1e-8).fit(matrix, y)
    found = model.predict_proba(X)[:, 1]
    np.testing.assert_allclose(found, oracle.predict_proba(matrix)[:, 1], atol=1e-4)


def test_a_row_is_scored_the_same_whatever_rows_come_with_it():
    X, y = crossed_rows(5000)
    model = MixtureOfExperts({}, TWO, 0).fit(X, y)
    assert np.array_equal(model.predict_proba(X)[777:780], model.predict_proba(X[777:780]))


def test_contributions_add_up_to_the_margin_minus_that_of_the_reference():
    rng = np.random.default_rng(0)
    X = np.column_stack((rng.normal(size=(300, 2)), rng.integers(4, size=300))).astype(np.float32)
    X[rng.uniform(size=300) < 0.2, 0] = np.nan
    y = (np.nan_to_num(X[:, 0]) + (X[:, 2] == 1) > 0.3).astype(np.int8)
    feature_schema = FeatureSchema(n_features=3, categorical=(2,), cardinalities=(4,))
    model = MixtureOfExperts({}, feature_schema, 0).fit(X, y)
    matrix = model.design_.matrix(X)
    base = model.model_.gates(matrix) @ model.model_.margins(model.reference_[None])[0]
    found = model.contributions(X)
    assert found.shape == (300, 3)
    np.testing.assert_allclose(found.sum(axis=1), margin(model.model_, matrix) - base, atol=1e-9)
    # The second number was noise.
    assert np.abs(found[:, 1]).mean() < 0.3 * np.abs(found[:, [0, 2]]).mean()


def test_a_model_of_one_class_has_no_contributions():
    X = np.ones((4, 2), dtype=np.float32)
    model = MixtureOfExperts({}, TWO, 0).fit(X, np.ones(4, dtype=np.int8))
    assert model.contributions(X).tolist() == [[0.0, 0.0]] * 4


def test_nothing_is_explained_before_anything_is_learned():
    with pytest.raises(NotFittedError, match="not fitted yet"):
        MixtureOfExperts({}, TWO, 0).contributions(np.ones((1, 2), dtype=np.float32))


def test_it_is_searched_only_when_named():
    assert LEARNER.opt_in
    assert not LEARNER.handles_sparse


# ----------------------------------------------------------------------------------- the stream


def shifted_window(rng, *, shift, n_rows=500):
    sensitive = rng.integers(2, size=n_rows)
    X = rng.normal(size=(n_rows, 2))
    X[:, 1] += shift * (2 * sensitive - 1)
    y = (X.sum(axis=1) + 0.5 * rng.normal(size=n_rows) > 0).astype(np.int8)
    return X.astype(np.float32), y, sensitive


# known answer: drift_reaction
def drift(seed, params, *, adaptive):
    """Gaps on 25 windows before each is learned from; from the tenth on groups have parted."""
    rng = np.random.default_rng(seed)
    model = MixtureOfExperts(params, TWO, 0)
    gaps = []
    for at in range(25):
        X, y, sensitive = shifted_window(rng, shift=float(at >= 10))
        if at == 0 or adaptive:
            model.partial_fit(X, y, sensitive)
        if at > 0 and not adaptive:
            decision = model.predict(X)
            gaps.append(abs(decision[sensitive == 1].mean() - decision[sensitive == 0].mean()))
    if adaptive:
        gaps = [measured.gap for measured in model.monitor_.history]
    return model, np.array(gaps)


@pytest.mark.parametrize("max_experts", [1, 10])
def test_after_a_drift_the_gap_closes_and_that_of_a_static_model_does_not(max_experts):
    params = {"lam": 20.0, "rate": 0.2, "steps": 50, "max_experts": max_experts}
    static, adaptive = (
        np.mean([drift(seed, params, adaptive=one)[1][11:].mean() for seed in range(2)])
        for one in (False, True)
    )
    assert static >= 0.45
    assert adaptive <= 0.15


def test_growth_is_rare_on_a_stream_that_stays_as_it_is():
    rng = np.random.default_rng(0)
    model = MixtureOfExperts({"gap_limit": 0.2}, TWO, 0)
    for _ in range(15):
        model.partial_fit(*shifted_window(rng, shift=0.0))
    assert model.model_.n_experts == 1


def test_a_new_expert_leaves_the_older_ones_as_they_are():
    rng = np.random.default_rng(0)
    params = {"patience": 1, "cooldown": 100, "gap_limit": 0.2, "steps": 1}
    model = MixtureOfExperts(params, TWO, 0)
    model.partial_fit(*shifted_window(rng, shift=0.0))
    model.partial_fit(*shifted_window(rng, shift=1.0))
    grown = copy.deepcopy(model.model_)
    assert grown.n_experts == 2
    model.partial_fit(*shifted_window(rng, shift=1.0))
    assert np.array_equal(model.model_.w[0], grown.w[0])
    assert not np.array_equal(model.model_.w[1], grown.w[1])
    assert not np.array_equal(model.model_.v[0], grown.v[0])


def test_a_newcomer_gets_the_mean_share():
    gates = random_mixture(n_experts=3).joined(random_mixture(1)).gates(np.zeros((1, 3)))
    assert gates[0, 3] == pytest.approx(0.25)


def test_several_groups_are_brought_together():
    rng = np.random.default_rng(0)
    sensitive = rng.choice(["a", "b", "c"], size=1000)
    X = rng.normal(size=(1000, 2)).astype(np.float32)
    X[:, 1] += np.select([sensitive == "a", sensitive == "b"], [-1, 0], 1)
    y = (X.sum(axis=1) > 0).astype(np.int8)
    gaps = []
    for lam in (0.0, 20.0):
        model = MixtureOfExperts({"lam": lam, "window": 1000}, TWO, 0)
        decision = model.partial_fit(X, y, sensitive).predict(X)
        rates = [decision[sensitive == one].mean() for one in "abc"]
        gaps.append(np.ptp(rates))
    assert gaps[1] < 0.3 * gaps[0]


def test_a_long_table_is_cut_into_windows():
    X, y, sensitive = shifted_window(np.random.default_rng(0), shift=0.0, n_rows=1200)
    model = MixtureOfExperts({"window": 400}, TWO, 0).partial_fit(X, y, sensitive)
    assert len(model.monitor_.history) == 2
    parts = MixtureOfExperts({"window": 400}, TWO, 0)
    for at in (0, 400, 800):
        parts.partial_fit(X[at : at + 400], y[at : at + 400], sensitive[at : at + 400])
    assert np.array_equal(parts.predict_proba(X), model.predict_proba(X))


def test_a_window_of_one_class_is_skipped_and_counted():
    rng = np.random.default_rng(0)
    X, y, sensitive = shifted_window(rng, shift=0.0)
    model = MixtureOfExperts({}, TWO, 0).partial_fit(X, np.zeros_like(y), sensitive)
    with pytest.raises(NotFittedError, match="not fitted yet"):
        model.predict(X)
    before = model.partial_fit(X, y, sensitive).predict_proba(X)
    model.partial_fit(X, np.ones_like(y), sensitive)
    assert model.monitor_.n_skipped == 2
    assert np.array_equal(model.predict_proba(X), before)


@pytest.mark.parametrize("sensitive", [None, ["all"] * 500, [None] * 500])
def test_a_window_of_one_group_is_learned_from_without_the_price(sensitive):
    X, y, _ = shifted_window(np.random.default_rng(0), shift=0.0)
    model = MixtureOfExperts({}, TWO, 0).partial_fit(X, y, sensitive)
    bare = MixtureOfExperts({"lam": 0.0}, TWO, 0).partial_fit(X, y)
    np.testing.assert_allclose(model.predict_proba(X), bare.predict_proba(X))
    assert model.monitor_.n_unpenalised == 1
    model.partial_fit(X, y, sensitive)
    assert model.monitor_.history[0].gap is None


def test_a_row_without_a_group_has_no_say_in_the_price():
    X, y, sensitive = shifted_window(np.random.default_rng(0), shift=1.0)
    labels = np.where(sensitive == 0, "a", "b").astype(object)
    labels[:250] = None
    found = MixtureOfExperts({}, TWO, 0).partial_fit(X, y, labels).monitor_
    assert found.n_unpenalised == 0
    labels[sensitive == 1] = None
    assert MixtureOfExperts({}, TWO, 0).partial_fit(X, y, labels).monitor_.n_unpenalised == 1


def test_a_fitted_model_continues_with_a_stream_and_fit_forgets_it():
    X, y, sensitive = shifted_window(np.random.default_rng(0), shift=0.0)
    model = MixtureOfExperts({}, TWO, 0).fit(X, y)
    expected = model.predict_proba(X)
    model.partial_fit(X, y, sensitive)
    assert len(model.monitor_.history) == 1
    assert not np.array_equal(model.predict_proba(X), expected)
    assert np.array_equal(model.fit(X, y).predict_proba(X), expected)
    assert model.monitor_.history == []


def test_the_same_stream_gives_the_same_model():
    models = [drift(3, {}, adaptive=True)[0] for _ in range(2)]
    assert np.array_equal(models[0].model_.flat(), models[1].model_.flat())


def test_weight_two_is_the_row_twice_in_a_window():
    X, y, sensitive = shifted_window(np.random.default_rng(0), shift=1.0, n_rows=200)
    weight = np.random.default_rng(1).integers(1, 4, size=200)
    params = {"window": 10_000}
    weighted = MixtureOfExperts(params, TWO, 0).partial_fit(X, y, sensitive, weight.astype(float))
    twice = np.repeat(np.arange(200), weight)
    repeated = MixtureOfExperts(params, TWO, 0).partial_fit(X[twice], y[twice], sensitive[twice])
    found, expected = weighted.predict_proba(X), repeated.predict_proba(X)
    np.testing.assert_allclose(found, expected, atol=1e-3)


def test_a_clone_has_learned_nothing():
    X, y, sensitive = shifted_window(np.random.default_rng(0), shift=0.0)
    again = clone(MixtureOfExperts({"lam": 3.0}, TWO, 0).partial_fit(X, y, sensitive))
    assert again.params == {"lam": 3.0}
    with pytest.raises(NotFittedError, match="not fitted yet"):
        again.predict(X)


def monitor(**changed):
    return DriftMonitor(
        **{"loss_drift": 0.05, "gap_limit": 0.1, "patience": 2, "cooldown": 3, **changed}
    )


def settings(of, *windows):
    return [of.wants_expert(Measured(loss=loss, gap=gap, n_experts=1)) for loss, gap in windows]


def test_patience_is_the_number_of_bad_windows_in_a_row():
    found = settings(monitor(), (0.5, 0.2), (0.5, 0.0), (0.5, 0.2), (0.5, 0.2))
    assert found == [False, False, False, True]


def test_a_loss_well_above_the_best_one_is_a_bad_window():
    assert settings(monitor(), (0.5, 0.0), (0.4, 0.0), (0.46, None), (0.46, None))[-1]
    assert not settings(monitor(), (0.5, 0.0), (0.4, 0.0), (0.44, None), (0.44, None))[-1]


def test_after_a_new_expert_the_monitor_rests_and_starts_anew():
    watch = monitor(patience=1)
    assert settings(watch, (0.4, 0.2)) == [True]
    watch.grown()
    assert settings(watch, (0.9, 0.2), (0.9, 0.2), (0.9, 0.2)) == [False, False, True]
    watch.grown()
    assert not any(settings(watch, *[(0.9, 0.0)] * 6))


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"fairness": "parity"}, "fairness='parity'; allowed: demographic_parity"),
        ({"C": 0.0}, "C=0.0; it must be positive"),
        ({"patience": 0}, "patience=0; it must be at least 1"),
        ({"lam": -1.0}, r"lam=-1\.0; it must be at least 0"),
        ({"lamda": 1.0}, "params: lamda not known; allowed: C, cooldown"),
    ],
)
def test_a_wrong_parameter_is_refused(params, message):
    X, y, sensitive = shifted_window(np.random.default_rng(0), shift=0.0)
    with pytest.raises(ParameterError, match=message):
        MixtureOfExperts(params, TWO, 0).partial_fit(X, y, sensitive)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"X": np.zeros((5, 2))}, r"X has shape \(5, 2\); for 4 labels it must be \(4, 2\)"),
        ({"X": np.zeros((4, 3))}, r"X has shape \(4, 3\)"),
        ({"y": np.array([0, 1, 2, 3])}, r"y has the values \[2, 3\]"),
        ({"sensitive": ["a"]}, r"sensitive has shape \(1,\); it must be \(4,\)"),
        ({"sample_weight": np.ones(3)}, r"sample_weight has shape \(3,\)"),
        ({"sample_weight": np.array([1, -1, 1, np.nan])}, "2 of 4 weights are negative or not"),
    ],
)
def test_a_window_that_cannot_be_used_is_refused(changed, message):
    window = {
        "X": np.zeros((4, 2)),
        "y": np.array([0, 1, 0, 1]),
        "sensitive": list("abab"),
        "sample_weight": np.ones(4),
    }
    with pytest.raises(InputError, match=message):
        MixtureOfExperts({}, TWO, 0).partial_fit(**{**window, **changed})


def test_what_is_handed_over_stays_as_it_is():
    X, y, sensitive = shifted_window(np.random.default_rng(0), shift=0.0)
    weight = np.ones(500)
    before = [array.copy() for array in (X, y, sensitive, weight)]
    MixtureOfExperts({}, TWO, 0).partial_fit(X, y, sensitive, weight)
    for array, copied in zip((X, y, sensitive, weight), before, strict=True):
        assert np.array_equal(array, copied)
