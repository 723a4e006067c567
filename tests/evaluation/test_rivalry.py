import numpy as np
import pytest
from sklearn.metrics import log_loss

from fairautoml.metrics.tasks import BINARY
from fairautoml.search.allocators._base import ENOUGH_ROWS, FEWEST_FOLDS, MARGIN
from fairautoml.search.allocators._base import should_prune as after_folds


def should_prune(*given):
    return after_folds(*given, FEWEST_FOLDS)


def test_the_mean_of_the_row_losses_is_the_log_loss():
    rng = np.random.default_rng(0)
    y, scores = rng.integers(2, size=50), rng.uniform(size=50)
    assert BINARY.row_losses(y, scores).mean() == pytest.approx(log_loss(y, scores), rel=1e-12)


def test_a_certain_error_costs_a_finite_loss():
    losses = BINARY.row_losses(np.array([1, 0]), np.array([0.0, 1.0], dtype=np.float32))
    assert losses == pytest.approx([16.118, 16.118], abs=1e-3)


def behind(by, spread, n=1000):
    rng = np.random.default_rng(0)
    rival = rng.uniform(0.0, 1.0, n)
    return rival + by + spread * rng.normal(size=n), rival, np.ones(n)


def test_a_trial_far_behind_is_reported_with_its_distance():
    losses, rival, weight = behind(0.3, 0.1)
    message = should_prune(losses, rival, weight)
    assert f"is above the best one's {rival.mean():.4f}" in message
    assert f"by {(losses - rival).mean():.4f} with standard error 0.003" in message
    assert f"the margin is {MARGIN * rival.mean():.4f}" in message


def test_a_trial_inside_the_margin_continues_however_sure_the_difference():
    losses, rival, weight = behind(0.0, 0.0)
    assert should_prune(losses + 0.99 * MARGIN * rival.mean(), rival, weight) == ""
    assert should_prune(losses + 1.01 * MARGIN * rival.mean(), rival, weight) != ""


def test_a_trial_continues_as_long_as_the_difference_may_be_chance():
    # 0.3 behind with standard error 0.3 / sqrt(n) x 10: two of them are 0.6 at 100 rows.
    assert should_prune(*behind(0.3, 3.0, n=100)) == ""
    assert should_prune(*behind(0.3, 3.0, n=10_000)) != ""


def test_a_better_trial_continues():
    assert should_prune(*behind(-0.3, 0.1)) == ""


def test_the_scale_of_the_weights_does_not_matter_and_a_row_without_weight_does_not_count():
    losses, rival, weight = behind(0.3, 0.1)
    expected = should_prune(losses, rival, weight)
    assert should_prune(losses, rival, 8.0 * weight) == expected
    more = [
        np.append(part, value) for part, value in ((losses, -99.0), (rival, 7.0), (weight, 0.0))
    ]
    assert should_prune(*more) == expected


def test_a_trial_whose_rows_so_far_have_no_weight_continues():
    losses, rival, weight = behind(0.3, 0.1)
    assert should_prune(losses, rival, 0.0 * weight) == ""


def test_one_fold_of_few_rows_is_not_enough():
    assert after_folds(*behind(0.3, 0.1, n=ENOUGH_ROWS - 1), 1) == ""
    assert after_folds(*behind(0.3, 0.1, n=ENOUGH_ROWS), 1) != ""
