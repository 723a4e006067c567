"""What columns hold, said on the command line, is kept with the run."""

import json
from io import StringIO

import numpy as np
import pandas as pd
import pytest

from fairautoml import load_run
from fairautoml.cli.main import main

N = 120
QUICK = ("--trials", "2", "--learner", "logistic_regression", "--seed", "1", "--jobs", "1")


def people():
    rng = np.random.default_rng(0)
    days = pd.date_range("2023-01-01", periods=N, freq="3D")
    return pd.DataFrame({
        "born": days.strftime("%d/%m/%y"), "seen": days.strftime("%Y%m%d"),
        "number": [f"shop {at % 7} no{at}" for at in range(N)],
        "code": rng.integers(0, 30, N), "price": [f"{at + 1}.200,5" for at in range(N)],
        "group": rng.choice(["a", "b"], N), "y": rng.integers(0, 2, N),
    })  # fmt: skip


def test_options_of_columns_hold_for_the_run_and_its_predictions(tmp_path, capsys):
    table, run = people(), tmp_path / "run"
    table.to_csv(tmp_path / "t.csv", index=False)
    said = [
        "--text",
        "number",
        "--dates",
        "born:%d/%m/%y",
        "--dates",
        "seen",
        "--categories",
        "code",
    ]
    named = [
        "--target",
        "y",
        "--sensitive",
        "group",
        "--constraint",
        "demographic_parity_difference<=1",
    ]
    assert main(["fit", str(tmp_path / "t.csv"), *named, *said, *QUICK, "--out", str(run)]) in {
        0,
        4,
    }
    capsys.readouterr()
    model = load_run(run)
    kinds = model.columns_.set_index("column")["kind"].to_dict()
    assert kinds == {
        "born": "datetime", "seen": "datetime", "number": "text", "code": "category",
        "price": "number", "group": "category",
    }  # fmt: skip
    kept = json.loads((run / "source.json").read_text())["columns"]
    assert kept["dates"] == {"born": "%d/%m/%y", "seen": ""}
    new = table.drop(columns="y")[:5]
    new.to_csv(tmp_path / "new.csv", index=False)
    assert main(["predict", str(run), str(tmp_path / "new.csv")]) == 0
    found = pd.read_csv(StringIO(capsys.readouterr().out))["prediction"].tolist()
    seen = new.assign(seen=new["seen"].astype(int))  # as pandas reads the file
    assert found == model.predict(seen).tolist()


def test_an_unknown_column_of_an_option_is_refused(tmp_path, capsys):
    people().to_csv(tmp_path / "t.csv", index=False)
    fit = ["fit", str(tmp_path / "t.csv"), "--target", "y", "--dates", "borne:%d/%m/%y"]
    assert main(fit) == 2
    assert "did you mean 'born'" in capsys.readouterr().err


def test_blocks_are_named_by_fit_and_audit(tmp_path, capsys):
    """The run remembers them; the audit says what each adds to gap and error, of numbers too."""
    rng = np.random.default_rng(0)
    table = pd.DataFrame(rng.normal(size=(N, 3)), columns=["f", "c", "d"])
    table["sex"] = rng.choice(["a", "b"], N)
    table["y"] = table["f"] + table["c"] + (table["sex"] == "b")
    file, run = tmp_path / "t.csv", tmp_path / "run"
    table.to_csv(file, index=False)
    said = ["--target", "y", "--sensitive", "sex", "--drop", "sex", "--block", "face=f"]
    said += ["--block", "cv=c,d", "--fusion", "early", "--task", "regression"]
    assert main(["fit", str(file), *said, *QUICK, "--out", str(run)]) == 0
    model = load_run(run)
    kept = json.loads((run / "source.json").read_text())["columns"]
    assert (kept["blocks"], kept["fusion"]) == ({"face": ["f"], "cv": ["c", "d"]}, "early")
    table.assign(out=model.predict(table[["f", "c", "d"]])).to_csv(file, index=False)
    capsys.readouterr()
    columns = ["--y-true", "y", "--y-pred", "out", "--sensitive", "sex", "--json"]
    blocks = ["--model", str(run), "--block", "face=f"]
    assert main(["audit", str(file), *columns, *blocks]) == 0
    shares = json.loads(capsys.readouterr().out)["contributions"]["shares"]
    assert [one["block"] for one in shares] == ["face", "(other columns)"]
    assert all(one["error"] < 0 for one in shares)


@pytest.mark.parametrize(
    ("said", "says"),
    [
        (["--block", "face"], "such as 'face=f1,f2'"),
        (["--block", "a=x", "--block", "a=y"], "each name once"),
        (["--block", "a=zz", "--block", "b=code"], "--block"),
        (["--block", "a=code"], "two or more blocks"),
    ],
)
def test_blocks_that_cannot_be_are_refused(said, says, tmp_path, capsys):
    """The message names the option or what is allowed."""
    people().to_csv(tmp_path / "t.csv", index=False)
    named = ["--target", "y", "--sensitive", "group", "--constraint", "four_fifths"]
    out = ["--out", str(tmp_path / "run")]
    assert main(["fit", str(tmp_path / "t.csv"), *named, *said, *QUICK, *out]) != 0
    assert says in capsys.readouterr().err
