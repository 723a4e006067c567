import math
from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
from admm_cases import GBM, MEMBERS, SPACE

from fairautoml.records import Config
from fairautoml.search.space import Choice, Integer, ParamSpace, SearchSpace
from fairautoml.search.strategies._admm import (
    Arms,
    Bandit,
    HalfLocal,
    UnitHypercube,
    anchor,
    best_slack,
    coupling,
    from_unit,
    next_copy,
    next_mu,
    normalised,
    penalty,
    raised_bound,
    residual,
    reward,
    to_unit,
)

# Slack, penalty, duals


@pytest.mark.parametrize(
    ("gap", "limit", "mu", "rho", "slack", "bracket", "cost", "mu_next"),
    [
        (0.03, 0.10, 0.0, 1.0, 0.07, 0.0, 0.0, 0.0),
        (0.25, 0.10, 0.0, 1.0, 0.0, 0.15, 0.01125, 0.15),
        (0.05, 0.10, 0.02, 1.0, 0.03, 0.0, 0.0, 0.0),
        (0.05, 0.10, 0.2, 1.0, 0.0, 0.15, 0.01125, 0.15),
        (0.05, 0.10, 0.2, 10.0, 0.03, 0.0, 0.0, 0.0),
        (0.25, 0.10, 0.2, 10.0, 0.0, 0.17, 0.1445, 1.7),
        (0.02, 0.10, -0.5, 10.0, 0.10, -0.03, 0.0045, -0.3),
        (2.5, 1.0, 3.0, 10.0, 0.0, 1.8, 16.2, 18.0),
        (0.04, 0.0, 0.0, 1.0, 0.0, 0.04, 0.0008, 0.04),
    ],
)
def test_slack_penalty_and_dual_have_their_known_values(
    gap, limit, mu, rho, slack, bracket, cost, mu_next
):
    gap, limit, mu = (np.array([number]) for number in (gap, limit, mu))
    found = best_slack(gap, limit, mu, rho)
    assert found == pytest.approx([slack], abs=1e-9)
    assert residual(gap, limit, found, mu, rho) == pytest.approx([bracket], abs=1e-9)
    assert penalty(gap, limit, found, mu, rho) == pytest.approx(cost, abs=1e-9)
    assert next_mu(gap, limit, found, mu, rho) == pytest.approx([mu_next], abs=1e-9)


def test_no_slack_in_its_interval_makes_the_penalty_smaller_than_the_closed_form():
    rng = np.random.default_rng(0)
    n = 20_000
    limit, gap = rng.random(n), rng.uniform(-0.5, 2.0, n)
    mu, rho = 2 * rng.normal(size=n), 10 ** rng.uniform(-2, 2, n)
    found = residual(gap, limit, best_slack(gap, limit, mu, rho), mu, rho)
    closed = np.maximum(0, gap - limit + mu / rho) + np.minimum(0, gap + mu / rho)
    assert found == pytest.approx(closed, abs=1e-9)
    smallest = np.full(n, np.inf)
    for share in np.linspace(0, 1, 2001):
        smallest = np.minimum(smallest, residual(gap, limit, share * limit, mu, rho) ** 2)
    assert (found**2 <= smallest + 1e-9).all()


def test_the_penalties_of_several_constraints_add_up():
    gap, limit, mu = np.array([0.25, 0.05]), np.array([0.1, 0.1]), np.array([0.0, 0.2])
    slack = best_slack(gap, limit, mu, 1.0)
    assert penalty(gap, limit, slack, mu, 1.0) == pytest.approx(2 * 0.01125)


def test_gaps_are_measured_in_units_of_their_limits_and_of_a_hundredth_without():
    gap, limit = normalised(np.array([0.43, 0.02]), np.array([0.10, 0.0]))
    assert gap == pytest.approx([4.3, 2.0])
    assert limit.tolist() == [1.0, 0.0]


