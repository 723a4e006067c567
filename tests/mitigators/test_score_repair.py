import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from mitigator_cases import (
    DEMOGRAPHIC,
    ODDS,
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
from fairautoml.mitigators._group_program import CommonRule, rank
from fairautoml.mitigators.postprocessing.score_repair import (
    MITIGATOR,
    Barycentre,
    RepairRule,
    fit_rules,
)

TOLERANCES = (0.0, 0.02, 0.1, 0.3, 1.0)
RATIO = "demographic_parity_ratio"


def barycentre(rows):
    return Barycentre.of(rank(rows, rows.cells, rows.n_cells))


def test_rows_of_the_same_level_get_the_mean_of_their_scores():
    rows = rows_of([0.3, 0.1, 0.2, 0.6, 0.7, 0.5], [0] * 6, [0, 0, 0, 1, 1, 1])
    for moved in barycentre(rows).moved:
        assert moved == pytest.approx([0.3, 0.4, 0.5])


def test_the_common_distribution_is_nearer_to_the_larger_group():
    rows = rows_of([0.1, 0.2, 0.3, 0.4, 0.8, 0.9], [0] * 6, [0, 0, 0, 0, 1, 1])
    first, second = barycentre(rows).moved
    # Levels up to one half: 2/3 of 0.1 or 0.2 and 1/3 of 0.8.
    assert second[0] == pytest.approx((2 / 3) * 0.15 + 0.8 / 3, abs=1e-3)
    assert first == pytest.approx(
        [(2 * a + b) / 3 for a, b in zip((0.1, 0.2, 0.3, 0.4), (0.8, 0.8, 0.9, 0.9), strict=True)]
    )


def test_a_weight_of_two_is_a_row_twice():
    once = rows_of([0.1, 0.2, 0.6, 0.7], [0] * 4, [0, 0, 1, 1], [2.0, 1.0, 1.0, 1.0])
    twice = rows_of([0.1, 0.1, 0.2, 0.6, 0.7], [0] * 5, [0, 0, 0, 1, 1])
    assert barycentre(once).values == pytest.approx(barycentre(twice).values)


def test_full_repair_of_shifted_scores_lets_any_threshold_accept_the_same_share():
    rng = np.random.default_rng(0)
    cells = rng.integers(3, size=3_000)
    rows = rows_of(rng.uniform(0, 0.6, 3_000) + 0.2 * cells, np.zeros(3_000), cells)
    found = barycentre(rows)
    for threshold in found.values[40:400:40] - 1e-12:
        accepted = [float(np.mean(moved >= threshold)) for moved in found.moved]
        assert max(accepted) - min(accepted) <= 2 / np.bincount(cells).min()


def test_repair_keeps_the_order_within_a_group():
    rows = random_rows(3, 3, 1_000)
    assert all((np.diff(moved) >= 0).all() for moved in barycentre(rows).moved)


def test_a_loose_tolerance_leaves_scores_as_they_are_that_are_right_for_all():
    scores = np.tile(np.linspace(0.005, 0.995, 100), 3)
    rows = rows_of(scores, scores >= 0.5, np.repeat([0, 1, 2], 100))
    ((_, rule),) = fit_rules(rows, goal(DEMOGRAPHIC, 3), [1.0])
    assert rule == CommonRule(threshold=0.5)


def test_a_tighter_tolerance_asks_for_more_repair():
    rules = [
        rule
        for _, rule in fit_rules(random_rows(1, 2, 4_000), goal(DEMOGRAPHIC, 2), (0.2, 0.1, 0.01))
    ]
    strengths = [rule.strength for rule in rules]
    assert strengths == sorted(strengths)
    assert strengths[-1] > strengths[0]


def test_the_rule_says_how_much_is_repaired():
    ((_, rule),) = fit_rules(random_rows(1, 2, 4_000), goal(DEMOGRAPHIC, 2), [0.01])
    assert isinstance(rule, RepairRule)
    first, second = rule.describe().split("; ")
    assert first == f"repaired by {rule.strength:.2f}, then >= {rule.threshold:.4f}"
    assert second == f"on the scores {rule.cuts.describe()}"


@pytest.mark.parametrize("n_rows", [60, 3_000])
@pytest.mark.parametrize("n_groups", [2, 3, 5])
@pytest.mark.parametrize("metric", [DEMOGRAPHIC, RATIO])
def test_the_gap_on_the_fitted_rows_is_within_the_tolerance(metric, n_groups, n_rows):
    rows = random_rows(n_groups, n_groups, n_rows)
    wanted = goal(metric, n_groups)
    for tolerance, rule in fit_rules(rows, wanted, TOLERANCES):
        assert gap_of(counts_of(rule, rows), wanted.targets[0]) <= tolerance + 1e-9


@pytest.mark.parametrize("n_groups", [2, 4])
def test_one_row_per_group_is_enough_tolerance_for_a_repair_that_is_no_constant(n_groups):
    rows = random_rows(5, n_groups, 2_000)
    tolerance = 2 / np.bincount(rows.cells).min()
    ((_, rule),) = fit_rules(rows, goal(DEMOGRAPHIC, n_groups), [tolerance])
    assert isinstance(rule, RepairRule)
    assert 0.1 < counts_of(rule, rows).rates(RATES["selection"]).mean() < 0.9


def test_a_larger_tolerance_never_costs_gain():
    rows = random_rows(3, 4, 2_000)
    found = fit_rules(rows, goal(DEMOGRAPHIC, 4), TOLERANCES)
    values = [worth(counts_of(rule, rows)) for _, rule in found]
    assert values == sorted(values)


def test_every_group_system_of_the_goal_is_kept():
    rows = random_rows(4, 4, 2_000)
    sex, age = system([0, 0, 1, 1], "sex"), system([0, 1, 0, 1], "age")
    targets = (target(DEMOGRAPHIC, sex, 0.1), target(DEMOGRAPHIC, age, 0.05))
    ((_, rule),) = fit_rules(rows, Goal(targets=targets), [0.1])
    counts = counts_of(rule, rows)
    assert gap_of(counts, targets[0]) <= 0.1 + 1e-9
    assert gap_of(counts, targets[1]) <= 0.05 + 1e-9


def test_it_serves_demographic_parity_only():
    assert MITIGATOR.can_serve(goal(DEMOGRAPHIC, 2))
    assert MITIGATOR.can_serve(goal(RATIO, 2))
    assert not MITIGATOR.can_serve(goal(ODDS, 2))


# ----------------------------------------------------------------------------------- degenerate


def test_groups_of_equal_scores_are_accepted_as_a_whole():
    rows = rows_of([0.6] * 4 + [0.4] * 4, [1, 0, 1, 1, 0, 0, 0, 1], [0] * 4 + [1] * 4)
    (_, tight), (_, loose) = fit_rules(rows, goal(DEMOGRAPHIC, 2), (0.0, 1.0))
    assert len(set(tight.decide(rows.scores, rows.cells))) == 1
    assert loose == CommonRule(threshold=0.5)


def test_a_group_without_rows_takes_no_part_and_is_decided_neutrally():
    rows = random_rows(0, 2, 2_000)
    both = rows_of(rows.scores, rows.y, rows.cells)
    more = rows_of(rows.scores, rows.y, rows.cells, n_cells=3)
    ((_, rule),) = fit_rules(more, goal(DEMOGRAPHIC, 3), [0.02])
    ((_, other),) = fit_rules(both, goal(DEMOGRAPHIC, 2), [0.02])
    assert rule.cuts.steps[:2] == other.cuts.steps
    assert rule.decide(np.array([0.4, 0.6]), np.array([2, 2])).tolist() == [0.0, 1.0]


def test_a_group_without_weight_takes_no_part():
    rows = random_rows(0, 3, 2_000)
    weight = (rows.cells < 2).astype(float)
    ((_, rule),) = fit_rules(
        rows_of(rows.scores, rows.y, rows.cells, weight), goal(DEMOGRAPHIC, 3), [0.02]
    )
    ((_, other),) = fit_rules(
        rows_of(*(a[rows.cells < 2] for a in (rows.scores, rows.y, rows.cells)), n_cells=3),
        goal(DEMOGRAPHIC, 3),
        [0.02],
    )
    assert rule == other


def test_rows_of_an_unknown_group_are_decided_by_the_neutral_threshold():
    ((_, rule),) = fit_rules(random_rows(1, 2, 4_000), goal(DEMOGRAPHIC, 2), [0.01])
    assert rule.decide(np.array([0.499, 0.501]), np.array([-1, -1])).tolist() == [0.0, 1.0]


def test_with_one_group_or_none_nothing_is_repaired():
    rows = random_rows(0, 2, 300)
    for cell in (0, -1):
        alone = rows_of(rows.scores, rows.y, np.full(300, cell), n_cells=2)
        ((_, rule),) = fit_rules(alone, goal(DEMOGRAPHIC, 2), [0.0])
        assert isinstance(rule, CommonRule)


def test_without_a_constraint_there_is_no_rule():
    assert fit_rules(random_rows(1, 2, 50), Goal(targets=()), [0.0]) == []


@settings(max_examples=15)
@given(seed=st.integers(0, 10_000), n_groups=st.integers(1, 4), n_rows=st.integers(8, 60))
def test_odd_tables_give_decisions_without_an_exception(seed, n_groups, n_rows):
    rng = np.random.default_rng(seed)
    rows = rows_of(
        rng.choice([0.0, 0.5, 1.0], n_rows).astype(np.float32),
        rng.uniform(size=n_rows) < rng.choice([0.0, 0.1, 0.9, 1.0]),
        rng.integers(-1, n_groups, size=n_rows),
        rng.choice([0.0, 1.0], n_rows),
        n_groups,
    )
    for _, rule in fit_rules(rows, goal(DEMOGRAPHIC, n_groups), TOLERANCES):
        assert np.isin(rule.decide(rows.scores, rows.cells), (0.0, 1.0)).all()


def test_it_is_used_only_when_named():
    assert MITIGATOR.opt_in
