"""The sequence of candidates: fairest first, the served one, then more accurate ones."""

import pickle
from types import SimpleNamespace

import numpy as np
import pytest

from fairautoml.certification.certify import BroughtRows, CandidateSequence, freeze
from fairautoml.certification.ledger import model_hash
from fairautoml.exceptions import InputError
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
        sources=("a",),
        trial_key="a",
        mitigator="none",
        tolerance=None,
        members=(),
        rule=f"gap {gap}",
    )


UNIFORM = entry(0.0, 0.7, constant=True)


def frozen(front, served, *others):
    board = SimpleNamespace(entries=[*front, served, *others], pareto_front=lambda: front)
    return freeze(board, served, {"a"}).entries


@pytest.fixture
def front():
    return [entry(0.005 * at, 0.80 + 0.002 * at) for at in range(40)]


def test_the_sequence_goes_from_the_fairest_to_the_most_accurate_that_meets_the_bound(front):
    found = frozen(front, front[6], UNIFORM)
    gaps = [round(one.gap, 3) for one in found]
    assert gaps == sorted(gaps)
    assert (gaps[0], gaps[-1]) == (0.0, 0.1)
    assert sum(one is front[6] for one in found) == 1
    assert len(found) <= 10


def test_what_breaks_the_constraint_on_the_search_rows_is_never_tested(front):
    assert all(one.feasible for one in frozen(front, front[6]))


def test_candidates_after_the_served_one_are_more_accurate(front):
    served = entry(0.03, 0.8401)
    assert frozen(front, served)[-1] is served
    assert all(one.value > 0.82 for one in frozen(front, entry(0.03, 0.82))[3:])


def test_constraints_of_different_limits_are_ordered_by_what_is_left_of_them():
    served = entry(0.12, 0.82, limit=0.2)
    broken, fairer, bolder = (
        entry(0.09, 0.81, limit=0.03),
        entry(0.1, 0.81, limit=0.2),
        entry(0.05, 0.84, limit=0.06),
    )
    found = frozen([fairer, served, bolder, broken], served, UNIFORM)
    assert found == (fairer, served, bolder)


def test_a_constant_is_never_a_candidate_but_as_the_served_one():
    assert frozen([UNIFORM, entry(0.01, 0.82)], entry(0.02, 0.85))[0].gap == 0.01
    assert frozen([UNIFORM], UNIFORM) == (UNIFORM,)


def test_a_fairer_rule_that_is_hardly_worth_more_than_a_constant_is_not_tested():
    uniform, poor, served = entry(0.0, 0.66, constant=True), entry(0.001, 0.67), entry(0.02, 0.82)
    assert frozen([poor], served, uniform) == (served,)


def test_candidates_whose_models_were_not_stored_are_left_out(front):
    board = SimpleNamespace(entries=front, pareto_front=lambda: front)
    assert freeze(board, front[6], set()).entries == (front[6],)


def test_another_order_than_was_fixed_at_fit_is_refused(front):
    fixed = CandidateSequence.of(front[:3])
    assert fixed.checked(front[1]) == tuple(front[:3])
    swapped = CandidateSequence(entries=tuple(front[2::-1]), sha256=fixed.sha256)
    with pytest.raises(InputError, match="not the one that fit fixed"):
        swapped.checked(front[1])
    with pytest.raises(InputError, match="not one of the candidates that fit fixed"):
        fixed.checked(front[5])


def test_a_model_is_called_the_same_whether_its_parts_are_shared_or_came_one_by_one():
    shared = np.arange(5.0)
    together = {"models": [{"w": shared, "names": ("a", "b")}, {"w": shared, "names": ("a", "b")}]}
    apart = {"models": [pickle.loads(pickle.dumps(model)) for model in together["models"]]}
    assert model_hash(together) == model_hash(apart)
    apart["models"][1]["w"][0] = 1e-9
    assert model_hash(together) != model_hash(apart)


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
        rows = SimpleNamespace(matrix=X, cells=cells)
        found = [decided.tolist() for decided in BroughtRows.decisions(rows, listed)]
        assert found == [(X.mean(axis=1) >= 0.5).astype(int).tolist()] * 2


@pytest.mark.parametrize("answer", [np.ones((5, 5)), None])
def test_a_model_that_cannot_decide_fails_before_the_rows_are_opened(answer):
    def decisions(X, cells, scores):
        if answer is None:
            raise IndexError("too many indices")
        return answer

    broken = SimpleNamespace(models=CVEnsemble(0), decisions=decisions)
    rows = SimpleNamespace(matrix=np.ones((5, 1)), cells=np.zeros(5, dtype=np.int32))
    with pytest.raises((IndexError, ValueError), match=r"too many indices|A model returned"):
        list(BroughtRows.decisions(rows, [("a", broken)]))
