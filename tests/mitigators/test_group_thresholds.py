import pickle

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from mitigator_cases import (
    ANCHORED,
    DEMOGRAPHIC,
    MINIMUMS,
    ODDS,
    OPPORTUNITY,
    SERVED,
    brute_force,
    counts_of,
    gap_of,
    goal,
    random_rows,
    rows_of,
    system,
    target,
    worth,
)

from fairautoml.metrics import METRICS
from fairautoml.metrics.rates import RATES
from fairautoml.mitigators import Goal, _thresholds
from fairautoml.mitigators._group_program import needed, never_falling
from fairautoml.mitigators._thresholds import build_cuts, gain_weights
from fairautoml.mitigators.postprocessing.group_thresholds import MITIGATOR, fit_rules

TOLERANCES = (0.0, 0.05, 0.2, 1.0)


@pytest.fixture
def real_labels(monkeypatch):
    """No shrinkage: a rule fitted on few rows must then keep its promise on these very rows."""
    monkeypatch.setattr(_thresholds, "ENOUGH_ROWS", 0)


def thresholds(rule):
    return [tuple(step.threshold for step in steps) for steps in rule.steps]


# ------------------------------------------------------------------------------ known answers


def test_parity_of_two_groups_by_hand(real_labels):
    # Without a constraint: two of the first group, nobody of the second. With equal shares the
    # best is two each: it costs the two negatives of the second group and gains two positives.
    rows = rows_of(
        [0.9, 0.8, 0.2, 0.1, 0.4, 0.3, 0.2, 0.1], [1, 1, 0, 0, 0, 0, 0, 0], [0] * 4 + [1] * 4
    )
    (_, equal), (_, free) = fit_rules(rows, goal(DEMOGRAPHIC, 2), [0.0, 1.0])
    assert counts_of(free, rows).rates(RATES["selection"]).tolist() == [0.5, 0.0]
    assert counts_of(equal, rows).rates(RATES["selection"]).tolist() in (
        [0.0, 0.0],
        [0.25, 0.25],
        [0.5, 0.5],
    )
    assert worth(counts_of(equal, rows)) == 0.0


@pytest.mark.parametrize("n_groups", [2, 3])
@pytest.mark.parametrize("objective", ["accuracy", "balanced_accuracy"])
def test_the_fitted_rule_is_as_good_as_the_best_of_all_combinations(
    real_labels, n_groups, objective
):
    rows = random_rows(2, n_groups, 12 * n_groups, decimals=1)
    wanted = goal(DEMOGRAPHIC, n_groups, objective=objective)
    cuts = build_cuts(rows, rows.cells, n_groups)
    gain = gain_weights(rows, METRICS.get(objective))
    for tolerance, rule in fit_rules(rows, wanted, TOLERANCES):
        expected = brute_force(cuts, wanted.targets, tolerance, gain)
        assert worth(counts_of(rule, rows), gain) == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize("n_groups", [2, 3])
def test_a_loose_bound_gives_the_best_threshold_of_every_group(real_labels, n_groups):
    rows = random_rows(6, n_groups, 400)
    ((_, rule),) = fit_rules(rows, goal(ODDS, n_groups), [1.0])
    best = sum(
        float((cut.accepted @ np.array([-1.0, 1.0])).max())
        for cut in build_cuts(rows, rows.cells, n_groups)
    )
    assert worth(counts_of(rule, rows)) == pytest.approx(best)


# ---------------------------------------------------------------------------------- guarantee


@pytest.mark.parametrize("n_rows", [60, 3_000])
@pytest.mark.parametrize("n_groups", [2, 3, 5])
@pytest.mark.parametrize("metric", SERVED)
def test_the_gap_on_the_fitted_rows_is_within_the_tolerance(real_labels, metric, n_groups, n_rows):
    rows = random_rows(n_groups, n_groups, n_rows)
    wanted = goal(metric, n_groups)
    found = fit_rules(rows, wanted, (0.0, 0.02, 0.1, 0.3))
    assert found[-1][1] is not None
    for tolerance, rule in found:
        if rule is not None:
            gap = gap_of(counts_of(rule, rows), wanted.targets[0])
            assert gap <= tolerance + 1e-8


@pytest.mark.parametrize("metric", [ODDS, DEMOGRAPHIC, OPPORTUNITY])
def test_difference_constraints_always_have_a_rule(metric):
    rows = random_rows(0, 4, 60)
    assert all(rule is not None for _, rule in fit_rules(rows, goal(metric, 4), TOLERANCES))


def test_a_goal_that_allows_random_decisions_changes_nothing():
    rows = random_rows(1, 3, 600)
    sure, allowed = (
        fit_rules(rows, goal(ODDS, 3, randomized=r), TOLERANCES) for r in (False, True)
    )
    assert sure == allowed
    assert not any(rule.randomized for _, rule in allowed)


