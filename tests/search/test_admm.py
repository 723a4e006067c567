"""Known answers of the operator splitting, and the strategy as a whole."""

import math
import re
from collections import Counter
from dataclasses import replace

import numpy as np
import pytest

from fairautoml import FairAutoML
from fairautoml.exceptions import ParameterError
from fairautoml.planning import AUTO_STRATEGY
from fairautoml.search.repeats import WithoutRepeats
from fairautoml.search.strategies import STRATEGIES
from fairautoml.search.strategies._admm_cube import Arms, Cube, from_unit, to_unit
from fairautoml.search.strategies._admm_math import (
    anchor,
    best_slack,
    coupling,
    next_copy,
    next_mu,
    normalised,
    penalty,
    residual,
)
from fairautoml.search.strategies._admm_solvers import Bandit, HalfLocal, raised_bound, reward
from fairautoml.search.strategies._admm_start import PAPER, Splitting, Start
from fairautoml.search.strategies.admm import ADMM, origins_of, outcome_of
from fairautoml.spaces import Choice, Condition, Integer, ParamSpace, Real, SearchSpace
from fairautoml.trials import Budget, Candidate, Status, Told, Trial


def told(candidate, value=0.8, gap=(), limit=(), status=Status.SUCCESS):
    return Told(
        trial=Trial(number=0, candidate=candidate, budget=Budget(folds=2)),
        status=status,
        value=value,
        violations=tuple(g - e for g, e in zip(gap, limit, strict=True)),
        seconds=0.1,
        limits=limit,
    )


def failed(candidate, status=Status.FAILED):
    result = told(candidate, value=None, status=status)
    return replace(result, violations=(math.inf,), limits=(0.1,))


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
    cube = Cube(SearchSpace(learners={"a": part}))
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

GBM = ParamSpace(
    name="gbm",
    ranges={
        "kind": Choice(values=("plain", "goss"), default="plain"),
        "rate": Real(low=1e-3, high=1.0, log=True, default=0.1),
        "leaves": Integer(low=2, high=512, log=True, default=31),
        "top": Real(low=0.0, high=0.5, default=0.1),
        "flag": Choice(values=(0, True, 1), default=1),
    },
    conditions={"top": Condition(param="kind", values=("goss",))},
)
RIDGE = ParamSpace(name="ridge", ranges={"c": Real(low=1e-4, high=1e4, log=True, default=1.0)})
FIXED = ParamSpace(name="fixed")
SPACE = SearchSpace(
    learners={"gbm": GBM, "ridge": RIDGE, "fixed": FIXED},
    encodings=("codes", "target"),
    mitigations={
        "none": ParamSpace(name="none"),
        "reweighing": ParamSpace(
            name="reweighing", ranges={"strength": Real(low=0.0, high=1.0, default=1.0)}
        ),
    },
)
MEMBERS = (
    Candidate(learner="ridge", params={"c": 0.07}, encoding="target"),
    Candidate(
        learner="gbm",
        params={"kind": "goss", "rate": 0.07, "leaves": 77, "top": 0.3, "flag": 1},
        mitigation="reweighing",
        mitigation_params={"strength": 0.3},
    ),
    Candidate(learner="ridge", params={"c": 2.5}),
)


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
    cube = Cube(SPACE)
    found = cube.read(Arms("gbm", "codes", "reweighing"), cube.middle()).candidate
    assert found.params == GBM.defaults()
    assert found.mitigation_params == {"strength": 1.0}


def test_a_located_candidate_is_read_back_to_the_last_digit():
    cube = Cube(SPACE)
    for member in MEMBERS:
        found = cube.locate(member)
        assert cube.read(found.arms, found.point).candidate.key == member.key


def test_an_absent_conditional_parameter_is_no_coordinate_of_the_candidate():
    cube = Cube(SPACE)
    plain = cube.read(Arms("gbm", "codes", "none"), np.zeros(cube.size))
    goss = cube.read(Arms("gbm", "codes", "none"), np.ones(cube.size))
    assert "top" not in plain.candidate.params
    assert (int(plain.present.sum()), int(goss.present.sum())) == (4, 5)


@pytest.mark.parametrize(
    "outside",
    [
        Candidate(learner="unknown"),
        Candidate(learner="ridge", params={"c": 1e9}),
        Candidate(learner="fixed", mitigation="unknown"),
    ],
)
def test_a_candidate_outside_the_space_has_no_place_in_the_cube(outside):
    assert Cube(SPACE).locate(outside) is None


