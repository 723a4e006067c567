import warnings

import numpy as np
import pytest
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
    worth,
)
from scipy.optimize import linprog

from fairautoml.metrics.rates import RATES
from fairautoml.mitigators import Goal, _thresholds
from fairautoml.mitigators.postprocessing import group_thresholds
from fairautoml.mitigators.postprocessing.randomized_thresholds import MITIGATOR
from quick_fits import few_individuals, quick


def fit_rules(rows, wanted, tolerances):
    """Fit on the labels themselves: a rule must keep its promise on these very rows."""
    return MITIGATOR.fit_rules(rows, wanted, tolerances, shrink=False)


def test_half_of_a_group_of_equal_scores_is_accepted_where_parity_asks_for_half():
    # Accepting the share s of the second group loses 2 s, and each of the first two rows of the
    # first group gains 1: at equal rates the best is one half of each.
    rows = rows_of(
        [0.9, 0.9, 0.1, 0.1, 0.4, 0.4, 0.4, 0.4], [1, 1, 0, 0, 1, 0, 0, 0], [0] * 4 + [1] * 4
    )
    ((_, rule),) = fit_rules(rows, goal(DEMOGRAPHIC, 2, randomized=True), [0.0])
    decision = rule.decide(rows.scores, rows.cells)
    assert decision == pytest.approx([1, 1, 0, 0, 0.5, 0.5, 0.5, 0.5])
    assert "share 0.500" in rule.describe()


@pytest.mark.parametrize("n_groups", [2, 4])
@pytest.mark.parametrize("metric", SERVED)
def test_mixtures_keep_the_tolerance_in_expectation(metric, n_groups):
    rows = random_rows(1, n_groups, 600)
    wanted = goal(metric, n_groups, randomized=True)
    found = fit_rules(rows, wanted, (0.0, 0.05))
    assert any(rule is not None for _, rule in found)
    for tolerance, rule in found:
        if rule is not None:
            assert gap_of(counts_of(rule, rows), wanted.targets[0]) <= tolerance + 1e-6


@pytest.mark.parametrize("n_groups", [2, 4])
@pytest.mark.parametrize("metric", [DEMOGRAPHIC, OPPORTUNITY, ODDS])
def test_a_mixture_is_never_worse_than_the_best_thresholds(monkeypatch, metric, n_groups):
    monkeypatch.setattr(_thresholds, "ENOUGH_ROWS", 0)
    rows = random_rows(1, n_groups, 600)
    tolerances = (0.0, 0.05)
    mixed = fit_rules(rows, goal(metric, n_groups, randomized=True), tolerances)
    sure = group_thresholds.fit_rules(rows, goal(metric, n_groups), tolerances)
    for (_, rule), (_, other) in zip(mixed, sure, strict=True):
        assert worth(counts_of(rule, rows)) >= worth(counts_of(other, rows)) - 1e-6


def best_worth(rows, metric, tolerance):
    """The optimum over the probabilities of acceptance of every cut of every group, by HiGHS."""
    groups = np.unique(rows.cells)
    points = []
    for group in groups:
        mine = rows.cells == group
        cuts = np.append(np.unique(rows.scores[mine]), np.inf)
        accepted = rows.scores[mine] >= cuts[:, None]
        weight, y = rows.weight[mine], rows.y[mine]
        points.append(np.column_stack([accepted @ (weight * (1 - y)), accepted @ (weight * y)]))
    of = np.repeat(np.arange(len(groups)), [len(one) for one in points])
    every = np.concatenate(points)
    rates = {DEMOGRAPHIC: [(1, 1)], OPPORTUNITY: [(0, 1)], ODDS: [(1, 0), (0, 1)]}[metric]
    above = []
    for rate in rates:
        totals = np.array([one.max(axis=0) @ rate for one in points])
        share = np.where(of == np.arange(len(groups))[:, None], every @ rate / totals[of], 0.0)
        above += [share[a] - share[b] for a in range(len(groups)) for b in range(len(groups))]
    found = linprog(
        every @ [1.0, -1.0],
        A_ub=np.array(above),
        b_ub=np.full(len(above), tolerance),
        A_eq=(of == np.arange(len(groups))[:, None]).astype(float),
        b_eq=np.ones(len(groups)),
        method="highs",
    )
    assert found.status == 0
    return -found.fun


@pytest.mark.parametrize("n_groups", [2, 3])
@pytest.mark.parametrize("tolerance", [0.0, 0.05])
@pytest.mark.parametrize("metric", [DEMOGRAPHIC, OPPORTUNITY, ODDS])
def test_the_rule_is_the_optimum_of_the_linear_program_over_all_cuts(metric, tolerance, n_groups):
    rows = random_rows(2, n_groups, 3_000)
    wanted = goal(metric, n_groups, randomized=True)
    ((_, rule),) = fit_rules(rows, wanted, [tolerance])
    counts = counts_of(rule, rows)
    assert gap_of(counts, wanted.targets[0]) <= tolerance + 1e-7
    assert worth(counts) == pytest.approx(best_worth(rows, metric, tolerance), abs=1e-4)


