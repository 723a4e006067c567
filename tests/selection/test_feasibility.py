"""An entry may be deployed only if the rule that it serves is fair and worth something."""

from dataclasses import replace

import numpy as np
import pytest

from fairautoml.metrics import METRICS, BoundConstraint, ClassCounts, GroupCounts, custom_metric
from fairautoml.metrics.groups import GroupSystem
from fairautoml.mitigators._group_program import CommonRule
from fairautoml.records import Config, ConstraintResult, Entry, Status
from fairautoml.selection.feasibility import (
    DecisionShares,
    FeasibilityCheck,
    best_unconstrained,
    decision_shares,
    gain_error,
)
from peers._offers import draws_of_rows

PARITY = METRICS.get("demographic_parity_difference")
ROWS = np.array([400.0, 600.0])


def system(labels=("a", "b")):
    of_cell = np.arange(len(labels), dtype=np.int32)
    return GroupSystem(name="sex", labels=labels, of_cell=of_cell)


def table(shares, right=0.9, rows=ROWS, positive=0.3):
    """Return weight by group, label and decision: accepted share, and share of those right."""
    found = []
    for n, share in zip(rows, shares, strict=True):
        accepted = n * share
        hit = min(accepted * right, n * positive)
        miss = n * positive - hit
        found.append([[n - accepted - miss, accepted - hit], [miss, hit]])
    return np.array(found)


def entry(counts, gap=0.02, *, deployed=None, mitigator="group_thresholds", **changes):
    measure = ConstraintResult(metric=PARITY.name, system="sex", value=gap, gap=gap, limit=0.05)
    made = Entry(
        trial_key="00001-x",
        trial_number=1,
        config=Config(learner="lightgbm"),
        mitigator=mitigator,
        tolerance=None,
        rule=CommonRule(threshold=0.5),
        score=0.0,
        value=0.0,
        measures=(measure,),
        counts=counts,
        deployed=counts if deployed is None else deployed,
        constant=False,
        seconds=1.0,
    )
    return replace(made, **{"score": made.accuracy, "value": made.accuracy, **changes})


PLAIN = entry(table([0.2, 0.3]), gap=0.1, mitigator="none")


def check(*, rows=ROWS, reference=PLAIN, constant=0.7, objective="accuracy", **changes):
    rng = np.random.default_rng(0)
    groups = system(tuple("abcdef"[: len(rows)]))
    target = BoundConstraint(metric=PARITY, system=groups, limit=0.05)
    drawn = draws_of_rows(
        np.stack([rows / 2, rows / 2], axis=1),
        rng.standard_normal((1000, len(rows), 3)),
        (target,),
    )
    made = FeasibilityCheck(
        targets=(target,),
        objective=METRICS.get(objective),
        reference=reference,
        constant=constant,
        demanding=True,
        n_rows=rows,
        population=drawn,
        rough=drawn.first(100),
        judged=True,
    )
    return replace(made, **changes)


def status(served, **changes):
    (found,) = check(**changes).assessed([served])
    return found.assessment.status, found.assessment.reason


def test_a_good_rule_within_the_bound_is_feasible_with_its_probability_and_interval():
    (found,) = check().assessed([entry(table([0.25, 0.25]))])
    assert found.feasible
    assert not found.unsure
    assert found.assessment.reason == ""
    assert 0.5 < found.assessment.probability <= 1
    low, high = found.assessment.gap_interval
    assert 0 <= low < high < 0.1


def test_a_constant_and_a_gap_above_the_bound_are_infeasible():
    constant = entry(table([0.0, 0.0]), 0.0, constant=True)
    assert status(constant)[0] is Status.INFEASIBLE
    (found,) = check().assessed([constant])
    assert found.assessment.probability is None
    assert found.assessment.gap_interval is None
    (missed,) = check().assessed([entry(table([0.2, 0.3]), gap=0.1)])
    assert missed.assessment.status is Status.INFEASIBLE
    # Its interval is shown all the same.
    assert missed.assessment.gap_interval[0] < 0.1 < missed.assessment.gap_interval[1]


@pytest.mark.parametrize(
    ("rows", "expected"), [((500, 500), Status.INFEASIBLE), ((499, 501), Status.FEASIBLE)]
)
def test_one_decision_for_groups_with_half_of_the_rows_is_refused_and_for_fewer_is_not(
    rows, expected
):
    rows = np.array(rows, dtype=float)
    plain = entry(table([0.25, 0.3], rows=rows), gap=0.1, mitigator="none")
    served = entry(table([0.02, 0.3], rows=rows), deployed=table([0.01, 0.3], rows=rows))
    even = entry(table([0.2, 0.2], rows=rows), deployed=served.deployed)
    found, reason = status(even, rows=rows, reference=plain)
    assert found is expected
    if expected is Status.INFEASIBLE:
        assert reason == (
            "gives one decision to nearly all rows of groups of 'sex' that hold 50% of the rows"
        )


