"""Two problems with known answers, from the first iterate to the best feasible evaluation."""

import math
from dataclasses import replace

import numpy as np
import pytest
from admm_cases import GAP, LIMIT, LOSS, TINY, place, scored
from mixed_problems import MixedProblem, best_loss

from fairautoml.records import Config
from fairautoml.search.loop import Proposals
from fairautoml.search.space import Integer, ParamSpace, Real, SearchSpace
from fairautoml.search.strategies import STRATEGIES
from fairautoml.search.strategies._admm import Arms, Splitting, Start, UnitHypercube
from fairautoml.search.strategies.admm import ADMM, outcome_of

# Small discrete problem: three algorithms with five levels each; (1, 4) is the optimum

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


class Tiny:
    """A start on the small problem, solved exactly, with the log of what it saw."""

    def __init__(self, *, rho_gap=0.01, z=0, level=2, constrained=True):
        self.cube = UnitHypercube(TINY)
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
            at = place(reading.config)
            self.seen.add(at)
            gap, limit = ((GAP[at],), (LIMIT,)) if self.constrained else ((), ())
            outcome = outcome_of(scored(reading.config, 1 - LOSS[at], gap, limit), reading)
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
        found = tiny.cube.read(tiny.start.arms, point).config
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
        assert place(tiny.cube.read(tiny.start.arms, tiny.start.point).config) == (0, 2)
    assert tiny.best == (2, 2)


def test_a_larger_penalty_reaches_the_optimum_of_the_small_problem_one_iteration_earlier():
    tiny = Tiny(rho_gap=0.5)
    tiny.iterate()
    tiny.iterate()
    assert tiny.best == (1, 4)


@pytest.mark.parametrize(
    ("rho_gap", "constrained", "expected"),
    [(0.1, True, 11), (0.5, True, 9), (0.1, False, 7)],
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


def toy(config):
    """Return loss and gap."""
    loss = gap = 0.0
    chosen = (
        (int(config.learner), config.params),
        (int(config.mitigation), config.mitigation_params),
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
        first = Config(learner="0", params=theta[0], mitigation="0", mitigation_params=theta[1])
        strategy = ADMM(TOY, seed, (first,), splitting)
        losses = []
        while strategy._starts[0].iteration < iterations:
            config = strategy.ask()
            loss, gap = toy(config)
            n_all += 1
            if gap <= TOY_LIMIT:
                losses.append(loss)
            limits = ((gap,), (TOY_LIMIT,)) if constrained else ((), ())
            strategy.tell(scored(config, 1 - loss, *limits))
        n_feasible += len(losses)
        best.append(min(losses, default=math.inf))
    return n_feasible / n_all, best


LONG = Splitting(evaluations=16, growth=0, pulls=16, starts=1, modelled=False)


def test_the_constraint_steers_the_search():
    share, best = toy_runs(8, LONG)
    free_share, _ = toy_runs(8, LONG, constrained=False)
    assert share >= 8 * free_share
    assert max(best) < math.inf
    assert np.mean(best) < 0.60


@pytest.mark.slow
def test_too_large_a_penalty_is_worse():
    best, stiff = (toy_runs(20, one)[1] for one in (LONG, replace(LONG, rho_gap=50.0)))
    assert np.mean(stiff) > np.mean(best) + 0.01


@pytest.mark.slow
@pytest.mark.parametrize(("rho_gap", "worst"), [(0.1, 0.585), (5.0, 0.6)])
def test_the_loss_of_the_toy_is_low_whatever_the_penalty(rho_gap, worst):
    losses = toy_runs(40, replace(LONG, rho_gap=rho_gap))[1]
    assert max(losses) < math.inf
    assert np.mean(losses) < worst


def toy_best(make, seed, n_trials):
    """Return the best feasible loss of a run in which no candidate is tried twice."""
    strategy = Proposals(make(TOY, seed, []))
    losses = [0.8]
    for _ in range(n_trials):
        config = strategy.ask()
        loss, gap = toy(config)
        losses.append(loss if gap <= TOY_LIMIT else 0.8)
        strategy.tell(scored(config, 1 - loss, (gap,), (TOY_LIMIT,)))
    return min(losses)


def test_sixty_trials_with_the_short_budgets_do_better_than_random_search():
    mean = {
        name: np.mean([toy_best(STRATEGIES.get(name), seed, 60) for seed in range(6)])
        for name in ("admm", "random")
    }
    assert mean["admm"] < mean["random"] - 0.03


@pytest.mark.slow
def test_a_hundred_trials_on_mixed_problems_do_better_than_random_search_and_nsga2():
    names = ("admm", "optuna_nsga2", "random")
    problems = [MixedProblem(seed) for seed in range(30)]
    mean = {
        name: np.mean(
            [best_loss(STRATEGIES.get(name), each, seed) for seed, each in enumerate(problems)]
        )
        for name in names
    }
    assert mean["admm"] <= mean["optuna_nsga2"]
    assert mean["admm"] < mean["random"] - 0.004