def test_shrunk_labels_are_met_exactly_and_the_observed_ones_are_not():
    rows = random_rows(2, 2, 600)
    wanted = goal(ODDS, 2, randomized=True)
    ((_, rule),) = MITIGATOR.fit_rules(rows, wanted, [0.0])
    assert gap_of(counts_of(rule, rows), wanted.targets[0]) > 0.005
    alpha = np.bincount(rows.cells) / (np.bincount(rows.cells) + _thresholds.SHRINKAGE_ROWS)
    labels = alpha[rows.cells] * rows.y + (1 - alpha[rows.cells]) * rows.scores
    accepted = rule.decide(rows.scores, rows.cells)
    for mass in (labels, 1 - labels):
        rates = np.bincount(rows.cells, mass * accepted) / np.bincount(rows.cells, mass)
        assert rates[0] == pytest.approx(rates[1], abs=1e-6)


def test_equalized_odds_at_zero_needs_a_mixture():
    rows = random_rows(1, 2, 600)
    ((_, rule),) = fit_rules(rows, goal(ODDS, 2, randomized=True), [0.0])
    decision = rule.decide(rows.scores, rows.cells)
    assert rule.randomized
    assert ((decision > 0.01) & (decision < 0.99)).any()


@pytest.mark.parametrize(
    ("metric", "theirs"), [(DEMOGRAPHIC, "demographic_parity"), (ODDS, "equalized_odds")]
)
def test_the_optimum_is_no_worse_than_that_of_fairlearn(metric, theirs):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from fairlearn.postprocessing import ThresholdOptimizer
    from sklearn.dummy import DummyClassifier

    rows = random_rows(3, 2, 2_000)
    X = rows.scores[:, None].astype(np.float64)

    class Scores(DummyClassifier):
        def predict_proba(self, X):
            return np.column_stack([1 - X[:, 0], X[:, 0]])

    peer = ThresholdOptimizer(
        estimator=Scores().fit(X, rows.y),
        constraints=theirs,
        prefit=True,
        predict_method="predict_proba",
    ).fit(X, rows.y, sensitive_features=rows.cells)
    accepted = peer._pmf_predict(X, sensitive_features=rows.cells)[:, 1]
    gain = float(accepted @ np.where(rows.y == 1, 1.0, -1.0))
    ((_, rule),) = fit_rules(rows, goal(metric, 2, randomized=True), [0.0])
    assert worth(counts_of(rule, rows)) / 2_000 >= gain / 2_000 - 0.001


def test_two_marginals_without_the_intersection_are_both_kept():
    rows = random_rows(4, 4, 2_000)
    sex, age = system([0, 0, 1, 1], "sex"), system([0, 1, 0, 1], "age")
    targets = (target(ODDS, sex, 0.1), target(DEMOGRAPHIC, age, 0.05))
    for tolerance, rule in fit_rules(rows, Goal(targets=targets, randomized=True), (0.02, 0.1)):
        counts = counts_of(rule, rows)
        assert gap_of(counts, targets[0]) <= tolerance + 1e-6
        assert gap_of(counts, targets[1]) <= tolerance / 2 + 1e-6


def test_there_is_no_rule_where_decisions_must_be_certain_or_nothing_is_constrained():
    rows = random_rows(0, 2, 60)
    assert fit_rules(rows, goal(DEMOGRAPHIC, 2), [0.0, 0.1]) == []
    assert fit_rules(rows, Goal(targets=(), randomized=True), [0.0, 0.1]) == []


def test_a_group_without_positives_is_left_out_of_equal_opportunity():
    rows = random_rows(0, 3, 300)
    y = np.where(rows.cells == 2, 0, rows.y)
    lacking = rows_of(rows.scores, y, rows.cells)
    wanted = goal(OPPORTUNITY, 3, randomized=True)
    ((_, rule),) = fit_rules(lacking, wanted, [0.0])
    rates = counts_of(rule, lacking).rates(RATES["tpr"])
    assert np.isnan(rates[2])
    assert rates[0] == pytest.approx(rates[1], abs=1e-6)


def test_a_group_without_rows_is_decided_by_the_neutral_threshold():
    rows = random_rows(0, 2, 1_000)
    wanted = goal(DEMOGRAPHIC, 3, randomized=True)
    ((_, rule),) = fit_rules(rows_of(rows.scores, rows.y, rows.cells, n_cells=3), wanted, [0.0])
    scores = np.array([0.4, 0.6], dtype=np.float32)
    assert rule.decide(scores, np.array([2, 2])).tolist() == [0.0, 1.0]
    assert rule.decide(scores, np.array([-1, -1])).tolist() == [0.0, 1.0]


def test_it_is_used_only_where_it_is_named():
    X, y, group = few_individuals()
    model = quick().fit(X, y, group)
    assert "randomized_thresholds" not in set(model.leaderboard_["mitigator"])
    assert not any(entry.rule.randomized for entry in model.pool_.board.entries)
    model = quick(mitigators=["group_thresholds", "randomized_thresholds"]).fit(X, y, group)
    assert {"group_thresholds", "randomized_thresholds"} <= set(model.leaderboard_["mitigator"])


def test_it_takes_part_unless_decisions_must_be_certain():
    assert (MITIGATOR.opt_in, MITIGATOR.randomizes) == (False, True)
