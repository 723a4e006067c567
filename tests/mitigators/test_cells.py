import numpy as np
import pytest
from mitigator_cases import DEMOGRAPHIC, ODDS, goal, random_rows, rows_of

from fairautoml.metrics import METRICS
from fairautoml.mitigators import _thresholds
from fairautoml.mitigators._thresholds import MAX_CUTS, build_cuts, gain_weights, shrunk


def only_cuts(scores, y, weight=None):
    rows = rows_of(scores, y, np.zeros(len(scores)), weight)
    (cuts,) = build_cuts(rows, rows.cells, 1)
    return cuts


def test_cuts_go_from_none_to_all_with_thresholds_between_scores():
    cuts = only_cuts([0.2, 0.8, 0.4], [0, 1, 1], [1.0, 2.0, 4.0])
    assert cuts.thresholds == pytest.approx([np.inf, 0.6, 0.3, -np.inf])
    assert cuts.accepted.tolist() == [[0, 0], [0, 2], [0, 6], [1, 6]]


def test_equal_scores_stay_on_one_side_of_every_cut():
    cuts = only_cuts([0.5, 0.5, 0.5, 0.1], [1, 0, 1, 0])
    assert cuts.accepted.tolist() == [[0, 0], [1, 2], [2, 2]]


def test_a_row_without_weight_moves_no_threshold():
    cuts = only_cuts([0.2, 0.8, 0.7], [0, 1, 1], [1.0, 1.0, 0.0])
    assert cuts.thresholds == pytest.approx([np.inf, 0.5, -np.inf])


def test_a_group_of_one_row_is_accepted_or_refused_as_a_whole():
    assert only_cuts([0.7], [1]).thresholds.tolist() == [np.inf, -np.inf]


@pytest.mark.parametrize("steps", range(6))
def test_scores_that_are_neighbouring_floats_are_distinguished(steps):
    low = 0.3
    for _ in range(steps):
        low = np.nextafter(low, 1)
    high = np.nextafter(low, 1)
    threshold = only_cuts([low, high], [0, 1]).thresholds[1]
    assert low < threshold <= high


def test_more_scores_than_cuts_are_thinned_to_equal_steps_of_both_label_rates():
    scores = np.random.default_rng(0).uniform(size=20_000)
    rows = rows_of(scores, scores > 0.98, np.zeros(20_000))
    (cuts,) = build_cuts(rows, rows.cells, 1)
    assert len(cuts.thresholds) <= MAX_CUTS + 2
    shares = cuts.accepted / cuts.totals
    assert np.diff(shares.sum(axis=1)).max() <= 2 / MAX_CUTS + 0.01


def test_every_cut_counts_the_rows_that_its_threshold_accepts():
    rows = random_rows(1, 3, 5_000)
    for group, cuts in enumerate(build_cuts(rows, rows.cells, 3)):
        for threshold, accepted in zip(cuts.thresholds, cuts.accepted, strict=True):
            taken = (rows.cells == group) & (rows.scores.astype(float) >= threshold)
            assert accepted.tolist() == [
                np.count_nonzero(taken & (rows.y == 0)),
                np.count_nonzero(taken & (rows.y == 1)),
            ]


def test_rows_without_a_group_are_in_no_cut():
    rows = rows_of([0.1, 0.9, 0.5], [0, 1, 1], [0, 0, 0])
    (cuts,) = build_cuts(rows, np.array([0, -1, 0]), 1)
    assert cuts.totals.tolist() == [1, 1]


def test_shrunk_labels_are_the_stated_mixture_of_label_and_score():
    rows = random_rows(0, 2, 500)
    found = shrunk(rows, goal(ODDS, 2), rows.cells, 2).y
    n = np.bincount(rows.cells)[rows.cells]
    alpha = n / (n + 2000)
    assert found == pytest.approx(alpha * rows.y + (1 - alpha) * rows.scores)


def test_shrinkage_counts_effective_rows_so_that_a_constant_weight_changes_nothing():
    rows = random_rows(0, 2, 500)
    heavy = rows_of(rows.scores, rows.y, rows.cells, np.full(500, 7.0))
    once, again = (shrunk(r, goal(ODDS, 2), r.cells, 2).y for r in (rows, heavy))
    assert again == pytest.approx(once, abs=1e-12)


def test_labels_are_left_alone_when_every_group_label_cell_is_large(monkeypatch):
    monkeypatch.setattr(_thresholds, "ENOUGH_ROWS", 50)
    rows = random_rows(0, 2, 1_000)
    assert np.bincount(rows.cells * 2 + rows.y).min() >= 50
    assert shrunk(rows, goal(ODDS, 2), rows.cells, 2) is rows


def test_one_small_cell_is_enough_to_shrink(monkeypatch):
    rows = random_rows(0, 2, 1_000)
    smallest = np.bincount(rows.cells * 2 + rows.y).min()
    monkeypatch.setattr(_thresholds, "ENOUGH_ROWS", smallest + 1)
    assert shrunk(rows, goal(ODDS, 2), rows.cells, 2) is not rows


@pytest.mark.parametrize(("n_rows", "changed"), [(999, True), (1_000, False)])
def test_for_demographic_parity_labels_are_shrunk_below_a_thousand_rows(n_rows, changed):
    rows = random_rows(0, 2, n_rows)
    assert (shrunk(rows, goal(DEMOGRAPHIC, 2), rows.cells, 2) is not rows) == changed


def test_a_group_of_weight_zero_gets_the_scores_as_labels():
    rows = rows_of([0.2, 0.8], [1, 0], [0, 0], [0.0, 0.0])
    assert shrunk(rows, goal(ODDS, 1), rows.cells, 1).y == pytest.approx([0.2, 0.8])


def test_accuracy_weighs_both_errors_equally():
    assert gain_weights(random_rows(0, 2, 50), METRICS.get("accuracy")) == (1.0, 1.0)


def test_balanced_accuracy_weighs_a_label_by_the_weight_of_the_other():
    rows = rows_of([0.1, 0.2, 0.3, 0.9], [0, 0, 0, 1], [0] * 4)
    assert gain_weights(rows, METRICS.get("balanced_accuracy")) == (1.5, 0.5)


def test_f1_weighs_by_its_own_best_value():
    # Accepting one, two or three rows from the top: 2 TP / (accepted + positives).
    rows = rows_of([0.9, 0.8, 0.1], [1, 0, 1], [0] * 3)
    best = max(2 * 1 / (1 + 2), 2 * 1 / (2 + 2), 2 * 2 / (3 + 2))
    assert gain_weights(rows, METRICS.get("f1")) == pytest.approx((2 - best, best))


@pytest.mark.parametrize("objective", ["balanced_accuracy", "f1"])
@pytest.mark.parametrize("label", [0, 1])
def test_rows_of_one_label_are_weighed_like_for_accuracy(objective, label):
    rows = rows_of([0.3, 0.6], [label, label], [0, 0])
    assert gain_weights(rows, METRICS.get(objective)) == (1.0, 1.0)
