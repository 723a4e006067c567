"""Proxies, gradients and steps of FairGBM against known answers and central differences."""

from dataclasses import replace

import numpy as np
import pytest
from fairgbm_cases import FNR, FPR, case, game_of
from mitigator_cases import DEMOGRAPHIC, ODDS, OPPORTUNITY, system, target
from reduction_cases import rows_of

from fairautoml.exceptions import DegenerateGroupError
from fairautoml.metrics import METRICS
from fairautoml.mitigators.inprocessing.fairgbm import (
    MITIGATOR,
    PROXIES,
    DivergedError,
    NearTheMean,
    group_rates,
)

SERVES = [name for name in MITIGATOR.serves if METRICS.get(name).rates]

AT = np.array([-2.0, -1.0, 0.0, 1.0, 2.0])
# Known answers: proxy_margin_1, proxy_margin_05.
KNOWN_PROXIES = {
    ("cross_entropy", 1.0): (
        [0.2090804542, 0.4898801256, 1.0, 1.7353256641, 2.6171389257],
        [0.1886700419, 0.3873001632, 0.6321205588, 0.8236572376, 0.9269885445],
    ),
    ("hinge", 1.0): ([0, 0, 1, 2, 3], [0, 1, 1, 1, 1]),
    ("quadratic", 1.0): ([0, 0, 0.5, 2, 4.5], [0, 0, 1, 2, 3]),
    ("cross_entropy", 0.5): (
        [0.0841525984, 0.2140230606, 0.5, 1.0164644263, 1.7567258739],
        [0.0807090369, 0.1926702327, 0.3934693403, 0.6381278934, 0.8273909164],
    ),
    ("hinge", 0.5): ([0, 0, 0.5, 1.5, 2.5], [0, 0, 1, 1, 1]),
    ("quadratic", 0.5): ([0, 0, 0.125, 1.125, 3.125], [0, 0, 0.5, 1.5, 2.5]),
}


@pytest.mark.parametrize(("name", "margin"), KNOWN_PROXIES)
def test_proxies_have_the_known_heights_and_slopes(name, margin):
    heights, slopes = KNOWN_PROXIES[name, margin]
    proxy = PROXIES[name](margin)
    np.testing.assert_allclose(proxy.value(AT), heights, atol=1e-8)
    np.testing.assert_allclose(proxy.slope(AT), slopes, atol=1e-8)


@pytest.mark.parametrize(("name", "margin"), KNOWN_PROXIES)
def test_refusals_have_the_mirrored_heights_and_slopes(name, margin):
    heights, slopes = KNOWN_PROXIES[name, margin]
    # Five groups of one row of label 1: the rate of each is the height at its own margin.
    groups = system(range(5))
    rows = rows_of(np.zeros((5, 1)), np.ones(5), np.arange(5), (target(FNR, groups, 0.0),))
    (rate,) = group_rates(rows, rows.targets)
    proxy = PROXIES[name](margin)
    np.testing.assert_allclose(rate.proxies(AT, proxy), heights[::-1], atol=1e-8)
    found = rate.sign * proxy.slope(rate.lean(AT))
    np.testing.assert_allclose(found, -np.array(slopes)[::-1], atol=1e-8)


@pytest.mark.parametrize("name", sorted(PROXIES))
def test_slope_and_curve_of_a_proxy_are_its_derivatives(name):
    proxy = PROXIES[name](1.0)
    lean = np.linspace(-4.03, 4.01, 41)
    step = 1e-5
    slope = (proxy.value(lean + step) - proxy.value(lean - step)) / (2 * step)
    curve = (proxy.slope(lean + step) - proxy.slope(lean - step)) / (2 * step)
    np.testing.assert_allclose(proxy.slope(lean), slope, atol=1e-8)
    np.testing.assert_allclose(proxy.curve(lean), curve, atol=1e-8)


