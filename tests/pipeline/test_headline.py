"""What is served, at which price and how likely the bound holds, in one line."""

import math
from dataclasses import replace

import numpy as np
import pytest

from fairautoml.records import Config, ConstraintResult, Entry
from fairautoml.report.headlines import headline
from fairautoml.selection.choice import Margin, PassedOver
from fairautoml.selection.leaderboard import Leaderboard

METRIC = "demographic_parity_difference"


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
        "without the constraint); the bound holds on as many new rows with estimated probability "
        "0.93. A candidate with accuracy 0.8640 was not served because its probability is 0.58."
    )


def test_a_lead_within_the_noise_is_named():
    served = entry(0.862)
    said = "a single trial leads by no more than the noise of choosing the best of many."
    assert headline(board(served), served, passed_over("noise")).endswith(f"because {said}")


def test_without_a_constraint_only_model_and_score_are_stated():
    served = entry(0.862, measures=(), mitigator="none")
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
    same = entry(0.7, 0.0, constant=True)
    assert "; it gives every row the same decision." in headline(board(same), same, None)


@pytest.mark.parametrize(
    ("probability", "ratio", "said"),
    [
        (1.0, 1.0, "on as many new rows with estimated probability above 0.99"),
        (0.001, math.inf, "on new data with estimated probability below 0.01"),
        (0.5, 3 / 7, "on 0.43 times as many new rows with estimated probability 0.50"),
    ],
)
def test_an_estimate_is_never_a_certainty_and_says_of_how_many_rows(probability, ratio, said):
    served = entry(0.862)
    found = headline(board(served), served, margin(probability, audit_ratio=ratio))
    assert found.endswith(f"; the bound holds {said}.")
