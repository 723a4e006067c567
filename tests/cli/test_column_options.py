"""What columns hold, said on the command line, is kept with the run."""

import json
from io import StringIO

import numpy as np
import pandas as pd

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
