from dataclasses import dataclass, replace
from types import SimpleNamespace

import numpy as np
import pytest

from fairautoml.metrics import METRICS, BoundConstraint
from fairautoml.metrics.groups import GroupSystem
from fairautoml.mitigators._group_program import CommonRule
from fairautoml.records import BASELINE, Assessment, Config, ConstraintResult, Entry, Status
from fairautoml.selection.choice import (
    CandidateRules,
    SelectionOptions,
    _by_value,
    _Choice,
    choose,
    lacks_evidence,
)
from fairautoml.selection.feasibility import FeasibilityCheck, clear_lead
from peers._offers import draws_of_rows


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


def test_above_99_percent_more_certainty_is_worth_nothing():
    assert chosen([Rule(0.85, 0.991), Rule(0.849, 1.0)], "auto") == Rule(0.85, 0.991)
    assert chosen([Rule(0.85, 0.95), Rule(0.849, 0.99)], "auto") == Rule(0.849, 0.99)


TARGET = BoundConstraint(
    metric=METRICS.get("demographic_parity_difference"),
    system=GroupSystem(name="g", labels=("a", "b"), of_cell=np.array([0, 1], dtype=np.int32)),
    limit=0.05,
)


def candidate(value, chance, *, name="lightgbm", gap=0.02, status=Status.FEASIBLE, **changes):
    """Return an assessed entry; ``accepted`` are the rates of the deployed rule."""
    accepted = changes.pop("accepted", (0.3, 0.3))
    counts = np.array([[[500 * (1 - a) / 2, 500 * a / 2]] * 2 for a in accepted])
    measure = ConstraintResult(
        metric="demographic_parity_difference", system="g", value=gap, gap=gap, limit=0.05
    )
    made = Entry(
        trial_key=name,
        trial_number=0,
        config=Config(learner=name),
        mitigator="group_thresholds",
        tolerance=None,
        rule=CommonRule(threshold=0.5),
        score=value,
        value=value,
        measures=(measure,),
        counts=counts,
        deployed=counts,
        constant=False,
        seconds=1.0,
        assessment=Assessment(status=status, reason="", probability=chance, gap_interval=None),
    )
    return replace(made, **changes)


def made(entries, confidence="auto", *, constant=0.6, stored=None, reference=None):
    """Return the choice among entries on 1,000 rows, all or some of whose models are stored."""
    rng = np.random.default_rng(0)
    drawn = draws_of_rows(np.full((2, 2), 250.0), rng.standard_normal((200, 2, 3)), (TARGET,))
    objective = METRICS.get("accuracy")
    check = FeasibilityCheck(
        targets=(TARGET,),
        objective=objective,
        reference=reference,
        constant=constant,
        demanding=False,
        n_rows=np.array([500.0, 500.0]),
        population=drawn,
        rough=drawn,
        judged=True,
    )
    y = np.repeat([0, 1], [600, 400])
    dataset = SimpleNamespace(
        task="binary",
        n_rows=1000,
        y=y,
        weight=np.ones(1000),
        cells=np.arange(1000) % 2,
        classes=np.array([0, 1]),
        n_cells=2,
    )
    problem = SimpleNamespace(
        dataset=dataset,
        objective=objective,
        goal=SimpleNamespace(targets=(TARGET,)),
        entities=None,
    )
    candidates = CandidateRules(
        usual=tuple(entries),
        fine=(),
        columns={entry.trial_key: None for entry in entries},
        deployable=frozenset(e.trial_key for e in entries) if stored is None else stored,
    )
    return _Choice(candidates, problem, SelectionOptions(confidence=confidence), check)


def best_of(entries, confidence="auto", **changes):
    """Return the entry that is chosen, without the description of its margin."""
    choice = made(entries, confidence, **changes)
    allowed = [e for e in entries if choice.candidates.can_serve(e)]
    return choice._with_margin(min(allowed, key=_by_value), allowed)


def test_a_number_is_the_probability_in_the_population():
    risky, sure = candidate(0.8, 0.85, name="a"), candidate(0.78, 0.9, name="b")
    assert best_of([risky, sure], 0.84) is risky
    assert best_of([risky, sure], 0.9) is sure
    assert best_of([risky, sure], None) is risky


@pytest.mark.parametrize(
    ("lead", "chance", "plain_is_best"),
    [(0.005, 0.995, True), (0.005, 0.97, False), (0.02, 1, False)],
)
def test_a_model_without_mitigation_is_preferred_where_it_fits_and_the_lead_is_noise(
    lead, chance, plain_is_best
):
    # sqrt(.05 / 1000) = .007 of 1,000 rows.
    plain = candidate(0.78, chance, name="a", mitigator="none")
    other = candidate(0.78 + lead, 0.999, name="b")
    assert best_of([plain, other]) is (plain if plain_is_best else other)


def test_only_entries_whose_models_are_stored_are_chosen():
    gone, kept = candidate(0.9, 0.99, name="a"), candidate(0.8, 0.99, name="b")
    assert best_of([gone, kept], stored=frozenset({"b"})) is kept
    served = candidate(0.8, 0.9, name="c", gap=0.2, status=Status.INFEASIBLE)
    lost = candidate(0.8, 0.9, name="d", gap=0.1, status=Status.INFEASIBLE)
    assert made([lost, served], stored=frozenset({"c"})).made().best is served


def test_without_an_allowed_entry_the_least_unfair_acceptable_model_is_served():
    near = candidate(0.8, 0.1, name="a", gap=0.07, status=Status.INFEASIBLE)
    far = candidate(0.9, 0.0, name="b", gap=0.2, status=Status.INFEASIBLE)
    useless = candidate(0.5, 0.9, name="c", gap=0.01, status=Status.INFEASIBLE)
    found = made([far, useless, near]).made()
    assert found.best is near
    assert found.refused is useless
    shut = candidate(
        0.7, 0.9, name="d", gap=0.0, status=Status.INFEASIBLE, accepted=(0.001, 0.001)
    )
    plain = candidate(0.9, 0.0, name="e", gap=0.2, status=Status.INFEASIBLE, mitigator="none")
    found = made([shut, plain], reference=plain).made()
    assert found.best is plain
    assert found.refused is shut


def test_without_an_acceptable_model_the_constant_is_served():
    useless = candidate(0.5, 0.9, name="a", gap=0.01, status=Status.INFEASIBLE)
    constant = candidate(
        0.6, None, name="p", gap=0.0, constant=True, config=BASELINE, mitigator="none"
    )
    found = made([useless, constant]).made()
    assert found.best is constant
    assert found.refused is useless
    assert found.margin is None


def test_a_model_that_is_refused_is_not_served_where_a_constant_misses_the_constraint_too():
    shut = candidate(
        0.7, 0.9, name="a", gap=0.0, status=Status.INFEASIBLE, accepted=(0.001, 0.001)
    )
    constant = candidate(
        0.6, None, name="p", gap=0.4, constant=True, config=BASELINE, mitigator="none"
    )
    found = made([shut, constant]).made()
    assert found.best is constant
    assert found.refused is shut


def test_auto_refers_to_as_many_new_rows_and_a_number_to_the_population():
    close = candidate(0.8, 0.99, name="a", accepted=(0.3, 0.34))
    even = candidate(0.799, 0.99, name="b", accepted=(0.3, 0.3))
    assert best_of([close, even]) is even
    assert best_of([close, even], 0.95) is close
