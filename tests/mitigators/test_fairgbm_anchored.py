"""FairGBM with rates against that of everybody, over groups that overlap."""

import numpy as np
import pytest
from fairgbm_cases import LAST, Params
from mitigator_cases import overlapping, target
from reduction_cases import rows_of, unequal_table
from scipy.special import expit

from fairautoml.exceptions import DegenerateGroupError
from fairautoml.mitigators import MITIGATORS
from fairautoml.mitigators.inprocessing.fairgbm import CrossEntropy, Game, near_overall

IDENTITIES = overlapping([[0, 1, 0, 1], [0, 0, 1, 1]])
FPR = "false_positive_rate_to_overall"


def constraint_on(cells, y, metric=FPR, limit=0.0, groups=IDENTITIES):
    n = len(y)
    wanted = (target(metric, groups, limit),)
    rows = rows_of(np.zeros((n, 1), dtype=np.float32), np.asarray(y), np.asarray(cells), wanted)
    (found,) = near_overall(rows, wanted, CrossEntropy(1.0), curved=True)
    return found


# known answer: gradient_overlapping
def test_the_gradient_over_two_overlapping_groups_is_the_known_one():
    margin = np.array([1.0, 1.5, 0.5, -2.0, 2.0, -0.5])
    y = np.array([0, 0, 0, 0, 1, 1])
    # Masks 111010 and 011101: cell 1 = the first only, 2 = the second only, 3 = both.
    constraint = constraint_on([1, 3, 3, 2, 1, 2], y)
    constraint.prices = np.array([[0.3, 0.1], [0.05, 0.2]])
    gradient = expit(margin) - y
    hessian = np.zeros(6)
    constraint.add_derivatives(margin, 6.0, gradient, hessian)
    expected = [0.957564319, 0.883954584, 0.677892248, 0.0390181542, -0.119202922, -0.6224593312]
    assert gradient == pytest.approx(expected, abs=1e-8)
    assert (hessian[y == 0] > 0).all()
    assert constraint.rate.rates(margin) + 0.75 == pytest.approx([1.0, 2 / 3], abs=1e-9)


def test_rows_of_an_unknown_group_belong_to_none():
    y = [0, 0, 0, 0, 0, 1]
    known = constraint_on([1, 3, 3, 2, 1, 2], y)
    with_unknown = constraint_on([1, 3, 3, 2, 1, 2, -1, -1], [*y, 0, 0])
    assert np.array_equal(known.rate.mass, with_unknown.rate.mass)


def test_rows_of_an_unknown_group_do_not_count_in_the_overall_rate():
    y, margin = [0, 0, 0, 0, 0, 1], np.array([1.0, 1.5, 0.5, -2.0, 2.0, -0.5])
    known = constraint_on([1, 3, 3, 2, 1, 2], y).rate.rates(margin)
    with_unknown = constraint_on([1, 3, 3, 2, 1, 2, -1, -1], [*y, 0, 0])
    assert with_unknown.rate.rates(np.append(margin, [1.0, 1.0])) == pytest.approx(known)


def test_a_price_rises_with_the_distance_beyond_the_tolerance_and_falls_within():
    constraint = constraint_on([1, 3, 3, 2, 1, 2], [0, 0, 0, 0, 1, 1], limit=0.1)
    margin = np.array([1.0, 1.5, 0.5, -2.0, 2.0, -0.5])
    game = Game(y=np.zeros(6), weight=np.ones(6), constraints=(constraint,), eta=1.0)
    game.ascend(margin)
    assert constraint.prices == pytest.approx(np.array([[0.15, 0.0], [0.0, 0.0]]))
    game.ascend(-margin)
    # Now the rates are 0 and 1/3, that of everybody 1/4.
    assert constraint.prices == pytest.approx(np.array([[0.0, 0.0], [0.15, 0.0]]))


@pytest.mark.parametrize(
    ("metric", "tolerance"),
    [(FPR, 0.2), ("fped", 0.1), ("false_positive_rate_difference", 0.1)],
)
def test_the_bound_of_a_group_implies_that_of_all(metric, tolerance):
    found = constraint_on([1, 3, 3, 2, 1, 2], [0, 0, 0, 0, 1, 1], metric, limit=0.2)
    assert found.rate.tolerance == pytest.approx(tolerance)


def test_a_group_without_rows_of_the_rate_is_left_out():
    found = constraint_on([1, 0, 0, 2], [0, 0, 1, 1])
    assert found.rate.codes.tolist() == [0]
    with pytest.raises(DegenerateGroupError, match="no group of 'identity' has rows for fpr"):
        constraint_on([1, 0, 0, 2], [1, 0, 1, 1])


@pytest.mark.parametrize("metric", [FPR, "fped", "demographic_parity_to_overall"])
def test_the_gap_of_new_rows_is_smaller_than_that_of_the_plain_model(metric):
    X, y, cells = unequal_table(0, 1_500, 4)
    new, _, new_cells = unequal_table(1, 1_500, 4)
    _, labels, _ = unequal_table(1, 1_500, 4)
    wanted = (target(metric, IDENTITIES, 0.02),)
    gaps = []
    for eta in (0.0, 0.1):
        model = MITIGATORS.get("fairgbm").train(
            rows_of(X, y, cells, wanted), Params(), {**LAST, "eta": eta}, 0
        )
        decision = model.scores(new, new_cells) >= 0.5
        held = rows_of(new, labels, new_cells, wanted)
        (near, *_) = near_overall(held, wanted, CrossEntropy(1.0), curved=True)
        gaps.append(np.abs(near.rate.rates(np.where(decision, 1.0, -1.0))).max())
    assert gaps[1] < gaps[0]


def test_it_serves_overlapping_groups():
    assert MITIGATORS.get("fairgbm").overlapping
