import itertools

import numpy as np
import pytest
from mitigator_cases import (
    DEMOGRAPHIC,
    ODDS,
    OPPORTUNITY,
    counts_of,
    gap_of,
    goal,
    random_rows,
    rows_of,
    system,
    target,
    worth,
)

from fairautoml.metrics.rates import RATES
from fairautoml.mitigators import Goal
from fairautoml.mitigators._group_program import CommonRule
from fairautoml.mitigators.postprocessing import reject_option
from fairautoml.mitigators.postprocessing.reject_option import MITIGATOR, fit_rules

TOLERANCES = (0.0, 0.02, 0.1, 0.3, 1.0)


def by_hand():
    """The threshold decides all rightly; the second group is the deprived one."""
    return rows_of(
        [0.9, 0.8, 0.7, 0.56, 0.2, 0.47, 0.38, 0.3, 0.6, 0.1],
        [1, 1, 1, 1, 0, 0, 0, 0, 1, 0],
        [0] * 5 + [1] * 5,
    )


def decisions(rule, rows):
    return rule.decide(rows.scores, rows.cells)


def test_the_narrowest_band_that_is_enough_is_found_by_hand():
    # Accepted by the threshold: four of the first group, one of the second. Each step outwards
    # costs one right decision: 0.03 away the deprived 0.47 is accepted, 0.06 away the favoured
    # 0.56 refused, 0.12 away the deprived 0.38 accepted.
    rows = by_hand()
    rules = [rule for _, rule in fit_rules(rows, goal(DEMOGRAPHIC, 2), (0.6, 0.4, 0.2, 0.0))]
    assert rules[0] == CommonRule(threshold=0.5)
    assert [worth(counts_of(rule, rows)) for rule in rules] == [5, 4, 3, 2]
    assert decisions(rules[2], rows).tolist() == [1, 1, 1, 0, 0, 1, 0, 0, 1, 0]
    assert (rules[2].accepted, rules[2].refused) == (("group 1",), ("group 0",))
    assert 0.5 - rules[2].low == pytest.approx(rules[2].high - 0.5)
    assert 0.06 < 0.5 - rules[2].low < 0.12


def test_the_band_says_who_is_accepted_in_it():
    ((_, rule),) = fit_rules(by_hand(), goal(DEMOGRAPHIC, 2), [0.2])
    assert rule.describe() == (
        f"scores from {rule.low:.4f} to {rule.high:.4f}: accept group 1, refuse group 0; "
        "else >= 0.5000"
    )


def test_outside_the_band_the_threshold_decides_and_inside_the_group():
    rows = random_rows(1, 2, 500)
    ((_, rule),) = fit_rules(rows, goal(DEMOGRAPHIC, 2), [0.02])
    wide = rows.scores.astype(np.float64)
    inside = (wide >= rule.low) & (wide < rule.high)
    accepted = decisions(rule, rows)
    group = {label: at for at, label in enumerate(("group 0", "group 1"))}
    assert inside.any()
    assert (accepted[~inside] == (wide[~inside] >= 0.5)).all()
    assert (accepted[inside & (rows.cells == group[rule.accepted[0]])] == 1).all()
    assert (accepted[inside & (rows.cells == group[rule.refused[0]])] == 0).all()


@pytest.mark.parametrize("metric", [DEMOGRAPHIC, OPPORTUNITY, ODDS, "demographic_parity_ratio"])
def test_no_band_of_any_width_is_better_within_the_tolerance(metric):
    rows = random_rows(2, 2, 80, decimals=2)
    wanted = goal(metric, 2)
    scores = rows.scores.astype(np.float64)
    plain = counts_of(CommonRule(threshold=0.5), rows)
    lowest = {int(np.argmin(plain.rates(rate))) for rate in wanted.targets[0].metric.rates}
    for tolerance, rule in fit_rules(rows, wanted, (0.05, 0.2, 0.5)):
        best = -np.inf
        halves = [0.0, *(np.unique(np.abs(scores - 0.5)) + 1e-6)]
        for half, deprived in itertools.product(halves, lowest):
            inside = np.abs(scores - 0.5) < half
            accepted = np.where(inside, rows.cells == deprived, scores >= 0.5)
            counts = counts_of(_Fixed(accepted), rows)
            if gap_of(counts, wanted.targets[0]) <= tolerance + 1e-12:
                best = max(best, worth(counts))
        found = -np.inf if rule is None else worth(counts_of(rule, rows))
        assert found == pytest.approx(best)


class _Fixed:
    def __init__(self, accepted):
        self.accepted = accepted

    def decide(self, scores, cells):
        return self.accepted.astype(np.float64)


@pytest.mark.parametrize("n_rows", [60, 3_000])
@pytest.mark.parametrize("n_groups", [2, 3, 5])
@pytest.mark.parametrize("metric", sorted(MITIGATOR.serves))
def test_the_gap_on_the_fitted_rows_is_within_the_tolerance(metric, n_groups, n_rows):
    rows = random_rows(n_groups, n_groups, n_rows)
    wanted = goal(metric, n_groups)
    found = fit_rules(rows, wanted, TOLERANCES)
    assert found[-1][1] is not None
    for tolerance, rule in found:
        if rule is not None:
            assert gap_of(counts_of(rule, rows), wanted.targets[0]) <= tolerance + 1e-9