# Small discrete problem: three algorithms with five levels each; (1, 4) is the optimum

LOSS = np.array(
    [
        [0.14, 0.13, 0.12, 0.11, 0.12],
        [0.18, 0.17, 0.16, 0.15, 0.14],
        [0.25, 0.28, 0.31, 0.34, 0.37],
    ]
)
GAP = np.array(
    [[0.28, 0.33, 0.38, 0.43, 0.48], [0.28, 0.23, 0.18, 0.13, 0.08], [0.03, 0.0, 0.0, 0.0, 0.0]]
)
LIMIT = 0.10
TINY = SearchSpace(
    learners={
        str(z): ParamSpace(name=str(z), ranges={"level": Integer(low=0, high=4, default=2)})
        for z in range(3)
    }
)
GRID = np.round(np.arange(21) * 0.05, 2)


class Grid:
    """Exact theta-min: all 21 points, the same for every coordinate."""

    def __init__(self):
        self._at = -1

    def point(self, current, incumbent):
        self._at = (self._at + 1) % len(GRID)
        return np.full(len(current), GRID[self._at])


class AllArms:
    """Exact z-min: every algorithm once."""

    bound = math.inf

    def __init__(self):
        self._at = -1

    def pull(self):
        self._at = (self._at + 1) % 3
        return Arms(str(self._at), "codes", "none")

    def learn(self, arms, value):
        pass


def place(candidate):
    return int(candidate.learner), candidate.params["level"]


class Tiny:
    """A start on the small problem, solved exactly, with the log of what it saw."""

    def __init__(self, *, rho_gap=0.01, z=0, level=2, constrained=True):
        self.cube = Cube(TINY)
        self.constrained = constrained
        self.seen = set()
        self.log = []
        splitting = Splitting(evaluations=len(GRID), growth=0, pulls=3, rho_gap=rho_gap)
        origin = self.cube.read(Arms(str(z), "codes", "none"), np.full(3, level / 4))
        self.start = Start(self.cube, splitting, origin, self.log, Grid(), AllArms())

    def iterate(self):
        """Run one iteration and return the relaxed levels that theta-min chose."""
        before = self.start.iteration
        while self.start.iteration == before:
            reading = self.start.propose()
            at = place(reading.candidate)
            self.seen.add(at)
            gap, limit = ((GAP[at],), (LIMIT,)) if self.constrained else ((), ())
            outcome = outcome_of(told(reading.candidate, 1 - LOSS[at], gap, limit), reading)
            self.log.append(outcome)
            self.start.accept(reading, outcome)
        return self.start.point

    @property
    def best(self):
        feasible = [at for at in self.seen if GAP[at] <= LIMIT]
        return min(feasible, key=lambda at: LOSS[at], default=None)


def test_the_small_discrete_problem_is_solved_in_the_known_steps():
    expected = [
        # z in, relaxed, copy, z out, level out, gap out, mu, dual
        (0, 0.50, 0.50, 0, 2, 3.8, 0.028, 0.0),
        (0, 0.35, 0.25, 1, 2, 1.8, 0.036, 0.10),
        (1, 0.65, 0.75, 1, 3, 1.3, 0.039, -0.10),
        (1, 0.90, 0.75, 1, 4, 0.8, 0.037, 0.05),
        (1, 0.90, 1.00, 1, 4, 0.8, 0.035, -0.05),
        (1, 1.00, 1.00, 1, 4, 0.8, 0.033, -0.05),
    ]
    tiny = Tiny()
    for z, relaxed, copy, z_out, level, gap, mu, dual in expected:
        assert tiny.start.arms.learner == str(z)
        point = tiny.iterate()
        assert point[z] == pytest.approx(relaxed, abs=1e-9)
        assert tiny.start.copy[z] == pytest.approx(copy, abs=1e-9)
        found = tiny.cube.read(tiny.start.arms, point).candidate
        assert place(found) == (z_out, level)
        assert GAP[place(found)] / LIMIT == pytest.approx(gap)
        assert tiny.start.mu == pytest.approx([mu], abs=1e-9)
        assert tiny.start.dual[z] == pytest.approx(dual, abs=1e-9)
        assert tiny.start.slack.tolist() == [0.0]


