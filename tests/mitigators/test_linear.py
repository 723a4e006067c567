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
    system,
    target,
    worth,
)

from fairautoml.metrics import GroupCounts
from fairautoml.metrics.rates import RATES
from fairautoml.mitigators._linear_program import Program
from fairautoml.mitigators._thresholds import RateIntervals, build_cuts, limits_by_rate


def program_of(rows, targets):
    cuts = build_cuts(rows, rows.cells, rows.n_cells)
    return cuts, Program(cuts, targets, [1.0] * len(targets), (1.0, 1.0))


def mixed_counts(cuts, mixture):
    accepted = np.array(
        [
            sum(share * cut.accepted[at] for at, share in shares)
            for cut, shares in zip(cuts, mixture, strict=True)
        ]
    )
    totals = np.array([cut.totals for cut in cuts])
    return GroupCounts(np.stack([totals - accepted, accepted], axis=2))


def upper_hull(x, y):
    """Vertices of the least concave function above the points; x rises."""
    kept = []
    for i in range(len(x)):
        while len(kept) >= 2:
            a, b = kept[-2:]
            if (y[b] - y[a]) * (x[i] - x[a]) > (y[i] - y[a]) * (x[b] - x[a]):
                break
            kept.pop()
        kept.append(i)
    return x[kept], y[kept]


def closed_form(cuts, rate, tolerance):
    """``max over u of sum_a V_a(clip(r*_a, u, u + tolerance))`` with concave hulls V_a."""
    hulls = []
    for cut in cuts:
        gains = cut.accepted @ np.array([-1.0, 1.0])
        rates = cut.rate(RATES[rate])
        # Of equal rates only the best gain can be on the hull.
        x = np.unique(rates)
        y = np.array([gains[rates == r].max() for r in x])
        hulls.append(upper_hull(x, y))
    corners = np.concatenate([x for x, _ in hulls])
    corners = np.clip(np.concatenate([corners, corners - tolerance]), 0, 1)
    total = np.zeros(len(corners))
    for x, y in hulls:
        at = np.clip(x[y.argmax()], corners, np.minimum(corners + tolerance, 1))
        total += np.interp(at, x, y)
    return total.max()


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("n_groups", [2, 4])
@pytest.mark.parametrize(("metric", "rate"), [(DEMOGRAPHIC, "selection"), (OPPORTUNITY, "tpr")])
def test_the_linear_program_equals_the_closed_form_for_one_rate(metric, rate, n_groups, seed):
    rows = random_rows(seed, n_groups, 300)
    cuts, program = program_of(rows, goal(metric, n_groups).targets)
    for tolerance in (0.0, 0.03, 0.2, 1.0):
        found = worth(mixed_counts(cuts, program.mixture(tolerance)))
        assert found / 300 == pytest.approx(closed_form(cuts, rate, tolerance) / 300, abs=1e-9)


@pytest.mark.parametrize("metric", SERVED)
def test_mixtures_keep_the_tolerance_and_are_no_worse_than_any_single_threshold(metric):
    rows = random_rows(1, 3, 36, decimals=1)
    wanted = goal(metric, 3).targets
    cuts, program = program_of(rows, wanted)
    for tolerance in (0.05, 0.3):
        counts = mixed_counts(cuts, program.mixture(tolerance))
        assert gap_of(counts, wanted[0]) <= tolerance + 1e-9
        assert worth(counts) >= brute_force(cuts, wanted, tolerance) - 1e-9


def test_the_shares_of_every_cell_sum_to_one():
    rows = random_rows(2, 3, 300)
    _, program = program_of(rows, goal(ODDS, 3).targets)
    for shares in program.mixture(0.02):
        assert sum(share for _, share in shares) == pytest.approx(1.0, abs=1e-12)


