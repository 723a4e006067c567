"""Thresholds that leave a part of the limit to noise: what they keep, against all pairs."""

import itertools

import numpy as np
import pytest

from fairautoml import FairAutoML
from fairautoml.data import load
from fairautoml.data.read import build_dataset
from fairautoml.metrics import METRICS, Constraint, GroupCounts, bind_constraints
from fairautoml.metrics.rates import RATES
from fairautoml.mitigators import MITIGATORS, Goal, ScoreRows
from fairautoml.mitigators._group_program import build_problem
from fairautoml.mitigators._thresholds import build_cuts, shrunk
from fairautoml.selection.low_variance import (
    LOW_VARIANCE,
    QUIETED,
    SERVES,
    Noise,
    fit_low_variance,
    low_variance_thresholds,
    shared_limits,
)

NOISE = Noise(quantile=1.96, worse=2.0)


def requested(constraint, n_rows=100, n_groups=2, seed=0, n_scores=40):
    rng = np.random.default_rng(seed)
    group = rng.integers(n_groups, size=n_rows)
    scores = np.round(rng.beta(2, 2, size=n_rows) * 0.8 + 0.1 * (group > 0), 4)
    if n_scores is not None:
        scores = np.round(scores * n_scores) / n_scores
    y = (rng.random(n_rows) < scores).astype(np.int8)
    dataset = build_dataset(np.arange(n_rows)[:, None].astype(float), y, {"g": group.astype(str)})
    rows = ScoreRows(
        scores=scores.astype(np.float32),
        y=y,
        weight=np.ones(n_rows),
        cells=dataset.cells,
        n_cells=n_groups,
    )
    targets = bind_constraints((Constraint.parse(constraint),), dataset.systems)
    return rows, Goal(targets=targets)


def table_of(rule, rows):
    accepted = rule.decide(rows.scores, rows.cells)
    return GroupCounts.from_rows(rows.cells, rows.y, accepted, rows.weight, n_groups=rows.n_cells)


def largest_variance(goal, counts, tolerance, rate):
    n = {
        "selection": counts.table.sum(axis=(1, 2)),
        "tpr": counts.table[:, 1].sum(axis=1),
        "fpr": counts.table[:, 0].sum(axis=1),
    }[rate.name]
    return NOISE.variance(goal.targets[0].limit - tolerance, n)


def test_the_variance_that_is_allowed_keeps_the_noise_within_its_room():
    variance = NOISE.variance(0.05, np.array([400.0, 100.0, 900.0]))
    deviation = np.sqrt(2.0 * variance * (1 / 100 + 1 / 400))
    assert 1.96 * deviation == pytest.approx(0.05)


def test_a_limit_is_shared_between_gap_and_noise_and_noise_is_never_left_without():
    assert shared_limits(0.08) == pytest.approx([0.07, 0.06, 0.05, 0.04, 0.03, 0.02, 0.01, 0.0])


@pytest.mark.parametrize(
    ("constraint", "n_groups"),
    [
        ("demographic_parity_difference<=0.2", 2),
        ("equal_opportunity_difference<=0.2", 2),
        ("equalized_odds_difference<=0.3", 2),
        ("demographic_parity_difference<=0.2", 4),
    ],
)
def test_rates_keep_the_gap_and_the_variance_that_the_tolerance_leaves(constraint, n_groups):
    rows, goal = requested(constraint, n_groups=n_groups)
    (target,) = goal.targets
    found = fit_low_variance(rows, goal, shared_limits(target.limit), NOISE)
    assert sum(rule is not None for _, rule in found) == 8
    for tolerance, rule in found:
        counts = table_of(rule, rows)
        for rate in target.metric.rates:
            rates = counts.rates(rate)
            # Labels are shrunk where a rule is fitted: rates of one label only nearly hold.
            slack = 1e-9 if rate.name == "selection" else 0.06
            assert np.ptp(rates) <= tolerance + slack
            most = largest_variance(goal, counts, tolerance, rate)
            assert (rates * (1 - rates)).max() <= most + slack


