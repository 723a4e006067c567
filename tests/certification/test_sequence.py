import numpy as np
import pytest

from fairautoml.certification.evidence import Evidence, claim_from_counts
from fairautoml.certification.verdicts import Reason, Verdict, judge_candidate, n_passed
from fairautoml.metrics import Constraint, GroupCounts

PARITY = Constraint.parse("demographic_parity_difference <= 0.1")


def evidence(x1, x2, n=300):
    table = np.array([[[n - x1 - 1, x1 - 1], [1, 1]], [[n - x2 - 1, x2 - 1], [1, 1]]], dtype=float)
    return Evidence(claims=(claim_from_counts(PARITY, GroupCounts(table), ["a", "b"]),))


GOOD, OPEN, BAD = evidence(90, 90), evidence(90, 110), evidence(90, 200)


def judged(one, **place):
    return judge_candidate(one, 0.05, **place)


def test_candidates_pass_up_to_the_first_failure():
    assert n_passed([GOOD, evidence(90, 92), OPEN], 0.05) == 2
    assert n_passed([OPEN, GOOD], 0.05) == 0
    assert n_passed([GOOD, OPEN, GOOD], 0.05) == 1
    assert n_passed([GOOD], 0.05) == 1


def test_a_candidate_that_failed_has_its_own_verdict():
    assert judged(OPEN, passed=False).verdict is Verdict.INCONCLUSIVE
    assert judged(BAD, passed=False).verdict is Verdict.VIOLATED
    assert judged(BAD, passed=False, reached=False).verdict is Verdict.VIOLATED


def test_a_candidate_behind_a_failure_that_would_pass_alone_is_not_certified():
    found = judged(GOOD, passed=False, reached=False)
    assert found.verdict is Verdict.INCONCLUSIVE
    assert found.reason is Reason.NOT_TESTED
    assert {f.verdict for f in found.findings} == {Verdict.INCONCLUSIVE}


@pytest.fixture(scope="module")
def drawn():
    """Twenty candidates that all violate by 1e-4, measured on 400 certification sets."""
    rng = np.random.default_rng(7)
    return rng.binomial(300, [0.3, 0.4001], size=(400, 20, 2))


def test_false_certificates_of_candidates_that_all_violate_stay_within_their_limit(drawn):
    certified = sum(
        n_passed([evidence(*x) for x in candidates[:10]], 0.05) > 0 for candidates in drawn
    )
    # The .999 quantile of Bin(400, .05).
    assert certified <= 34


def test_trying_until_one_passes_would_not(drawn):
    certified = sum(
        any(n_passed([evidence(*x)], 0.05) for x in candidates) for candidates in drawn
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
        violated += judged(Evidence(claims=(claim,)), passed=False).verdict is Verdict.VIOLATED
    # The .999 quantile of Bin(300, .05).
    assert violated <= 28
