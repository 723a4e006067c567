import numpy as np
import pytest

from fairautoml.certification.evidence import Evidence, claim_from_counts
from fairautoml.certification.verdicts import Procedure, Reason, Verdict, ship
from fairautoml.exceptions import InputError
from fairautoml.metrics import Constraint, GroupCounts

PARITY = Constraint.parse("demographic_parity_difference <= 0.1")


def evidence(x1, x2, n=300):
    table = np.array([[[n - x1 - 1, x1 - 1], [1, 1]], [[n - x2 - 1, x2 - 1], [1, 1]]], dtype=float)
    return Evidence(claims=(claim_from_counts(PARITY, GroupCounts(table), ["a", "b"]),))


GOOD, OPEN, BAD = evidence(90, 90), evidence(90, 110), evidence(90, 200)


def test_the_last_that_passed_is_shipped():
    shipped = ship([GOOD, evidence(90, 92), OPEN], 0.05)
    assert (shipped.position, shipped.judgement.verdict) == (1, Verdict.CERTIFIED)


def test_nothing_behind_a_failure_is_looked_at():
    shipped = ship([OPEN, GOOD], 0.05)
    assert (shipped.position, shipped.judgement.verdict) == (0, Verdict.INCONCLUSIVE)
    assert ship([GOOD, OPEN, GOOD], 0.05).position == 0


def test_when_none_passes_the_fallback_is_shipped_with_its_verdict():
    shipped = ship([OPEN, BAD], 0.05, fallback=1)
    assert (shipped.position, shipped.judgement.verdict) == (1, Verdict.VIOLATED)


def test_a_fallback_that_would_pass_alone_is_not_certified():
    shipped = ship([OPEN, GOOD], 0.05, fallback=1)
    assert shipped.position == 1
    assert shipped.judgement.verdict is Verdict.INCONCLUSIVE
    assert shipped.judgement.reason is Reason.NOT_CERTIFIED
    assert {f.verdict for f in shipped.judgement.findings} == {Verdict.INCONCLUSIVE}


def test_bonferroni_ships_the_last_that_passes_at_its_share():
    shipped = ship([OPEN, GOOD, BAD], 0.05, procedure=Procedure.BONFERRONI)
    assert (shipped.position, shipped.judgement.verdict) == (1, Verdict.CERTIFIED)
    assert shipped.level == pytest.approx(0.05 / 3)
    assert ship([evidence(90, 93)], 0.05).judgement.verdict is Verdict.CERTIFIED
    many = [OPEN] * 9 + [evidence(90, 93)]
    assert ship(many, 0.05, procedure=Procedure.BONFERRONI).position == 0


@pytest.mark.parametrize(("m", "fallback"), [(0, 0), (11, 0), (2, 2), (2, -1)])
def test_a_list_without_candidates_with_too_many_or_another_fallback_is_refused(m, fallback):
    with pytest.raises(InputError, match="allowed are 1 to 10"):
        ship([GOOD] * m, 0.05, fallback=fallback)


@pytest.fixture(scope="module")
def drawn():
    """Twenty candidates that all violate by 1e-4, measured on 400 certification sets."""
    rng = np.random.default_rng(7)
    return rng.binomial(300, [0.3, 0.4001], size=(400, 20, 2))


def test_false_certificates_of_candidates_that_all_violate_stay_within_their_limit(drawn):
    certified = sum(
        ship([evidence(*x) for x in candidates[:10]], 0.05).judgement.verdict is Verdict.CERTIFIED
        for candidates in drawn
    )
    # The .999 quantile of Bin(400, .05).
    assert certified <= 34


def test_trying_until_one_passes_would_not(drawn):
    certified = sum(
        any(ship([evidence(*x)], 0.05).judgement.verdict is Verdict.CERTIFIED for x in candidates)
        for candidates in drawn
    )
    assert certified > 120


def test_false_violations_of_many_equal_groups_stay_within_their_limit():
    rng = np.random.default_rng(11)
    zero = Constraint.parse("demographic_parity_difference <= 0.0")
    names = [str(i) for i in range(20)]
    violated = 0
    for x in rng.binomial(200, 0.3, size=(300, 20)):
        table = np.stack([[[200 - k - 1, k - 1], [1, 1]] for k in x]).astype(float)
        claim = claim_from_counts(zero, GroupCounts(table), names)
        found = ship([Evidence(claims=(claim,))], 0.05).judgement
        violated += found.verdict is Verdict.VIOLATED
    # The .999 quantile of Bin(300, .05).
    assert violated <= 28
