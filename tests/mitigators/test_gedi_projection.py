"""Scores and decisions that depend on a number no more than is allowed."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import minimize

from fairautoml.metrics import METRICS, BoundConstraint, GroupCounts
from fairautoml.metrics.gedi import centred_powers, solver
from fairautoml.metrics.groups import GroupSystem
from fairautoml.mitigators import MITIGATORS, Goal, ScoreRows
from fairautoml.mitigators.postprocessing.gedi_projection import (
    ShiftedRule,
    fit_rules,
    nearest_in_ball,
    taken_off,
)
from fairautoml.records import acceptance

FIVE = np.array([-2.0, -1.0, 0.0, 1.0, 2.0])
SKEWED = np.array([-2.0, -1.0, 0.0, 1.0, 3.0])
V = np.array([1.0, 0.0, 2.0, 5.0, 3.0])
ONES = np.ones(5)
TOLERANCES = (0.0, 0.01, 0.05, 0.2)


def gedi_coefficients(x, v, degree=1, weight=None):
    """Return alpha, the coefficients of the powers of x that fit v best."""
    return solver(x.astype(float), np.ones(len(x)) if weight is None else weight, degree) @ v


def gedi_value(x, v, degree=1, weight=None):
    """Return the sum of the absolute coefficients."""
    return np.abs(gedi_coefficients(x, v, degree, weight)).sum()


# --- projections of values --------------------------------------------------------------------


def project(x, v, weight, *, degree, bound, kind):
    found = solver(x, weight, degree)
    if found is None:
        return v
    powers = centred_powers(x, len(found), weight)
    return v - powers @ taken_off(powers, found @ v, weight, bound=bound, kind=kind)


# known answer: coarse_degree1_projection
def test_the_coarse_projection_of_degree_1_gives_the_known_answer():
    z = project(FIVE, V, ONES, degree=1, bound=0.18, kind="coarse")
    assert z == pytest.approx([2.44, 0.72, 2.0, 4.28, 1.56], abs=1e-9)
    assert gedi_value(FIVE, V) == pytest.approx(0.9)
    assert gedi_value(FIVE, z) == pytest.approx(0.18)


# known answer: coarse_degree2_projection
def test_the_coarse_projection_of_degree_2_gives_the_known_answer():
    v = FIVE + FIVE**2
    z = project(FIVE, v, ONES, degree=2, bound=1.0, kind="coarse")
    assert gedi_coefficients(FIVE, z, 2) == pytest.approx([5 / 12, 7 / 12], abs=1e-8)
    assert z == pytest.approx([7 / 3, 1.0, 5 / 6, 11 / 6, 4.0], abs=1e-8)
    assert gedi_value(FIVE, z, 2) == pytest.approx(1.0, abs=1e-8)


# known answer: fine_degree2_projection
def test_the_fine_projection_gives_the_known_answer():
    z = project(SKEWED, V, ONES, degree=2, bound=0.5, kind="fine")
    expected = [2.0558173785, 0.0491899853, 1.4564064801, 4.277466863, 3.1611192931]
    assert z == pytest.approx(expected, abs=1e-8)
    assert gedi_coefficients(SKEWED, z, 2) == pytest.approx([0.5, 0.0], abs=1e-8)
    square = SKEWED**2
    residual = np.cov(SKEWED, z)[0, 1] * np.cov(square, SKEWED)[0, 1]
    residual -= np.cov(square, z)[0, 1] * np.var(SKEWED, ddof=1)
    assert residual == pytest.approx(0.0, abs=1e-8)


@settings(max_examples=40)
@given(
    seed=st.integers(0, 2**32 - 1),
    degree=st.integers(1, 4),
    share=st.floats(0.0, 1.2),
    kind=st.sampled_from(["coarse", "fine"]),
)
def test_a_projection_keeps_the_bound_and_the_mean_and_changes_nothing_twice(
    seed, degree, share, kind
):
    rng = np.random.default_rng(seed)
    x, v, weight = rng.normal(size=30), rng.normal(size=30), rng.uniform(0.5, 2.0, 30)
    bound = share * gedi_value(x, v, degree, weight)
    z = project(x, v, weight, degree=degree, bound=bound, kind=kind)
    assert gedi_value(x, z, degree, weight) <= bound + 1e-9
    assert weight @ z == pytest.approx(weight @ v, abs=1e-9)
    again = project(x, z, weight, degree=degree, bound=bound, kind=kind)
    assert again == pytest.approx(z, abs=1e-7)
    if kind == "coarse" and share >= 1:
        assert z == pytest.approx(v, abs=1e-9)


@pytest.mark.parametrize("seed", range(6))
def test_the_nearest_point_of_the_ball_is_as_near_as_a_solver_finds(seed):
    rng = np.random.default_rng(seed)
    root = rng.normal(size=(5, 3))
    gram, alpha = root.T @ root + 0.1 * np.eye(3), rng.normal(size=3) * 2
    found = nearest_in_ball(alpha, gram, 1.0)

    def distance(parts):
        apart = parts[:3] - parts[3:] - alpha
        return apart @ gram @ apart

    solved = minimize(
        distance,
        np.full(6, 0.1),
        bounds=[(0, None)] * 6,
        constraints={"type": "ineq", "fun": lambda parts: 1.0 - parts.sum()},
        method="SLSQP",
        options={"ftol": 1e-14, "maxiter": 500},
    )
    assert np.abs(found).sum() <= 1 + 1e-9
    assert (found - alpha) @ gram @ (found - alpha) <= solved.fun + 1e-7


def test_a_bound_of_nothing_leaves_nothing():
    assert nearest_in_ball(np.array([1.0, -2.0]), np.eye(2), 0.0).tolist() == [0.0, 0.0]


def test_of_a_constant_number_nothing_is_taken_off():
    z = project(ONES, V, ONES, degree=2, bound=0.0, kind="coarse")
    assert z.tolist() == V.tolist()


# --- rules ------------------------------------------------------------------------------------

VALUES = np.linspace(-2.0, 2.0, 25)


def individuals(seed=0, n_rows=4000, *, bend=0.0):
    rng = np.random.default_rng(seed)
    cells = rng.integers(len(VALUES), size=n_rows).astype(np.int32)
    x = VALUES[cells]
    scores = 1 / (1 + np.exp(-(0.8 * x + bend * x**2 - bend + rng.normal(size=n_rows) - 0.3)))
    return ScoreRows(
        scores=scores.astype(np.float32),
        y=(rng.random(n_rows) < scores).astype(np.int8),
        weight=np.ones(n_rows),
        cells=cells,
        n_cells=len(VALUES),
    )


def goal_on(name="gedi", values=VALUES, limit=0.05, of_cell=None):
    at = np.arange(len(values), dtype=np.int32) if of_cell is None else of_cell
    labels = tuple(f"{value:.3g}" for value in values)
    system = GroupSystem(name="age", labels=labels, of_cell=at, values=values)
    metric = METRICS.get(name).bound(values)
    return Goal(targets=(BoundConstraint(metric=metric, system=system, limit=limit),))


def measured(rule, rows, metric):
    decision = acceptance(rule, rows.scores, rows.cells, None)
    counts = GroupCounts.from_rows(rows.cells, rows.y, decision, n_groups=rows.n_cells)
    return metric.value(counts), float(np.mean(decision == rows.y))


@pytest.mark.parametrize("name", ["gedi", "gedi_2", "gedi_3", "gedi_relative"])
@pytest.mark.parametrize("bend", [0.0, 0.5])
def test_the_rows_that_a_rule_was_fitted_on_are_within_the_tolerance(name, bend):
    rows, goal = individuals(bend=bend), goal_on(name)
    pairs = fit_rules(rows, goal, TOLERANCES)
    assert [tolerance for tolerance, _ in pairs] == list(TOLERANCES)
    for tolerance, rule in pairs:
        gap, _ = measured(rule, rows, goal.targets[0].metric)
        assert gap <= tolerance + 1e-9


@pytest.mark.parametrize("name", ["gedi", "gedi_2"])
def test_a_tight_bound_costs_less_than_constant_decisions(name):
    rows, goal = individuals(bend=0.3), goal_on(name)
    majority = max(rows.y.mean(), 1 - rows.y.mean())
    (_, plain), *_ = MITIGATORS.get("none").fit_rules(rows, goal, ())
    free = measured(plain, rows, goal.targets[0].metric)
    ((_, rule),) = fit_rules(rows, goal, (0.02,))
    tight = measured(rule, rows, goal.targets[0].metric)
    assert free[0] > 0.1
    assert majority + 0.05 < tight[1] <= free[1] + 0.005


def test_a_looser_bound_is_never_worth_less():
    rows, goal = individuals(), goal_on()
    worth = [
        measured(rule, rows, goal.targets[0].metric)[1]
        for _, rule in fit_rules(rows, goal, TOLERANCES)
    ]
    assert worth == sorted(worth)


def test_a_bound_on_a_line_is_kept_on_new_rows_about_as_well():
    goal = goal_on()
    ((_, rule),) = fit_rules(individuals(seed=1, n_rows=20_000), goal, (0.02,))
    gap, _ = measured(rule, individuals(seed=2, n_rows=20_000), goal.targets[0].metric)
    assert gap < 0.035


def test_a_row_without_a_number_is_decided_by_the_threshold():
    rows = individuals()
    ((_, rule),) = fit_rules(rows, goal_on(), (0.02,))
    assert isinstance(rule, ShiftedRule)
    decided = rule.decide(np.array([rule.threshold, rule.threshold - 1e-6]), np.array([-1, -1]))
    assert decided.tolist() == [1.0, 0.0]
    assert "age" in rule.describe()


def test_rows_without_a_number_do_not_move_the_rule():
    rows = individuals()
    unknown = replace(individuals(seed=9), cells=np.full(4000, -1, dtype=np.int32))
    both = ScoreRows(
        scores=np.concatenate([rows.scores, unknown.scores]),
        y=np.concatenate([rows.y, unknown.y]),
        weight=np.ones(8000),
        cells=np.concatenate([rows.cells, unknown.cells]),
        n_cells=rows.n_cells,
    )
    ((_, rule),) = fit_rules(both, goal_on(), (0.02,))
    assert measured(rule, rows, goal_on().targets[0].metric)[0] <= 0.02 + 1e-9


def test_two_numbers_are_served_at_once():
    rows = individuals()
    age = goal_on().targets[0]
    other = replace(age.system, name="income", values=np.roll(VALUES, 7))
    income = BoundConstraint(
        metric=METRICS.get("gedi_2").bound(other.values), system=other, limit=0.05
    )
    goal = Goal(targets=(age, income))
    for tolerance, rule in fit_rules(rows, goal, (0.02, 0.1)):
        assert measured(rule, rows, age.metric)[0] <= tolerance + 1e-9
        assert measured(rule, rows, income.metric)[0] <= tolerance + 1e-9


@pytest.mark.parametrize(
    "scores", [np.full(600, 0.4), np.repeat([0.0, 1.0], 300)], ids=["constant", "extreme"]
)
def test_scores_that_say_nothing_still_give_rules(scores):
    rows = replace(individuals(n_rows=600), scores=scores.astype(np.float32))
    for tolerance, rule in fit_rules(rows, goal_on(), TOLERANCES):
        assert measured(rule, rows, goal_on().targets[0].metric)[0] <= tolerance + 1e-9


def test_it_does_not_serve_groups_and_others_do_not_serve_numbers():
    groups = GroupSystem(name="sex", labels=("F", "M"), of_cell=np.array([0, 1], dtype=np.int32))
    parity = METRICS.get("demographic_parity_difference")
    on_groups = Goal(targets=(BoundConstraint(metric=parity, system=groups, limit=0.05),))
    assert not MITIGATORS.get("gedi_projection").can_serve(on_groups)
    serving = {name for name in MITIGATORS.names() if MITIGATORS.get(name).can_serve(goal_on())}
    assert serving >= {"none", "common_threshold", "gedi_projection"}
    assert serving.isdisjoint({"group_thresholds", "reweighing", "suppression", "fairgbm"})
