import numpy as np
import pytest
from mitigator_cases import DEMOGRAPHIC, OPPORTUNITY, counts_of, gap_of, goal, random_rows, rows_of

from fairautoml.mitigators._group_program import (
    CommonRule,
    best_within,
    build_problem,
    gains,
    gaps,
    rank,
)


def ranked_of(rows):
    return rank(rows, rows.cells, rows.n_cells)


def tried(rows, metric, thresholds):
    ranked = ranked_of(rows)
    accepted = np.stack([group.accepted_from(np.asarray(thresholds)) for group in ranked])
    totals = np.array([group.totals for group in ranked])
    problem = build_problem(rows, goal(metric, rows.n_cells))
    return gaps(accepted, totals, problem), gains(accepted, problem.gain)


@pytest.mark.parametrize("metric", [DEMOGRAPHIC, OPPORTUNITY, "equalized_odds_ratio"])
def test_gaps_are_those_of_the_metric(metric):
    rows = random_rows(0, 3, 400, decimals=1)
    thresholds = [0.2, 0.5, 0.7]
    found, _ = tried(rows, metric, thresholds)
    wanted = goal(metric, 3).targets[0]
    expected = [gap_of(counts_of(CommonRule(threshold=t), rows), wanted) for t in thresholds]
    assert found == pytest.approx(expected)


def test_a_ratio_where_no_row_is_accepted_is_no_solution():
    found, _ = tried(random_rows(0, 2, 50), "demographic_parity_ratio", [np.inf])
    assert found.tolist() == [np.inf]


def test_a_rate_that_one_group_has_constrains_nothing():
    rows = rows_of([0.2, 0.9, 0.3, 0.4], [0, 1, 0, 0], [0, 0, 1, 1])
    found, value = tried(rows, OPPORTUNITY, [0.5])
    assert found.tolist() == [0.0]
    assert value.tolist() == [1.0]


def test_rows_without_weight_or_group_are_left_out():
    rows = rows_of([0.2, 0.9, 0.3, 0.4], [0, 1, 0, 0], [0, 0, 1, -1], [1, 0, 1, 1])
    assert [group.scores.tolist() for group in ranked_of(rows)] == [[0.2], [0.3]]


def test_a_cut_between_neighbouring_floats_refuses_the_lower_one():
    low = np.float64(0.5)
    high = np.nextafter(low, 1.0)
    (group,) = ranked_of(rows_of([low, high], [0, 1], [0, 0]))
    assert [group.cut(refused) for refused in (0, 1, 2)] == [-np.inf, high, np.inf]


def test_the_first_of_equally_good_choices_within_the_tolerance_is_taken():
    gap, value = np.array([0.3, 0.1, 0.1, 0.0]), np.array([9.0, 5.0, 5.0, 1.0])
    assert best_within(gap, value, [0.1, 1.0, 0.0, -1.0]) == [1, 0, 3, None]
