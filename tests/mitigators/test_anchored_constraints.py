"""Rates against that of everybody, and groups that overlap."""

import numpy as np
import pytest
from mitigator_cases import (
    ANCHORED,
    DEMOGRAPHIC,
    brute_force,
    chosen_counts,
    counts_of,
    gap_of,
    goal,
    overlapping,
    random_rows,
    rows_of,
    system,
    target,
    worth,
)

from fairautoml.metrics import GroupCounts
from fairautoml.metrics.rates import RATES
from fairautoml.mitigators import MITIGATORS, Goal, ScoreRows
from fairautoml.mitigators._linear_program import Program
from fairautoml.mitigators._thresholds import build_cuts

IDENTITIES = overlapping([[0, 1, 0, 1], [0, 0, 1, 1]])
"""Cells: neither, the first, the second, both."""

TOLERANCES = (0.0, 0.02, 0.1)


def fit(name, rows, wanted, tolerances=TOLERANCES):
    return MITIGATORS.get(name).fit_rules(rows, wanted, tolerances)


def wanting(metric, groups, *, randomized=False):
    return Goal(targets=(target(metric, groups),), randomized=randomized)


def program_of(rows, wanted):
    cuts = build_cuts(rows, rows.cells, rows.n_cells)
    return cuts, Program(cuts, wanted.targets, [1.0], (1.0, 1.0))


def mixed_counts(cuts, mixture):
    accepted = np.array(
        [
            sum(share * cut.accepted[at] for at, share in shares)
            for cut, shares in zip(cuts, mixture, strict=True)
        ]
    )
    totals = np.array([cut.totals for cut in cuts])
    return GroupCounts(np.stack([totals - accepted, accepted], axis=2))


GROUPS = {"apart": system([0, 1, 2, 0]), "overlapping": IDENTITIES}


@pytest.mark.parametrize("groups", GROUPS)
@pytest.mark.parametrize("metric", [*ANCHORED, DEMOGRAPHIC])
def test_mixtures_keep_the_bound_and_are_no_worse_than_any_single_thresholds(metric, groups):
    rows = random_rows(1, 4, 24, decimals=1)
    wanted = wanting(metric, GROUPS[groups])
    cuts, program = program_of(rows, wanted)
    for tolerance in (0.05, 0.3):
        counts = mixed_counts(cuts, program.mixture(tolerance))
        assert gap_of(counts, wanted.targets[0]) <= tolerance + 1e-9
        assert worth(counts) >= brute_force(cuts, wanted.targets, tolerance) - 1e-9


@pytest.mark.parametrize("metric", ANCHORED)
def test_rounding_keeps_the_bound_and_comes_near_the_best_single_thresholds(metric):
    rows = random_rows(3, 4, 30, decimals=1)
    wanted = wanting(metric, IDENTITIES)
    cuts, program = program_of(rows, wanted)
    counts = chosen_counts(cuts, program.rounded(0.2))
    assert gap_of(counts, wanted.targets[0]) <= 0.2 + 1e-9
    assert worth(counts) >= brute_force(cuts, wanted.targets, 0.2) - 0.1 * 30


@pytest.mark.parametrize("groups", GROUPS)
@pytest.mark.parametrize("metric", ["demographic_parity_to_overall", DEMOGRAPHIC])
@pytest.mark.parametrize("name", ["common_threshold", "group_thresholds", "randomized_thresholds"])
def test_the_gap_of_the_fitted_rows_is_within_the_bound_and_a_row_per_group(name, metric, groups):
    rows = random_rows(5, 4, 3_000)
    wanted = wanting(metric, GROUPS[groups], randomized=name == "randomized_thresholds")
    one_row = 2 / (GROUPS[groups].member @ np.bincount(rows.cells)).min()
    found = fit(name, rows, wanted)
    assert any(rule is not None for _, rule in found)
    for tolerance, rule in found:
        if rule is not None:
            assert gap_of(counts_of(rule, rows), wanted.targets[0]) <= tolerance + one_row


@pytest.mark.parametrize("metric", ANCHORED)
def test_a_loose_bound_changes_nothing(metric):
    rows = random_rows(6, 4, 2_000)
    ((_, free),) = fit("group_thresholds", rows, wanting(metric, IDENTITIES), [1.0])
    cuts = build_cuts(rows, rows.cells, 4)
    best = sum((cut.accepted @ np.array([-1.0, 1.0])).max() for cut in cuts)
    # Labels are shrunk before a rule on label rates is fitted, so it is not the last row.
    assert worth(counts_of(free, rows)) >= best - 0.01 * 2_000


def test_a_row_in_no_group_counts_among_all_rows():
    # Nobody of the first cell is in the group; their share moves the rate of everybody alone.
    weight = [1.0, 1.0, 1.0, 0.25]
    rows = rows_of([0.9, 0.9, 0.8, 0.2], [1, 1, 1, 0], [1, 1, 0, 0], weight)
    one = overlapping([[False, True]])
    wanted = wanting("demographic_parity_to_overall", one)
    cuts, program = program_of(rows, wanted)
    at = chosen_counts(cuts, program.rounded(0.0))
    assert at.rates(RATES["selection"]).tolist() == [1.0, 1.0]
    at = chosen_counts(cuts, program.rounded(0.1))
    assert at.rates(RATES["selection"]).tolist() == [0.8, 1.0]


def test_no_accepted_row_is_no_way_around_the_false_negative_rate():
    rows = random_rows(7, 4, 1_000)
    ((_, rule),) = fit("group_thresholds", rows, wanting("fned", IDENTITIES), [0.05])
    assert 0.1 < rule.decide(rows.scores, rows.cells).mean() < 0.9


@pytest.mark.parametrize(
    "name", ["reject_option", "score_repair", "multicalibration", "reweighing"]
)
def test_what_cannot_tell_overlapping_groups_apart_does_not_serve_them(name):
    assert not MITIGATORS.get(name).can_serve(wanting(DEMOGRAPHIC, IDENTITIES))
    assert MITIGATORS.get(name).can_serve(goal(DEMOGRAPHIC, 4))


def without_label_one(metric, n=1200, n_bare=300):
    """Two groups with scores that are true, and one whose scores are but nobody has label 1."""
    rng = np.random.default_rng(0)
    scores = np.concatenate([rng.beta(2, 2, 2 * n), rng.beta(2, 4, n_bare)])
    y = (rng.uniform(size=len(scores)) < scores).astype(int)
    y[2 * n :] = 0
    cells = np.repeat([0, 1, 2], [n, n, n_bare]).astype(np.int32)
    rows = ScoreRows(
        scores=scores.astype(np.float32), y=y, weight=np.ones(len(y)), cells=cells, n_cells=3
    )
    return rows, wanting(metric, system([0, 1, 2]))


@pytest.mark.parametrize("metric", ["false_negative_rate_to_overall", "fned"])
def test_a_group_that_lacks_the_rows_of_a_rate_is_left_out_of_it(metric):
    rows, wanted = without_label_one(metric)
    others = rows.cells < 2
    ((_, rule),) = fit("group_thresholds", rows, wanted, (0.01,))
    ((_, alone),) = fit("group_thresholds", rows.take(others), wanted, (0.01,))
    # What the two others have to have in common does not depend on the third.
    found, expected = (one.decide(rows.scores, rows.cells)[others] for one in (rule, alone))
    assert np.array_equal(found, expected)
    # It is decided by what is most accurate, about one half.
    (step,) = rule.steps[2]
    assert 0.4 < step.threshold < 0.8
