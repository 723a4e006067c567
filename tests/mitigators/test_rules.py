import pickle

import numpy as np
import pytest

from fairautoml.mitigators._group_program import CommonRule, Step, ThresholdRule

RULE = ThresholdRule(
    steps=(
        (Step(threshold=0.25),),
        (Step(threshold=0.8, share=0.75), Step(threshold=-np.inf, share=0.25)),
        (Step(threshold=np.inf),),
    ),
    labels=("a", "b", "c"),
    group_of_cell=(0, 1, 2, 0, -1),
    neutral=0.5,
)


def decided(rule, scores, cells, dtype=np.float64):
    return rule.decide(np.array(scores, dtype=dtype), np.array(cells)).tolist()


def test_a_row_is_accepted_when_its_score_reaches_the_threshold_of_its_group():
    assert decided(RULE, [0.24, 0.25, 0.26], [0, 0, 3]) == [0, 1, 1]


def test_float32_scores_are_compared_like_the_same_numbers_in_double_precision():
    score = np.float32(0.1)
    at = ThresholdRule(
        steps=((Step(threshold=float(score)),),), labels=("a",), group_of_cell=(0,), neutral=0.5
    )
    assert decided(at, [score], [0], np.float32) == [1]
    assert decided(CommonRule(threshold=float(score)), [score], [0], np.float32) == [1]
    above = float(np.nextafter(np.float64(score), 1))
    assert decided(CommonRule(threshold=above), [score], [0], np.float32) == [0]


@pytest.mark.parametrize("cell", [-1, 4])
def test_rows_without_a_group_get_the_neutral_threshold_once(cell):
    assert decided(RULE, [0.49, 0.5, 1.0], [cell] * 3) == [0, 1, 1]


def test_infinite_thresholds_accept_all_or_none():
    assert decided(RULE, [0.0, 1.0], [2, 2]) == [0, 0]
    assert decided(CommonRule(threshold=-np.inf), [0.0, 1.0], [0, 0]) == [1, 1]
    assert decided(CommonRule(threshold=np.inf), [0.0, 1.0], [0, 0]) == [0, 0]


def test_a_mixture_accepts_with_the_shares_of_the_thresholds_that_are_reached():
    assert decided(RULE, [0.0, 0.79, 0.8], [1, 1, 1]) == [0.25, 0.25, 1.0]


def test_no_rows_give_no_decisions():
    assert decided(RULE, [], np.zeros(0, dtype=np.int32)) == []


def test_rules_describe_themselves_in_one_line():
    assert RULE.describe() == (
        "a: >= 0.2500, b: >= 0.8000 (share 0.750) or accept all (share 0.250), c: reject all"
    )
    assert CommonRule(threshold=0.5).describe() == "all: >= 0.5000"


def test_rules_say_whether_they_read_groups_and_decide_at_random():
    assert RULE.needs_sensitive
    assert RULE.randomized
    sure = ThresholdRule(
        steps=((Step(threshold=0.5),),), labels=("a",), group_of_cell=(0,), neutral=0.5
    )
    assert not sure.randomized
    common = CommonRule(threshold=0.5)
    assert not common.needs_sensitive
    assert not common.randomized


@pytest.mark.parametrize("rule", [RULE, CommonRule(threshold=0.3)])
def test_rules_survive_pickling(rule):
    assert pickle.loads(pickle.dumps(rule)) == rule
