from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from mitigator_cases import (
    DEMOGRAPHIC,
    ODDS,
    OPPORTUNITY,
    SERVED,
    counts_of,
    gap_of,
    goal,
    random_rows,
    rows_of,
    system,
    target,
)

from fairautoml.metrics.rates import RATES
from fairautoml.mitigators import Goal, ScoreRows, _thresholds
from fairautoml.mitigators._group_program import build_problem
from fairautoml.mitigators._thresholds import by_group
from fairautoml.mitigators.postprocessing.multicalibration import (
    BINS,
    DIGITS,
    EDGE,
    MITIGATOR,
    Bins,
    Update,
    _portable,
    fit_rules,
)
from fairautoml.runtime._rules import _replay

TOLERANCES = (0.0, 0.05, 0.2)


@pytest.fixture
def real_labels(monkeypatch):
    """No shrinkage: a rule fitted on few rows must then keep its promise on these very rows."""
    monkeypatch.setattr(_thresholds, "ENOUGH_ROWS", 0)


def masks(*groups):
    return [np.flatnonzero(group) for group in groups]


def brier(scores, y):
    return float(np.mean((np.asarray(scores) - y) ** 2))


# ------------------------------------------------------ known answers: scores that are made right


def test_two_groups_at_one_level_by_hand():  # known answer: hkrr_two_groups
    y = np.array([1, 1, 1, 0, 0, 1, 0, 0])
    groups = masks([1, 1, 1, 1, 0, 0, 0, 0], [0, 0, 0, 0, 1, 1, 1, 1])
    p, updates = Bins().calibrate(np.full(8, 0.3), y, np.ones(8), groups)
    assert p == pytest.approx([0.75] * 4 + [0.25] * 4, abs=1e-9)
    assert [(u.group, u.bin) for u in updates] == [(0, 2), (1, 2)]
    assert [u.delta for u in updates] == pytest.approx([0.45, -0.05], abs=1e-9)
    assert (brier(np.full(8, 0.3), y), brier(p, y)) == pytest.approx((0.29, 0.1875), abs=1e-9)


P = (
    "0.69 0.86 0.86 0.58 0.86 0.86 0.86 0.12 0.44 0.58 0.33 0.44 "
    "0.58 0.69 0.58 0.33 0.69 0.86 0.33 0.58 0.44 0.86 0.12 0.44"
)
Y = "1 0 0 1 0 0 1 0 0 0 0 1 1 1 0 0 1 1 0 0 0 0 1 0"
SECOND = "0 0 0 1 0 0 0 0 1 1 0 1 1 0 1 0 0 0 1 0 1 0 1 1"
THIRD = "0 1 0 0 1 1 0 0 0 1 0 1 0 1 1 0 1 0 0 0 0 1 0 0"
EXPECTED = (
    "0.424 0.33 0.594 0.4334 0.33 0.33 0.594 0.01 0.4494 0.33656 0.22 0.35256 "
    "0.4334 0.32716 0.33656 0.22 0.32716 0.594 0.3394 0.314 0.4494 0.33 0.1294 0.4494"
)


def numbers(text):
    return np.array([float(word) for word in text.split()])


def overlapping():
    return numbers(P), numbers(Y), masks(np.ones(24), numbers(SECOND), numbers(THIRD))


def test_overlapping_groups_with_several_updates():  # known answer: hkrr_overlapping
    p, y, groups = overlapping()
    moved, updates = Bins(width=0.5, alpha=0.6).calibrate(p, y, np.ones(24), groups)
    assert moved == pytest.approx(numbers(EXPECTED), abs=1e-9)
    assert [(u.group, u.bin) for u in updates] == [(0, 0), (0, 1), (1, 0), (2, 0), (2, 1)]
    deltas = [-0.11, -0.266, 0.1194, 0.16716, -0.264]
    assert [u.delta for u in updates] == pytest.approx(deltas, abs=1e-9)
    assert (brier(p, y), brier(moved, y)) == pytest.approx((0.308225, 0.221567503), abs=1e-9)


