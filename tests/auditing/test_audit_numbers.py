"""Audits of predicted numbers: means and errors by group, and what blocks add."""

import numpy as np
import pandas as pd
import pytest

from fairautoml.auditing import LinearRule, audit
from fairautoml.exceptions import InputError, ParameterError

RULE = LinearRule(coefficients={"face": 1.0, "merit": 2.0})


@pytest.fixture(scope="module")
def people():
    """Return rows whose face tells the group and whose merit is the truth."""
    rng = np.random.default_rng(0)
    sex = np.where(np.arange(400) % 2 == 0, "F", "M")
    X = pd.DataFrame({"face": (sex == "M") + 0.1 * rng.normal(size=400)})
    return X.assign(merit=rng.normal(size=400)), sex


def audited(people, **options):
    X, sex = people
    given = {"y_true": 2 * X["merit"], "y_pred": RULE.margin(X), "sensitive": {"sex": sex}}
    return audit(**given | options)


def test_means_and_errors_by_group_are_those_of_the_rows(people):
    """Bias, error and their standard errors; the text says the gap."""
    X, sex = people
    found = audited(people)
    rows = found.to_frame("numbers").set_index("group")
    inside = sex == "M"
    error = np.abs(X["face"][inside])
    assert rows.loc["M", "mae"] == pytest.approx(error.mean())
    assert rows.loc["M", "bias"] == pytest.approx(X["face"][inside].mean())
    assert rows.loc["M", "mae_error"] == pytest.approx(error.std(ddof=0) / np.sqrt(200))
    assert "Mean absolute error: from" in found.text()
    assert "predicted numbers of 400 rows" in found.to_html()


def test_a_block_adds_what_a_linear_model_says(people):
    """The face is the gap and adds error; merit takes the error away and adds no gap."""
    X, sex = people
    found = audited(people, X=X, model=RULE, blocks={"face": ["face"], "cv": ["merit"]})
    shares = found.to_frame("contributions").set_index("block")
    means = X.groupby(sex)["face"].mean()
    assert shares.loc["face", "value"] == pytest.approx(means["M"] - means["F"], abs=0.1)
    assert abs(shares.loc["cv", "value"]) < 0.2 * shares.loc["face", "value"] + 0.2
    assert shares.loc["cv", "error"] < 0 < shares.loc["face", "error"] + 0.1
    total = found.contributions
    assert shares["error"].sum() == pytest.approx(total.error - total.error_without, abs=1e-9)
    assert "Contributions to the mean prediction of M" in found.text()


def test_a_classifier_has_the_error_of_each_block_too(people):
    """Its error is the share of wrong decisions; without labels there is none."""
    X, sex = people
    y, rule = (X["merit"] > 0).astype(int), LinearRule(coefficients={"merit": 1.0})
    options = {"X": X, "model": rule, "blocks": {}, "leakage": False}
    shares = audit(y, y, {"sex": sex}, **options).to_frame("contributions").set_index("block")
    assert shares.loc["merit", "error"] == pytest.approx(-0.5, abs=0.1)
    assert shares.loc["face", "error"] == 0
    bare = audit(None, y, {"sex": sex}, **options).contributions
    assert bare.error is None
    assert bare.shares[0].error is None


def test_small_groups_are_not_shown(people):
    """Their numbers are None, and no gap is decomposed."""
    X, sex = people
    few = np.where(np.arange(400) < 4, "X", sex)
    found = audited(people, sensitive={"sex": few}, X=X, model=RULE, blocks={})
    rows = found.to_frame("numbers").set_index("group")
    assert np.isnan(rows.loc["X", "mae"])
    assert found.contributions is None
    assert any("no gap was decomposed" in note for note in found.notes)


@pytest.mark.parametrize(
    ("options", "error", "says"),
    [
        ({"constraint": "four_fifths"}, ParameterError, "constraint='four_fifths' is about"),
        ({"min_share": 0.1}, ParameterError, "min_share=0.1 is about"),
        ({"y_pred": ["high"] * 400}, InputError, "y_pred must hold numbers"),
        ({"y_pred": [np.inf] * 400}, InputError, "400 value.s. that are missing"),
        ({"y_pred": [1.0] * 3}, InputError, "y_pred"),
        ({"model": LinearRule(coefficients={"merit": 1.0})}, InputError, "differ in"),
    ],
)
def test_what_cannot_be_audited_is_refused(people, options, error, says):
    """The message names the argument."""
    X, _ = people
    given = {"X": X, "model": RULE, "blocks": {}} if "model" in options else {}
    with pytest.raises(error, match=says):
        audited(people, **given | options)