def test_the_constrained_optimum_of_the_small_problem_is_logged_from_the_third_iteration_on():
    tiny = Tiny()
    best = []
    for _ in range(15):
        tiny.iterate()
        best.append(tiny.best)
        if len(best) == 3:
            assert len(tiny.seen) == 11
    assert best == [(2, 2)] * 2 + [(1, 4)] * 13


def test_without_the_constraint_the_small_problem_stays_where_it_began():
    tiny = Tiny(constrained=False)
    for _ in range(15):
        tiny.iterate()
        assert place(tiny.cube.read(tiny.start.arms, tiny.start.point).candidate) == (0, 2)
    assert tiny.best == (2, 2)


def test_a_larger_penalty_reaches_the_optimum_of_the_small_problem_one_iteration_earlier():
    tiny = Tiny(rho_gap=0.5)
    tiny.iterate()
    tiny.iterate()
    assert tiny.best == (1, 4)


@pytest.mark.parametrize(
    ("rho_gap", "constrained", "expected"),
    [(0.05, True, 12), (0.1, True, 11), (0.5, True, 9), (5.0, True, 9), (0.1, False, 7)],
)
def test_not_every_start_finds_the_optimum_because_the_method_is_local(
    rho_gap, constrained, expected
):
    found = 0
    for z in range(3):
        for level in range(5):
            tiny = Tiny(rho_gap=rho_gap, z=z, level=level, constrained=constrained)
            for _ in range(15):
                tiny.iterate()
            found += (1, 4) in tiny.seen
    assert found == expected


# Stochastic toy: two modules with three algorithms, one number and one integer each

W = np.array([[0.25, 0.29, 0.77], [0.63, 0.80, 0.74]])
G = np.array([[0.56, 0.21, 0.13], [0.51, 0.47, 0.59]])
TOY_LIMIT = 0.24


def toy_part(name):
    ranges = {
        "theta": Real(low=0.0, high=1.0, default=0.5),
        "n": Integer(low=1, high=6, default=3),
    }
    return ParamSpace(name=name, ranges=ranges)


TOY = SearchSpace(
    learners={name: toy_part(name) for name in "012"},
    mitigations={name: toy_part(name) for name in "012"},
)


def toy(candidate):
    """Return loss and gap."""
    loss = gap = 0.0
    chosen = (
        (int(candidate.learner), candidate.params),
        (int(candidate.mitigation), candidate.mitigation_params),
    )
    for module, (z, params) in enumerate(chosen):
        loss += 0.5 * W[module, z] + 0.3 * (params["theta"] - 0.3) ** 2
        loss += 0.02 * (params["n"] - 3) ** 2 / 9
        gap += G[module, z] * (0.2 + abs(params["theta"] - 0.9))
    return min(max(loss, 0.0), 1.0), gap


def toy_runs(seeds, splitting, *, constrained=True, iterations=15):
    """Return the share of feasible evaluations and the best feasible loss of every run."""
    n_feasible, n_all, best = 0, 0, []
    for seed in range(seeds):
        rng = np.random.default_rng([seed, 1])
        theta = [{"theta": float(rng.random()), "n": int(rng.integers(1, 7))} for _ in range(2)]
        first = Candidate(learner="0", params=theta[0], mitigation="0", mitigation_params=theta[1])
        strategy = ADMM(TOY, seed, (first,), splitting)
        losses = []
        while strategy._starts[0].iteration < iterations:
            candidate = strategy.ask()
            loss, gap = toy(candidate)
            n_all += 1
            if gap <= TOY_LIMIT:
                losses.append(loss)
            limits = ((gap,), (TOY_LIMIT,)) if constrained else ((), ())
            strategy.tell(told(candidate, 1 - loss, *limits))
        n_feasible += len(losses)
        best.append(min(losses, default=math.inf))
    return n_feasible / n_all, best


LONG = Splitting(evaluations=16, growth=0, pulls=16, starts=1)


def test_the_constraint_steers_the_search_and_too_large_a_penalty_is_worse():
    share, best = toy_runs(20, LONG)
    free_share, _ = toy_runs(20, LONG, constrained=False)
    _, stiff = toy_runs(20, replace(LONG, rho_gap=50.0))
    assert share >= 8 * free_share
    assert max(best) < math.inf
    assert np.mean(best) < 0.60
    assert np.mean(stiff) > np.mean(best) + 0.01


