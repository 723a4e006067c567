"""Known answers of search_and_allocation.md, section 9.3."""

import math

import pytest
from allocator_cases import FULL, plain, scored

from fairautoml.records import Config, MitigationOption, TrialState
from fairautoml.search.allocators._expected_gain import AllocatorState, Arm, Base, Rules, choose

BARE = Rules(early=False)


def memory_with(*bases, ratio=50.0):
    memory = AllocatorState((MitigationOption(name="costly0", ratio=ratio),), FULL)
    for number, (loss, seconds) in enumerate(bases):
        memory.record(scored(plain(number), loss=loss, seconds=seconds))
    return memory


def arm_after(*, base_seconds, seconds, ratio=50.0):
    arm = Arm(MitigationOption(name="costly0", ratio=ratio))
    for plain_seconds, mitigated_seconds in zip(base_seconds, seconds, strict=True):
        base = Base(Config(learner="fake"), 0.2, plain_seconds)
        arm.learn(base, scored(plain(0), gap=-0.01, seconds=mitigated_seconds))
    return arm


@pytest.mark.parametrize(("ratio", "mitigates"), [(50.0, True), (70.0, False)])
def test_the_simple_rule_mitigates_what_costs_no_more_than_an_improvement(ratio, mitigates):
    memory = memory_with((0.2, 2.0), ratio=ratio)
    memory.search.found, memory.search.spent, memory.search.since = 30.0, 120.0, 120.0
    assert memory.search.cost_of_improvement == 90.0
    pair = choose(memory, Rules(test="simple", early=False), None)
    assert (pair is not None) == mitigates


@pytest.mark.parametrize(("gain", "mitigates"), [(0.004, True), (0.03, False)])
def test_the_full_rule_compares_gain_per_second(gain, mitigates):
    memory = memory_with((0.14, 2.0))
    arm, search = memory.arms[0], memory.search
    arm.n, arm.n_fair = 4, 3
    arm.observe(0.005)
    memory.best_fair = 0.16
    search.spent, search.found, search.since = 120.0, 30.0, 120.0
    search.gain, search.full_seconds = gain, 2.0
    assert arm.odds == pytest.approx(2 / 3)
    assert (choose(memory, BARE, None) is not None) == mitigates


@pytest.mark.parametrize(
    ("base_seconds", "seconds", "expected"),
    [([], [], 50.0), ([2.0], [20.0], 30.0), ([2.0, 4.0], [20.0, 52.0], 24.667)],
)
def test_the_first_guess_of_the_ratio_counts_as_one_observation(base_seconds, seconds, expected):
    arm = arm_after(base_seconds=base_seconds, seconds=seconds)
    assert arm.ratio == pytest.approx(expected, abs=1e-3)


def test_a_base_that_cannot_win_even_under_the_best_shift_is_dropped():
    memory = memory_with((0.1510, 1.0), (0.1520, 1.0))
    memory.best_fair = 0.150
    for shift in (-0.004, 0.002, 0.006, 0.007, 0.010):
        memory.arms[0].observe(shift)
    assert memory.arms[0].best_shift == pytest.approx(-0.0016)
    assert [pair.base.loss for pair in memory.pairs()] == [pytest.approx(0.1510)]
    assert len(memory.pairs(prune=False)) == 2


def test_four_shifts_say_nothing_about_the_most_favourable_one():
    memory = memory_with((0.2, 1.0))
    for _ in range(4):
        memory.arms[0].observe(-0.1)
    assert memory.arms[0].best_shift == 0.0


def test_the_first_mitigation_is_the_cheapest_once_the_search_has_paid_for_it():
    memory = memory_with((0.10, 4.0), (0.30, 1.0), ratio=6.0)
    assert choose(memory, Rules(), None) is None
    memory.record(scored(plain(2), loss=0.4, seconds=1.0))
    assert choose(memory, Rules(), None).base.loss == pytest.approx(0.30)


def test_nothing_is_mitigated_while_mitigations_have_cost_more_than_the_search():
    memory = memory_with((0.2, 1.0), (0.21, 1.0), (0.22, 1.0), ratio=1.0)
    greedy = Rules(test="greedy")
    trial = memory.start(choose(memory, greedy, None), 3)
    memory.record(scored(trial, gap=0.01, seconds=3.5))
    assert choose(memory, greedy, None) is None
    assert choose(memory, Rules(test="greedy", cap=False), None) is not None


