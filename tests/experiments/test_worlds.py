"""The virtual-clock assertions of search_and_allocation.md, section 9.6, through the real loop."""

from functools import cache

import numpy as np
import pytest

from allocators.random_mitigation import RandomMitigation
from allocators.retrying import RetryingMitigateAfter
from allocators.worlds import MITIGATION, World, area, play
from fairautoml.execution.virtual import VirtualExecutor
from fairautoml.records import Fidelity, MitigationOption, Terms
from fairautoml.search.allocators import ALLOCATORS
from fairautoml.search.allocators._expected_gain import Rules
from fairautoml.search.allocators.cost_aware import CostAware
from fairautoml.search.allocators.mitigate_after import MitigateAfter

RULES = ("cost_aware_simple", "cost_aware")
SEEDS = 40


def terms(prior):
    costly = MitigationOption(name=MITIGATION, ratio=prior)
    return Terms(fidelity=Fidelity(folds=1), n_train_rows=1000, mitigations=(costly,))


@cache
def means(name, ratio, prior, n_seeds=SEEDS):
    """Return the mean over seeds of the final loss and of the area."""
    found = []
    for seed in range(n_seeds):
        if name == "random":
            allocator = RandomMitigation(terms(prior), probability=0.05, seed=seed)
        else:
            allocator = ALLOCATORS.get(name)(terms(prior))
        outcome = play(World(seed, ratio), allocator, with_plain=ratio < 1)
        found.append((outcome.final, area(outcome.trace)))
    return np.mean(found, axis=0)


@pytest.mark.parametrize("rule", RULES)
def test_a_rule_ends_better_than_always_and_never_mitigating(rule):
    final, _ = means(rule, 50, 50, 20)
    assert final <= means("mitigate_always", 50, 50, 20)[0] - 0.03
    assert final <= means("mitigate_never", 50, 50, 20)[0] - 0.03


@pytest.mark.slow
@pytest.mark.parametrize("rule", RULES)
def test_at_ratio_50_a_rule_beats_always_and_after(rule):
    found, always, after = (
        means(name, 50, 50) for name in (rule, "mitigate_always", "mitigate_after")
    )
    assert found[0] <= always[0] - 0.03
    assert found[0] <= after[0] - 0.004
    assert found[1] <= always[1] - 0.008
    assert found[1] <= after[1] - 0.02


@pytest.mark.slow
def test_at_ratio_50_the_simple_rule_beats_dice():
    assert means("cost_aware_simple", 50, 50)[0] <= means("random", 50, 50)[0] - 0.005


@pytest.mark.slow
def test_at_ratio_190_the_full_rule_beats_always_and_an_after_that_knows_the_ratio():
    found = means("cost_aware", 190, 50)[0]
    assert found <= means("mitigate_always", 190, 50)[0] - 0.05
    assert found <= means("mitigate_after", 190, 190)[0] - 0.003


@pytest.mark.slow
def test_at_ratio_190_the_simple_rule_beats_always_and_ties_with_an_after_that_knows_it():
    found = means("cost_aware_simple", 190, 50)[0]
    assert found <= means("mitigate_always", 190, 50)[0] - 0.04
    assert found <= 1.05 * means("mitigate_after", 190, 190)[0]


@pytest.mark.slow
@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("prior", [0.1, 50])
def test_a_mitigation_that_is_nearly_free_costs_a_rule_little_against_always(rule, prior):
    assert means(rule, 0.1, prior)[0] <= 1.05 * means("mitigate_always", 0.1, prior)[0]


@pytest.mark.slow
@pytest.mark.parametrize("rule", RULES)
def test_with_the_right_guess_a_rule_is_as_fast_as_always_mitigating_for_nearly_nothing(rule):
    assert means(rule, 0.1, 0.1)[1] <= 1.05 * means("mitigate_always", 0.1, 0.1)[1]