@pytest.mark.slow
@pytest.mark.parametrize(
    ("rho_gap", "worst"), [(0.01, 0.60), (0.05, 0.60), (0.1, 0.60), (0.5, 0.60), (5.0, 0.61)]
)
def test_fitting_the_slack_again_changes_the_loss_of_the_toy_hardly(rho_gap, worst):
    once = toy_runs(100, replace(LONG, rho_gap=rho_gap))[1]
    again = toy_runs(100, replace(LONG, rho_gap=rho_gap, refit_slack=True))[1]
    assert max(once + again) < math.inf
    assert np.mean(once) < worst
    assert abs(np.mean(once) - np.mean(again)) <= 0.002


def toy_best(make, seed, n_trials):
    """Return the best feasible loss of a run in which no candidate is tried twice."""
    strategy = WithoutRepeats(make(TOY, seed, []))
    losses = [0.8]
    for _ in range(n_trials):
        candidate = strategy.ask()
        loss, gap = toy(candidate)
        losses.append(loss if gap <= TOY_LIMIT else 0.8)
        strategy.tell(told(candidate, 1 - loss, (gap,), (TOY_LIMIT,)))
    return min(losses)


def test_sixty_trials_with_the_short_budgets_do_better_than_random_search():
    mean = {
        name: np.mean([toy_best(STRATEGIES.get(name), seed, 60) for seed in range(15)])
        for name in ("admm", "random")
    }
    assert mean["admm"] < mean["random"] - 0.03


# The strategy: phases, failures, repeats


def ask_all(strategy):
    """Ask until the strategy waits."""
    found = []
    while (candidate := strategy.ask()) is not None:
        found.append(candidate)
    return found


ONE_START = Splitting(evaluations=6, growth=3, most=10, pulls=4, starts=1)


def test_the_first_candidates_come_first_and_verbatim_also_one_outside_the_space():
    first = (*MEMBERS, Candidate(learner="unknown"))
    strategy = ADMM(SPACE, 0, first)
    assert [strategy.ask().key for _ in first] == [one.key for one in first]
    strategy.tell(told(first[-1]))
    assert strategy.ask().learner in SPACE.learners


def test_starts_follow_the_first_candidates_then_the_order_of_the_space():
    cube = Cube(SPACE)
    origins = origins_of(cube, MEMBERS)
    assert [one.arms for one in origins] == [
        Arms("ridge", "target", "none"),
        Arms("gbm", "codes", "reweighing"),
        Arms("fixed", "codes", "none"),
    ]
    assert [one.candidate.key for one in origins[:2]] == [MEMBERS[0].key, MEMBERS[1].key]
    assert [one.arms.learner for one in origins_of(cube, ())] == ["gbm", "ridge", "fixed"]


def test_the_rest_of_a_phase_may_be_asked_for_and_the_next_phase_waits_for_its_results():
    strategy = ADMM(SPACE, 0, (), ONE_START)
    phase = ask_all(strategy)
    assert len(phase) == 6
    assert {one.learner for one in phase} == {"gbm"}
    assert phase[0].params == GBM.defaults()
    for candidate in phase[1:]:
        strategy.tell(told(candidate, gap=(0.1,), limit=(0.05,)))
        assert strategy.ask() is None
    strategy.tell(told(phase[0], gap=(0.1,), limit=(0.05,)))
    assert strategy.ask() is not None


def test_theta_min_grows_by_its_increment_up_to_the_most():
    strategy = ADMM(SearchSpace(learners={"ridge": RIDGE}), 0, (), ONE_START)
    sizes = []
    for _ in range(4):
        phase = ask_all(strategy)
        sizes.append(len(phase))
        for candidate in phase:
            strategy.tell(told(candidate))
    # With a single learner the pulls of z-min are all known, so each ask is a whole theta-min.
    assert sizes == [6, 9, 10, 10]


def test_another_start_goes_on_while_the_first_one_waits():
    strategy = ADMM(SPACE, 0, (), replace(ONE_START, starts=2))
    assert Counter(one.learner for one in ask_all(strategy)) == {"gbm": 6, "ridge": 6}