@pytest.mark.parametrize("factor", [1e-12, 1e9])
def test_the_unit_of_the_weights_does_not_matter_to_the_linear_program(factor):
    rows = random_rows(2, 3, 300)
    other = rows_of(rows.scores, rows.y, rows.cells, np.full(300, factor))
    values = []
    for one in (rows, other):
        cuts, program = program_of(one, goal(ODDS, 3).targets)
        values.append(worth(mixed_counts(cuts, program.mixture(0.05))) / one.weight.sum())
    assert values[1] == pytest.approx(values[0], abs=1e-9)


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("metric", ["accuracy_parity_difference", "error_rate_ratio"])
def test_rounding_keeps_the_tolerance_and_comes_near_the_best_single_thresholds(metric, seed):
    rows = random_rows(seed, 3, 150, decimals=1)
    wanted = goal(metric, 3).targets
    cuts, program = program_of(rows, wanted)
    tolerance = 0.15
    counts = chosen_counts(cuts, program.rounded(tolerance))
    assert gap_of(counts, wanted[0]) <= tolerance + 1e-9
    assert worth(counts) >= brute_force(cuts, wanted, tolerance) - 0.03 * 150


def test_no_deterministic_rule_is_better_than_the_randomised_optimum():
    rows = random_rows(0, 4, 4_000)
    wanted = goal(ODDS, 4).targets
    cuts, program = program_of(rows, wanted)
    windows = RateIntervals(cuts, limits_by_rate(wanted, (1.0,)), (1.0, 1.0))
    for tolerance in (0.02, 0.05, 0.1):
        bound = worth(mixed_counts(cuts, program.mixture(tolerance)))
        assert windows.value(windows.solve(tolerance)) <= bound + 1e-6
        assert program.value(program.rounded(tolerance)) <= bound + 1e-6


def test_two_systems_at_once_are_both_within_the_tolerance():
    rows = random_rows(4, 4, 2_000)
    targets = (
        target(ODDS, system([0, 0, 1, 1], "sex")),
        target(ODDS, system([0, 1, 0, 1], "age")),
    )
    cuts, program = program_of(rows, targets)
    for tolerance in (0.0, 0.02, 0.1):
        counts = chosen_counts(cuts, program.rounded(tolerance))
        assert max(gap_of(counts, one) for one in targets) <= tolerance + 1e-8


@pytest.mark.parametrize("metric", ["demographic_parity_ratio", "equalized_odds_ratio"])
def test_where_accepting_no_row_is_best_a_ratio_still_has_a_value(metric):
    # Every score is far below one half, and the ratio of 0 to 0 has no value.
    rows = random_rows(3, 2, 170)
    rare = rows_of(0.3 * rows.scores, np.arange(170) % 17 == 0, rows.cells)
    wanted = goal(metric, 2).targets
    cuts, program = program_of(rare, wanted)
    for tolerance in (0.0, 0.05, 0.2):
        counts = mixed_counts(cuts, program.mixture(tolerance))
        assert gap_of(counts, wanted[0]) <= tolerance + 1e-5
        assert worth(counts) >= brute_force(cuts, wanted, tolerance) - 1e-6


def test_an_impossible_constraint_has_no_solution():
    # All scores are equal, so a group is accepted or refused as a whole: its error is 2/3 or 1/3
    # in the first group, 0 or 1 in the second, and no two of these are alike.
    rows = rows_of([0.5] * 5, [0, 1, 1, 0, 0], [0, 0, 0, 1, 1])
    cuts, program = program_of(rows, goal("error_rate_ratio", 2).targets)
    assert brute_force(cuts, goal("error_rate_ratio", 2).targets, 0.1) == -np.inf
    assert program.rounded(0.1) is None


def test_a_rate_that_fewer_than_two_groups_have_constrains_nothing():
    rows = rows_of([0.9, 0.2, 0.8, 0.3], [1, 0, 0, 0], [0, 0, 1, 1])
    cuts, program = program_of(rows, goal(OPPORTUNITY, 2).targets)
    assert program.bands == []
    assert worth(chosen_counts(cuts, program.rounded(0.0))) == 1.0
    assert worth(mixed_counts(cuts, program.mixture(0.0))) == 1.0
