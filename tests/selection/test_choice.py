from dataclasses import dataclass

import pytest

from fairautoml.selection.choice import choose, lacks_evidence
from fairautoml.selection.feasibility import clear_lead


@dataclass(frozen=True)
class Rule:
    value: float
    chance: float


def chosen(rules, confidence, fallback=0.7):
    return choose(
        rules,
        confidence,
        chance=lambda rule: rule.chance,
        worth=lambda rule: rule.value,
        fallback=fallback,
    )


STEEP = [Rule(0.86, 0.5), Rule(0.85, 0.8), Rule(0.84, 0.96), Rule(0.75, 1.0)]


def test_auto_takes_the_best_expected_worth():
    # 0.86 at 0.5 -> 0.78; 0.85 at 0.8 -> 0.82; 0.84 at 0.96 -> 0.8344; 0.75 -> 0.75.
    assert chosen(STEEP, "auto") == Rule(0.84, 0.96)
    # Where failing costs little, the risk is worth it: 0.845 and 0.846 against 0.8396.
    assert chosen(STEEP, "auto", fallback=0.83) == Rule(0.85, 0.8)


def test_a_rule_worth_less_than_a_constant_model_is_left_out_of_auto():
    assert chosen(STEEP, "auto", fallback=0.845).value > 0.845


@pytest.mark.parametrize(
    ("confidence", "value"), [(0.6, 0.85), (0.8, 0.85), (0.95, 0.84), (0.97, 0.75)]
)
def test_a_number_takes_the_best_of_those_that_are_as_sure(confidence, value):
    assert chosen(STEEP, confidence).value == value


def test_where_none_is_as_sure_the_surest_is_taken():
    assert chosen([Rule(0.86, 0.5), Rule(0.85, 0.8)], 0.95) == Rule(0.85, 0.8)


@pytest.mark.parametrize(
    ("probability", "confidence", "lacks"),
    [
        (0.94, 0.95, True),
        (0.95, 0.95, False),
        (0.49, "auto", True),
        (0.5, "auto", False),
        (0.0, None, False),
    ],
)
def test_evidence_lacks_below_what_was_requested_and_auto_asks_for_even_odds(
    probability, confidence, lacks
):
    assert lacks_evidence(probability, confidence) is lacks


def test_a_fallback_better_than_every_rule_does_not_reward_breaking_the_constraint():
    found = chosen([Rule(0.6, 0.1), Rule(0.6, 0.9), Rule(0.55, 0.2)], "auto", fallback=0.95)
    assert found == Rule(0.6, 0.9)


def test_of_equals_the_first_is_taken():
    rules = [Rule(0.8, 0.9), Rule(0.8, 0.9)]
    assert chosen(rules, "auto") is rules[0]
    assert chosen(rules, 0.9) is rules[0]


SINGLE, MEAN = Rule(0.86, 0.9), Rule(0.85, 0.9)


@pytest.mark.parametrize("confidence", ["auto", 0.8])
@pytest.mark.parametrize(("ahead", "expected"), [(0.0, SINGLE), (0.005, SINGLE), (0.02, MEAN)])
def test_the_best_of_many_is_served_only_where_it_is_ahead(confidence, ahead, expected):
    found = choose(
        [SINGLE, MEAN],
        confidence,
        chance=lambda rule: rule.chance,
        worth=lambda rule: rule.value,
        fallback=0.7,
        steady=lambda rule: rule is MEAN,
        ahead=ahead,
    )
    assert found is expected


@pytest.mark.parametrize("confidence", ["auto", 0.8])
def test_the_best_of_many_is_served_where_nothing_else_is_sure(confidence):
    rules = [SINGLE, Rule(0.69, 0.1)]
    found = choose(
        rules,
        confidence,
        chance=lambda rule: rule.chance,
        worth=lambda rule: rule.value,
        fallback=0.7,
        steady=lambda rule: rule is not SINGLE,
        ahead=1.0,
    )
    assert found is SINGLE


def test_a_clear_lead_is_a_standard_error_and_of_an_error_its_share():
    assert clear_lead(None, 2000) == pytest.approx(0.005)
    assert clear_lead(-300.0, 2000) == pytest.approx(1.5)
    assert clear_lead(-0.003, 2000) == pytest.approx(0.000015)