@pytest.mark.parametrize("seed", range(4))
def test_two_groups_get_the_most_accurate_of_all_pairs_of_thresholds_that_are_quiet(seed):
    rows, goal = requested("demographic_parity_difference<=0.2", seed=seed)
    problem = build_problem(rows, goal)
    labelled = shrunk(rows, goal, problem.groups, 2)
    cuts = build_cuts(labelled, problem.groups, 2)
    n = np.array([of_group.totals.sum() for of_group in cuts])
    for tolerance, rule in fit_low_variance(rows, goal, shared_limits(0.2), NOISE):
        most = NOISE.variance(0.2 - tolerance, n)
        gains = []
        for pair in itertools.product(*(range(len(c.thresholds)) for c in cuts)):
            r = np.array([c.accepted[at].sum() for c, at in zip(cuts, pair, strict=True)]) / n
            if abs(r[0] - r[1]) <= tolerance + 1e-12 and (r * (1 - r)).max() <= most:
                gains.append(
                    sum(c.accepted[at] @ [-1, 1] for c, at in zip(cuts, pair, strict=True))
                )
        accepted = rule.decide(rows.scores, rows.cells)
        assert accepted @ (2 * labelled.y - 1) == pytest.approx(max(gains))


def test_the_more_is_left_to_noise_the_more_accurate_the_rule():
    gains = []
    for limit in (0.03, 0.1, 0.2):
        rows, goal = requested(f"demographic_parity_difference<={limit}", n_scores=None)
        ((_, rule),) = fit_low_variance(rows, goal, [0.02], NOISE)
        gains.append(rule.decide(rows.scores, rows.cells) @ (2 * rows.y - 1))
    assert gains == sorted(gains)
    assert gains[0] < gains[-1]


def test_of_a_ratio_rates_near_one_are_quiet():
    rows, goal = requested("demographic_parity_ratio>=0.8")
    for _, rule in fit_low_variance(rows, goal, shared_limits(0.2), NOISE):
        assert table_of(rule, rows).rates(RATES["selection"]).min() > 0.5


def test_where_noise_is_small_ordinary_thresholds_do():
    rows, goal = requested("demographic_parity_difference<=0.2", n_rows=20_000)
    found = dict(fit_low_variance(rows, goal, shared_limits(0.2), NOISE))
    assert found[0.0] is None
    assert found[0.1] is None


def test_a_group_without_the_rows_of_a_rate_is_left_out_of_it():
    rows, goal = requested("equal_opportunity_difference<=0.2", n_groups=3)
    rows.y[rows.cells == 2] = 0
    found = fit_low_variance(rows, goal, shared_limits(0.2), NOISE)
    assert all(rule is not None for _, rule in found)


@pytest.mark.parametrize("name", sorted(SERVES))
def test_every_metric_that_is_served_has_rates_without_noise_at_the_ends(name):
    metric = METRICS.get(name)
    assert all(rate.is_acceptance for rate in metric.rates)
    assert name in MITIGATORS.get(QUIETED).serves
    quiet = low_variance_thresholds(0.95, 1.0)
    bound = 0.9 if metric.form == "ratio" else 0.1
    sign = ">=" if metric.form == "ratio" else "<="
    rows, goal = requested(f"{name}{sign}{bound}")
    assert quiet.can_serve(goal)
    assert len(quiet.fit_rules(rows, goal, shared_limits(0.1))) == 8


@pytest.fixture(scope="module")
def few():
    table = load("lending").frame.head(1500)
    return table.drop(columns="repaid"), table["repaid"]


def fit_few(few, bound=0.07, **parameters):
    model = FairAutoML(
        f"demographic_parity_difference <= {bound}",
        n_trials=3,
        cv=3,
        learners=["logistic_regression", "lightgbm"],
        random_state=0,
        **parameters,
    )
    return model.fit(*few, "sex")


def test_a_confidence_on_few_rows_is_reached_by_more_than_a_constant_model(few):
    model = fit_few(few, bound=0.04, confidence=0.95)
    margin = model.summary_["margin"]
    assert margin["probability"] >= 0.95
    assert not margin["insufficient_evidence"]
    assert not model.best_entry_.constant
    assert model.best_entry_.mitigator == LOW_VARIANCE
    assert len(set(model.predict(few[0], few[0]["sex"]))) == 2


@pytest.mark.parametrize(
    "parameters",
    [
        {"confidence": "auto"},
        {"confidence": None},
        {"confidence": 0.95, "mitigators": ["common_threshold"]},
    ],
)
def test_no_other_rule_is_offered_them(few, parameters):
    model = fit_few(few, **parameters)
    assert LOW_VARIANCE not in {entry.mitigator for entry in model.pool_.board.entries}
