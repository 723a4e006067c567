"""The list that certification goes through: fairest first, the chosen one, then bolder ones."""

import pickle
from types import SimpleNamespace

import numpy as np
import pytest

from fairautoml.certification.certify import Frozen, freeze, judge_frozen
from fairautoml.certification.holdout import Division, decisions_of
from fairautoml.certification.ledger import model_hash
from fairautoml.certification.planning import CertificateSettings, RowPlan
from fairautoml.selection.ensemble import models_of, scored_by
from fairautoml.selection.mixture import Part, PoolRule

LIMIT = 0.1


def entry(gap, value, *, limit=LIMIT, constant=False):
    excess = gap - limit
    return SimpleNamespace(
        gap=gap,
        value=value,
        excess=excess,
        feasible=excess <= 1e-9,
        constant=constant,
    )


@pytest.fixture
def front():
    return [entry(0.005 * at, 0.80 + 0.002 * at) for at in range(40)]


def gaps(frozen):
    return [round(one.gap, 3) for one in frozen.entries]


def test_the_list_goes_from_the_fairest_to_the_widest_gap_worth_its_risk(front):
    uniform = entry(0.0, 0.7, constant=True)
    frozen = freeze(front, front[6], widest=0.08 - LIMIT, everything=[uniform])
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
    frozen = freeze(front, chosen, widest=0.2 - LIMIT)
    after = frozen.entries[frozen.fallback + 1 :]
    assert after == ()
    assert all(
        one.value > 0.82
        for one in freeze(front, entry(0.03, 0.82), widest=0.1 - LIMIT).entries[4:]
    )


def test_constraints_of_different_limits_are_ordered_by_what_is_left_of_them():
    chosen = entry(0.12, 0.82, limit=0.2)
    broken, fairer, bolder = (
        entry(0.09, 0.81, limit=0.03),
        entry(0.1, 0.81, limit=0.2),
        entry(0.05, 0.84, limit=0.06),
    )
    everything = [entry(0.0, 0.7, constant=True)]
    front = [fairer, chosen, bolder, broken]
    frozen = freeze(front, chosen, widest=0.0, everything=everything)
    assert frozen.entries == (fairer, chosen, bolder)


def test_a_constant_model_is_never_on_the_list_but_as_the_chosen_one():
    uniform = entry(0.0, 0.7, constant=True)
    listed = freeze(
        [uniform, entry(0.01, 0.82)], entry(0.02, 0.85), widest=None, everything=[uniform]
    )
    assert listed.entries[0].gap == 0.01
    assert freeze([uniform], uniform, widest=None).entries == (uniform,)


def test_a_model_is_called_the_same_whether_its_parts_are_shared_or_came_one_by_one():
    shared = np.arange(5.0)
    together = {"models": [{"w": shared, "names": ("a", "b")}, {"w": shared, "names": ("a", "b")}]}
    apart = {"models": [pickle.loads(pickle.dumps(model)) for model in together["models"]]}
    assert model_hash(together) == model_hash(apart)
    apart["models"][1]["w"][0] = 1e-9
    assert model_hash(together) != model_hash(apart)


def test_a_fairer_rule_that_is_hardly_worth_more_than_one_decision_for_all_is_not_tried():
    uniform, poor, chosen = entry(0.0, 0.66, constant=True), entry(0.001, 0.67), entry(0.02, 0.82)
    assert freeze([poor], chosen, widest=None, everything=[uniform]).entries == (chosen,)


class CVEnsemble:
    """Scores rows by one feature."""

    def __init__(self, feature):
        self.feature = feature

    def scores(self, X, cells):
        return X[:, self.feature]


class Threshold:
    """Accepts scores of at least one half."""

    def decide(self, scores, cells):
        return (scores >= 0.5).astype(float)


def served(one, bags):
    def decisions(X, cells, scores):
        return one.rule.decide(scores, cells).astype(int)

    return SimpleNamespace(models=models_of(one, bags), decisions=decisions)


def test_an_ensemble_and_a_mixture_that_reads_nothing_else_do_not_share_their_scores():
    shares = (("a", 0.5), ("b", 0.5))
    rule = PoolRule(
        parts=((Part(column=0, threshold=0.5, share=1.0),),),
        columns=(shares,),
        labels=("all",),
        group_of_cell=(0,),
        neutral=0.5,
    )
    mixture = SimpleNamespace(rule=rule, members=rule.trials(), sources=("a", "b"))
    ensemble = SimpleNamespace(rule=Threshold(), members=shares, sources=("a", "b"))
    assert mixture.members == ensemble.members
    X, cells = np.random.default_rng(0).random((9, 2)), np.zeros(9, dtype=np.int32)
    bags = {"a": CVEnsemble(0), "b": CVEnsemble(1)}
    for entries in ((mixture, ensemble), (ensemble, mixture)):
        listed = [(scored_by(one), served(one, bags)) for one in entries]
        found = [decided.tolist() for decided in decisions_of(listed, X, cells)]
        assert found == [(X.mean(axis=1) >= 0.5).astype(int).tolist()] * 2


@pytest.mark.parametrize("answer", [np.ones((5, 5)), None])
def test_a_classifier_that_cannot_decide_fails_before_the_rows_are_opened(answer):
    def decisions(X, cells, scores):
        if answer is None:
            raise IndexError("too many indices")
        return answer

    broken = SimpleNamespace(models=CVEnsemble(0), decisions=decisions)
    one = SimpleNamespace(rule=Threshold(), members=(), trial_key="a")
    vault = SimpleNamespace(systems=(), ledger=lambda _: pytest.fail("the rows were opened"))
    with pytest.raises((IndexError, ValueError), match=r"too many indices|A classifier returned"):
        judge_frozen(
            Frozen(entries=(one,), chosen=one),
            lambda _: broken,
            Division(inputs=None, entities=None, vault=vault, plan=RowPlan(fraction=0.5)),
            SimpleNamespace(
                systems=(), small_groups=(), X=np.ones((5, 1)), cells=np.zeros(5, dtype=np.int32)
            ),
            (),
            CertificateSettings(),
        )
