"""The list that certification goes through: fairest first, the chosen one, then bolder ones."""

import pickle
from types import SimpleNamespace

import numpy as np
import pytest

from fairautoml.certifying import freeze, model_hash


def entry(gap, value, *, feasible=True, constant=False):
    return SimpleNamespace(gap=gap, value=value, feasible=feasible, constant=constant)


@pytest.fixture
def front():
    return [entry(0.005 * at, 0.80 + 0.002 * at, feasible=at <= 20) for at in range(40)]


def gaps(frozen):
    return [round(one.gap, 3) for one in frozen.entries]


def test_the_list_goes_from_the_fairest_to_the_widest_gap_worth_its_risk(front):
    alike = entry(0.0, 0.7, constant=True)
    frozen = freeze(front, front[6], widest=0.08, everything=[alike])
    assert gaps(frozen) == sorted(gaps(frozen))
    assert gaps(frozen)[0] == 0.0
    assert gaps(frozen)[-1] == 0.08
    assert frozen.entries[frozen.fallback] is front[6]
    assert len(frozen.entries) <= 10


def test_nothing_bolder_than_the_chosen_one_is_tried_where_no_certificate_was_weighed(front):
    assert freeze(front, front[6], widest=None).entries[-1] is front[6]


def test_what_breaks_the_constraint_on_the_search_rows_is_never_tried(front):
    assert all(one.feasible for one in freeze(front, front[6], widest=1.0).entries)


def test_bolder_entries_are_worth_more_than_the_chosen_one(front):
    chosen = entry(0.03, 0.8401)
    frozen = freeze(front, chosen, widest=0.2)
    after = frozen.entries[frozen.fallback + 1 :]
    assert after == ()
    assert all(
        one.value > 0.82 for one in freeze(front, entry(0.03, 0.82), widest=0.1).entries[4:]
    )


def test_one_decision_for_everybody_is_never_on_the_list_but_as_the_chosen_one():
    alike = entry(0.0, 0.7, constant=True)
    listed = freeze([alike, entry(0.01, 0.82)], entry(0.02, 0.85), widest=None, everything=[alike])
    assert listed.entries[0].gap == 0.01
    assert freeze([alike], alike, widest=None).entries == (alike,)


def test_a_model_is_called_alike_whether_its_parts_are_shared_or_came_one_by_one():
    shared = np.arange(5.0)
    together = {"models": [{"w": shared, "names": ("a", "b")}, {"w": shared, "names": ("a", "b")}]}
    apart = {"models": [pickle.loads(pickle.dumps(model)) for model in together["models"]]}
    assert model_hash(together) == model_hash(apart)
    apart["models"][1]["w"][0] = 1e-9
    assert model_hash(together) != model_hash(apart)


def test_a_fairer_rule_that_is_hardly_worth_more_than_one_decision_for_all_is_not_tried():
    alike, poor, chosen = entry(0.0, 0.66, constant=True), entry(0.001, 0.67), entry(0.02, 0.82)
    assert freeze([poor], chosen, widest=None, everything=[alike]).entries == (chosen,)