@pytest.mark.parametrize("name", sorted(PROXIES))
def test_proxies_of_huge_margins_are_finite(name):
    proxy = PROXIES[name](1.0)
    for found in (proxy.value, proxy.slope, proxy.curve):
        assert np.isfinite(found(np.array([-1e4, 1e4]))).all()


# ------------------------------------------------------------------------------- known answers

# hand_two_groups
HAND_MARGIN = np.array([1.0, 1.5, 0.5, -2.0, 2.0, -0.5])


def hand(metric=FPR, limit=0.01):
    y, cells = [0, 0, 0, 0, 1, 1], [0, 0, 1, 1, 0, 1]
    return rows_of(np.zeros((6, 1)), y, cells, (target(metric, system([0, 1]), limit),))


def hand_game(*, curved):
    game = game_of(hand(), curved=curved)
    game.constraints[0].prices = np.array([0.3, 0.7])
    return game


def test_rates_of_two_groups_are_the_known_ones():
    constraint = hand_game(curved=True).constraints[0]
    found = constraint.rate.proxies(HAND_MARGIN, constraint.proxy)
    np.testing.assert_allclose(found, [1.9493706008, 0.7763599199], atol=1e-8)
    np.testing.assert_allclose(constraint.rate.rates(HAND_MARGIN), [1.0, 0.5])


def test_the_lagrangian_of_two_groups_is_the_known_one():
    assert lagrangian(hand_game(curved=True), HAND_MARGIN) == pytest.approx(10.1433298157)


@pytest.mark.parametrize(
    ("curved", "expected"),
    [
        (
            False,
            [0.1966119332, 0.1491464521, 0.2350037122, 0.1049935854, 0.1049935854, 0.2350037122],
        ),
        (
            True,
            [0.5016285176, 0.3627638176, 0.6399436309, 0.4264482655, 0.1049935854, 0.2350037122],
        ),
    ],
)
def test_derivatives_of_two_groups_are_the_known_ones(curved, expected):
    gradient, hessian = hand_game(curved=curved).derivatives(HAND_MARGIN)
    known = [2.4607387775, 2.6762174953, -0.929662338, -0.277004166, -0.119202922, -0.6224593312]
    np.testing.assert_allclose(gradient, known, atol=1e-8)
    np.testing.assert_allclose(hessian, expected, atol=1e-8)


def test_one_step_of_the_multipliers_is_the_known_one():  # ascent_step
    game = game_of(hand(), eta=0.1)
    game.ascend(HAND_MARGIN)
    np.testing.assert_allclose(game.constraints[0].prices, [0.0, 0.049], atol=1e-12)


# three_groups
THREE_MARGIN = np.array([1.0, 0.2, -0.4, 0.9, -1.1, 0.3, 2.0, -0.5, 0.8, -0.2, 1.4, -1.0])
THREE_GRADIENT = [3.2020302913, 2.5816904898, 0.0801488244, 0.2257536653, -0.6235098517]
THREE_GRADIENT += [-1.1025434967, 0.2204031534, 0.707930671, -0.1793186945, -0.3466483481]
THREE_GRADIENT += [-0.8228101736, -2.4607387775]
THREE_AS_PUBLISHED = [5.673002004, 4.6135469823, 0.0801488244, 0.2257536653, -0.6235098517]
THREE_AS_PUBLISHED += [-1.1025434967, 0.2204031534, 0.707930671, -0.1793186945, -0.3466483481]
THREE_AS_PUBLISHED += [-1.4478042357, -4.1904189764]
THREE_HESSIAN = [0.632349911, 0.9032261298, 0.3895142551, 0.2983378104, 0.7428841594]
THREE_HESSIAN += [0.7496601212, 0.3805261684, 0.5820950711, 0.2876689411, 0.3130875284]
THREE_HESSIAN += [0.5976705893, 0.5016285176]


