"""Bets win under the alternative and hardly ever under the null hypothesis."""

import numpy as np
import pytest

from fairautoml.monitoring.monitor import BETS, Outcomes, mixed

LOOKS, ROWS, STREAMS, LEVEL = 12, 60, 200, 0.1


def share_of_alarms(p, q, bound, looks=LOOKS):
    """Return how often the bet that p - q exceeds the bound wins 1 / level at any look."""
    rng = np.random.default_rng(0)
    won = 0
    for _ in range(STREAMS):
        windows = [
            Outcomes.paired(rng.random(ROWS) < p, rng.random(3 * ROWS) < q, rng)
            for _ in range(looks)
        ]
        logs = np.stack([one.log_wealth(1.0, np.array([bound])) for one in windows])
        won += mixed(logs)[-1, 0] >= np.log(1 / LEVEL)
    return won / STREAMS


def test_looking_often_keeps_the_error_probability_at_the_boundary():
    assert share_of_alarms(0.35, 0.3, 0.05) <= LEVEL


def test_a_gap_beyond_the_bound_is_found():
    assert share_of_alarms(0.65, 0.3, 0.05) >= 0.95


def test_the_wealth_of_one_bet_on_one_window_is_the_textbook_product():
    outcomes = Outcomes.single(np.array([1.0, 0.0, 1.0]))
    logs = outcomes.log_wealth(1.0, np.array([0.5]))
    expected = 2 * np.log1p(0.5 * BETS) + np.log1p(-0.5 * BETS)
    assert logs[0] == pytest.approx(expected)
    # The first start has half of the prior weight, what has not started keeps the other half.
    total = mixed(logs[None])[0, 0]
    assert total == pytest.approx(np.log(0.5 * np.exp(expected).mean() + 0.5))


def test_the_order_of_the_rows_within_a_window_is_not_bet_on():
    """Sorted outcomes would pair equal ones, as if there were no noise."""
    rng = np.random.default_rng(0)
    first, second = np.sort(rng.random(300) < 0.4), np.sort(rng.random(300) < 0.3)
    outcomes = Outcomes.paired(first, second, rng)
    assert (outcomes.values == [0.0, 1.0]).all(axis=1).any()


def test_a_window_without_rows_of_a_group_changes_no_wealth():
    rng = np.random.default_rng(0)
    empty = Outcomes.paired(np.zeros(0, dtype=bool), np.ones(5, dtype=bool), rng)
    assert (empty.log_wealth(1.0, np.array([0.1])) == 0).all()
    assert empty.mean is None
