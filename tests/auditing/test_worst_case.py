"""Shift, slices and stability as parts of an audit."""

import json

import pandas as pd
import pytest
from audit_people import individuals, quick
from sklearn.linear_model import LogisticRegression

from fairautoml.cli.main import main
from fairautoml.exceptions import ParameterError

EO = "equalized_odds_difference <= 0.1"


@pytest.fixture(scope="module")
def given():
    return individuals(n=1_200)


def test_every_question_is_a_section_with_sentences(given):
    X = given.X[["x1", "x2"]]
    model = LogisticRegression().fit(X, given.y)
    found = quick(
        given.y, given.decision, given.groups["sex"], X=X, model=model, constraint=EO,
        shift=1.5, slices=2, stability=[0.05],
    )  # fmt: skip
    assert [section.name for section in found.more] == ["shift", "slices", "stability"]
    (row,) = found.to_frame("shift").to_dict("records")
    assert row["worst"] > row["value"]
    assert row["rate"] in {"tpr", "fpr"}
    assert 1 <= len(found.to_frame("slices")) <= 2
    assert found.to_frame("stability")["flips"].tolist() == ["none", "random", "influence"]
    text = " ".join(found.text().split())
    assert "1.5 times as frequent" in text
    assert "labels flipped at random" in text
    assert set(json.loads(found.to_json())["more"]) == {"shift", "slices", "stability"}
    assert "<table" in found.to_html()


def test_without_labels_shift_and_slices_are_about_selection(given):
    found = quick(None, given.decision, given.groups["sex"], X=given.X, shift=2.0, slices=1)
    assert found.to_frame("shift")["metric"].tolist() == ["demographic_parity_difference"]
    assert set(found.to_frame("slices")["rate"]) <= {"selection"}


def test_what_a_question_needs_is_named(given):
    with pytest.raises(ParameterError, match="slices= needs X="):
        quick(given.y, given.decision, given.groups["sex"], slices=1)
    with pytest.raises(ParameterError, match="stability= needs model="):
        quick(given.y, given.decision, given.groups["sex"], X=given.X, stability=[0.1])


def test_the_command_takes_shift_and_slices(given, tmp_path, capsys):
    path = tmp_path / "decisions.csv"
    table = pd.DataFrame({"decision": given.decision, "sex": given.groups["sex"]})
    table.assign(x2=given.X["x2"]).to_csv(path, index=False)
    words = ["audit", str(path), "--y-pred", "decision", "--sensitive", "sex"]
    assert main([*words, "--shift", "1.5", "--slices", "1"]) == 0
    shown = capsys.readouterr().out
    assert "Worst case if the weight" in shown
    assert "Slices with the largest gaps" in shown