def three_groups(*, curved):
    cells = np.tile(np.repeat([0, 1, 2], 2), 2)
    goal = (target(ODDS, system(range(3))),)
    rows = rows_of(np.zeros((12, 1)), np.repeat([0, 1], 6), cells, goal)
    game = game_of(rows, curved=curved)
    prices = {"fpr": [0.2, 0.1, 0.4], "tpr": [0.3, 0.05, 0.15]}
    for constraint in game.constraints:
        constraint.prices = np.array(prices[constraint.rate.name.name])
    return game


def test_rates_of_three_groups_are_the_known_ones():
    rates = {c.rate.name.name: c for c in three_groups(curved=True).constraints}
    proxies = {name: c.rate.proxies(THREE_MARGIN, c.proxy) for name, c in rates.items()}
    known = {
        "fpr": [1.4331564519, 1.2100030172, 0.8260613636],
        "tpr": [0.7763599199, 0.8515688678, 1.0443004967],
    }
    for name, expected in known.items():
        np.testing.assert_allclose(proxies[name], expected, atol=1e-8)
    np.testing.assert_allclose(rates["fpr"].rate.rates(THREE_MARGIN), [1.0, 0.5, 0.5])
    np.testing.assert_allclose(rates["tpr"].rate.rates(THREE_MARGIN), [0.5, 0.5, 0.5])


def test_derivatives_of_three_groups_are_the_known_ones():
    gradient, hessian = three_groups(curved=True).derivatives(THREE_MARGIN)
    np.testing.assert_allclose(gradient, THREE_GRADIENT, atol=1e-8)
    np.testing.assert_allclose(hessian, THREE_HESSIAN, atol=1e-8)


def test_the_plain_gradient_takes_the_worst_group_once_per_other_group():
    gradient, _ = three_groups(curved=False).derivatives(THREE_MARGIN)
    np.testing.assert_allclose(gradient, THREE_AS_PUBLISHED, atol=1e-8)


# --------------------------------------------------------------------------- properties of a game


def lagrangian(game, margin):
    """Loss of all rows plus the priced proxy rates, as the docstrings write them."""
    losses = np.logaddexp(0, np.where(game.y == 1, -margin, margin))
    value = game.weight @ losses
    for one in game.constraints:
        if isinstance(one, NearTheMean):
            value += game.weight.sum() * near_the_mean(one, margin)
        else:
            proxies = one.rate.proxies(margin, one.proxy)
            value += game.weight.sum() * one.prices @ (proxies.max() - proxies)
    return value


def near_the_mean(one, margin):
    net = one.prices[0] - one.prices[1]
    price = net - one.rate.mass / one.rate.mass.sum() * net.sum()
    value = 0.0
    for group, cost in enumerate(price):
        members = one.rate.group == group
        lean = np.sign(cost) * one.rate.lean(margin)[members]
        share = one.rate.weight[members] / one.rate.mass[group]
        value += abs(cost) * share @ one.proxy.value(lean)
    return value


def priced(metric, n_cells, seed=0):
    rng = np.random.default_rng(seed)
    rows = case(metric, n_cells, n_rows=60, weight=rng.uniform(0.5, 2, size=60))
    game = game_of(rows)
    for one in game.constraints:
        one.prices = rng.exponential(size=one.prices.shape)
    return game, rng.normal(size=60)


@pytest.mark.parametrize("n_cells", [2, 4])
@pytest.mark.parametrize("metric", sorted(SERVES))
def test_the_gradient_is_the_derivative_of_the_lagrangian(metric, n_cells):
    game, margin = priced(metric, n_cells)
    step = 1e-6
    expected = [
        (lagrangian(game, margin + one) - lagrangian(game, margin - one)) / (2 * step)
        for one in step * np.eye(60)
    ]
    np.testing.assert_allclose(game.derivatives(margin)[0], expected, atol=1e-6)


