from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from scipy.stats import binom

from fairautoml.certification.bounds import cp_lower
from fairautoml.certification.evidence import Evidence, claim_from_counts
from fairautoml.certification.exact_test import rows_needed, rows_without_positives
from fairautoml.certification.planning import plan_certification, row_plan
from fairautoml.certification.verdicts import Verdict, judge
from fairautoml.data.frames import Inputs
from fairautoml.data.read import ReadOptions
from fairautoml.metrics import Constraint, GroupCounts

PARITY = Constraint.parse("demographic_parity_difference <= 0.05")


@pytest.mark.parametrize(
    ("eps", "gap", "rows"),
    [
        (0.2, 0.0, 92),
        (0.1, 0.0, 365),
        (0.05, 0.0, 1459),
        (0.02, 0.0, 9114),
        (0.2, 0.1, 261),
        (0.1, 0.05, 1053),
        (0.05, 0.025, 4218),
    ],
)
def test_the_formula_gives_the_known_numbers_of_rows(eps, gap, rows):
    assert int(np.ceil(rows_needed(eps, gap=gap))) == rows


def test_a_gap_at_the_bound_takes_more_rows_than_there_are():
    assert rows_needed(0.05, gap=0.05) == np.inf


@pytest.mark.parametrize(
    ("eps", "rows"), [(0.05, 60), (0.1, 29), (0.2, 14), (1.0, 1), (0.0, np.inf)]
)
def test_cells_without_events_need_the_known_rows(eps, rows):
    assert rows_without_positives(eps, 0.05) == rows


def certified_share(constraint, sizes, rates, draws=150, seed=5):
    rng = np.random.default_rng(seed)
    names = [str(i) for i in range(len(sizes))]
    certified = 0
    for x in rng.binomial(sizes, rates, size=(draws, len(sizes))):
        table = np.stack([[[n - k, k], [0, 0]] for n, k in zip(sizes, x, strict=True)])
        claim = claim_from_counts(constraint, GroupCounts(table.astype(float)), names)
        found = judge(Evidence(claims=(claim,)), 0.05, violations=False)
        certified += found.verdict is Verdict.CERTIFIED
    return certified / draws


@pytest.mark.parametrize(
    ("text", "rows"),
    [
        ("demographic_parity_difference <= 0.1", {"a": 3000, "b": 9000}),
        ("demographic_parity_difference <= 0.1", {"a": 2000, "b": 2000, "c": 4000, "d": 8000}),
        ("demographic_parity_ratio >= 0.8", {"a": 8000, "b": 20_000}),
        ("demographic_parity_difference <= 0.02", {"a": 60_000, "b": 90_000}),
        pytest.param(
            "demographic_parity_difference <= 0.06",
            {"a": 3000, "b": 2_000_000},
            marks=pytest.mark.slow,
        ),
    ],
)
def test_the_rows_that_are_set_aside_give_the_power_that_is_stated(text, rows):
    constraint = Constraint.parse(text)
    plan = plan_certification(constraint, rows)
    assert plan.fraction is not None
    assert 0.77 <= plan.power <= 0.95
    sizes = np.array([int(plan.fraction * n) for n in rows.values()])
    # Standard errors of both simulations together are 0.04.
    share = certified_share(constraint, sizes, np.full(len(sizes), 0.3))
    assert share == pytest.approx(plan.power, abs=0.12)


@pytest.mark.parametrize("text", ["selection_rate >= 0.6", "recall >= 0.9"])
def test_the_rows_of_a_minimum_give_the_power_that_is_stated(text):
    """If every group is 0.05 above the bound, the exact binomial bound shows it as often."""
    constraint = Constraint.parse(text)
    plan = plan_certification(constraint, {"a": 9_000, "b": 4_000})
    assert 0.77 <= plan.power <= 0.95
    assert plan.bound_within_reach > constraint.bound
    share = 0.3 if "recall" in text else 1.0
    sizes = [int(plan.fraction * share * n) for n in (9_000, 4_000)]
    each = [
        1 - binom.cdf(x - 1, n, constraint.bound + 0.05)
        for n in sizes
        for x in [int(np.argmax(cp_lower(np.arange(n + 1), n, 0.05) >= constraint.bound))]
    ]
    assert plan.power == pytest.approx(np.prod(each), abs=0.08)
    few = plan_certification(constraint, {"a": 9_000, "b": 60})
    assert few.fraction is None
    assert few.n_rows_needed > 60
    assert plan_certification(constraint, {"a": 9_000}).fraction < plan.fraction


def test_a_minimum_of_1_cannot_be_planned_for():
    """No number of rows shows that a rate is 1."""
    plan = plan_certification(Constraint.parse("recall >= 1"), {"a": 9_000, "b": 4_000})
    assert (plan.fraction, plan.n_rows_needed) == (None, None)


def test_a_plan_that_would_not_pay_holds_no_rows_out_and_says_what_it_would_take():
    plan = plan_certification(PARITY, {"men": 900, "women": 700})
    assert plan.fraction is None
    assert plan.n_rows_needed > 700
    assert "so a certificate is unlikely" in plan.text()
    assert "'women'" in plan.text()


