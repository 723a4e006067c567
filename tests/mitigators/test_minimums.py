"""Minimums of rates under the threshold programs, compared with brute force on small tables."""

import numpy as np
import pytest
from mitigator_cases import (
    DEMOGRAPHIC,
    MINIMUMS,
    all_choices,
    counts_of,
    gap_of,
    overlapping,
    random_rows,
    rows_of,
    system,
    target,
    worth,
)

from fairautoml.mitigators import MITIGATORS, Goal
from fairautoml.mitigators._base import offsets, scales
from fairautoml.mitigators._group_program import build_problem
from fairautoml.mitigators._thresholds import build_cuts
from fairautoml.mitigators.postprocessing import common_threshold
from fairautoml.mitigators.postprocessing.randomized_thresholds import fit_rules as randomized

SERVING = ("common_threshold", "group_thresholds", "multicalibration", "randomized_thresholds")
BOUNDS = (0.3, 0.6, 0.9)


def minimum(metric, groups, bound):
    return target(metric, groups, 1 - bound)


def small(seed, n_groups):
    """Return rows with seven scores or fewer per group, and their thresholds."""
    rows = random_rows(seed, n_groups, 14 * n_groups, decimals=1)
    return rows, build_cuts(rows, rows.cells, n_groups)


def best(cuts, targets):
    """Largest gain over all combinations of cuts that meet every limit, -inf without any."""
    return max(
        (
            worth(counts)
            for _, counts in all_choices(cuts)
            if all(gap_of(counts, one) <= one.limit + 1e-12 for one in targets)
        ),
        default=-np.inf,
    )


def chosen(rows, targets, cuts):
    """Return the counts of the thresholds for the limits, None where none are found."""
    problem = build_problem(rows, Goal(targets=targets))
    (picks,) = problem.deterministic(cuts, [targets[0].limit])
    return None if picks is None else counts_of(problem.rule(cuts, picks), rows)


@pytest.mark.parametrize("n_groups", [1, 2, 3])
@pytest.mark.parametrize("metric", MINIMUMS)
def test_group_thresholds_are_the_best_of_all_that_reach_the_minimum(metric, n_groups):
    """Each group gets its best threshold among those whose rate reaches the bound."""
    for seed, bound in enumerate(BOUNDS):
        rows, cuts = small(seed, n_groups)
        targets = (minimum(metric, system(np.arange(n_groups)), bound),)
        expected, found = best(cuts, targets), chosen(rows, targets, cuts)
        assert (found is None) == (expected == -np.inf)
        if found is not None:
            assert worth(found) == expected
            assert gap_of(found, targets[0]) <= targets[0].limit + 1e-12


@pytest.mark.parametrize("n_groups", [2, 3])
@pytest.mark.parametrize("metric", ["minimum_recall", "minimum_precision"])
def test_a_minimum_and_a_gap_together_get_the_optimum(metric, n_groups):
    """A bound on a difference and a minimum are met together, and nothing better meets them."""
    for seed in range(3):
        rows, cuts = small(seed, n_groups)
        groups = system(np.arange(n_groups))
        targets = (target(DEMOGRAPHIC, groups, 0.25), minimum(metric, groups, 0.5))
        expected, found = best(cuts, targets), chosen(rows, targets, cuts)
        assert (found is None) == (expected == -np.inf)
        if found is not None:
            assert worth(found) == expected


@pytest.mark.parametrize("metric", MINIMUMS)
def test_mixtures_reach_the_minimum_and_are_at_least_as_good_as_single_thresholds(metric):
    """The linear program over mixtures contains every choice of thresholds."""
    rows, cuts = small(1, 3)
    for bound in BOUNDS:
        targets = (minimum(metric, system(np.arange(3)), bound),)
        goal = Goal(targets=targets, randomized=True)
        ((_, rule),) = randomized(rows, goal, [targets[0].limit], shrink=False)
        expected = best(cuts, targets)
        if rule is None:
            assert expected == -np.inf
            continue
        counts = counts_of(rule, rows)
        assert gap_of(counts, targets[0]) <= targets[0].limit + 1e-6
        assert worth(counts) >= expected - 1e-6