def test_new_rows_are_calibrated_like_the_fitted_ones():
    p, y, groups = overlapping()
    moved, updates = Bins(width=0.5, alpha=0.6).calibrate(p, y, np.ones(24), groups)
    again = p.copy()
    _replay({"width": 0.5, "edge": EDGE, "digits": DIGITS}, _portable(updates), again, groups)
    assert again.tolist() == moved.tolist()


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_bins_hold_their_upper_edge_and_the_first_one_zero_too(dtype):
    scores = np.array([0.0, 0.1, 0.101, 0.3, 0.4, 0.7, 0.95, 1.0], dtype=dtype)
    assert Bins().of(scores.astype(np.float64)).tolist() == [0, 0, 1, 2, 3, 6, 9, 9]


SEEDS = st.integers(0, 10_000)
FEW = settings(max_examples=15)


@FEW
@given(seed=SEEDS)
def test_every_bin_of_every_group_is_right_on_the_fitted_rows(seed):
    rows = random_rows(seed, 3, 2_000)
    groups = [np.arange(2_000), *by_group(np.arange(len(rows.y)), rows.cells, 3)]
    p, _ = BINS.calibrate(rows.scores, rows.y, rows.weight, groups)
    at = BINS.of(p)
    for group in groups:
        for v in range(BINS.count):
            inside = group[at[group] == v]
            if len(inside) >= max(BINS.fewest, 0.01 * len(group)):
                assert abs(np.mean(rows.y[inside] - p[inside])) < 0.01 + 1e-9


@FEW
@given(seed=SEEDS)
def test_calibration_never_raises_the_brier_score_of_the_fitted_rows(seed):
    rows = random_rows(seed, 3, 600)
    groups = [np.arange(600), *by_group(np.arange(len(rows.y)), rows.cells, 3)]
    p, updates = BINS.calibrate(rows.scores, rows.y, rows.weight, groups)
    assert brier(p, rows.y) <= brier(rows.scores, rows.y) + 1e-9
    assert ((p >= 0) & (p <= 1)).all()
    assert updates


def test_a_weight_of_two_is_a_row_twice():
    rows = random_rows(1, 2, 400)
    weight = np.random.default_rng(0).integers(1, 3, 400)
    twice = rows.take(np.repeat(np.arange(400), weight))
    _, heavy = Bins().calibrate(
        rows.scores, rows.y, weight.astype(float), by_group(np.arange(len(rows.y)), rows.cells, 2)
    )
    _, double = Bins().calibrate(
        twice.scores, twice.y, twice.weight, by_group(np.arange(len(twice.y)), twice.cells, 2)
    )
    assert [(u.group, u.bin) for u in heavy] == [(u.group, u.bin) for u in double]
    assert [u.delta for u in heavy] == pytest.approx([u.delta for u in double], abs=1e-9)


def test_a_bin_with_few_rows_is_left_alone():
    y = np.ones(29, dtype=np.int8)
    p, updates = BINS.calibrate(np.full(29, 0.3), y, np.ones(29), [np.arange(29)])
    assert updates == ()
    assert p.tolist() == [0.3] * 29


def test_rows_without_weight_have_no_say():
    weight = np.repeat([1.0, 0.0], 40)
    y = np.repeat([1, 0], 40)
    _, updates = BINS.calibrate(np.full(80, 0.5), y, weight, [np.arange(80), np.arange(40, 80)])
    assert updates == (Update(group=0, bin=4, delta=0.5),)


# ------------------------------------------------- known answers: the program on calibrated cells

LEVELS = [0.1, 0.3, 0.5, 0.7, 0.9]
MASS = [[0.14, 0.10, 0.08, 0.05, 0.03], [0.06, 0.10, 0.12, 0.15, 0.17]]


def cells_of_two_groups():
    p = np.tile(LEVELS, 2)
    return ScoreRows(
        scores=p,
        y=p,
        weight=np.ravel(MASS),
        cells=np.repeat([0, 1], 5).astype(np.int32),
        n_cells=2,
    )


def acceptance(metric, tolerance, gain=(1.0, 1.0)):
    """Solve without labels: the probability of each cell stands for them."""
    rows = cells_of_two_groups()
    problem = build_problem(rows, goal(metric, 2, randomized=True))
    problem = replace(problem, gain=gain)
    ((_, rule),) = problem.rules(rows, [tolerance], randomized=True)
    return rule.decide(rows.scores, rows.cells)