@pytest.mark.parametrize(
    ("relaxed", "dual", "rho", "copy", "dual_next", "b"),
    [
        (2.3, 0.4, 1.0, 3.0, -0.3, 3.3),
        (6.0, 0.8, 1.0, 6.0, 0.8, 5.2),
        (2.3, 0.4, 0.5, 3.0, 0.05, 2.9),
    ],
)
def test_integer_copies_and_their_duals_have_their_known_values(
    relaxed, dual, rho, copy, dual_next, b
):
    found = next_copy(
        np.array([relaxed]), np.array([dual]), rho, lambda at: np.round(np.clip(at, 1, 6))
    )
    assert found[0] == pytest.approx([copy], abs=1e-9)
    assert found[1] == pytest.approx([dual_next], abs=1e-9)
    assert anchor(*found, rho) == pytest.approx([b], abs=1e-9)


def test_the_same_integer_scaled_to_the_unit_interval_takes_the_same_step():
    part = ParamSpace(name="a", ranges={"n": Integer(low=1, high=6, default=3)})
    cube = UnitHypercube(SearchSpace(learners={"a": part}))
    copy, dual = next_copy(np.array([1.3 / 5]), np.array([0.4 / 5]), 1.0, cube.nearest)
    assert 1 + 5 * copy == pytest.approx([3.0])
    assert 5 * dual == pytest.approx([-0.3])


def test_the_coupling_costs_half_rho_times_the_squared_distance_from_its_anchor():
    relaxed, copy, dual = np.array([0.35]), np.array([0.5]), np.array([0.1])
    assert coupling(relaxed, copy, dual, 2.0) == pytest.approx((0.35 - 0.45) ** 2)


# Bandit and sampler


@pytest.mark.parametrize(
    ("value", "expected"), [(0.35, 0.5), (0.9, 0.0), (-0.1, 1.0), (math.inf, 0.0)]
)
def test_the_reward_falls_from_one_at_no_loss_to_zero_at_the_bound(value, expected):
    assert reward(value, 0.7) == pytest.approx(expected)


def test_the_bandit_comes_to_prefer_the_better_arm_of_every_module():
    modules = (("a", "b", "c"), ("codes",), ("none", "reweighing"))
    bandit = Bandit(modules, np.random.default_rng(0), 0.7)
    for _ in range(300):
        arms = bandit.pull()
        bandit.learn(arms, 0.1 + 0.5 * (arms.learner != "b") + 0.4 * (arms.mitigation == "none"))
    last = Counter(bandit.pull() for _ in range(200))
    assert last[Arms("b", "codes", "reweighing")] > 150


def test_an_arm_that_only_failed_is_pulled_less_than_one_that_is_unknown():
    bandit = Bandit((("a", "b"), ("codes",), ("none",)), np.random.default_rng(0), 0.7)
    for _ in range(100):
        bandit.learn(Arms("a", "codes", "none"), math.inf)
    assert sum(bandit.pull().learner == "a" for _ in range(200)) < 5


def test_the_bound_rises_to_the_median_only_when_no_pull_was_worth_anything():
    assert raised_bound(0.7, [0.9, 1.4, math.inf], [1.0, 2.0, 3.0]) == 2.0
    assert raised_bound(0.7, [0.9, 0.6], [1.0, 2.0, 3.0]) == 0.7
    assert raised_bound(0.7, [math.inf], [0.1, 0.2]) == 0.7
    assert raised_bound(0.7, [math.inf], []) == 0.7


def test_the_sampler_begins_where_it_stands_when_nothing_is_known():
    solver = HalfLocal(np.random.default_rng(0))
    current = np.array([0.2, 0.7])
    assert solver.point(current, None).tolist() == [0.2, 0.7]
    assert solver.point(current, None).tolist() != [0.2, 0.7]