@pytest.mark.parametrize("metric", MINIMUMS)
def test_a_common_threshold_is_the_best_that_reaches_the_minimum(metric):
    """One threshold for all is chosen among all cuts of the pooled scores."""
    for seed, bound in enumerate(BOUNDS):
        rows, _ = small(seed, 2)
        (cuts,) = build_cuts(rows, np.zeros_like(rows.cells), 1)
        one = minimum(metric, system([0, 1]), bound)
        ((_, rule),) = common_threshold.fit_rules(rows, Goal(targets=(one,)), [one.limit])
        worths = []
        for cut in cuts.thresholds:
            counts = counts_of(common_threshold.CommonRule(threshold=float(cut)), rows)
            if gap_of(counts, one) <= one.limit + 1e-12:
                worths.append(worth(counts))
        assert (rule is None) == (not worths)
        if rule is not None:
            assert worth(counts_of(rule, rows)) == max(worths)


@pytest.mark.parametrize("metric", ["minimum_recall", "minimum_precision", "minimum_accuracy"])
def test_overlapping_groups_reach_the_minimum(metric):
    """A row may belong to two groups: every group has the rate, and mixtures are no worse."""
    rows, cuts = small(2, 3)
    groups = overlapping([[1, 1, 0], [0, 1, 1]])
    one = minimum(metric, groups, 0.6)
    expected, found = best(cuts, (one,)), chosen(rows, (one,), cuts)
    assert expected > -np.inf
    assert gap_of(found, one) <= one.limit + 1e-9
    goal = Goal(targets=(one,), randomized=True)
    ((_, rule),) = randomized(rows, goal, [one.limit], shrink=False)
    mixed = counts_of(rule, rows)
    assert gap_of(mixed, one) <= one.limit + 1e-6
    assert worth(mixed) >= expected - 1e-6


def test_minimums_on_two_groupings_are_both_reached():
    """Groups of several columns are served by thresholds of their intersections."""
    rows, cuts = small(0, 4)
    by_row, by_column = system([0, 0, 1, 1], "row"), system([0, 1, 0, 1], "column")
    targets = (
        minimum("minimum_recall", by_row, 0.7),
        minimum("minimum_precision", by_column, 0.5),
    )
    found = chosen(rows, targets, cuts)
    assert all(gap_of(found, one) <= one.limit + 1e-9 for one in targets)
    assert worth(found) >= best(cuts, targets) - 0.1 * len(rows.y)


@pytest.mark.parametrize("name", ["group_thresholds", "common_threshold"])
def test_a_group_without_positives_does_not_stop_the_others(name):
    """Recall does not exist in such a group; it is left out of the fit, as in comparisons."""
    rng = np.random.default_rng(0)
    cells = np.repeat([0, 1, 2], 60)
    scores = rng.uniform(size=180).astype(np.float32)
    y = (rng.uniform(size=180) < scores).astype(int)
    y[cells == 2] = 0
    rows = rows_of(scores, y, cells, n_cells=4)  # the last group is empty
    one = minimum("minimum_recall", system(np.arange(4)), 0.8)
    ((_, rule),) = MITIGATORS.get(name).fit_rules(rows, Goal(targets=(one,)), [one.limit])
    recalls = one.metric.rates[0].values(counts_of(rule, rows).table)
    assert (recalls[:2] > 0.7).all()
    assert np.isnan(recalls[2:]).all()


def test_a_smaller_tolerance_demands_a_larger_rate_by_the_same_amount():
    """Slack is measured in rates: 0.02 less of a difference is 0.02 more of a minimum."""
    groups = system([0, 1])
    targets = (target(DEMOGRAPHIC, groups, 0.05), minimum("minimum_recall", groups, 0.6))
    (floor,) = build_problem(random_rows(0, 2, 40), Goal(targets=targets)).floors
    assert [floor.least(t) for t in (0.05, 0.03, 0.1)] == pytest.approx([0.6, 0.62, 0.55])
    assert floor.least(-1.0) == 1.0
    assert (scales(targets), offsets(targets[1:])) == ((1.0, 1.0), (0.0,))


def test_mitigators_say_by_name_whether_they_serve_a_minimum():
    """Only rules that bound each group, and those that serve every metric, are offered."""
    goal = Goal(targets=(minimum("minimum_precision", system([0, 1]), 0.6),), randomized=True)
    post = [n for n in MITIGATORS.available() if MITIGATORS.get(n).stage == "post"]
    serving = {name for name in post if MITIGATORS.get(name).can_serve(goal)}
    assert serving == {"none", *SERVING}
