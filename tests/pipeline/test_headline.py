"""What is served, at which price and how likely the bound holds, in one line."""

from dataclasses import replace

import numpy as np
import pytest

from fairautoml.metrics.groups import GroupSystem
from fairautoml.records import Assessment, Config, ConstraintResult, Entry, Status
from fairautoml.report.summary import headline, result_lines, shortfall
from fairautoml.selection.choice import CostlyGroup, Margin, PassedOver
from fairautoml.selection.leaderboard import Leaderboard

METRIC = "demographic_parity_difference"
EXPECTED = (
    "Gap on new data at most 0.049 (95 % interval 0.012 to 0.049); the bound holds in the "
    "population with estimated probability 0.93"
)
NO_CERTIFICATE = "(no certificate: these rows also selected the model)"


def assessed(probability=0.93):
    return Assessment(
        status=Status.FEASIBLE, reason="", probability=probability, gap_interval=(0.012, 0.049)
    )


def entry(score, gap=0.03, *, rises=True, **changes):
    measure = ConstraintResult(metric=METRIC, system="sex", value=gap, gap=gap, limit=0.05)
    made = Entry(
        trial_key="a",
        trial_number=1,
        config=Config(learner="lightgbm"),
        mitigator="group_thresholds",
        tolerance=0.05,
        rule=None,
        score=score,
        value=score if rises else -score,
        measures=(measure,),
        counts=np.ones((2, 2, 2)),
        deployed=np.ones((2, 2, 2)),
        constant=False,
        seconds=1.0,
        assessment=assessed(),
    )
    return replace(made, **changes)


def board(served, *others, objective="accuracy"):
    return Leaderboard(
        entries=(served, *others),
        systems=(),
        objective=objective,
        n_rows=np.array([100.0, 100.0]),
        served=served,
    )


def margin(probability=0.93, **changes):
    made = Margin(
        confidence="auto",
        probability=probability,
        holdout_probability=0.8,
        n_holdout=1234,
        gap_interval=(0.012, 0.049),
        margin=0.02,
        price=0.002,
        insufficient_evidence=False,
    )
    return replace(made, **changes)


def passed_over(reason):
    return margin(passed_over=PassedOver(score=0.864, probability=0.58, reason=reason))


def test_price_probability_and_why_a_better_score_is_not_served_are_stated():
    served = entry(0.862)
    text = headline(board(served, entry(0.869, 0.2)), served, passed_over("probability"))
    assert text == (
        "Served: lightgbm with group_thresholds: accuracy 0.8620 (0.7 points below the best model "
        f"without the constraint). {EXPECTED}, and as measured on a hold-out of 1,234 rows with "
        f"0.80 {NO_CERTIFICATE}. A candidate with accuracy 0.8640 was not served because "
        "its probability is 0.58."
    )


def test_a_lead_within_the_noise_is_named():
    served = entry(0.862)
    said = "a single trial leads by no more than the noise of choosing the best of many."
    assert headline(board(served), served, passed_over("noise")).endswith(f"because {said}")


def test_without_a_constraint_only_model_and_score_are_stated():
    served = entry(0.862, measures=(), mitigator="none", assessment=None)
    text = headline(board(served, entry(0.869, measures=())), served, None)
    assert text == "Served: lightgbm: accuracy 0.8620."


def test_an_ensemble_is_named_with_its_trials_and_no_price_is_said_to_be_none():
    served = entry(0.862, config=Config(learner="ensemble"), members=(("a", 0.5), ("b", 0.5)))
    text = headline(board(served, entry(0.8621, 0.2)), served, margin())
    assert "ensemble of 2 trials with group_thresholds" in text
    assert "(as good as the best model without the constraint)" in text


def test_the_price_of_an_error_is_in_its_own_units():
    served, better = entry(12.5, rises=False), entry(12.25, 0.2, rises=False)
    text = headline(board(served, better, objective="rmse"), served, None)
    assert "rmse 12.5000 (0.2500 above the best model without the constraint)" in text


def test_a_missed_constraint_and_a_single_decision_are_stated():
    missed = entry(0.862, 0.2)
    assert "; it misses the constraint on the search rows" in headline(board(missed), missed, None)
    same = entry(0.7, 0.0, constant=True, assessment=None)
    assert "; it gives every row the same decision." in headline(board(same), same, None)


def test_a_constant_that_misses_the_constraint_is_not_said_to_meet_it():
    constant = entry(0.7, 0.2, constant=True, assessment=None)
    text = headline(board(constant), constant, None)
    assert "; it gives every row the same decision; it misses the constraint on the" in text
    text = shortfall(constant, ["recall >= 0.6"])
    assert text.startswith("no model meets constraint='recall >= 0.6' on the search rows; a const")


@pytest.mark.parametrize(
    ("probability", "said"), [(1.0, "above 0.99"), (0.001, "below 0.01"), (0.5, "0.50")]
)
def test_an_estimate_is_never_a_certainty(probability, said):
    served = entry(0.862, assessment=assessed(probability))
    found = headline(board(served), served, None)
    assert found.endswith(f"in the population with estimated probability {said} {NO_CERTIFICATE}.")


def test_a_bounded_ratio_is_stated_as_a_ratio():
    ratio = ConstraintResult(
        metric="demographic_parity_ratio", system="sex", value=0.97, gap=0.03, limit=0.2
    )
    served = entry(0.862, measures=(ratio,))
    said = "Ratio on new data at least 0.951 (95 % interval 0.951 to 0.988); the bound holds"
    assert said in headline(board(served), served, None)


def test_a_bounded_minimum_is_stated_as_a_rate():
    """The gap of a minimum is one minus the rate, and the rate is what was bounded."""
    minimum = ConstraintResult(
        metric="minimum_recall", system="sex", value=0.97, gap=0.03, limit=0.2, is_minimum=True
    )
    served = entry(0.862, measures=(minimum,))
    said = "Smallest rate on new data at least 0.951 (95 % interval 0.951 to 0.988); the bound"
    assert said in headline(board(served), served, None)


def test_the_statement_has_a_title_for_each_of_its_sentences():
    served = entry(0.862)
    shown = board(served, entry(0.869, 0.2))
    shown = replace(
        shown, systems=(GroupSystem(name="sex", labels=("f", "m"), of_cell=np.array([0, 1])),)
    )
    lines = result_lines(shown, served, passed_over("noise"), [f"{METRIC} <= 0.05"])
    titles = ["Goal", "Served", "Cost", "New data", "Groups", "Passed over"]
    assert [title for title, _ in lines] == titles
    said = dict(lines)
    assert said["Goal"] == f"accuracy subject to {METRIC} <= 0.05"
    assert said["Cost"] == "0.7 points below the best model without the constraint"
    assert said["New data"].startswith("gap on new data at most 0.049 (95 % interval")
    assert said["Groups"] == "all 2 of 'sex': f, m"
    free = entry(0.862, measures=(), assessment=None)
    assert [t for t, _ in result_lines(board(free), free, None, [])] == ["Goal", "Served"]


def test_a_small_group_that_causes_the_price_is_named_with_its_rows():
    group = CostlyGroup(system="sex", label="Unknown", n_rows=1, regained=0.0068)
    served = entry(0.862)
    text = headline(board(served, entry(0.869, 0.2)), served, margin(costly_group=group))
    assert "without the constraint, 97% of it because of 1 row of 'Unknown' in 'sex')" in text