def test_the_order_in_which_a_phase_is_told_does_not_matter():
    spaces = SearchSpace(learners={"ridge": RIDGE})
    found = []
    for order in (1, -1):
        strategy = ADMM(spaces, 0, (), ONE_START)
        for candidate in ask_all(strategy)[::order]:
            strategy.tell(told(candidate, 1 / (1 + candidate.params["c"])))
        found.append([one.key for one in ask_all(strategy)])
    assert found[0] == found[1]


def test_a_phase_of_failures_changes_neither_the_point_nor_the_duals():
    strategy = ADMM(SPACE, 0, (), ONE_START)
    start = strategy._starts[0]
    arms, point = start.arms, start.point
    statuses = [status for status in Status if status is not Status.SUCCESS]
    for number in range(40):
        strategy.tell(failed(strategy.ask(), statuses[number % len(statuses)]))
    assert start.iteration >= 2
    assert (start.arms, start.mu.tolist()) == (arms, 0.0)
    assert start.point is point
    assert start._bandit._wins[0].sum() == 0


def test_one_success_among_failures_is_where_theta_min_goes():
    strategy = ADMM(SearchSpace(learners={"ridge": RIDGE}), 0, (), ONE_START)
    phase = ask_all(strategy)
    for candidate in phase:
        good = candidate is phase[3]
        strategy.tell(told(candidate, 0.1, (0.3,), (0.1,)) if good else failed(candidate))
    start = strategy._starts[0]
    assert strategy._cube.read(start.arms, start.point).candidate.key == phase[3].key


def test_a_known_point_is_answered_from_the_log():
    strategy = ADMM(SPACE, 0, MEMBERS)
    seen = set()
    for _ in range(80):
        candidate = strategy.ask()
        assert candidate.key not in seen
        seen.add(candidate.key)
        strategy.tell(told(candidate, 0.7, (0.1,), (0.05,)))


def test_a_lost_trial_may_be_asked_for_again_and_a_failed_one_not():
    space = SearchSpace(
        learners={"a": ParamSpace(name="a", ranges={"n": Integer(low=1, high=3, default=2)})}
    )
    for status, again in ((Status.LOST, True), (Status.CRASHED, False)):
        strategy = ADMM(space, 0, ())
        first = strategy.ask()
        strategy.tell(failed(first, status))
        later = []
        for _ in range(2):
            later.append(strategy.ask())
            strategy.tell(told(later[-1]))
        assert (first in later) is again


def test_a_space_with_nothing_new_left_is_repeated_not_searched_forever():
    strategy = ADMM(SearchSpace(learners={"fixed": FIXED}), 0, ())
    for _ in range(3):
        candidate = strategy.ask()
        assert candidate == Candidate(learner="fixed")
        strategy.tell(told(candidate))


def test_a_start_that_finds_nothing_new_begins_elsewhere_and_the_search_goes_on():
    space = SearchSpace(learners={"fixed": FIXED, "ridge": RIDGE})
    strategy = WithoutRepeats(ADMM(space, 0, ()))
    tried = Counter()
    for _ in range(60):
        candidate = strategy.ask()
        tried[candidate.learner] += 1
        strategy.tell(told(candidate, 0.9 if candidate.learner == "fixed" else 0.2))
    assert tried == {"fixed": 1, "ridge": 59}


def test_a_small_space_is_searched_to_its_last_candidate():
    strategy = WithoutRepeats(ADMM(TINY, 0, ()))
    seen = set()
    while (candidate := strategy.ask()) is not None:
        seen.add(place(candidate))
        strategy.tell(told(candidate, 1 - LOSS[place(candidate)]))
    assert len(seen) == 15


def test_a_result_that_was_not_asked_for_changes_nothing():
    strategy = ADMM(SPACE, 0, ())
    strategy.tell(told(MEMBERS[0]))
    assert strategy._log == []


def test_every_start_hears_of_the_results_that_others_asked_for():
    cube = Cube(SPACE)
    heard = []

    class Spy(HalfLocal):
        def point(self, current, incumbent):
            heard.append(incumbent)
            return super().point(current, incumbent)

    rng = np.random.default_rng(0)
    arms = Arms("ridge", "codes", "none")
    bandit = Bandit(cube.modules, rng, 0.7)
    start = Start(cube, ONE_START, cube.read(arms, cube.middle()), [], Spy(rng), bandit)
    elsewhere = cube.locate(Candidate(learner="ridge", params={"c": 55.0}))
    foreign = cube.locate(MEMBERS[1])
    for reading, value in ((foreign, 0.9), (elsewhere, 0.8)):
        start.offer(outcome_of(told(reading.candidate, value), reading))
    start.propose()
    assert heard[0] == pytest.approx(start._at_rest(elsewhere))