def test_what_a_running_mitigation_is_expected_to_cost_counts_for_the_cap():
    memory = memory_with((0.2, 1.0), (0.21, 1.0), ratio=3.0)
    memory.start(choose(memory, Rules(test="greedy", early=False), None), 2)
    assert choose(memory, Rules(test="greedy", early=False), None) is None


@pytest.mark.parametrize("left", [9.9, 0.1])
def test_no_mitigation_is_started_that_would_not_end_in_time(left):
    memory = memory_with((0.2, 1.0), ratio=10.0)
    assert choose(memory, Rules(test="greedy"), left) is None
    assert choose(memory, Rules(test="greedy"), 10.0) is not None


def test_the_last_chance_is_taken_only_without_a_fair_model_and_overrides_the_cap():
    memory = memory_with((0.2, 1.0), ratio=10.0)
    memory.mitigated = 100.0
    assert choose(memory, Rules(), 15.1) is None
    assert choose(memory, Rules(), 14.9) is not None
    assert choose(memory, Rules(last_chance=False), 14.9) is None
    memory.best_fair = 0.3
    assert choose(memory, Rules(), 14.9) is None


def test_the_last_chance_is_taken_when_one_more_trial_would_leave_too_little():
    memory = memory_with((0.2, 1.0), ratio=10.0)
    memory.mitigated = 100.0
    assert choose(memory, Rules(), 19.0, 8.9) is None
    assert choose(memory, Rules(), 19.0, 9.1) is not None
    assert choose(memory, Rules(), 9.9, 9.1) is None


def test_a_model_no_better_than_a_constant_model_is_not_mitigated():
    memory = memory_with()
    memory.record(scored(plain(0), loss=0.25, gap=math.inf, seconds=0.0))
    for number, loss in enumerate((0.26, 0.24), start=1):
        memory.record(scored(plain(number), loss=loss))
    assert [pair.base.loss for pair in memory.pairs()] == [pytest.approx(0.24)]


def test_a_model_whose_gap_has_no_value_is_mitigated_and_rules_out_no_other():
    memory = memory_with((0.26, 1.0), (0.24, 1.0))
    memory.record(scored(plain(2), loss=0.15, plain_loss=0.15, plain_gap=math.inf))
    losses = sorted(pair.base.loss for pair in memory.pairs())
    assert losses == pytest.approx([0.15, 0.24, 0.26])


def test_the_baseline_is_no_incumbent():
    memory = memory_with()
    memory.record(scored(plain(0), loss=0.25, gap=math.inf, seconds=0.0))
    assert math.isinf(memory.search.best)


def test_the_pool_has_bare_scores_and_the_best_fair_loss_those_after_post_processing():
    memory = memory_with()
    memory.record(scored(plain(0), loss=0.18, gap=-0.01, plain_loss=0.15, plain_gap=0.1))
    assert memory.best_fair == pytest.approx(0.18)
    assert [pair.base.loss for pair in memory.pairs()] == [pytest.approx(0.15)]


def test_a_model_that_is_fair_without_help_is_not_mitigated():
    memory = memory_with()
    memory.record(scored(plain(0), loss=0.15, gap=-0.01))
    assert memory.pairs() == []


@pytest.mark.parametrize("status", [TrialState.PRUNED, TrialState.FAILED, TrialState.TIMEOUT])
def test_a_trial_without_a_result_costs_time_and_is_not_mitigated(status):
    memory = memory_with()
    memory.record(scored(plain(0), status=status, seconds=3.0))
    assert memory.pairs() == []
    assert memory.search.spent == 3.0


def test_a_mitigation_that_runs_out_of_time_raises_the_ratio_and_is_not_repeated():
    memory = memory_with((0.2, 1.0), ratio=10.0)
    trial = memory.start(memory.pairs()[0], 1)
    memory.record(scored(trial, status=TrialState.TIMEOUT, seconds=100.0))
    arm = memory.arms[0]
    assert (arm.n, arm.n_fair, arm.ratio) == (1, 0, 55.0)
    assert memory.pairs() == []


def test_of_several_mitigations_each_keeps_its_own_ratio():
    memory = AllocatorState(
        (MitigationOption(name="a", ratio=10.0), MitigationOption(name="b", ratio=20.0)), FULL
    )
    memory.record(scored(plain(0), loss=0.2, seconds=1.0))
    first = choose(memory, Rules(test="greedy", early=False), None)
    assert first.arm.costly.name == "a"
    memory.record(scored(memory.start(first, 1), gap=-0.01, seconds=30.0))
    assert [arm.ratio for arm in memory.arms] == [20.0, 20.0]
    assert [pair.arm.costly.name for pair in memory.pairs(prune=False)] == ["b"]