def test_half_of_the_sampled_points_lie_near_the_incumbent_and_all_in_the_cube():
    solver = HalfLocal(np.random.default_rng(0))
    incumbent = np.array([0.5, 0.98, 0.3])
    points = np.array([solver.point(incumbent, incumbent) for _ in range(400)])
    near = np.abs(points - incumbent).max(axis=1)
    assert np.median(near[1::2]) < 0.2 < np.median(near[0::2])
    assert points.min() >= 0
    assert points.max() == 1.0


# The cube


@pytest.mark.parametrize("log", [False, True])
def test_every_integer_comes_back_from_its_coordinate(log):
    allowed = Integer(low=2, high=512, log=log, default=31)
    units = [to_unit(allowed, n) for n in range(2, 513)]
    assert [from_unit(allowed, unit) for unit in units] == list(range(2, 513))
    assert (units[0], units[-1]) == (0.0, 1.0)


def test_a_logarithmic_integer_is_rounded_to_the_level_whose_coordinate_is_nearest():
    allowed = Integer(low=2, high=512, log=True, default=31)
    levels = np.array([to_unit(allowed, n) for n in range(2, 513)])
    for unit in np.random.default_rng(0).random(500):
        assert from_unit(allowed, unit) == 2 + np.abs(levels - unit).argmin()


def test_a_choice_with_one_value_has_a_coordinate_too():
    allowed = Choice(values=("only",), default="only")
    assert from_unit(allowed, to_unit(allowed, "only")) == "only"
    assert from_unit(allowed, 1.0) == "only"


def test_values_that_are_equal_but_of_another_type_keep_their_own_coordinates():
    allowed = GBM.ranges["flag"]
    found = [from_unit(allowed, to_unit(allowed, value)) for value in (0, True, 1)]
    assert [(type(value), value) for value in found] == [(int, 0), (bool, True), (int, 1)]


def test_the_middle_of_the_cube_is_read_as_the_defaults_to_the_last_digit():
    cube = UnitHypercube(SPACE)
    found = cube.read(Arms("gbm", "codes", "reweighing"), cube.middle()).config
    assert found.params == GBM.defaults()
    assert found.mitigation_params == {"strength": 1.0}


def test_a_learner_without_native_categories_is_read_with_codes():
    space = replace(SPACE, encodings=("codes", "native"), native_learners=("gbm",))
    cube = UnitHypercube(space)
    read = [cube.read(Arms(name, "native", "none"), cube.middle()) for name in ("gbm", "ridge")]
    assert [one.config.encoding for one in read] == ["native", "codes"]
    assert [one.arms.encoding for one in read] == ["native", "codes"]


def test_the_nearest_levels_of_points_outside_the_cube_are_its_faces():
    cube = UnitHypercube(SearchSpace(learners={"gbm": GBM}))
    assert cube.nearest(np.full(cube.size, 1.8)).tolist() == [1.0] * cube.size
    assert cube.nearest(np.full(cube.size, -0.8)).tolist() == [0.0] * cube.size


def test_a_located_candidate_is_read_back_to_the_last_digit():
    cube = UnitHypercube(SPACE)
    for member in MEMBERS:
        found = cube.locate(member)
        assert cube.read(found.arms, found.point).config.key == member.key


def test_an_absent_conditional_parameter_is_no_coordinate_of_the_candidate():
    cube = UnitHypercube(SPACE)
    plain = cube.read(Arms("gbm", "codes", "none"), np.zeros(cube.size))
    goss = cube.read(Arms("gbm", "codes", "none"), np.ones(cube.size))
    assert "top" not in plain.config.params
    assert (int(plain.present.sum()), int(goss.present.sum())) == (4, 5)


@pytest.mark.parametrize(
    "outside",
    [
        Config(learner="unknown"),
        Config(learner="ridge", params={"c": 1e9}),
        Config(learner="fixed", mitigation="unknown"),
    ],
)
def test_a_candidate_outside_the_space_has_no_place_in_the_cube(outside):
    assert UnitHypercube(SPACE).locate(outside) is None