def test_the_real_gap_of_parity_is_kept_by_a_thousand_rows_and_more():
    rows = random_rows(1, 3, 1_000)
    wanted = goal(DEMOGRAPHIC, 3)
    for tolerance, rule in fit_rules(rows, wanted, (0.0, 0.02, 0.1)):
        assert gap_of(counts_of(rule, rows), wanted.targets[0]) <= tolerance + 1e-9


# ------------------------------------------------------------------------------- many systems

SEX, AGE = system([0, 0, 1, 1], "sex"), system([0, 1, 0, 1], "age")
BOTH = system([0, 1, 2, 3], "sex & age")


def test_marginals_that_the_intersection_implies_are_dropped():
    targets = tuple(target(ODDS, s) for s in (BOTH, AGE, SEX))
    assert needed(targets) == targets[:1]


def test_marginals_alone_are_both_needed():
    targets = (target(ODDS, SEX), target(ODDS, AGE))
    assert needed(targets) == targets


def test_a_tighter_marginal_is_needed_next_to_the_intersection():
    targets = (target(ODDS, BOTH, 0.1), target(ODDS, SEX, 0.05))
    assert needed(targets) == targets


@pytest.mark.parametrize(("metric", "kept"), [("equalized_odds_to_overall", 2), (ODDS, 1)])
def test_exclusion_changes_the_overall_rate(metric, kept):
    parts, whole = system([0, 1, 2, 3], "region"), system([0, -1, 1, 0], "state")
    assert len(needed((target(metric, parts), target(metric, whole)))) == kept


def test_of_equal_targets_one_is_needed():
    targets = (target(ODDS, SEX), target(ODDS, SEX))
    assert needed(targets) == targets[:1]


def test_an_intersection_that_leaves_a_cell_out_implies_nothing_about_the_whole():
    targets = (target(ODDS, system([0, 1, -1, 2], "partly")), target(ODDS, SEX))
    assert needed(targets) == targets


def test_two_marginals_without_the_intersection_are_both_kept(real_labels):
    rows = random_rows(4, 4, 2_000)
    targets = (target(ODDS, SEX, 0.1), target(DEMOGRAPHIC, AGE, 0.05))
    for tolerance, rule in fit_rules(rows, Goal(targets=targets), (0.02, 0.1)):
        counts = counts_of(rule, rows)
        assert gap_of(counts, targets[0]) <= tolerance + 1e-7
        assert gap_of(counts, targets[1]) <= tolerance / 2 + 1e-7


def test_the_intersection_bounds_the_marginals_too(real_labels):
    rows = random_rows(4, 4, 2_000)
    targets = tuple(target(ODDS, s) for s in (BOTH, AGE, SEX))
    ((_, rule),) = fit_rules(rows, Goal(targets=targets), [0.05])
    assert max(gap_of(counts_of(rule, rows), one) for one in targets) <= 0.05 + 1e-9


def test_a_column_that_no_constraint_speaks_about_changes_no_threshold(real_labels):
    rows = random_rows(4, 4, 2_000)
    twice = np.random.default_rng(0).integers(2, size=len(rows.y)) * 4 + rows.cells
    finer = rows_of(rows.scores, rows.y, twice, n_cells=8)
    limits = ((ODDS, "sex", 0.1), (DEMOGRAPHIC, "age", 0.05))
    found = []
    for individuals, times in ((rows, 1), (finer, 2)):
        systems = {
            name: system(np.tile(one.of_cell, times), name)
            for name, one in (("sex", SEX), ("age", AGE))
        }
        targets = tuple(target(metric, systems[name], limit) for metric, name, limit in limits)
        ((_, rule),) = fit_rules(individuals, Goal(targets=targets), [0.05])
        found.append(rule)
    assert found[1].labels == found[0].labels
    assert found[1].steps == found[0].steps
    assert found[1].group_of_cell == found[0].group_of_cell * 2


# --------------------------------------------------------------------------------- properties

SEEDS = st.integers(0, 10_000)
METRICS_TRIED = st.sampled_from([DEMOGRAPHIC, OPPORTUNITY, ODDS, "demographic_parity_ratio"])
FEW = settings(max_examples=15)


def outcome(rule, rows, wanted):
    counts = counts_of(rule, rows)
    return worth(counts), gap_of(counts, wanted.targets[0])


def unlike_rows(seed, n_groups, n_rows=200):
    """Weights without ties: the best rule is unique, so it can be compared."""
    rows = random_rows(seed, n_groups, n_rows)
    weight = np.random.default_rng(seed).uniform(0.5, 2.0, n_rows)
    return rows_of(rows.scores, rows.y, rows.cells, weight, n_groups)


