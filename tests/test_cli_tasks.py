"""The command line on numbers, bands of a number, and groups that may overlap."""

import json
import re
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from fairautoml import FairAutoMLRegressor, load_run
from fairautoml.cli import tables
from fairautoml.cli.main import main
from fairautoml.cli.tables import open_source
from fairautoml.cli.text import result_text
from fairautoml.data import load
from fairautoml.data.schema import Roles
from fairautoml.exceptions import ParameterError

N = 240
QUICK = ("--trials", "2", "--learner", "logistic_regression", "--seed", "1")
OVERLAPPING = ("--overlapping", "identity=x,y", "--constraint", "demographic_parity_to_overall<=1")


@pytest.fixture(scope="module")
def table(tmp_path_factory):
    """A file of people with an income, a decision, an age and two indicators."""
    rng = np.random.default_rng(0)
    frame = pd.DataFrame(
        {
            "skill": rng.normal(size=N),
            "age": rng.integers(20, 70, N),
            "x": (rng.uniform(size=N) < 0.4).astype(int),
            "y": rng.uniform(size=N) < 0.3,
        }
    )
    frame["income"] = 10 + frame["skill"] + 0.5 * frame["x"] + 0.3 * rng.normal(size=N)
    frame["hired"] = np.where(frame["skill"] + 0.5 * frame["x"] > 0, "yes", "no")
    path = tmp_path_factory.mktemp("table") / "people.csv"
    frame.to_csv(path, index=False)
    return path


def test_a_run_of_numbers_on_bands_continues_from_the_command_line(table, tmp_path, capsys):
    run = str(tmp_path / "run")
    requested = ("--target", "income", "--drop", "hired", "--task", "regression")
    groups = ("--sensitive", "age", "--bins", "age:30,50", "--constraint", "mean_difference<=2")
    assert main(["fit", str(table), *requested, *groups, *QUICK, "--out", run]) == 0
    capsys.readouterr()
    assert main(["resume", run, "--trials", "3", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["search"]["n_trials"] == 3
    model = load_run(run)
    assert isinstance(model, FairAutoMLRegressor)
    assert {*model.pool_.groups.systems[0].labels} == {"age<=30", "30<age<=50", "age>50"}


def test_means_of_held_out_numbers_are_shown_with_their_fractions(table, tmp_path, capsys):
    requested = (
        "--target",
        "income",
        "--drop",
        "hired",
        "--task",
        "regression",
        "--holdout",
        "0.3",
    )
    assert main(["fit", str(table), *requested, "--sensitive", "x", *QUICK, "--json"]) == 0
    result = json.loads(capsys.readouterr().out)
    (one, other) = result["holdout"]["rates"]["x"].values()
    shown = result_text(result, pd.DataFrame({"rank": []}), 0, details=True)
    assert f"{one['mean_target']:.5g}" in shown
    assert f"{other['mean_target']:.5g}" in shown


def test_the_positive_class_is_said_wherever_a_run_is_described(table, tmp_path, capsys):
    run = str(tmp_path / "run")
    requested = (str(table), "--target", "hired", "--drop", "income", "--sensitive", "x")
    bound = ("--constraint", "demographic_parity_difference<=0.9")
    note = "the positive class is 'yes', because it is sorted last; if it is 'no', give"
    assert main(["fit", *requested, *bound, *QUICK, "--out", run]) == 0
    shown = capsys.readouterr().out
    assert "Accepted     means decided 'yes'" in shown
    assert note in " ".join(shown.split())
    assert main(["card", run]) == 0
    assert "- Positive class: yes; accepted means predicted so" in capsys.readouterr().out
    assert load_run(run).summary_["positive_class"] == "yes"
    assert main(["plan", *requested, *bound]) == 0
    assert note in capsys.readouterr().out
    assert main(["plan", *requested, *bound, "--positive", "no"]) == 0
    assert "positive class" not in capsys.readouterr().out
    assert main(["fit", *requested, *bound, *QUICK, "--positive", "no", "--json"]) == 0
    named = json.loads(capsys.readouterr().out)
    assert named["positive_class"] == "no"
    assert not any("positive class" in note for note in named["notes"])


def test_a_plan_knows_the_task_that_it_names(table, capsys):
    requested = (str(table), "--target", "income", "--drop", "hired", "--sensitive", "x")
    bound = ("--constraint", "mean_difference<=0.1")
    assert main(["plan", *requested, *bound]) == 3
    assert "(--task regression)" in capsys.readouterr().err
    assert main(["plan", *requested, *bound, "--task", "regression"]) == 0
    assert "no exact test for this metric" in capsys.readouterr().out


def test_groups_that_overlap_are_fitted_resumed_and_decided_by_their_columns(
    table, tmp_path, capsys
):
    run = str(tmp_path / "run")
    requested = ("--target", "hired", "--drop", "income", "--drop", "x", "--drop", "y")
    assert main(["fit", str(table), *requested, *OVERLAPPING, *QUICK, "--out", run]) == 0
    assert main(["resume", run, "--trials", "3"]) == 0
    capsys.readouterr()
    assert main(["predict", run, str(table)]) == 0
    shown = capsys.readouterr().out.split()[1:]
    model, frame = load_run(run), pd.read_csv(table)
    (system,) = model.pool_.groups.systems
    assert (system.name, system.labels) == ("identity", ("x", "y"))
    decided = model.predict(frame[["skill", "age"]], {"identity": frame[["x", "y"]]})
    assert shown == decided.tolist()


def test_indicators_are_read_as_a_table_of_their_own(table):
    frame = pd.read_csv(table)
    roles = Roles(
        target="hired", sensitive=(), drop=("income", "x", "y"), overlapping=("identity=x,y",)
    )
    source = open_source(str(table), roles)
    assert list(source.sensitive) == ["identity"]
    pd.testing.assert_frame_equal(source.sensitive["identity"], frame[["x", "y"]])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("identity", "write name=column,column"),
        ("=x,y", "write name=column,column"),
        ("identity=x,,y", "write name=column,column"),
        ("identity=x,x", "each once"),
        ("identity=x,z", "--overlapping: no column 'z' in the table"),
        ("identity=x,hired", "'hired' is the target"),
        ("identity=x,age", "by True and False or 1 and 0; 'age' holds"),
    ],
)
def test_indicators_that_are_none_are_refused_with_what_to_write(table, text, message, capsys):
    requested = ["fit", str(table), "--target", "hired", "--overlapping", text, *QUICK]
    assert main([*requested, "--constraint", "demographic_parity_to_overall<=1"]) in {2, 3}
    assert re.search(message, capsys.readouterr().err)


def test_one_name_cannot_be_two_things():
    with pytest.raises(ParameterError, match="'sex' is named twice; name it once"):
        Roles(target="y", sensitive=("sex",), overlapping=("sex=a,b",))


def test_the_column_that_says_whose_row_it_is_stays_in_a_named_table(monkeypatch):
    known = load("lending")
    frame = known.frame.head(100).assign(person=np.arange(100) // 2)
    dropped = replace(known, frame=frame, drop=("person", "region"))
    monkeypatch.setattr(tables, "load", lambda name: dropped)
    roles = Roles(target=None, sensitive=("sex",))
    assert not {"person", "region"} & {*open_source("lending", roles).X}
    kept = open_source("lending", roles, ("person", None))
    assert "person" in kept.X
    assert "region" not in kept.X