@pytest.mark.slow
@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("ratio", [0.1, 50, 190])
def test_with_the_usual_guess_a_rule_ends_better_than_never_mitigating(rule, ratio):
    assert means(rule, ratio, 50)[0] <= means("mitigate_never", ratio, 50)[0] - 0.03


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("ratio", [0.1, 50, 190])
def test_mitigations_never_cost_more_than_the_search_and_one_mitigation(rule, ratio):
    for seed in range(3):
        outcome = play(World(seed, ratio), ALLOCATORS.get(rule)(terms(50)))
        assert outcome.n_mitigations > 0
        assert outcome.most_over <= 0


def test_without_the_cap_they_do():
    outcome = play(World(0, 190), CostAware(terms(50), Rules(cap=False)))
    assert outcome.most_over > 0


class _Constant(World):
    """Everything costs the same, plain models are unfair and mitigated ones fair."""

    def __init__(self, seed):
        super().__init__(seed, 50)
        self.fair[:] = False
        self.mitigated_fair[:] = True
        self.seconds[:] = 4.0
        self.mitigated_seconds[:] = 200.0


@pytest.mark.parametrize("budget", [220.0, 260.0, 300.0])
@pytest.mark.parametrize("test", ["simple", "full"])
def test_the_last_chance_is_all_that_gives_a_fair_model_when_one_mitigation_fits(test, budget):
    for seed in range(20):
        with_it = CostAware(terms(50), Rules(test=test))
        without = CostAware(terms(50), Rules(test=test, last_chance=False))
        outcome = play(_Constant(seed), with_it, budget=budget)
        assert outcome.n_mitigations == 1
        assert outcome.final < 0.5
        assert play(_Constant(seed), without, budget=budget).final == 0.5


def test_after_mitigates_once_at_the_end_and_on_demand_goes_down_the_list():
    world = _Constant(0)
    world.mitigated_fair[:] = False
    world.mitigated_seconds[:] = 10.0
    once = play(world, MitigateAfter(terms(12.5)), budget=600.0)
    again = play(world, RetryingMitigateAfter(terms(12.5)), budget=600.0)
    # 540 s of search leave 1.2 x 50 s; then 10 s prove to be enough, again and again.
    assert (once.search_seconds, once.n_mitigations) == (540.0, 1)
    assert (again.search_seconds, again.n_mitigations) == (540.0, 4)


def test_where_a_trial_waits_for_the_running_one_no_mitigation_is_begun_too_late(monkeypatch):
    monkeypatch.setattr(VirtualExecutor, "queued", 1)
    rules = Rules(test="greedy", early=False, cap=False, prune=False)
    for budget in (700.0, 800.0, 815.0):
        outcome = play(_Constant(0), CostAware(terms(50), rules), budget=budget)
        assert (outcome.n_mitigations, outcome.mitigation_seconds) == (3, 600.0)


def test_after_leaves_enough_time_for_its_mitigation():
    outcome = play(_Constant(0), MitigateAfter(terms(50)), budget=600.0)
    assert outcome.final < 0.5
    assert outcome.search_seconds == 600.0 - 1.2 * 200.0


def test_two_workers_find_as_much_in_the_same_time_and_keep_within_it():
    for seed in range(5):
        one = play(World(seed, 50), CostAware(terms(50)), budget=600.0)
        two = play(World(seed, 50), CostAware(terms(50)), budget=600.0, n_workers=2)
        assert two.n_trials > one.n_trials
        assert two.trace[-1][0] <= 600.0


def test_the_same_world_is_played_the_same_way_twice():
    first, second = (play(World(3, 50), CostAware(terms(50)), budget=900.0) for _ in range(2))
    assert first.trace == second.trace


def test_the_area_is_the_mean_loss_over_logarithmic_time():
    assert area([]) == 0.5
    assert area([(0.0, 0.2)]) == pytest.approx(0.2)
    half = area([(float(np.sqrt(5 * 3600)), 0.2)])
    assert half == pytest.approx(0.35, abs=0.003)
