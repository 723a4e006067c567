"""The inner target: what search rows must show so that a certificate is likely."""

import numpy as np
import pytest
from scipy.stats import norm

from fairautoml.certification.evidence import Evidence, Rows, claim_from_rows, claimed
from fairautoml.certification.planning import inner_target_of
from fairautoml.certification.verdicts import Verdict, judge
from fairautoml.metrics import Constraint
from fairautoml.metrics.groups import GroupSystem
from fairautoml.records import Config, Entry

SYSTEM = GroupSystem(name="sex", labels=("f", "m"), of_cell=np.array([0, 1], dtype=np.int32))


def entry(first, second, n=1000):
    """An entry that accepts so many of a thousand in each group."""
    counts = np.array([[[n - x, 0], [0, x]] for x in (first, second)], dtype=float)
    return Entry(
        trial_key="a",
        trial_number=0,
        config=Config(learner="prior"),
        mitigator="none",
        tolerance=None,
        rule=None,
        score=0.5,
        value=0.5,
        measures=(),
        counts=counts,
        deployed=counts,
        constant=False,
        seconds=0.0,
    )


def target_of(text, n_certification=2000, n=1000):
    cells = np.repeat([0, 1], n)
    claims = claimed((Constraint.parse(text),), (SYSTEM,))
    return inner_target_of(claims, cells, n_certification=n_certification, delta=0.05)


def test_a_gap_at_the_inner_target_is_certified_in_four_of_five_cases():
    likely = target_of("demographic_parity_difference <= 0.1")
    # Thomas et al., "Preventing undesirable behavior of intelligent machines", Science 366 (2019).
    error = np.sqrt((0.3 * 0.7 + 0.34 * 0.66) / 1000)
    least = 0.1 - (norm.ppf(1 - 0.96 * 0.05) + norm.ppf(0.8)) * error
    assert 0.03 < least < 0.06
    for pair in ((300, 300 + 1000 * least), (300 + 1000 * least, 300)):
        assert likely(entry(*pair)) == pytest.approx(0.8, abs=0.01)
    assert likely(entry(300, 400)) < 0.06
    assert likely(entry(300, 300)) > 0.98


def test_more_certification_rows_make_a_certificate_likelier():
    few = target_of("demographic_parity_difference <= 0.1", n_certification=800)
    many = target_of("demographic_parity_difference <= 0.1", n_certification=8000)
    assert many(entry(300, 360)) > 0.9
    assert few(entry(300, 360)) < 0.4


def test_weights_of_the_entry_do_not_count_as_rows():
    likely = target_of("demographic_parity_difference <= 0.1")
    heavy = entry(300 * 50, 360 * 50, n=50_000)
    assert likely(heavy) == pytest.approx(likely(entry(300, 360)))


def test_a_ratio_near_its_bound_is_not_likely_certified():
    likely = target_of("demographic_parity_ratio >= 0.8")
    assert likely(entry(500, 500)) > 0.9
    assert likely(entry(500, 404)) < 0.1
    # So many of draws at the rates seen: 0.455 - 0.8 * 0.5 is 2.7 standard errors.
    assert likely(entry(500, 455)) == pytest.approx(0.85, abs=0.05)


def test_without_certification_rows_of_a_group_there_is_no_certificate():
    assert target_of("demographic_parity_difference <= 0.1", 1)(entry(300, 300)) == 0.0


def test_systems_of_one_group_make_no_claim():
    alone = GroupSystem(name="sex", labels=("f",), of_cell=np.zeros(1, dtype=np.int32))
    assert claimed((Constraint.parse("demographic_parity_difference <= 0.1"),), (alone,)) == ()
    named = Constraint.parse("demographic_parity_difference[race] <= 0.1")
    assert claimed((named,), (SYSTEM,)) == ()


def test_a_model_without_hope_of_a_certificate_keeps_most_of_its_worth():
    likely = target_of("demographic_parity_difference <= 0.1")
    assert likely.kept_utility(entry(300, 700)) == pytest.approx(0.75)
    assert likely.kept_utility(entry(300, 300)) > 0.99


def certified_share(text, rates, n_individuals, shared, draws=200):
    """How often people with two rows each are certified, half of each group's label 1."""
    constraint = Constraint.parse(text)
    rng = np.random.default_rng(0)
    person = np.repeat(np.arange(2 * n_individuals), 2)
    # People in both groups have a row in each.
    codes = np.tile([0, 1], 2 * n_individuals) if shared else person % 2
    found = 0
    for _ in range(draws):
        accepted = rng.random(2 * n_individuals)[person] < np.array(rates)[codes]
        rows = Rows(
            codes=codes,
            y=np.zeros(len(codes), dtype=int),
            decision=accepted.astype(float),
            entities=person,
        )
        claim = claim_from_rows(constraint, rows, SYSTEM.labels)
        found += judge(Evidence(claims=(claim,)), 0.05).verdict is Verdict.CERTIFIED
    return found / draws


@pytest.mark.parametrize(
    ("text", "shared"),
    [
        ("demographic_parity_difference <= 0.2", False),
        ("demographic_parity_difference <= 0.2", True),
        ("demographic_parity_ratio >= 0.5", False),
    ],
)
def test_individuals_of_several_rows_are_certified_as_often_as_said(text, shared):
    n_individuals, rates = 400, (0.35, 0.41)
    person = np.repeat(np.arange(2 * n_individuals), 2)
    cells = np.tile([0, 1], 2 * n_individuals) if shared else person % 2
    said = inner_target_of(
        claimed((Constraint.parse(text),), (SYSTEM,)),
        cells,
        n_certification=4 * n_individuals,
        delta=0.05,
        y=np.arange(4 * n_individuals) % 2,
        entities=person,
    )(entry(350, 410))
    came = certified_share(text, rates, n_individuals, shared)
    assert 0.2 < said < 0.98
    # In both groups at once the rates err together, which makes a difference surer than said.
    assert said <= came + 0.06
    if not shared:
        assert said >= came - 0.06


def test_precision_of_individuals_with_several_rows_is_never_certified():
    person = np.repeat(np.arange(400), 2)
    target = inner_target_of(
        claimed((Constraint.parse("predictive_parity_difference <= 0.5"),), (SYSTEM,)),
        person % 2,
        n_certification=800,
        delta=0.05,
        y=np.arange(800) % 2,
        entities=person,
    )
    assert target(entry(350, 350)) == 0.0