@FEW
@given(seed=SEEDS, n_groups=st.integers(2, 3), metric=METRICS_TRIED)
def test_the_order_of_the_rows_does_not_matter(seed, n_groups, metric):
    rows = unlike_rows(seed, n_groups)
    mixed = rows.take(np.random.default_rng(seed).permutation(len(rows.y)))
    first, second = (fit_rules(r, goal(metric, n_groups), [0.05])[0][1] for r in (rows, mixed))
    assert (first.decide(rows.scores, rows.cells) == second.decide(rows.scores, rows.cells)).all()


@FEW
@given(seed=SEEDS, n_groups=st.integers(2, 3), metric=METRICS_TRIED)
def test_what_the_groups_are_called_does_not_matter(seed, n_groups, metric):
    rows = unlike_rows(seed, n_groups)
    renamed = (rows.cells + 1) % n_groups
    other = rows_of(rows.scores, rows.y, renamed, rows.weight, n_groups)
    first, second = (fit_rules(r, goal(metric, n_groups), [0.05])[0][1] for r in (rows, other))
    assert (first.decide(rows.scores, rows.cells) == second.decide(rows.scores, renamed)).all()


@FEW
@given(seed=SEEDS, factor=st.sampled_from([1e-6, 0.3, 1e6]), metric=METRICS_TRIED)
def test_a_constant_factor_of_the_weights_does_not_matter(seed, factor, metric):
    rows = unlike_rows(seed, 3)
    other = rows_of(rows.scores, rows.y, rows.cells, rows.weight * factor, 3)
    first, second = (fit_rules(r, goal(metric, 3), [0.05])[0][1] for r in (rows, other))
    assert (first.decide(rows.scores, rows.cells) == second.decide(rows.scores, rows.cells)).all()


@FEW
@given(seed=SEEDS, n_groups=st.integers(2, 3))
def test_weight_two_is_a_row_twice_where_labels_are_not_shrunk(seed, n_groups):
    rows = random_rows(seed, n_groups, 1_000)
    weight = np.random.default_rng(seed).integers(1, 3, 1_000)
    heavy = rows_of(rows.scores, rows.y, rows.cells, weight, n_groups)
    twice = rows.take(np.repeat(np.arange(1_000), weight))
    wanted = goal(DEMOGRAPHIC, n_groups)
    first, second = (fit_rules(r, wanted, [0.05])[0][1] for r in (heavy, twice))
    assert thresholds(first) == thresholds(second)


@FEW
@given(seed=SEEDS, n_groups=st.integers(2, 4), metric=st.sampled_from(SERVED))
def test_a_larger_tolerance_never_costs_gain_on_the_fitted_rows(seed, n_groups, metric):
    rows = random_rows(seed, n_groups, 60 * n_groups, decimals=2)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(_thresholds, "ENOUGH_ROWS", 0)
        rules = fit_rules(rows, goal(metric, n_groups), (0.3, 0.0, 0.02, 0.1, 0.05))
    values = [worth(counts_of(r, rows)) for _, r in sorted(rules, key=lambda p: p[0]) if r]
    assert values == sorted(values)


@FEW
@given(seed=SEEDS, metric=st.sampled_from(SERVED))
def test_fitting_is_repeatable_and_leaves_its_input_alone(seed, metric):
    rows = unlike_rows(seed, 3)
    before = [a.copy() for a in (rows.scores, rows.y, rows.weight, rows.cells)]
    wanted = goal(metric, 3)
    once, again = (fit_rules(rows, wanted, TOLERANCES) for _ in range(2))
    assert once == again == pickle.loads(pickle.dumps(once))
    after = (rows.scores, rows.y, rows.weight, rows.cells)
    assert all((old == new).all() for old, new in zip(before, after, strict=True))


@FEW
@given(
    seed=SEEDS,
    n_groups=st.integers(1, 4),
    n_rows=st.integers(8, 30),
    metric=st.sampled_from(SERVED),
)
def test_odd_tables_give_finite_decisions_without_an_exception(seed, n_groups, n_rows, metric):
    rng = np.random.default_rng(seed)
    rows = rows_of(
        rng.choice([0.0, 0.5, 1.0], n_rows).astype(np.float32),
        rng.uniform(size=n_rows) < rng.choice([0.0, 0.1, 0.9, 1.0]),
        rng.integers(n_groups, size=n_rows),
        rng.choice([0.0, 1.0], n_rows),
        n_groups,
    )
    for _, rule in fit_rules(rows, goal(metric, n_groups), TOLERANCES):
        if rule is not None:
            assert not np.isnan(np.concatenate(thresholds(rule))).any()
            decision = rule.decide(rows.scores, rows.cells)
            assert ((decision >= 0) & (decision <= 1)).all()