def test_accepting_nearly_all_rows_of_a_group_is_one_decision_too():
    plain = entry(table([0.7, 0.8], positive=0.8), gap=0.1, mitigator="none")
    served = entry(table([0.75, 0.75], positive=0.8), deployed=table([0.7, 0.99], positive=0.8))
    assert status(served, reference=plain)[0] is Status.INFEASIBLE


def test_what_counts_is_the_expected_decision_of_a_randomized_and_of_a_blind_rule():
    mixed = table([0.25, 0.25], rows=ROWS) * 0.4 + table([0.0, 0.0], rows=ROWS) * 0.6
    assert status(entry(table([0.25, 0.25]), deployed=mixed))[0] is Status.FEASIBLE
    hardly = table([0.25, 0.25], rows=ROWS) * 0.05 + table([0.0, 0.0], rows=ROWS) * 0.95
    for mitigator in ("randomized_thresholds", "common_threshold"):
        served = entry(table([0.25, 0.25]), deployed=hardly, mitigator=mitigator)
        found, reason = status(served)
        assert found is Status.INFEASIBLE
        assert reason.startswith("gives one decision to nearly all rows")


def test_a_group_that_gets_one_decision_without_the_constraint_too_is_not_suppressed():
    plain = entry(table([0.0, 0.3]), gap=0.3, mitigator="none")
    shares = decision_shares(plain, plain, system(), ROWS)
    assert not shares.suppressed.any()


def test_few_affected_rows_and_an_empty_group_are_not_suppressed():
    served, usual = np.array([[1.0, 0.0], [0.0, 0.0]]), np.array([[0.9, 0.1], [0.0, 0.0]])
    shares = DecisionShares(
        served=served, reference=usual, labels=usual, n_rows=np.array([49.0, 0.0])
    )
    assert not shares.suppressed.any()
    assert replace(shares, n_rows=np.array([51.0, 0.0])).suppressed.tolist() == [True, False]


def test_the_shares_of_several_classes_are_compared_for_the_most_common_decision():
    def classes(first):
        shares = np.array([first, (0.3, 0.3, 0.4)])
        return np.stack(
            [n * np.outer([0.2, 0.5, 0.3], d) for n, d in zip(ROWS, shares, strict=True)]
        )

    plain = entry(classes((0.2, 0.5, 0.3)), mitigator="none")
    served = entry(classes((0.02, 0.96, 0.02)))
    shares = decision_shares(served, plain, system(), ROWS)
    assert shares.decision.tolist() == [1, 2]
    assert shares.suppressed.tolist() == [True, False]


def test_of_equally_good_models_the_earliest_trial_is_the_unconstrained_one():
    later = replace(PLAIN, trial_number=2, trial_key="00002-x")
    assert best_unconstrained([later, PLAIN]) is best_unconstrained([PLAIN, later]) is PLAIN


def test_a_regression_and_a_rule_of_numbers_have_no_single_decision():
    found = check()
    numbers = np.ones((2, 66))
    assert list(found._suppressing(entry(table([0.2, 0.2]), deployed=numbers))) == []


def test_a_rule_that_does_not_clearly_beat_the_best_constant_is_infeasible():
    # 1000 rows: 0.7 by the constant, 0.703 by the rule, with a standard error of about 0.007.
    poor = entry(table([0.05, 0.05], right=0.53))
    assert 0.7 < poor.value < 0.71
    sentence = "is not clearly better than the best constant prediction"
    assert status(poor) == (Status.INFEASIBLE, sentence)
    # Where no model is clearly better than a constant, a rule must not be worse.
    assert status(poor, demanding=False)[0] is Status.FEASIBLE
    worse = entry(table([0.25, 0.25], right=0.4))
    assert worse.value < 0.7
    assert status(worse, demanding=False) == (Status.INFEASIBLE, sentence)


@pytest.mark.parametrize("objective", ["r2", "rmse"])
def test_a_regression_must_beat_the_mean_by_more_than_noise(objective):
    metric = METRICS.get(objective)
    found = check(objective=objective, constant=0.0 if metric.greater_is_better else -1.0)
    constant = found.constant
    numbers = np.ones((2, 66))
    # sqrt(.05 / 1000) = .007, for an error as a share of it.
    clear = entry(numbers, value=constant + 0.01)
    noise = replace(clear, value=constant + 0.005)
    assert found.least_gain(clear) > 0 > found.least_gain(noise)


