from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binom

from fairautoml.certification.bounds import Count, Mean
from fairautoml.certification.certificate import sensitivity
from fairautoml.certification.evidence import (
    Evidence,
    MinScore,
    SampleRows,
    claim_from_counts,
    claim_from_rows,
    floor_from_counts,
    floor_from_rows,
)
from fairautoml.certification.verdicts import Reason, Verdict, bound_of, judge
from fairautoml.metrics import METRICS, Constraint, GroupCounts

PARITY = Constraint.parse("demographic_parity_difference <= 0.05")


def selection(*cells):
    """Counts with so many accepted of so many rows, half of each with label 1."""
    table = [[[n - x - (n - x) // 2, x - x // 2], [(n - x) // 2, x // 2]] for x, n in cells]
    return GroupCounts(np.array(table, dtype=float))


def claim_of(*cells, constraint=PARITY):
    names = [f"g{i}" for i in range(len(cells))]
    return claim_from_counts(constraint, selection(*cells), names, "sex")


def verdict_of(*claims, level=0.05, floor=None):
    found = judge(Evidence(claims=claims, floor=floor), level)
    return found.verdict, found.reason


def at(bound):
    return Constraint.parse(f"demographic_parity_difference <= {bound}")


def test_close_rates_of_many_rows_are_certified():
    assert verdict_of(claim_of((600, 2000), (594, 2000))) == (Verdict.CERTIFIED, "")


def test_far_rates_are_violated():
    assert verdict_of(claim_of((60, 200), (20, 200))) == (Verdict.VIOLATED, "")


def test_rates_in_between_are_inconclusive():
    found = verdict_of(claim_of((600, 2000), (660, 2000)))
    assert found == (Verdict.INCONCLUSIVE, Reason.BOUND_ABOVE_EPS)


def test_cells_that_could_not_pass_whatever_they_showed_are_too_few_rows():
    found = judge(Evidence(claims=(claim_of((0, 59), (0, 5000)),)), 0.05)
    assert found.reason is Reason.TOO_FEW_ROWS
    assert found.findings[0].detail == "selection of g0"


@pytest.mark.parametrize(("m", "gap"), [(2, 0.071458), (4, 0.057099)])
def test_violations_are_read_off_bounds_that_all_hold_at_once(m, gap):
    first, second = Count(x=60, n=200), Count(x=20, n=200)
    level = 0.05 / (2 * m)
    assert first.lower(level) - second.upper(level) == pytest.approx(gap, abs=1e-6)
    for bound, verdict in ((gap - 1e-5, Verdict.VIOLATED), (gap + 1e-5, Verdict.INCONCLUSIVE)):
        twin = claim_of((100, 200), (100, 200), constraint=at(1.0))
        others = [replace(twin, system="race")] if m == 4 else []
        claim = replace(claim_of((60, 200), (20, 200)), bound=bound)
        assert verdict_of(claim, *others)[0] is verdict


@pytest.mark.parametrize(
    ("groups", "others", "n"),
    [
        (("a", "b"), ("a", "b"), 2),
        (("a", "b"), ("a", "c"), 3),
        (("a", "b", "c"), ("a", "c"), 3),
        (("a", "b", "(other)"), ("a", "(other)"), 5),
    ],
)
def test_bounds_hold_for_every_group_that_any_claim_compares(groups, others, n):
    claims = (
        replace(claim_of(*[(60, 200)] * len(names)), groups=names) for names in (groups, others)
    )
    assert Evidence(claims=tuple(claims)).n_bounds == n


@pytest.mark.parametrize(
    ("cells", "bound", "shown", "radius", "fragility"),
    [
        (((600, 2000), (594, 2000)), 0.05, 0.0275, 0.01125, 46),
        (((90, 300), (90, 300)), 0.1, 0.065, 0.0175, 11),
    ],
)
def test_printed_bound_radius_and_fragility_are_the_known_ones(
    cells, bound, shown, radius, fragility
):
    found = sensitivity(claim_of(*cells, constraint=at(bound)), 0.05, shown_level=0.05)
    assert found.shown == pytest.approx(shown)
    assert found.shift_radius == pytest.approx(radius)
    assert found.fragility == fragility


def test_a_bound_chosen_among_more_candidates_is_looser():
    claim = claim_of((600, 2000), (594, 2000))
    one = sensitivity(claim, 0.05, shown_level=0.05)
    ten = sensitivity(claim, 0.05, shown_level=0.005)
    assert one.shown < ten.shown <= 0.05


def test_a_group_without_rows_is_not_dropped():
    found = judge(Evidence(claims=(claim_of((600, 2000), (600, 2000), (0, 0)),)), 0.05)
    assert (found.verdict, found.reason) == (Verdict.INCONCLUSIVE, Reason.GROUP_ABSENT)
    assert found.findings[0].detail == "g2"


def test_a_group_without_positives_leaves_its_true_positive_rate_undefined():
    table = np.array([[[50.0, 50.0], [50.0, 50.0]], [[50.0, 50.0], [0.0, 0.0]]])
    for name, event in (
        ("equal_opportunity_difference", "tpr"),
        ("equalized_odds_difference", "tpr"),
    ):
        constraint = Constraint.parse(f"{name} <= 0.9")
        claim = claim_from_counts(constraint, GroupCounts(table), ["a", "b"])
        found = judge(Evidence(claims=(claim,)), 0.05)
        assert (found.verdict, found.reason) == (Verdict.INCONCLUSIVE, Reason.UNDEFINED_CELL)
        assert found.findings[0].detail == f"{event} of b"


def test_a_ratio_of_nothing_to_nothing_is_undefined():
    constraint = Constraint.parse("demographic_parity_ratio >= 0.1")
    found = verdict_of(claim_of((0, 5000), (0, 5000), constraint=constraint))
    assert found == (Verdict.INCONCLUSIVE, Reason.UNDEFINED_CELL)


def test_one_group_has_no_gap():
    found = verdict_of(claim_of((600, 2000)))
    assert found == (Verdict.NOT_APPLICABLE, Reason.SINGLE_GROUP)


def test_a_constant_target_is_not_applicable():
    found = judge(Evidence(claims=(claim_of((1, 9), (1, 9)),), constant_target=True), 0.05)
    assert (found.verdict, found.reason) == (Verdict.NOT_APPLICABLE, Reason.CONSTANT_TARGET)


def test_no_claim_is_not_applicable():
    assert verdict_of() == (Verdict.NOT_APPLICABLE, Reason.NO_CLAIM)


def test_a_metric_that_compares_no_rates_has_no_exact_test():
    constraint = Constraint(metric=replace(PARITY.metric, rates=()), bound=0.1)
    found = verdict_of(claim_of((600, 2000), (600, 2000), constraint=constraint))
    assert found == (Verdict.NOT_APPLICABLE, Reason.NO_EXACT_TEST)


def test_every_fairness_metric_of_the_registry_can_be_certified_or_says_why():
    table = GroupCounts(np.full((2, 2, 2), 3000.0))
    for name in METRICS.names():
        metric = METRICS.get(name)
        if metric.kind != "fairness" or metric.on != "decisions":
            continue
        # All rates of the table are 0.5.
        bound = {"difference": 0.1, "minimum": 0.4}.get(metric.form, 0.9)
        constraint = Constraint(metric=metric, bound=bound)
        found = judge(Evidence(claims=(claim_from_counts(constraint, table, ["a", "b"]),)), 0.05)
        wanted = Verdict.CERTIFIED if metric.rates else Verdict.NOT_APPLICABLE
        assert found.verdict is wanted, name


MINIMUM = Constraint.parse("selection_rate >= 0.5")


@pytest.mark.parametrize(
    ("cells", "verdict", "reason"),
    [
        (((30, 40), (600, 1000)), Verdict.CERTIFIED, ""),
        (((24, 40), (900, 1000)), Verdict.INCONCLUSIVE, Reason.BOUND_BELOW_MINIMUM),
        (((4, 4), (900, 1000)), Verdict.INCONCLUSIVE, Reason.TOO_FEW_ROWS),
        (((10, 40), (900, 1000)), Verdict.VIOLATED, ""),
        (((0, 0), (900, 1000)), Verdict.INCONCLUSIVE, Reason.GROUP_ABSENT),
        (((40, 60),), Verdict.CERTIFIED, ""),
    ],
)
def test_a_minimum_is_certified_where_the_bound_of_every_group_reaches_it(cells, verdict, reason):
    """Each group is tested at the full level by its exact binomial bound, also a single one."""
    claim = claim_of(*cells, constraint=MINIMUM)
    assert verdict_of(claim) == (verdict, reason)
    if verdict is Verdict.CERTIFIED:
        assert min(binom.sf(x - 1, n, 0.5) for x, n in cells) <= 0.05
        room = sensitivity(claim, 0.05, shown_level=0.05)
        assert room.shown == bound_of(claim, 0.05) > 0.5
        assert room.shift_radius == pytest.approx(room.shown - 0.5)
        assert room.fragility > 0


def test_a_minimum_errs_no_more_often_than_stated():
    """At the least favourable rates, just below the bound, it is certified in at most 5 %."""
    n, rate = 50, 0.6 - 1e-9
    passed = [
        x
        for x in range(n + 1)
        if verdict_of(claim_of((x, n), constraint=Constraint.parse("selection_rate >= 0.6")))[0]
        is Verdict.CERTIFIED
    ]
    assert 0.01 < binom.pmf(passed, n, rate).sum() <= 0.05


def test_a_minimum_of_a_randomized_rule_uses_bounds_of_means():
    """Acceptance probabilities are not counts, so Hoeffding's bound decides."""
    rows = SampleRows(
        codes=np.repeat([0, 1], 1000), y=np.ones(2000, dtype=int), decision=np.full(2000, 0.7)
    )
    for bound, verdict in ((0.6, Verdict.CERTIFIED), (0.68, Verdict.INCONCLUSIVE)):
        claim = claim_from_rows(Constraint.parse(f"recall >= {bound}"), rows, ["a", "b"])
        assert verdict_of(claim)[0] is verdict


def test_a_violated_false_positive_rate_violates_equalized_odds():
    table = np.array([[[900.0, 100.0], [500.0, 500.0]], [[500.0, 500.0], [500.0, 500.0]]])
    constraint = Constraint.parse("equalized_odds_difference <= 0.1")
    claim = claim_from_counts(constraint, GroupCounts(table), ["a", "b"])
    assert verdict_of(claim)[0] is Verdict.VIOLATED


def test_the_ratio_is_certified_by_the_exact_test_of_every_ordered_pair():
    ratio = Constraint.parse("demographic_parity_ratio >= 0.8")
    for cells in ((345, 1000), (300, 1000)), ((300, 1000), (345, 1000)):
        assert verdict_of(claim_of(*cells, constraint=ratio))[0] is Verdict.INCONCLUSIVE
    assert verdict_of(claim_of((300, 1000), (310, 1000), constraint=ratio))[0] is Verdict.CERTIFIED
    even = claim_of((310, 1000), (300, 1000), (305, 1000), constraint=ratio)
    (finding,) = judge(Evidence(claims=(even,)), 0.05).findings
    assert 0 < finding.tail <= finding.limit == pytest.approx(0.048)
    assert verdict_of(claim_of((900, 3000), (930, 3000), constraint=ratio))[0] is Verdict.CERTIFIED
    assert verdict_of(claim_of((300, 3000), (930, 3000), constraint=ratio))[0] is Verdict.VIOLATED
    room = sensitivity(
        claim_of((900, 3000), (930, 3000), constraint=ratio), 0.05, shown_level=0.05
    )
    assert room.shown == pytest.approx(0.9)
    assert 0 < room.shift_radius < 0.02
    assert room.fragility > 1


def test_claims_are_certified_together_or_not_at_all():
    good, open_ = claim_of((600, 2000), (600, 2000)), claim_of((600, 2000), (660, 2000))
    found = judge(Evidence(claims=(good, open_)), 0.05)
    assert (found.verdict, found.reason) == (Verdict.INCONCLUSIVE, Reason.BOUND_ABOVE_EPS)
    assert found.findings[0].reason is Reason.JOINT_ONLY


def test_a_violation_outweighs_everything_else():
    bad, absent = claim_of((60, 200), (160, 200)), claim_of((6, 20), (0, 0))
    assert verdict_of(absent, bad)[0] is Verdict.VIOLATED


@pytest.mark.parametrize(
    ("min_score", "verdict"),
    [
        (0.45, Verdict.CERTIFIED),
        (0.485, Verdict.CERTIFIED),
        (0.49, Verdict.INCONCLUSIVE),
        (0.515, Verdict.INCONCLUSIVE),
        (0.52, Verdict.VIOLATED),
        (0.6, Verdict.VIOLATED),
    ],
)
def test_the_floor_is_judged_in_the_same_pass(min_score, verdict):
    counts = selection((600, 2000), (600, 2000))
    floor = floor_from_counts(min_score, counts)
    assert floor.accuracy == 0.5
    found = judge(Evidence(claims=(claim_of((600, 2000), (600, 2000)),), floor=floor), 0.05)
    assert found.verdict is verdict
    if verdict is Verdict.INCONCLUSIVE:
        assert found.reason is Reason.FLOOR_NOT_SHOWN


@settings(max_examples=30)
@given(st.lists(st.tuples(st.integers(0, 200), st.integers(200, 400)), min_size=2, max_size=5))
def test_order_and_names_of_groups_do_not_matter(cells):
    constraint = at(0.15)
    names = [f"other{i}" for i in range(len(cells))]
    turned = claim_from_counts(constraint, selection(*cells[::-1]), names, "race")
    assert verdict_of(claim_of(*cells, constraint=constraint)) == verdict_of(turned)


@settings(max_examples=30)
@given(st.lists(st.tuples(st.integers(0, 300), st.just(300)), min_size=2, max_size=4))
def test_one_claim_is_never_both_certified_and_violated(cells):
    claim = claim_of(*cells, constraint=at(0.1))
    evidence = Evidence(claims=(claim,))
    plain = judge(evidence, 0.05, violations=False).verdict
    assert not (plain is Verdict.CERTIFIED and judge(evidence, 0.05).verdict is Verdict.VIOLATED)


def test_a_group_more_never_helps():
    two = ((600, 2000), (600, 2000))
    assert verdict_of(claim_of(*two))[0] is Verdict.CERTIFIED
    assert verdict_of(claim_of(*two, (12, 40)))[0] is Verdict.INCONCLUSIVE


def rows_of(n=4000, *, seed=0, **changes):
    rng = np.random.default_rng(seed)
    given_ = {
        "codes": rng.integers(0, 2, n),
        "y": rng.integers(0, 2, n),
        "decision": rng.choice([0.1, 0.5], n),
    }
    return SampleRows(**{**given_, **changes})


def test_a_rule_that_draws_lots_is_certified_by_its_probabilities():
    claim = claim_from_rows(at(0.1), rows_of(8000), ["a", "b"])
    assert verdict_of(claim)[0] is Verdict.CERTIFIED
    assert 0 < bound_of(claim, 0.05) < 0.1


def test_the_hoeffding_difference_is_the_known_one():
    cells = ((Mean(mean=0.32, n=500), Mean(mean=0.30, n=2000)),)
    claim = replace(claim_of((1, 2), (1, 2)), cells=cells)
    assert bound_of(claim, 0.05) == pytest.approx(0.081194, abs=1e-6)


def test_decisions_of_0_and_1_by_row_measure_the_rates_of_the_counts():
    rows = rows_of(decision=np.random.default_rng(1).integers(0, 2, 4000).astype(float))
    counts = GroupCounts.from_rows(rows.codes, rows.y, rows.decision, n_groups=2)
    for name in ("demographic_parity_difference", "equalized_odds_difference", "error_rate_ratio"):
        constraint = Constraint.parse(f"{name} {'>=' if 'ratio' in name else '<='} 0.5")
        by_row = claim_from_rows(constraint, rows, ["a", "b"])
        by_count = claim_from_counts(constraint, counts, ["a", "b"])
        for event in range(len(by_row.events)):
            for one, other in zip(by_row.cells[event], by_count.cells[event], strict=True):
                assert one.n == other.n
                assert one.mean == pytest.approx(other.x / other.n)


def test_repeating_the_weight_is_no_larger_sample():
    once = rows_of(weight=np.ones(4000), largest_weight=1.0)
    five = rows_of(weight=np.full(4000, 5.0), largest_weight=5.0)
    bounds = [bound_of(claim_from_rows(PARITY, rows, ["a", "b"]), 0.05) for rows in (once, five)]
    assert bounds[0] == pytest.approx(bounds[1])


def test_precision_of_a_rule_that_draws_lots_is_weighted_by_acceptance():
    constraint = Constraint.parse("predictive_parity_difference <= 0.3")
    claim = claim_from_rows(constraint, rows_of(20_000), ["a", "b"])
    assert claim.cells[0][0].largest == 1.0
    assert verdict_of(claim)[0] is Verdict.CERTIFIED


def test_rows_of_one_person_count_once():
    rows = rows_of()
    entities = np.arange(4000) // 10
    codes = np.repeat(np.arange(400) % 2, 10)
    claim = claim_from_rows(PARITY, replace(rows, codes=codes, entities=entities), ["a", "b"])
    assert [cell.n for cell in claim.cells[0]] == [200, 200]
    assert claim.independent


def test_individuals_in_two_groups_cost_the_bound_of_the_difference():
    rows = rows_of()
    entities = np.arange(4000) // 2
    shared = claim_from_rows(PARITY, replace(rows, entities=entities), ["a", "b"])
    assert not shared.independent
    assert bound_of(shared, 0.05) > bound_of(replace(shared, independent=True), 0.05)


def test_a_group_without_rows_is_absent_by_rows_too():
    claim = claim_from_rows(PARITY, rows_of(), ["a", "b", "c"])
    assert verdict_of(claim) == (Verdict.INCONCLUSIVE, Reason.GROUP_ABSENT)


def test_the_floor_of_a_rule_that_draws_lots_is_its_expected_accuracy():
    floor = floor_from_rows(0.4, rows_of())
    assert floor.n == 4000
    assert floor.accuracy == pytest.approx(0.5, abs=0.03)


def test_precision_of_a_group_without_accepted_rows_is_undefined():
    constraint = Constraint.parse("predictive_parity_difference <= 0.9")
    rows = rows_of(decision=np.zeros(4000))
    found = verdict_of(claim_from_rows(constraint, rows, ["a", "b"]))
    assert found == (Verdict.INCONCLUSIVE, Reason.UNDEFINED_CELL)


@settings(max_examples=60)
@given(
    by_group=st.lists(st.tuples(st.integers(0, 1000), st.integers(1, 30)), min_size=1, max_size=4),
    level=st.sampled_from([0.01, 0.05, 0.3, 0.7]),
    distance=st.sampled_from([1e-9, 0.01, 0.1]),
)
def test_a_floor_errs_no_more_than_the_level_although_groups_are_decided_unequally_well(
    by_group, level, distance
):
    per_mille, sizes = (np.array(values) for values in zip(*by_group, strict=True))
    rates, law = per_mille / 1000, np.ones(1)
    for rate, size in zip(rates, sizes, strict=True):
        law = np.convolve(law, binom.pmf(np.arange(size + 1), size, rate))
    n, accuracy = int(sizes.sum()), float(rates @ sizes / sizes.sum())

    def floors(bound):
        return [MinScore(bound=bound, accuracy=x / n, n=n, counted=True) for x in range(n + 1)]

    if (above := accuracy + distance) <= 1:
        assert law @ [floor.shown(level) for floor in floors(above)] <= level + 1e-12
    if (below := accuracy - distance) >= 0:
        assert law @ [floor.refuted(level) for floor in floors(below)] <= level + 1e-12


def test_a_floor_of_means_has_the_bound_of_bounded_variables():
    floor = floor_from_rows(0.485, rows_of(decision=np.full(4000, 0.5)))
    assert (floor.accuracy, floor.method) == (0.5, "hoeffding")
    assert not floor.shown(0.05)
    assert replace(floor, counted=True).shown(0.05)