def test_an_outcome_is_measured_in_units_of_the_limits():
    reading = Cube(SPACE).locate(MEMBERS[0])
    found = outcome_of(told(MEMBERS[0], 0.8, (0.43, 0.0), (0.1, 0.05)), reading)
    assert found.loss == pytest.approx(0.2)
    assert found.gap == pytest.approx([4.3, 0.0])
    assert found.limit.tolist() == [1.0, 1.0]


def test_without_limits_a_violation_counts_as_a_gap_that_must_vanish():
    reading = Cube(SPACE).locate(MEMBERS[0])
    result = replace(told(MEMBERS[0]), violations=(0.03, -0.2))
    found = outcome_of(result, reading)
    assert found.gap == pytest.approx([3.0, 0.0])
    assert found.limit.tolist() == [0.0, 0.0]


@pytest.mark.parametrize(
    "changes",
    [
        {"status": Status.TIMEOUT},
        {"value": None},
        {"value": math.nan},
        {"violations": (math.inf,)},
    ],
)
def test_a_failure_or_an_unknown_gap_is_no_outcome(changes):
    result = replace(told(MEMBERS[0], 0.8, (0.1,), (0.05,)), **changes)
    assert outcome_of(result, Cube(SPACE).locate(MEMBERS[0])) is None


def test_a_loss_above_the_bound_raises_it_so_that_arms_can_be_told_apart():
    strategy = ADMM(SPACE, 0, (), ONE_START)
    for number in range(40):
        strategy.tell(told(strategy.ask(), -1.0 - number / 100))
    assert 2.0 < strategy._starts[0]._bandit.bound < 2.4


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"rho": 0.0}, "rho must be more than 0; found 0.0; leave it out for 1.0"),
        ({"rho_gap": -1.0}, "rho_gap must be more than 0; found -1.0; leave it out for 0.1"),
        ({"bound": 0.0}, "bound must be more than 0; found 0.0; leave it out for 0.7"),
        ({"evaluations": 0}, "evaluations must be at least 1; found 0; leave it out for 4"),
        ({"pulls": 0}, "pulls must be at least 1; found 0; leave it out for 6"),
        ({"starts": 0}, "starts must be at least 1; found 0; leave it out for 2"),
        ({"growth": -1}, "growth must be at least 0; found -1; leave it out for 2"),
    ],
)
def test_a_number_outside_its_range_is_refused(change, message):
    with pytest.raises(ParameterError, match=re.escape(message)):
        Splitting(**change)


def test_the_budgets_of_the_paper_are_kept_under_their_name():
    assert (PAPER.evaluations, PAPER.growth, PAPER.most, PAPER.pulls) == (16, 8, 128, 16)
    assert (PAPER.rho, PAPER.bound) == (1.0, 0.7)


def test_a_whole_run_with_admm_is_told_the_limits_and_gives_a_model(monkeypatch):
    heard = []
    tell = ADMM.tell

    def spy(self, result):
        heard.append(result)
        tell(self, result)

    monkeypatch.setattr(ADMM, "tell", spy)
    rng = np.random.default_rng(0)
    X = rng.normal(size=(400, 3))
    sensitive = rng.choice(["a", "b"], size=400)
    y = (X[:, 0] + 0.8 * (sensitive == "a") + rng.normal(size=400) > 0).astype(int)
    model = FairAutoML(
        constraint="demographic_parity_difference <= 0.1",
        learners=["logistic_regression", "extra_trees"],
        strategy="admm",
        n_trials=12,
        time_budget=None,
        n_jobs=1,
        random_state=0,
    )
    model.fit(X, y, sensitive=sensitive)
    assert set(model.predict(X[:20], sensitive=sensitive[:20])) <= {0, 1}
    assert len(heard) >= 11
    # The limit of the search may be tighter than the user's: it leaves room for new rows.
    assert all(len(one.limits) == 1 and 0 < one.limits[0] <= 0.1 for one in heard)


def test_auto_never_chooses_admm():
    assert AUTO_STRATEGY != "admm"
