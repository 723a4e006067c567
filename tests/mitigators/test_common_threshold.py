import numpy as np
import pytest
from mitigator_cases import (
    DEMOGRAPHIC,
    ODDS,
    OPPORTUNITY,
    SERVED,
    counts_of,
    gap_of,
    goal,
    random_rows,
    rows_of,
    system,
    target,
    worth,
)

from fairautoml.metrics import METRICS, BoundConstraint, GroupCounts, Metric
from fairautoml.metrics.rates import RATES
from fairautoml.mitigators import Goal
from fairautoml.mitigators._group_program import CommonRule
from fairautoml.mitigators.postprocessing.common_threshold import fit_rules

TOLERANCES = (0.0, 0.05, 0.2, 1.0)


def every_rule(rows):
    scores = np.unique(rows.scores.astype(np.float64))
    return [CommonRule(threshold=float(t)) for t in [np.inf, *scores, -np.inf]]


def best_of_all(rows, targets, tolerance, value):
    return max(
        (
            value(counts)
            for counts in (counts_of(rule, rows) for rule in every_rule(rows))
            if all(gap_of(counts, one) <= tolerance + 1e-12 for one in targets)
        ),
        default=None,
    )


@pytest.mark.parametrize("metric", [*SERVED, "predictive_parity_difference"])
def test_the_best_of_all_common_thresholds_within_the_tolerance_is_found(metric):
    rows = random_rows(3, 3, 80)
    wanted = goal(metric, 3)
    for tolerance, rule in fit_rules(rows, wanted, TOLERANCES):
        expected = best_of_all(rows, wanted.targets, tolerance, worth)
        if rule is None:
            assert expected is None
        else:
            counts = counts_of(rule, rows)
            assert worth(counts) == expected
            assert gap_of(counts, wanted.targets[0]) <= tolerance + 1e-9


@pytest.mark.parametrize("objective", ["balanced_accuracy", "f1", "f1_macro"])
def test_without_a_constraint_the_objective_is_as_good_as_any_threshold_can_make_it(objective):
    rows = random_rows(5, 2, 120)
    ((tolerance, rule),) = fit_rules(rows, Goal(targets=(), objective=METRICS.get(objective)), ())
    value = METRICS.get(objective).value
    assert tolerance is None
    assert value(counts_of(rule, rows)) == pytest.approx(best_of_all(rows, (), 1.0, value))


def test_without_a_constraint_and_with_accuracy_there_is_nothing_to_tune():
    assert fit_rules(random_rows(0, 2, 40), Goal(targets=()), ()) == []


def test_balanced_accuracy_is_as_good_as_possible_within_the_tolerance():
    rows = random_rows(5, 2, 120)
    wanted = goal(DEMOGRAPHIC, 2, objective="balanced_accuracy")
    value = METRICS.get("balanced_accuracy").value
    ((_, rule),) = fit_rules(rows, wanted, [0.1])
    expected = best_of_all(rows, wanted.targets, 0.1, value)
    assert value(counts_of(rule, rows)) == pytest.approx(expected)


def test_a_metric_that_does_not_state_its_rates_gives_the_same_rules():
    rows = random_rows(3, 3, 80)
    stated = METRICS.get(ODDS)
    silent = Metric(
        name="silent", kind="fairness", on="decisions", value=stated.value, greater_is_better=False
    )
    groups = system([0, 1, 2])
    goals = [
        Goal(targets=(BoundConstraint(metric=metric, system=groups, limit=0.05),))
        for metric in (stated, silent)
    ]
    assert fit_rules(rows, goals[0], TOLERANCES) == fit_rules(rows, goals[1], TOLERANCES)


def test_several_systems_are_all_within_their_own_limit():
    rows = random_rows(4, 4, 400)
    targets = (
        target(ODDS, system([0, 0, 1, 1], "sex"), 0.1),
        target(DEMOGRAPHIC, system([0, 1, 0, 1], "age"), 0.05),
    )
    for tolerance, rule in fit_rules(rows, Goal(targets=targets), (0.1, 0.2)):
        counts = counts_of(rule, rows)
        assert gap_of(counts, targets[0]) <= tolerance + 1e-9
        assert gap_of(counts, targets[1]) <= tolerance / 2 + 1e-9


def test_a_target_of_limit_zero_next_to_another_asks_for_exact_parity():
    rows = random_rows(4, 4, 400)
    targets = (
        target(DEMOGRAPHIC, system([0, 0, 1, 1], "sex"), 0.1),
        target(DEMOGRAPHIC, system([0, 1, 0, 1], "age"), 0.0),
    )
    ((_, rule),) = fit_rules(rows, Goal(targets=targets), [0.9])
    assert gap_of(counts_of(rule, rows), targets[1]) <= 1e-9


def test_a_group_without_positives_is_left_out_of_the_true_positive_rate():
    rows = rows_of([0.9, 0.4, 0.8, 0.3, 0.7, 0.2], [1, 0, 1, 0, 0, 0], [0, 0, 1, 1, 2, 2])
    ((_, rule),) = fit_rules(rows, goal(OPPORTUNITY, 3), [0.0])
    assert rule.threshold == pytest.approx(0.75)


def test_rows_of_an_unknown_group_count_for_the_objective_only():
    rows = rows_of([0.9, 0.4, 0.8, 0.3, 0.6], [1, 0, 1, 0, 1], [0, 0, 1, 1, -1])
    ((_, rule),) = fit_rules(rows, goal(DEMOGRAPHIC, 2), [0.0])
    assert rule.threshold == pytest.approx(0.5)


def test_the_decisions_do_not_depend_on_the_groups():
    rows = random_rows(0, 2, 60)
    ((_, rule),) = fit_rules(rows, goal(DEMOGRAPHIC, 2), [0.1])
    other = rows.cells[::-1]
    assert not rule.needs_sensitive
    assert (rule.decide(rows.scores, rows.cells) == rule.decide(rows.scores, other)).all()


def test_the_gap_is_that_of_the_counts_at_the_threshold():
    rows = random_rows(8, 3, 90)
    ((_, rule),) = fit_rules(rows, goal(DEMOGRAPHIC, 3), [0.1])
    accepted = rows.scores.astype(float) >= rule.threshold
    counts = GroupCounts.from_rows(rows.cells, rows.y, accepted, rows.weight, n_groups=3)
    rates = counts.rates(RATES["selection"])
    assert rates.max() - rates.min() <= 0.1 + 1e-9