def test_the_hessian_of_selection_rates_is_the_second_derivative():
    game, margin = priced(DEMOGRAPHIC, 3)
    step = 1e-6
    expected = [
        (game.derivatives(margin + one)[0] - game.derivatives(margin - one)[0])[row] / (2 * step)
        for row, one in enumerate(step * np.eye(60))
    ]
    np.testing.assert_allclose(game.derivatives(margin)[1], expected, atol=1e-6)


@pytest.mark.parametrize("metric", sorted(SERVES))
def test_a_weight_of_two_counts_like_two_rows(metric):
    rows = case(metric, 3, n_rows=60)
    times = np.random.default_rng(1).integers(1, 4, size=60)
    again = np.repeat(np.arange(60), times)
    repeated = rows_of(rows.X[again], rows.y[again], rows.cells[again], rows.targets)
    margin = np.random.default_rng(2).normal(size=60)
    games = [game_of(replace(rows, weight=times.astype(float))), game_of(repeated)]
    found = []
    for game, at in zip(games, (margin, margin[again]), strict=True):
        game.ascend(at)
        found.append(game.derivatives(at))
    for weighted, single in zip(*found, strict=True):
        summed = np.bincount(again, weights=single)
        np.testing.assert_allclose(weighted, summed, atol=1e-12)


def test_a_price_of_the_mean_falls_when_the_rate_has_passed_it():
    game = game_of(hand(DEMOGRAPHIC), eta=1.0)
    low = np.where(hand().cells == 1, -1.0, 1.0)
    game.ascend(low)
    one = game.constraints[0]
    assert one.prices[1, 1] > 0
    game.ascend(-low)
    assert one.prices[1, 1] == 0.0


def test_a_rate_requested_twice_takes_the_smaller_limit_once():
    groups = system([0, 1])
    rows = hand()
    targets = (target(ODDS, groups, 0.1), target(OPPORTUNITY, groups, 0.02))
    found = {rate.name.name: rate.tolerance for rate in group_rates(rows, targets)}
    assert found == {"fpr": 0.1, "tpr": 0.02}


def test_rows_of_no_group_count_in_the_loss_only():
    rows = case(FPR, 3, n_rows=60)
    outside = replace(rows, targets=(target(FPR, system([0, 1, -1])),))
    game, margin = game_of(outside), np.random.default_rng(0).normal(size=60)
    plain = game.derivatives(margin)[0]
    game.ascend(margin)
    changed = game.derivatives(margin)[0] != plain
    assert changed.any()
    assert not changed[rows.cells == 2].any()


def test_a_group_without_rows_of_a_rate_is_left_out_of_it():
    rows = case(ODDS, 3)
    y = np.where(rows.cells == 1, 0, rows.y).astype(np.int8)
    found = {
        rate.name.name: len(rate.mass) for rate in group_rates(replace(rows, y=y), rows.targets)
    }
    assert found == {"fpr": 3, "tpr": 2}


def test_a_group_without_weight_is_left_out():
    rows = case(FNR, 3)
    rows = replace(rows, weight=np.where(rows.cells == 1, 0.0, 1.0))
    (rate,) = group_rates(rows, rows.targets)
    assert len(rate.mass) == 2


def test_rows_of_a_single_group_are_refused():
    rows = replace(case(FNR), cells=np.zeros(1500, dtype=np.int32))
    with pytest.raises(DegenerateGroupError, match="fewer than two groups have rows for tpr on"):
        group_rates(rows, rows.targets)


@pytest.mark.parametrize("metric", ["demographic_parity_ratio", "accuracy_parity_difference"])
def test_a_metric_that_is_no_difference_of_its_rates_cannot_be_bounded(metric):
    assert metric not in MITIGATOR.serves


def test_gradients_that_overflow_are_reported():
    game = game_of(hand(limit=0.0), eta=1.7e308)
    with np.errstate(over="ignore", invalid="ignore"):
        for _ in range(3):
            game.ascend(HAND_MARGIN)
        with pytest.raises(DivergedError, match=r"eta=1\.7e\+308 is too large .*try a tenth"):
            game.derivatives(HAND_MARGIN)
