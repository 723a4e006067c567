import numpy as np
import pytest
from mitigator_cases import (
    DEMOGRAPHIC,
    ODDS,
    OPPORTUNITY,
    SERVED,
    brute_force,
    chosen_counts,
    gap_of,
    goal,
    random_rows,
    rows_of,
    worth,
)

from fairautoml.mitigators._thresholds import (
    RateIntervals,
    build_cuts,
    limits_by_rate,
    solve_pairs,
)

TOLERANCES = (0.0, 0.05, 0.15, 0.3, 1.0)
ONE_RATE = (
    DEMOGRAPHIC,
    "demographic_parity_ratio",
    OPPORTUNITY,
    "false_positive_rate_difference",
)


def small(seed, n_groups, metric):
    """Return six scores or fewer per group, the limits and the constraint."""
    rows = random_rows(seed, n_groups, 12 * n_groups, decimals=1)
    cuts = build_cuts(rows, rows.cells, n_groups)
    wanted = goal(metric, n_groups)
    return cuts, limits_by_rate(wanted.targets, (1.0,)), wanted.targets


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("metric", SERVED)
def test_two_groups_get_the_optimum_over_all_pairs(metric, seed):
    cuts, limits, targets = small(seed, 2, metric)
    found = solve_pairs(cuts, limits, (1.0, 1.0), TOLERANCES)
    for tolerance, choice in zip(TOLERANCES, found, strict=True):
        expected = brute_force(cuts, targets, tolerance)
        if choice is None:
            assert expected == -np.inf
        else:
            counts = chosen_counts(cuts, choice)
            assert worth(counts) == expected
            assert gap_of(counts, targets[0]) <= tolerance + 1e-9


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("metric", ONE_RATE)
def test_three_groups_with_one_rate_get_the_optimum_over_all_combinations(metric, seed):
    cuts, limits, targets = small(seed, 3, metric)
    for tolerance in TOLERANCES:
        choice = RateIntervals(cuts, limits, (1.0, 1.0)).solve(tolerance)
        counts = chosen_counts(cuts, choice)
        assert worth(counts) == brute_force(cuts, targets, tolerance)
        assert gap_of(counts, targets[0]) <= tolerance + 1e-9


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("metric", [ODDS, "equalized_odds_ratio"])
def test_three_groups_with_two_rates_get_the_optimum_over_all_combinations(metric, seed):
    cuts, limits, targets = small(seed, 3, metric)
    for tolerance in TOLERANCES:
        choice = RateIntervals(cuts, limits, (1.0, 1.0)).solve(tolerance)
        counts = chosen_counts(cuts, choice)
        assert worth(counts) == brute_force(cuts, targets, tolerance)
        assert gap_of(counts, targets[0]) <= tolerance + 1e-9


def test_windows_and_pairs_agree_on_two_groups_with_hundreds_of_cuts():
    rows = random_rows(7, 2, 3_000)
    cuts = build_cuts(rows, rows.cells, 2)
    limits = limits_by_rate(goal(DEMOGRAPHIC, 2).targets, (1.0,))
    pairs = solve_pairs(cuts, limits, (1.0, 1.0), TOLERANCES)
    windows = [RateIntervals(cuts, limits, (1.0, 1.0)).solve(t) for t in TOLERANCES]
    values = [
        [worth(chosen_counts(cuts, choice)) for choice in found] for found in (pairs, windows)
    ]
    assert values[0] == values[1]


@pytest.mark.parametrize("seed", range(2))
def test_windows_come_near_the_optimum_of_two_rates_with_hundreds_of_cuts(seed):
    rows = random_rows(seed, 2, 3_000)
    cuts = build_cuts(rows, rows.cells, 2)
    wanted = goal(ODDS, 2).targets
    limits = limits_by_rate(wanted, (1.0,))
    for tolerance, best in zip(
        TOLERANCES, solve_pairs(cuts, limits, (1.0, 1.0), TOLERANCES), strict=True
    ):
        counts = chosen_counts(cuts, RateIntervals(cuts, limits, (1.0, 1.0)).solve(tolerance))
        assert gap_of(counts, wanted[0]) <= tolerance + 1e-9
        assert worth(counts) >= worth(chosen_counts(cuts, best)) - 1e-3 * len(rows.y)


def test_windows_come_near_the_optimum_of_one_rate_with_very_many_groups(monkeypatch):
    rows = random_rows(3, 6, 6_000)
    cuts = build_cuts(rows, rows.cells, 6)
    limits = limits_by_rate(goal(DEMOGRAPHIC, 6).targets, (1.0,))

    def values():
        windows = RateIntervals(cuts, limits, (1.0, 1.0))
        return np.array([windows.value(windows.solve(t)) for t in TOLERANCES])

    monkeypatch.setattr("fairautoml.mitigators._thresholds.CORNERS", 10**6)
    exact = values()
    monkeypatch.setattr("fairautoml.mitigators._thresholds.CORNERS", 200)
    assert (values() >= exact - 1e-3 * len(rows.y)).all()


def test_a_finer_grid_finds_hardly_more_for_two_rates_and_several_groups(monkeypatch):
    rows = random_rows(0, 3, 4_000)
    cuts = build_cuts(rows, rows.cells, 3)
    limits = limits_by_rate(goal(ODDS, 3).targets, (1.0,))
    found = [RateIntervals(cuts, limits, (1.0, 1.0)).solve(t) for t in TOLERANCES]
    monkeypatch.setattr("fairautoml.mitigators._thresholds.CORNERS", 100_000)
    finer = RateIntervals(cuts, limits, (1.0, 1.0))
    for tolerance, choice in zip(TOLERANCES, found, strict=True):
        assert finer.value(choice) >= finer.value(finer.solve(tolerance)) - 2e-3 * len(rows.y)


@pytest.mark.parametrize("n_groups", [2, 3])
def test_four_rates_at_once_are_solved(n_groups):
    cuts, _, targets = small(0, n_groups, ODDS)
    targets = (*targets, *goal("equalized_odds_ratio", n_groups).targets)
    limits = limits_by_rate(targets, (1.0, 1.0))
    assert all(rate.is_acceptance for rate, _, _ in limits)
    assert len(limits) == 4
    choice = (
        solve_pairs(cuts, limits, (1.0, 1.0), [0.3])[0]
        if n_groups == 2
        else RateIntervals(cuts, limits, (1.0, 1.0)).solve(0.3)
    )
    counts = chosen_counts(cuts, choice)
    assert max(gap_of(counts, one) for one in targets) <= 0.3 + 1e-9


@pytest.mark.parametrize("n_groups", [2, 3])
def test_a_group_without_positives_is_left_out_of_the_true_positive_rate(n_groups):
    cells = np.repeat(np.arange(n_groups), 4)
    scores = np.tile([0.9, 0.7, 0.4, 0.1], n_groups)
    y = np.where(cells == n_groups - 1, 0, np.tile([1, 1, 0, 0], n_groups))
    cuts = build_cuts(rows_of(scores, y, cells), cells, n_groups)
    limits = limits_by_rate(goal(OPPORTUNITY, n_groups).targets, (1.0,))
    if n_groups == 2:
        choice = solve_pairs(cuts, limits, (1.0, 1.0), [0.0])[0]
    else:
        choice = RateIntervals(cuts, limits, (1.0, 1.0)).solve(0.0)
    # The others accept their two positives, as without the constraint; the last accepts nobody.
    assert list(choice) == [2] * (n_groups - 1) + [0]
