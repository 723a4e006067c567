"""What fitting a rule may cost on a million scores: seconds of processor time, bytes per row."""

import time
import tracemalloc

import pytest
from mitigator_cases import DEMOGRAPHIC, ODDS, goal, random_rows

from fairautoml.mitigators import MITIGATORS

KNOWN = (MITIGATORS.get(name) for name in MITIGATORS.names())
POST = [
    one.name
    for one in KNOWN
    if one.stage == "post" and not one.needs_membership and one.can_serve(goal(DEMOGRAPHIC, 2))
]


def fit(name, rows, metric):
    """Fit one rule; a mitigator that cannot serve the metric does parity in its place."""
    mitigator = MITIGATORS.get(name)
    wanted = goal(metric, rows.n_cells, randomized=mitigator.randomizes)
    if not mitigator.can_serve(wanted):
        wanted = goal(DEMOGRAPHIC, rows.n_cells)
    return mitigator.fit_rules(rows, wanted, [0.05])


@pytest.mark.slow
@pytest.mark.parametrize(("n_groups", "seconds"), [(2, 10.0), (50, 60.0)])
@pytest.mark.parametrize("metric", [DEMOGRAPHIC, ODDS])
@pytest.mark.parametrize("name", POST)
def test_a_rule_for_a_million_scores_takes_seconds(name, metric, n_groups, seconds):
    rows = random_rows(0, n_groups, 1_000_000)
    start = time.process_time()
    assert fit(name, rows, metric)
    assert time.process_time() - start < seconds


@pytest.mark.slow
@pytest.mark.parametrize("name", POST)
def test_the_memory_of_a_fit_grows_with_the_rows_and_no_faster(name):
    peaks = []
    for n_rows in (100_000, 400_000):
        rows = random_rows(0, 2, n_rows)
        tracemalloc.start()
        fit(name, rows, ODDS)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < 5 * max(peaks[0], 5_000_000)
    assert peaks[1] / 400_000 < 400