@pytest.mark.parametrize("seed", range(5))
def test_two_groups_without_ties_reach_parity_up_to_one_row(seed):
    rows = random_rows(seed, 2, 400)
    one_row = 1 / np.bincount(rows.cells).min()
    ((_, rule),) = fit_rules(rows, goal(DEMOGRAPHIC, 2), [one_row])
    assert rule is not None


def test_a_larger_tolerance_never_costs_gain():
    rows = random_rows(3, 4, 800)
    values = [
        worth(counts_of(r, rows)) for _, r in fit_rules(rows, goal(ODDS, 4), TOLERANCES) if r
    ]
    assert values == sorted(values)


def test_a_coarser_search_keeps_the_tolerance(monkeypatch):
    monkeypatch.setattr(reject_option, "TRIED", 1)
    rows = random_rows(1, 3, 2_000)
    wanted = goal(DEMOGRAPHIC, 3)
    ((_, rule),) = fit_rules(rows, wanted, [0.1])
    assert gap_of(counts_of(rule, rows), wanted.targets[0]) <= 0.1 + 1e-9


def test_of_three_groups_one_may_be_left_to_the_threshold():
    scores = np.concatenate(
        [np.linspace(0.4, 0.99, 50), np.linspace(0.2, 0.8, 50), np.linspace(0.01, 0.6, 50)]
    )
    rows = rows_of(scores, scores > 0.5, np.repeat([0, 1, 2], 50))
    ((_, rule),) = fit_rules(rows, goal(DEMOGRAPHIC, 3), [0.05])
    assert (rule.accepted, rule.refused) == (("group 2",), ("group 0",))
    assert rule.decide(np.array([0.49, 0.51]), np.array([1, 1])).tolist() == [0.0, 1.0]


def test_every_group_system_of_the_goal_is_kept():
    rows = random_rows(4, 4, 2_000)
    sex, age = system([0, 0, 1, 1], "sex"), system([0, 1, 0, 1], "age")
    targets = (target(DEMOGRAPHIC, sex, 0.1), target(DEMOGRAPHIC, age, 0.1))
    ((_, rule),) = fit_rules(rows, Goal(targets=targets), [0.1])
    counts = counts_of(rule, rows)
    assert max(gap_of(counts, one) for one in targets) <= 0.1 + 1e-9


# ----------------------------------------------------------------------------------- degenerate


def test_constant_scores_that_a_band_cannot_part_have_no_rule():
    rows = rows_of([0.6] * 4 + [0.4] * 4, [1, 0] * 4, [0] * 4 + [1] * 4)
    (_, tight), (_, free) = fit_rules(rows, goal(DEMOGRAPHIC, 2), (0.5, 1.0))
    assert tight is None
    assert free == CommonRule(threshold=0.5)


def test_where_parity_holds_already_there_is_no_band():
    rows = rows_of([0.6] * 8, [1, 0] * 4, [0] * 4 + [1] * 4)
    ((_, rule),) = fit_rules(rows, goal(DEMOGRAPHIC, 2), [0.0])
    assert rule == CommonRule(threshold=0.5)
    assert not rule.needs_sensitive


@pytest.mark.parametrize("weight", [None, np.repeat([1.0, 0.0], 30)])
def test_with_one_group_nothing_is_constrained(weight):
    rows = random_rows(0, 2, 60)
    cells = np.repeat([0, 1], 30) if weight is not None else np.zeros(60)
    alone = rows_of(rows.scores, rows.y, cells, weight, n_cells=2)
    ((_, rule),) = fit_rules(alone, goal(ODDS, 2), [0.0])
    assert rule == CommonRule(threshold=0.5)


def test_a_group_without_positives_is_left_out_of_equal_opportunity():
    rows = random_rows(0, 3, 400)
    lacking = rows_of(rows.scores, np.where(rows.cells == 2, 0, rows.y), rows.cells)
    ((_, rule),) = fit_rules(lacking, goal(OPPORTUNITY, 3), [0.03])
    rates = counts_of(rule, lacking).rates(RATES["tpr"])
    assert np.isnan(rates[2])
    assert abs(rates[0] - rates[1]) <= 0.03
    assert "group 2" not in rule.accepted + rule.refused


def test_rows_of_an_unknown_group_are_decided_by_the_threshold():
    ((_, rule),) = fit_rules(random_rows(1, 2, 500), goal(DEMOGRAPHIC, 2), [0.02])
    assert rule.decide(np.array([0.499, 0.501]), np.array([-1, -1])).tolist() == [0.0, 1.0]


def test_rows_of_an_unknown_group_do_not_change_the_band():
    rows = random_rows(1, 2, 500)
    strange = rows_of(
        np.append(rows.scores, [0.3, 0.7]),
        np.append(rows.y, [1, 0]),
        np.append(rows.cells, [-1, -1]),
        n_cells=2,
    )
    wanted = goal(DEMOGRAPHIC, 2)
    assert fit_rules(rows, wanted, [0.02]) == fit_rules(strange, wanted, [0.02])


def test_without_a_constraint_there_is_no_rule():
    assert fit_rules(random_rows(1, 2, 50), Goal(targets=()), [0.0]) == []


def test_the_band_lies_around_the_best_threshold_of_the_objective():
    rows = random_rows(1, 2, 500)
    wanted = goal(DEMOGRAPHIC, 2, objective="balanced_accuracy")
    ((_, rule),) = fit_rules(rows, wanted, [0.02])
    assert (rule.low + rule.high) / 2 == pytest.approx(rows.y.mean(), abs=1e-6)


def test_it_is_used_only_when_named():
    assert MITIGATOR.opt_in