def test_a_gain_in_a_function_without_weights_must_exceed_noise():
    found = check(constant=0.7)
    found = replace(found, objective=custom_metric(lambda y, d: float(np.mean(y == d))))
    clear, noise = (entry(table([0.25, 0.25]), value=0.7 + gain) for gain in (0.01, 0.005))
    # sqrt(.05 / 1000) = .007
    assert found.least_gain(clear) > 0 > found.least_gain(noise)


def test_a_bound_that_is_more_likely_missed_or_cannot_be_judged_leaves_a_rule_unsure():
    close = entry(table([0.22, 0.269]), gap=0.049)
    few = np.array([40.0, 60.0])
    small = entry(table([0.2, 0.28], rows=few), gap=0.049)
    found, reason = status(
        small, rows=few, reference=entry(table([0.2, 0.3], rows=few), mitigator="none")
    )
    assert found is Status.UNSURE
    assert reason == "is more likely to miss the bound on new data than to meet it"
    (unjudged,) = check(judged=False).assessed([entry(table([0.25, 0.25]))])
    assert unjudged.unsure
    assert not unjudged.feasible
    assert unjudged.assessment.reason == "meets a bound that so few rows cannot judge"
    assert status(close, judged=False)[0] is Status.UNSURE


def bootstrap(metric, counts, n_draws=4000):
    """Return the standard deviation of the gain over the best constant in paired redraws."""
    rng = np.random.default_rng(0)
    n = int(counts.sum())
    draws = rng.multinomial(n, (counts / n).ravel(), size=n_draws).reshape(-1, *counts.shape)
    made = GroupCounts if len(counts) == 2 else ClassCounts
    eye = np.eye(len(counts))

    def gain(drawn):
        constants = [np.outer(drawn.sum(axis=1), one) for one in eye]
        best = max(metric.value(made(one[None])) for one in constants)
        return metric.value(made(drawn[None])) - best

    return np.std([gain(one.astype(float)) for one in draws])


TWO = np.array([[560.0, 40.0], [150.0, 250.0]])
THREE = np.array([[300.0, 60.0, 40.0], [50.0, 200.0, 50.0], [80.0, 20.0, 200.0]])


@pytest.mark.parametrize(
    ("name", "counts"),
    [
        ("accuracy", TWO),
        ("balanced_accuracy", TWO),
        ("f1", TWO),
        ("accuracy", THREE),
        ("balanced_accuracy", THREE),
        ("f1_macro", THREE),
    ],
)
def test_the_error_of_the_gain_is_that_of_a_paired_bootstrap(name, counts):
    metric = METRICS.get(name)
    found = gain_error(metric, counts, counts.sum())
    assert found == pytest.approx(bootstrap(metric, counts), rel=0.05)
    assert gain_error(metric, counts, 4 * counts.sum()) == pytest.approx(found / 2)


def test_an_entry_that_misses_a_bound_takes_the_first_of_the_same_draws():
    found = check()
    served = entry(table([0.2, 0.3]))
    gaps = found.population.gaps(served.counts)
    assert np.array_equal(found.rough.gaps(served.counts), gaps[:, :100])


def test_the_interval_holds_the_gap_and_shrinks_with_more_rows():
    def interval(factor):
        rows = ROWS * factor
        served = entry(table([0.4, 0.6], positive=0.7, rows=rows), gap=0.2)
        (found,) = check(rows=rows).assessed([served])
        return found.assessment.gap_interval

    (low, high), closer = interval(1), interval(100)
    assert 0 <= low < closer[0] < 0.2 < closer[1] < high <= 1


def test_rows_of_no_group_are_not_in_all_rows_that_an_interval_compares_with():
    # Of 100, 100 and 200 rows 30, 40 and 20 are accepted; the last are in no group.
    known = GroupSystem(name="sex", labels=("f", "m"), of_cell=np.array([0, 1, -1]))
    counts = np.array([[[n - x, x], [0.0, 0.0]] for n, x in ((100, 30), (100, 40), (200, 20))])
    metric = METRICS.get("demographic_parity_to_overall")
    target = BoundConstraint(metric=metric, system=known, limit=0.06)
    noise = np.random.default_rng(0).standard_normal((1000, 3, 3))
    rows = np.full((3, 2), 1e5)
    drawn = draws_of_rows(rows, noise, (target,))
    low, high = np.percentile(drawn.gaps(counts)[0], [2.5, 97.5])
    assert 0.045 < low < 0.05 < high < 0.055