def test_a_plan_says_how_many_rows_to_hold_out():
    text = plan_certification(PARITY, {"a": 10_000, "b": 20_000}).text()
    assert "of the rows: power" in text
    assert "demographic_parity_difference <= 0.05 at delta 0.05" in text


def test_half_the_power_pays_with_all_rows_that_may_be_set_aside():
    plan = plan_certification(PARITY, {"a": 2400, "b": 2400})
    assert plan.fraction == 0.5
    assert 0.5 <= plan.power < 0.8


def test_more_rows_bring_a_stricter_bound_within_reach():
    bounds = [
        plan_certification(PARITY, {"a": n, "b": 3 * n}).bound_within_reach
        for n in (1000, 4000, 16_000)
    ]
    assert bounds == sorted(bounds, reverse=True)


def test_rates_among_label_1_take_more_rows_than_rates_among_all():
    rows = {"a": 20_000, "b": 20_000}
    all_ = plan_certification(PARITY, rows)
    some = plan_certification(Constraint.parse("equal_opportunity_difference <= 0.05"), rows)
    assert some.fraction > 2 * all_.fraction


def test_a_bound_of_zero_cannot_be_certified():
    """No number of rows shows that two rates are equal."""
    exact = Constraint.parse("demographic_parity_difference <= 0")
    plan = plan_certification(exact, {"a": 9000, "b": 9000})
    assert plan.fraction is None
    assert plan.n_rows_needed is None
    assert "no number of certification rows" in plan.text()


def test_the_same_seed_plans_the_same():
    rows = {"a": 5000, "b": 7000}
    assert plan_certification(PARITY, rows) == plan_certification(PARITY, rows)


def test_rows_far_beyond_those_at_hand_grow_with_the_square_of_the_bound():
    two, ten = (
        plan_certification(
            Constraint.parse(f"demographic_parity_difference <= {bound}"), {"a": 120, "b": 120}
        ).n_rows_needed
        for bound in (0.01, 0.001)
    )
    assert ten == pytest.approx(100 * two, rel=0.001)


def test_a_plan_does_not_disclose_small_counts():
    text = plan_certification(
        Constraint.parse("demographic_parity_difference <= 0.1"), {"a": 500, "tiny": 3}
    ).text()
    assert "which has fewer than 10 rows in total" in text
    assert "with fewer than 10 rows in the smallest cell" in text


def rows_of(n_rows, **extra):
    rng = np.random.default_rng(0)
    X = pd.DataFrame({"x": rng.normal(size=n_rows)})
    return Inputs(X=X, y=np.arange(n_rows) % 2, sensitive=rng.choice(["a", "b"], n_rows), **extra)


LOOSE = (Constraint.parse("demographic_parity_difference <= 0.2"),)


def test_the_plan_of_a_table_uses_the_level_of_a_first_opening():
    plan = row_plan(rows_of(2000), LOOSE, ReadOptions())
    assert plan.plans[0].delta == pytest.approx(0.04)
    assert 0 < plan.fraction <= 0.5


def test_with_plenty_of_rows_more_are_held_out_than_are_needed():
    small, large = (row_plan(rows_of(n), LOOSE, ReadOptions()) for n in (60_000, 500_000))
    assert "rather than" not in small.text()
    assert "rather than" in large.text()
    assert large.fraction == pytest.approx(4 * large.plans[0].fraction)


def test_entities_are_planned_for_by_their_number_not_by_their_rows():
    alone = row_plan(rows_of(2000), LOOSE, ReadOptions())
    twice = row_plan(rows_of(2000, groups=np.arange(2000) // 2), LOOSE, ReadOptions())
    assert dict(twice.plans[0].rows)["a"] < dict(alone.plans[0].rows)["a"] * 0.9
    assert twice.plans[0].n_rows_needed > alone.plans[0].n_rows_needed


def test_a_floor_needs_rows_too():
    plan = row_plan(rows_of(5000), (), ReadOptions(), min_score=0.7)
    assert plan.plans == ()
    assert "for min_score=0.7" in plan.text()
    assert 0 < plan.fraction <= 0.5


@pytest.mark.parametrize(
    ("texts", "changes", "reason"),
    [
        ((), {}, "no_claim"),
        (("demographic_parity_difference <= 0.2",), {"y": np.arange(2000) % 3}, "no_exact_test"),
        (
            ("predictive_parity_difference <= 0.2",),
            {"groups": np.arange(2000) // 2},
            "no_exact_test",
        ),
        (("demographic_parity_difference <= 0.01",), {}, "too_few_rows"),
    ],
)
def test_a_plan_says_why_no_rows_are_worth_it(texts, changes, reason):
    constraints = [Constraint.parse(text) for text in texts]
    plan = row_plan(replace(rows_of(2000), **changes), constraints, ReadOptions())
    assert (plan.fraction, plan.reason) == (None, reason)
    assert "No certificate: " in plan.text()