def loss(accepted, gain=(1.0, 1.0)):
    rows = cells_of_two_groups()
    missed = gain[0] * rows.y * (1 - accepted)
    return float(rows.weight @ (missed + gain[1] * (1 - rows.y) * accepted))


@pytest.mark.parametrize(
    ("metric", "tolerance", "expected"),
    [
        (DEMOGRAPHIC, 1.0, 0.26),
        (DEMOGRAPHIC, 0.0, 0.2813333333),
        (DEMOGRAPHIC, 0.05, 0.2733333333),
        (OPPORTUNITY, 0.0, 0.2658757062),
        ("false_positive_rate_difference", 0.0, 0.263437863),
    ],
    ids=["lp_free", "lp_exact_dp", "lp_dp_005", "lp_exact_eop", "lp_exact_fpr"],
)
def test_the_loss_of_the_program_without_labels(metric, tolerance, expected):
    assert loss(acceptance(metric, tolerance)) == pytest.approx(expected, abs=1e-6)


def test_the_decisions_at_exact_parity():
    accepted = acceptance(DEMOGRAPHIC, 0.0)
    expected = [0.0, 0.5333333333, 1.0, 1.0, 1.0, 0.0, 0.0, 0.0, 1.0, 1.0]
    assert accepted == pytest.approx(expected, abs=1e-6)
    rates = [np.average(accepted[i : i + 5], weights=MASS[i // 5]) for i in (0, 5)]
    assert rates == pytest.approx([0.5333333333, 0.5333333333], abs=1e-6)


# known answer: lp_costs_dp
def test_the_loss_where_a_false_acceptance_costs_three_times_a_missed_one():
    gain = (1.0, 3.0)
    assert loss(acceptance(DEMOGRAPHIC, 0.0, gain), gain) == pytest.approx(0.42, abs=1e-6)


# ------------------------------------------------------------------------------------------ rules


@pytest.mark.parametrize("n_groups", [2, 3, 5])
@pytest.mark.parametrize("metric", SERVED)
def test_the_gap_on_the_fitted_rows_is_within_the_tolerance(real_labels, metric, n_groups):
    rows = random_rows(n_groups, n_groups, 1_500)
    wanted = goal(metric, n_groups)
    found = fit_rules(rows, wanted, (0.0, 0.02, 0.1, 0.3))
    assert found[-1][1] is not None
    for tolerance, rule in found:
        if rule is not None:
            assert not rule.randomized
            assert gap_of(counts_of(rule, rows), wanted.targets[0]) <= tolerance + 1e-8


def test_mixtures_are_made_where_the_goal_allows_them(real_labels):
    rows = random_rows(1, 3, 1_500)
    wanted = goal(ODDS, 3, randomized=True)
    ((_, rule),) = fit_rules(rows, wanted, [0.0])
    assert rule.randomized
    assert gap_of(counts_of(rule, rows), wanted.targets[0]) <= 1e-6


def misjudged():
    """A score of 0.4 means two in five positives in one group, three in four in the other."""
    levels, rates = (0.4, 0.8, 0.2, 0.4), (0.4, 0.8, 0.2, 0.75)
    y = np.concatenate([np.arange(100) < 100 * rate for rate in rates])
    return rows_of(np.repeat(levels, 100).astype(np.float32), y, np.repeat([0, 1], 200))


def test_a_group_whose_scores_are_too_low_is_decided_by_what_they_mean():
    ((_, rule),) = fit_rules(misjudged(), goal(DEMOGRAPHIC, 2), [1.0])
    scores = np.array([0.4, 0.4], dtype=np.float32)
    assert rule.decide(scores, np.array([0, 1])).tolist() == [0.0, 1.0]
    assert rule.describe().startswith("calibrated by 1 update, then group 0")


def test_rows_of_an_unknown_group_are_calibrated_like_all_rows_and_decided_neutrally():
    ((_, rule),) = fit_rules(misjudged(), goal(DEMOGRAPHIC, 2), [1.0])
    # Over both groups 0.4 means 0.575.
    decision = rule.decide(np.array([0.2, 0.39, 0.6]), np.array([-1, -1, -1]))
    assert decision.tolist() == [0.0, 1.0, 1.0]


def test_rows_are_decided_the_same_whatever_rows_come_with_them():
    rows = random_rows(2, 3, 1_200)
    ((_, rule),) = fit_rules(rows, goal(DEMOGRAPHIC, 3), [0.05])
    every = rule.decide(rows.scores, rows.cells)
    few = np.array([7, 1_100, 35])
    assert rule.decide(rows.scores[few], rows.cells[few]).tolist() == every[few].tolist()


def test_groups_of_every_system_of_the_goal_are_calibrated():
    rows = random_rows(4, 4, 2_000)
    sex, age = system([0, 0, 1, 1], "sex"), system([0, 1, 0, 1], "age")
    targets = (target(DEMOGRAPHIC, sex, 0.1), target(DEMOGRAPHIC, age, 0.1))
    ((_, rule),) = fit_rules(rows, Goal(targets=targets), [0.1])
    counts = counts_of(rule, rows)
    assert max(gap_of(counts, one) for one in targets) <= 0.1 + 1e-9
    assert rule.of_cell == ((0, 0, 1, 1), (0, 1, 0, 1))


# ----------------------------------------------------------------------------------- degenerate


def test_an_empty_group_is_decided_by_the_neutral_threshold():
    rows = random_rows(0, 2, 1_500)
    ((_, rule),) = fit_rules(
        rows_of(rows.scores, rows.y, rows.cells, n_cells=3), goal(DEMOGRAPHIC, 3), [0.0]
    )
    assert rule.decide(np.array([0.1, 0.95]), np.array([2, 2])).tolist() == [0.0, 1.0]


def test_a_group_without_positives_is_left_out_of_equal_opportunity(real_labels):
    rows = random_rows(0, 3, 1_500)
    lacking = rows_of(rows.scores, np.where(rows.cells == 2, 0, rows.y), rows.cells)
    ((_, rule),) = fit_rules(lacking, goal(OPPORTUNITY, 3), [0.02])
    rates = counts_of(rule, lacking).rates(RATES["tpr"])
    assert np.isnan(rates[2])
    assert abs(rates[0] - rates[1]) <= 0.02 + 1e-9


@pytest.mark.parametrize("scores", [0.0, 0.5, 1.0])
def test_constant_scores_are_parted_by_group_only(scores):
    rows = rows_of(np.full(200, scores), np.tile([1, 1, 1, 0], 50), np.repeat([0, 1], 100))
    for _, rule in fit_rules(rows, goal(DEMOGRAPHIC, 2), TOLERANCES):
        assert rule.decide(rows.scores, rows.cells).tolist() == [1.0] * 200


def test_with_one_group_nothing_is_constrained():
    rows = random_rows(0, 2, 300)
    alone = rows_of(rows.scores, rows.y, np.zeros(300), n_cells=2)
    (_, tight), (_, loose) = fit_rules(alone, goal(ODDS, 2), [0.0, 1.0])
    assert tight == loose


def test_without_a_constraint_there_is_no_rule():
    assert fit_rules(random_rows(1, 2, 50), Goal(targets=()), [0.0]) == []


@FEW
@given(seed=SEEDS, n_groups=st.integers(1, 4), n_rows=st.integers(8, 120))
def test_odd_tables_give_decisions_without_an_exception(seed, n_groups, n_rows):
    rng = np.random.default_rng(seed)
    rows = rows_of(
        rng.choice([0.0, 0.5, 1.0], n_rows).astype(np.float32),
        rng.uniform(size=n_rows) < rng.choice([0.0, 0.1, 0.9, 1.0]),
        rng.integers(-1, n_groups, size=n_rows),
        rng.choice([0.0, 1.0], n_rows),
        n_groups,
    )
    for _, rule in fit_rules(rows, goal(ODDS, n_groups), TOLERANCES):
        decision = rule.decide(rows.scores, rows.cells)
        assert np.isin(decision, (0.0, 1.0)).all()


def test_it_is_used_only_when_named():
    assert MITIGATOR.opt_in
