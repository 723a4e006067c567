import numpy as np
import pytest
from checklist_cases import fitted, gaps_of, seeded

from fairautoml.learners.checklist import fit_log_odds


def probabilities(log_odds):
    return 1 / (1 + np.exp(-log_odds))


def fit(by_count, required):
    """By number of checked items: rows of label 0 and of label 1."""
    counts = np.repeat(np.arange(len(by_count)), [zeros + ones for zeros, ones in by_count])
    y = np.concatenate([[0] * zeros + [1] * ones for zeros, ones in by_count]).astype(int)
    return fit_log_odds(counts, y, np.ones(len(y)), n_items=len(by_count) - 1, required=required)


def test_scores_are_the_shares_of_label_1_where_these_cross_one_half():
    found = probabilities(fit([(900, 100), (700, 300), (200, 800)], 2))
    assert found == pytest.approx([0.1, 0.3, 0.8], abs=2e-3)


@pytest.mark.parametrize("required", [1, 2, 3])
@pytest.mark.parametrize(
    "by_count", [[(90, 10), (70, 30), (60, 40), (55, 45)], [(1, 9), (2, 8), (9, 1), (0, 9)]]
)
def test_scores_rise_with_the_count_and_cross_one_half_at_m(by_count, required):
    found = probabilities(fit(by_count, required)).astype(np.float32)
    assert (np.diff(found) > 0).all()
    assert found[required - 1] < 0.5 < found[required]


def test_a_count_that_no_training_row_has_gets_a_score_between_its_neighbours():
    found = fit([(90, 10), (0, 0), (10, 90)], 1)
    assert found[0] < found[1] < found[2]


@pytest.mark.parametrize("seed", range(4))
def test_the_decision_at_one_half_is_that_of_the_list(seed):
    table, y, groups = seeded(seed)
    found = fitted(table, y, gaps_of(groups, ("tpr",), 0.02), cost="balanced")
    assert np.array_equal(found.scores(table) > 0.5, found.accepts(table))
