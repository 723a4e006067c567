from dataclasses import replace

import numpy as np
import pytest

from fairautoml.metrics import METRICS, BoundConstraint, ClassCounts, CostMatrix
from fairautoml.metrics.groups import GroupSystem
from fairautoml.mitigators import MITIGATORS, Goal, ScoreRows
from fairautoml.mitigators._multiclass import MostLikely, cost_gains

FIT = MITIGATORS.get("logit_adjustment").fit_rules
OBJECTIVES = ("balanced_accuracy", "f1_macro")


def individuals(n_rows=20_000, seed=0):
    """Scores that are true, of classes of which one is rare."""
    rng = np.random.default_rng(seed)
    worth = rng.normal(loc=(2.0, 1.0, -1.0), size=(n_rows, 3))
    scores = np.exp(worth) / np.exp(worth).sum(axis=1, keepdims=True)
    y = (scores.cumsum(axis=1) > rng.uniform(size=(n_rows, 1))).argmax(axis=1)
    zero = np.zeros(n_rows, dtype=np.int32)
    return ScoreRows(scores=scores, y=y, weight=np.ones(n_rows), cells=zero, n_cells=1)


def goal(objective, targets=()):
    return Goal(targets=targets, objective=METRICS.get(objective), task="multiclass")


def value(rule, rows, objective):
    decided = rule.decide(rows.scores, rows.cells)
    counts = ClassCounts.from_rows(rows.cells, rows.y, decided, rows.weight, n_groups=1)
    return METRICS.get(objective).value(counts)


@pytest.mark.parametrize(("objective", "more"), [("balanced_accuracy", 0.1), ("f1_macro", 0.05)])
def test_where_classes_count_equally_other_rows_gain_over_the_most_likely_class(objective, more):
    ((tolerance, rule),) = FIT(individuals(), goal(objective), ())
    other = individuals(seed=1)
    assert tolerance is None
    assert value(rule, other, objective) > value(MostLikely(), other, objective) + more


def test_true_scores_over_the_shares_are_nearly_the_best_for_balanced_accuracy():
    rows = individuals()
    ((_, rule),) = FIT(rows, goal("balanced_accuracy"), ())
    shares = np.bincount(rows.y) / len(rows.y)
    best = ((rows.scores / shares).argmax(axis=1)[:, None] == np.arange(3)).astype(float)
    counts = ClassCounts.from_rows(rows.cells, rows.y, best, rows.weight, n_groups=1)
    known = METRICS.get("balanced_accuracy").value(counts)
    assert value(rule, rows, "balanced_accuracy") == pytest.approx(known, abs=0.003)


@pytest.mark.parametrize("objective", OBJECTIVES)
def test_weights_count_as_that_many_rows(objective):
    rows = individuals(900)
    times = np.random.default_rng(2).integers(1, 4, size=900)
    weighted = ScoreRows(
        scores=rows.scores, y=rows.y, weight=times.astype(float), cells=rows.cells, n_cells=1
    )
    repeated = rows.take(np.repeat(np.arange(900), times))
    assert FIT(weighted, goal(objective), ()) == FIT(repeated, goal(objective), ())


def test_it_reads_no_group_and_says_its_factors():
    ((_, rule),) = FIT(individuals(), goal("balanced_accuracy"), ())
    assert not rule.needs_sensitive
    assert not rule.randomized
    assert rule.describe().startswith("all: x1.000 x")


def test_a_class_without_rows_leaves_the_most_likely_class_to_others():
    rows = individuals(500)
    without = rows.take(rows.y != 2)
    assert FIT(without, goal("f1_macro"), ()) == [(None, None)]
    assert FIT(without, goal("f1_macro", (parity(),)), (0.05,)) == [(0.05, None)]


def parity(limit=0.05):
    cells = np.arange(2, dtype=np.int32)
    system = GroupSystem(name="group", labels=("a", "b"), of_cell=cells)
    metric = METRICS.get("demographic_parity_difference")
    return BoundConstraint(metric=metric, system=system, limit=limit)


def test_of_the_strengths_whose_gap_is_within_the_tolerance_the_best_is_taken():
    rows = individuals()
    # Group b has more of the rare class: the more readily it is chosen, the wider the gap.
    apart = rows.scores[:, 2] > np.random.default_rng(3).uniform(0, 0.5, len(rows.y))
    rows = replace(rows, cells=apart.astype(np.int32), n_cells=2)
    target = parity()
    pairs = FIT(rows, goal("balanced_accuracy", (target,)), (0.01, 0.3, 1.0))
    gaps, values = [], []
    for tolerance, rule in pairs:
        if rule is None:
            continue
        decided = rule.decide(rows.scores, rows.cells)
        counts = ClassCounts.from_rows(rows.cells, rows.y, decided, rows.weight, n_groups=2)
        gaps.append(target.metric.value(counts))
        assert gaps[-1] <= tolerance + 1e-9
        values.append(value(rule, replace(rows, cells=rows.cells * 0), "balanced_accuracy"))
    assert [tolerance for tolerance, _ in pairs] == [0.01, 0.3, 1.0]
    assert len(values) > 1
    assert values == sorted(values)
    ((_, free),) = FIT(rows, goal("balanced_accuracy"), ())
    assert pairs[-1][1] == free


def test_accuracy_is_left_to_others():
    assert FIT(individuals(100), goal("accuracy"), ()) == []
    assert FIT(individuals(100), goal("accuracy", (parity(),)), (0.05,)) == []


def test_of_costs_by_true_class_the_rule_is_the_one_of_least_expected_cost():
    """With true scores, the factors are the costs of an error of each class."""
    rows, costs = individuals(), np.array([[0, 1, 1], [4, 0, 4], [20, 20, 0]])
    metric = CostMatrix(costs).metric
    ((_, rule),) = FIT(rows, Goal(targets=(), objective=metric, task="multiclass"), ())
    other = individuals(seed=1)
    chosen = rule.decide(other.scores, other.cells).argmax(axis=1)
    least = (other.scores @ costs).argmin(axis=1)
    paid, known = costs[other.y, chosen].mean(), costs[other.y, least].mean()
    assert paid == pytest.approx(known, rel=0.01)
    assert paid < 0.8 * costs[other.y, other.scores.argmax(axis=1)].mean()
    np.testing.assert_allclose(cost_gains(metric, 3), np.array([1, 4, 20]) * 3 / 25)


def test_costs_that_differ_between_errors_count_with_their_mean():
    """A correct decision may cost something, too."""
    metric = CostMatrix([[1, 2, 4], [3, 0, 3], [9, 3, 0]]).metric
    np.testing.assert_allclose(cost_gains(metric, 3), np.array([2, 3, 6]) * 3 / 11)