def test_a_search_that_finds_less_where_more_is_allowed_keeps_the_tighter_solution():
    found = {0.0: None, 0.1: (3,), 0.2: (1,), 0.3: None, 0.4: (5,)}
    picks = never_falling(found.get, lambda choice: float(choice[0]), (0.4, 0.3, 0.2, 0.1, 0.0))
    assert picks == [[[(5, 1.0)]], [[(3, 1.0)]], [[(3, 1.0)]], [[(3, 1.0)]], None]


# --------------------------------------------------------------------------------- degenerate


def test_no_target_gives_no_rule():
    assert fit_rules(random_rows(0, 2, 40), Goal(targets=()), (0.1,)) == []


def test_the_tolerances_are_returned_as_they_were_given():
    rows = random_rows(0, 3, 60)
    requested = (0.2, 0.0, 0.2, 0.05)
    assert [tolerance for tolerance, _ in fit_rules(rows, goal(ODDS, 3), requested)] == list(
        requested
    )


@pytest.mark.parametrize("n_groups", [2, 3])
def test_a_group_without_rows_gets_the_neutral_threshold_and_binds_no_group(n_groups):
    rows = random_rows(3, n_groups, 1_200)
    wider = rows_of(rows.scores, rows.y, rows.cells, n_cells=n_groups + 1)
    ((_, rule),) = fit_rules(wider, goal(DEMOGRAPHIC, n_groups + 1), [0.02])
    ((_, alone),) = fit_rules(rows, goal(DEMOGRAPHIC, n_groups), [0.02])
    assert thresholds(rule)[-1] == (0.5,)
    assert worth(counts_of(rule, wider)) == worth(counts_of(alone, rows))


def test_a_single_group_gets_its_best_threshold(real_labels):
    rows = rows_of([0.9, 0.6, 0.4, 0.1], [1, 1, 0, 0], [0] * 4)
    ((_, rule),) = fit_rules(rows, goal(ODDS, 1), [0.0])
    assert thresholds(rule) == [(pytest.approx(0.5),)]


def test_constant_scores_are_accepted_or_refused_as_a_whole():
    rows = rows_of([0.4] * 40, [0, 1] * 20, [0] * 20 + [1] * 20)
    ((_, rule),) = fit_rules(rows, goal(DEMOGRAPHIC, 2), [0.0])
    assert thresholds(rule)[0] == thresholds(rule)[1]
    assert np.isinf(thresholds(rule)[0][0])


def test_a_group_of_one_row_follows_the_constraint():
    rows = random_rows(5, 2, 1_200)
    cells = np.append(rows.cells, 2)
    wider = rows_of(np.append(rows.scores, 0.9), np.append(rows.y, 1), cells)
    wanted = goal(DEMOGRAPHIC, 3)
    ((_, rule),) = fit_rules(wider, wanted, [0.05])
    assert gap_of(counts_of(rule, wider), wanted.targets[0]) <= 0.05 + 1e-9


def test_rows_outside_every_group_do_not_move_the_thresholds():
    rows = random_rows(5, 2, 1_200)
    cells = np.append(rows.cells, [-1] * 50)
    wider = rows_of(np.append(rows.scores, [0.3] * 50), np.append(rows.y, [1] * 50), cells)
    first, second = (fit_rules(r, goal(DEMOGRAPHIC, 2), [0.05])[0][1] for r in (rows, wider))
    assert thresholds(first) == thresholds(second)


def test_rows_of_weight_zero_do_not_move_the_decisions():
    rows = random_rows(5, 2, 1_200)
    kept = np.random.default_rng(0).uniform(size=1_200) < 0.9
    some = rows_of(rows.scores, rows.y, rows.cells, kept.astype(float))
    wanted = goal(DEMOGRAPHIC, 2)
    first, second = (fit_rules(r, wanted, [0.05])[0][1] for r in (some, rows.take(kept)))
    assert outcome(first, some, wanted) == pytest.approx(outcome(second, some, wanted))


def test_fifty_groups_and_two_hundred_thousand_rows_are_solved():
    rows = random_rows(0, 50, 200_000)
    wanted = goal(DEMOGRAPHIC, 50)
    ((_, rule),) = fit_rules(rows, wanted, [0.05])
    assert gap_of(counts_of(rule, rows), wanted.targets[0]) <= 0.05 + 1e-9


def test_it_serves_the_constraints_whose_rates_are_shares_at_a_threshold():
    assert MITIGATOR.serves == {*SERVED, *ANCHORED, *MINIMUMS}
    assert not MITIGATOR.can_serve(goal("predictive_parity_difference", 2))
