import json
import os
import shutil
import signal
import subprocess
import sys
import warnings
from io import StringIO
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from fairautoml import Dask, GroupPolicy, LocalProcesses, RunStorage, load_run
from fairautoml.cli.main import _ended_like_ctrl_c, _guarded, _parser, main
from fairautoml.cli.tables import fit_estimator_of, request_of
from fairautoml.data import load
from fairautoml.exceptions import FairAutoMLError, NotPortableError, StorageFullError
from fairautoml.storage.run_folder import RunFolder

CONSTRAINT = "demographic_parity_difference<=0.1"
QUICK = ("--trials", "3", "--cv", "2", "--learner", "logistic_regression", "--seed", "1")
FIT = ("--target", "repaid", "--sensitive", "sex", "--constraint", CONSTRAINT, *QUICK)


@pytest.fixture(scope="module")
def individuals(tmp_path_factory):
    """A CSV and a parquet file of 800 people, the first 800 of the embedded population."""
    folder = tmp_path_factory.mktemp("people")
    table = load("lending").frame.head(800)
    table.to_csv(folder / "people.csv", index=False)
    table.to_parquet(folder / "people.parquet")
    return folder


@pytest.fixture(scope="module")
def kept(individuals):
    """A finished run, with its table."""
    csv = individuals / "people.csv"
    assert main(["fit", str(csv), *FIT, "--out", str(individuals / "run")]) == 0
    return individuals / "run", csv


def test_help_imports_no_heavy_library():
    code = (
        "import sys\n"
        "from fairautoml.cli.main import main\n"
        "try:\n    main(['--help'])\nexcept SystemExit as end:\n    assert end.code == 0\n"
        "heavy = {'numpy', 'pandas', 'sklearn', 'optuna', 'scipy'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert found.returncode == 0, found.stderr
    assert "demo" in found.stdout


def test_the_module_is_the_command():
    command = [sys.executable, "-m", "fairautoml", "--version"]
    found = subprocess.run(command, capture_output=True, text=True)
    assert (found.returncode, found.stdout.strip()) == (0, "0.1.0")


@pytest.mark.parametrize("name", ["people.csv", "people.parquet"])
def test_a_file_is_fitted_and_the_result_is_on_stdout(individuals, capsys, name):
    assert main(["fit", str(individuals / name), *FIT]) == 0
    shown = capsys.readouterr()
    lines = {line[:13].strip(): line[13:] for line in shown.out.splitlines()}
    assert lines["Goal"].startswith("accuracy subject to demographic_parity_difference")
    assert lines["Served"].startswith("logistic_regression")
    assert lines["Status"].startswith("feasible: meets the constraint")
    assert {"Cost", "New data", "Groups", "Rule", "Accepted", "Search", "Details"} <= set(lines)
    assert "Leaderboard" not in shown.out
    assert "--out RUN" in shown.out
    assert "trials" in shown.err
    assert "s left" not in shown.out


def test_a_named_dataset_is_fitted_with_rows_held_out(capsys):
    command = ["fit", "lending", "--sensitive", "sex", "--constraint", CONSTRAINT, *QUICK]
    assert main([*command, "--holdout", "0.9", "--no-certificate", "--json"]) == 0
    result = json.loads(capsys.readouterr().out)
    assert result["holdout"]["n_rows"] == 18_000
    assert set(result["holdout"]["rates"]["sex"]) == {"female", "male"}
    assert result["holdout"]["gap"] < 0.2


def test_a_model_that_few_rows_cannot_judge_is_kept_and_has_its_own_exit_code(
    individuals, tmp_path, capsys
):
    table = pd.read_csv(individuals / "people.csv").head(200)
    table.to_csv(tmp_path / "few.csv", index=False)
    command = ["fit", str(tmp_path / "few.csv"), *FIT, "--out", str(tmp_path / "run")]
    command[command.index(CONSTRAINT)] = "demographic_parity_difference<=0.03"
    assert main(command) == 10
    shown = " ".join(capsys.readouterr().out.split())
    assert "Status unsure: meets the constraint on the search rows, but the rows are too" in shown
    assert "insufficient evidence: the selected model" in shown
    model = load_run(tmp_path / "run")
    assert model.status_ == "unsure"
    assert not model.feasible_
    assert len(model.predict(table.drop(columns="repaid"), table["sex"])) == 200
    assert main([*command, "--overwrite", "--json"]) == 10
    assert json.loads(capsys.readouterr().out)["status"] == "unsure"


def test_held_out_rows_are_shown_against_the_bound(individuals, capsys):
    command = ["fit", str(individuals / "people.csv"), *FIT, "--holdout", "0.3"]
    assert main([*command, "--no-certificate"]) == 0
    shown = " ".join(capsys.readouterr().out.split())
    assert "Held out 240 rows, accuracy" in shown
    assert "the bound 0.1)" in shown
    assert main([*command, "--no-certificate", "--details"]) == 0
    shown = capsys.readouterr().out
    assert "On 240 held-out rows" in shown
    assert "Leaderboard: the best" in shown
    assert "Chosen: logistic_regression" in shown


def test_json_is_one_object_without_nan_and_nothing_else(individuals, capsys):
    assert main(["fit", str(individuals / "people.csv"), *FIT, "--json"]) == 0

    def refuse(text):
        raise AssertionError(f"{text} is no JSON")

    result = json.loads(capsys.readouterr().out, parse_constant=refuse)
    assert result["status"] == "feasible"
    assert result["entry"]["measures"][0]["value"] <= 0.1
    assert result["search"]["n_trials"] == 3
    assert result["most_accurate"]["score"] >= result["entry"]["score"]


def test_a_search_without_constraint_needs_no_groups(individuals, capsys):
    assert main(["fit", str(individuals / "people.csv"), "--target", "repaid", *QUICK]) == 0
    shown = capsys.readouterr().out
    assert "Status       no constraint" in shown
    assert shown.count("constraint") == 1


def test_predict_gives_a_decision_for_every_row_in_order(kept, capsys):
    run, csv = kept
    assert main(["predict", str(run), str(csv), "--proba"]) == 0
    table = pd.read_csv(csv)
    found = pd.read_csv(StringIO(capsys.readouterr().out))
    assert list(found.columns) == ["prediction", "score", "probability", "threshold"]
    assert len(found) == len(table)
    assert (found["prediction"] == table["repaid"]).mean() > 0.7
    model = load_run(run)
    assert found["prediction"].tolist() == model.predict(table.drop(columns="repaid")).tolist()
    accepted = found["prediction"] == "yes"
    assert ((found["score"] > 0.5) == accepted).all()
    assert ((found["probability"] >= found["threshold"]) == accepted).all()


@pytest.mark.parametrize("positive", ["no", "yes"])
def test_the_probability_is_that_of_the_positive_class(individuals, tmp_path, capsys, positive):
    csv, run = str(individuals / "people.csv"), str(tmp_path / "run")
    requested = ["--target", "repaid", "--positive", positive, *QUICK, "--out", run]
    assert main(["fit", csv, *requested]) == 0
    capsys.readouterr()
    assert main(["predict", run, csv, "--proba"]) == 0
    found = pd.read_csv(StringIO(capsys.readouterr().out))
    accepted = found["prediction"] == positive
    assert found.loc[accepted, "probability"].min() > found.loc[~accepted, "probability"].max()


def test_a_search_without_constraint_calls_nothing_feasible(individuals, capsys):
    assert (
        main(["fit", str(individuals / "people.csv"), "--target", "repaid", *QUICK, "--json"]) == 0
    )
    result = json.loads(capsys.readouterr().out)
    assert result["status"] == "no_constraint"
    assert result["entry"]["feasible"] is None


def test_what_is_strange_in_new_rows_is_reported_once(kept, tmp_path, capsys):
    run, csv = kept
    pd.read_csv(csv).assign(region="mars").to_csv(tmp_path / "new.csv", index=False)
    for _ in range(2):
        assert main(["predict", str(run), str(tmp_path / "new.csv"), "--proba"]) == 0
        assert capsys.readouterr().err.count("not seen: 'region' (100%") == 1


def test_predict_writes_a_file(kept, tmp_path, capsys):
    run, csv = kept
    out = tmp_path / "decided.csv"
    assert main(["predict", str(run), str(csv), "--out", str(out)]) == 0
    assert capsys.readouterr().out == ""
    assert len(pd.read_csv(out)) == 800


def test_predict_makes_the_derived_columns_again(individuals, tmp_path, capsys):
    csv, run = str(individuals / "people.csv"), str(tmp_path / "run")
    derived = ["--derive", "young=age<=30"]
    groups = ["--target", "repaid", "--sensitive", "young", "--constraint", CONSTRAINT]
    assert main(["fit", csv, *derived, *groups, *QUICK, "--out", run]) in {0, 4}
    capsys.readouterr()
    assert main(["predict", run, csv, *derived]) == 0
    reported = capsys.readouterr().out
    assert main(["predict", run, csv]) == 0
    assert capsys.readouterr().out == reported
    assert main(["predict", run, csv, "--derive", "young=agee<=30"]) == 2
    assert "'agee'; did you mean 'age'?" in capsys.readouterr().err


def test_predict_needs_no_row_of_the_value_that_groups_were_derived_by(
    individuals, tmp_path, capsys
):
    csv, run = str(individuals / "people.csv"), str(tmp_path / "run")
    derived = ["--derive", "woman=sex==female", "--drop", "sex"]
    groups = ["--target", "repaid", "--sensitive", "woman", "--constraint", CONSTRAINT]
    assert main(["fit", csv, *derived, *groups, *QUICK, "--out", run]) in {0, 4}
    men = load("lending").frame.head(200).query("sex == 'male'")
    men.to_csv(tmp_path / "men.csv", index=False)
    capsys.readouterr()
    assert main(["predict", run, str(tmp_path / "men.csv")]) == 0
    shown = capsys.readouterr()
    assert len(shown.out.splitlines()) == len(men) + 1
    assert shown.err == ""


def test_a_dropped_sensitive_column_gives_the_groups_and_is_no_feature(
    individuals, tmp_path, capsys
):
    csv, run = individuals / "people.csv", tmp_path / "run"
    fair = ["--drop", "sex", "--mitigator", "group_thresholds", "--holdout", "0.3", "--json"]
    assert main(["fit", str(csv), *FIT, *fair, "--out", str(run)]) in {0, 4}
    result = json.loads(capsys.readouterr().out)
    assert set(result["holdout"]["rates"]["sex"]) == {"female", "male"}
    model = load_run(run)
    assert "sex" not in model.feature_names_in_
    assert model.model_.needs_sensitive
    assert main(["predict", str(run), str(csv)]) == 0
    table = pd.read_csv(csv)
    found = pd.read_csv(StringIO(capsys.readouterr().out))["prediction"].tolist()
    features = table[list(model.feature_names_in_)]
    assert found == model.predict(features, table[["sex"]]).tolist()
    table.drop(columns="sex").to_csv(tmp_path / "new.csv", index=False)
    assert main(["predict", str(run), str(tmp_path / "new.csv")]) == 3
    assert "has no column(s) 'sex', from which the model reads" in capsys.readouterr().err


def test_derived_columns_that_a_table_has_are_taken_as_they_are(individuals, tmp_path, capsys):
    csv, run = str(individuals / "people.csv"), str(tmp_path / "run")
    derived = ["--derive", "young=age<=30", "--derive", "youth=young==age<=30"]
    groups = ["--target", "repaid", "--sensitive", "youth", "--constraint", CONSTRAINT]
    dropped = ["--drop", "age", "--drop", "young"]
    assert main(["fit", csv, *derived, *dropped, *groups, *QUICK, "--out", run]) in {0, 4}
    capsys.readouterr()
    assert main(["predict", run, csv]) == 0
    reported = capsys.readouterr().out
    table = pd.read_csv(csv)
    table["young"] = np.where(table["age"] <= 30, "age<=30", "age>30")
    table.drop(columns="age").to_csv(tmp_path / "new.csv", index=False)
    assert main(["predict", run, str(tmp_path / "new.csv")]) == 0
    assert capsys.readouterr().out == reported


def test_true_and_false_with_a_gap_are_read_the_same_at_fit_and_at_predict(tmp_path, capsys):
    table = load("lending").frame.head(600).assign(member=True)
    table.loc[::2, "member"] = False
    table["member"] = table["member"].astype(object).where(table.index % 7 > 0)
    table.to_csv(tmp_path / "t.csv", index=False)
    run, csv = str(tmp_path / "run"), str(tmp_path / "t.csv")
    assert main(["fit", csv, "--target", "repaid", *QUICK, "--out", run]) == 0
    capsys.readouterr()
    assert main(["predict", run, csv]) == 0
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("kind", ["csv", "parquet"])
def test_predict_reads_codes_as_the_text_that_they_were_at_fit(tmp_path, capsys, kind):
    table = load("lending").frame.head(600)
    table["icd"] = [str(at % 9) if at % 50 else "V1" for at in range(len(table))]
    table["site"] = [("1", "2", "007")[at % 3] for at in range(len(table))]
    if kind == "csv":
        table.to_csv(tmp_path / "t.csv", index=False)
    else:
        table.to_parquet(tmp_path / "t.parquet")
    run = str(tmp_path / "run")
    roles = ["--target", "repaid", "--sensitive", "site", "--constraint", CONSTRAINT]
    command = ["fit", str(tmp_path / f"t.{kind}"), *roles, *QUICK]
    assert main([*command, "--mitigator", "group_thresholds", "--out", run]) in {0, 4}
    new = table[(table["icd"] != "V1") & (table["site"] != "007")]
    new.to_csv(tmp_path / "new.csv", index=False)
    capsys.readouterr()
    assert main(["predict", run, str(tmp_path / "new.csv")]) == 0
    found = pd.read_csv(StringIO(capsys.readouterr().out))["prediction"].tolist()
    features = new.drop(columns="repaid").reset_index(drop=True)
    assert found == load_run(run).predict(features).tolist()


def test_dates_of_a_parquet_file_are_read_from_a_csv_file(tmp_path, capsys):
    table = load("lending").frame.head(600)
    table["since"] = pd.Timestamp("2020-01-01") + pd.to_timedelta(table["age"], unit="D")
    table.to_parquet(tmp_path / "t.parquet")
    run = str(tmp_path / "run")
    command = ["fit", str(tmp_path / "t.parquet"), "--target", "repaid", *QUICK]
    assert main([*command, "--out", run]) == 0
    table.to_csv(tmp_path / "new.csv", index=False)
    capsys.readouterr()
    assert main(["predict", run, str(tmp_path / "new.csv")]) == 0
    found = pd.read_csv(StringIO(capsys.readouterr().out))["prediction"].tolist()
    assert found == load_run(run).predict(table.drop(columns="repaid")).tolist()
    table.assign(since="soon").to_csv(tmp_path / "new.csv", index=False)
    assert main(["predict", run, str(tmp_path / "new.csv")]) == 3
    assert "column 'since' held dates at fit" in capsys.readouterr().err


def test_a_weight_of_text_is_a_data_error(tmp_path, capsys):
    load("lending").frame.head(300).assign(w="north").to_csv(tmp_path / "t.csv", index=False)
    assert main(["fit", str(tmp_path / "t.csv"), *FIT, "--weight", "w"]) == 3
    shown = capsys.readouterr().err
    assert "--weight: column 'w' holds 'north'; name a column of numbers" in shown


def test_a_dataset_is_suggested_for_a_name_nearly_right(capsys):
    assert main(["fit", "lendin", *FIT]) == 2
    shown = capsys.readouterr().err
    assert "no dataset is called 'lendin'; did you mean lending? all: " in shown


def test_missing_groups_are_handled_as_the_flags_say(tmp_path, capsys):
    table = load("lending").frame.head(600)
    table.loc[::10, "sex"] = None
    table.to_csv(tmp_path / "t.csv", index=False)
    command = ["fit", str(tmp_path / "t.csv"), *FIT, "--mitigator", "group_thresholds"]
    assert main(command) == 3
    assert "(--sensitive-missing) 'error' (this), 'own_group'" in capsys.readouterr().err
    run = str(tmp_path / "run")
    policies = ["--sensitive-missing", "own_group", "--unseen-group", "base_model"]
    assert main([*command, *policies, "--out", run]) in {0, 4}
    model = load_run(run)
    assert "(missing)" in model.pool_.groups.systems[0].labels
    table.assign(sex="other").to_csv(tmp_path / "new.csv", index=False)
    assert main(["predict", run, str(tmp_path / "new.csv")]) == 0


def test_labels_like_formulas_are_made_safe_with_a_word_or_left_raw(tmp_path, capsys):
    table = load("lending").frame.head(600)
    table["repaid"] = np.where(table["repaid"] == "yes", "+", "-")
    table.to_csv(tmp_path / "t.csv", index=False)
    run, csv = str(tmp_path / "run"), str(tmp_path / "t.csv")
    assert main(["fit", csv, "--target", "repaid", *QUICK, "--out", run]) == 0
    capsys.readouterr()
    assert main(["predict", run, csv]) == 0
    shown = capsys.readouterr()
    assert set(shown.out.split()[1:]) == {"'+", "'-"}
    assert shown.err.count("--raw") == 1
    assert main(["predict", run, csv, "--raw"]) == 0
    shown = capsys.readouterr()
    assert set(shown.out.split()[1:]) == {"+", "-"}
    assert shown.err == ""


@pytest.mark.parametrize(
    ("content", "said"),
    [("{", "is damaged"), ("[]", "is damaged"), ('{"target": "repaid"}', "is damaged")],
)
def test_a_damaged_record_of_the_columns_is_a_storage_error(kept, tmp_path, capsys, content, said):
    run = tmp_path / "run"
    shutil.copytree(kept[0], run)
    (run / "source.json").write_text(content)
    assert main(["predict", str(run), str(kept[1])]) == 8
    assert said in capsys.readouterr().err


def test_a_run_without_a_record_of_the_columns_still_predicts(kept, tmp_path, capsys):
    run = tmp_path / "run"
    shutil.copytree(kept[0], run)
    (run / "source.json").unlink()
    assert main(["predict", str(run), str(kept[1])]) == 0
    assert len(capsys.readouterr().out.splitlines()) == 801


def test_the_leaderboard_is_shown_as_a_table(kept, capsys):
    assert main(["leaderboard", str(kept[0]), "--top", "2"]) == 0
    headline, board = capsys.readouterr().out.split("\n\n")
    assert headline.startswith("Served: ")
    assert "accuracy" in board
    assert len(board.strip().splitlines()) == 3


@pytest.mark.parametrize("flag", [["--format", "json"], ["--json"]])
def test_the_leaderboard_is_shown_as_json(kept, capsys, flag):
    assert main(["leaderboard", str(kept[0]), *flag]) == 0
    rows = json.loads(capsys.readouterr().out)
    assert [row["rank"] for row in rows] == sorted(row["rank"] for row in rows)


def test_the_leaderboard_is_shown_as_csv(kept, capsys):
    assert main(["leaderboard", str(kept[0]), "--format", "csv"]) == 0
    table = pd.read_csv(StringIO(capsys.readouterr().out))
    assert {"accuracy", "gap", "learner", "rule"} <= set(table.columns)


def test_a_run_folder_keeps_no_models_off_the_front_but_the_baseline(kept):
    stored = {path.stem for path in (kept[0] / "models").iterdir()}
    served = set(load_run(kept[0]).pool_.bags)
    assert served <= stored
    assert [key.split("-")[0] for key in stored - served] == ["00000"]


def test_the_demo_shows_the_truth_and_the_next_command(capsys, tmp_path, monkeypatch):
    monkeypatch.setenv("FAIRAUTOML_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.setattr("fairautoml.cli.fit.TRUTH_ROWS", 20_000)
    assert main(["demo", "--trials", "3", "--details"]) == 0
    shown = capsys.readouterr()
    assert "Certificate  CERTIFIED" in shown.out
    assert "meets the constraint" in shown.out
    assert "new rows of the population" in shown.out
    assert "the bound 0.1" in shown.out
    assert "Certificate: CERTIFIED" in shown.out
    assert "fairautoml fit people.csv --target LABEL" in shown.out
    assert "embedded, synthetic population" in shown.err
    # What it opens is not remembered: the next demo has its certificate too.
    assert not (tmp_path / "state").exists()


def test_the_demo_keeps_its_certificate_in_the_run_folder(capsys, tmp_path, monkeypatch):
    monkeypatch.setattr("fairautoml.cli.fit.TRUTH_ROWS", 2_000)
    run = tmp_path / "run"
    assert main(["demo", "--trials", "3", "--jobs", "1", "--out", str(run)]) == 0
    capsys.readouterr()
    assert main(["verify", str(run / "certificate.json"), "--model", str(run)]) == 0
    assert (run / "holdout.json").is_file()
    assert "the certificate is what it says" in capsys.readouterr().out


def test_the_demo_refuses_what_only_a_certificate_reads_without_one(capsys):
    search = ["demo", "--trials", "3", "--jobs", "1", "--require-certified"]
    assert main([*search, "--no-certificate"]) == 2
    assert "--require-certified needs --holdout" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--time", "5x"], "'5x' is not a positive number of seconds"),
        (["--time", "-1"], "is not a positive number of seconds"),
        (["--time", "inf"], "is not a positive number of seconds"),
        (["--trials", "0"], "'0' is not a positive whole number"),
        (["--jobs", "0"], "'0' is not a positive whole number, or -1"),
        (["--jobs", "-2"], "is not a positive whole number, or -1"),
        (["--seed", "-1"], "is not a whole number of at least 0"),
        (["--memory", "-5"], "'-5' is not a positive number of MiB"),
        (["--rows", "0"], "'0' is not a positive whole number"),
        (["--holdout", "1"], "'1' is not a share between 0 and 1"),
        (["--nonsense"], "unrecognized arguments: --nonsense"),
        (["--times", "3"], "unrecognized arguments: --times 3; did you mean --time?"),
    ],
)
def test_a_wrong_flag_is_a_usage_error(individuals, capsys, arguments, said):
    with pytest.raises(SystemExit, match="2"):
        main(["fit", str(individuals / "people.csv"), *FIT, *arguments])
    assert said in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (
            ["audit", "--sensitive", "sex", "--slices", "2x"],
            "a positive whole number, or hierarchy",
        ),
        (
            ["audit", "--sensitive", "sex", "--max-groups", "0"],
            "'0' is not a positive whole number",
        ),
        (["explain", "run", "--seed", "-1"], "'-1' is not a whole number of at least 0"),
    ],
)
def test_a_number_out_of_range_is_a_usage_error_before_a_file_is_read(capsys, arguments, said):
    with pytest.raises(SystemExit, match="2"):
        main([*arguments, "nowhere.csv"])
    assert said in capsys.readouterr().err


@pytest.mark.parametrize("kind", [FairAutoMLError, NotPortableError])
def test_an_error_without_an_exit_code_of_its_own_is_one_line_and_a_data_error(kind, capsys):
    def command(_):
        raise kind("learner 'lightgbm' exists twice")

    assert _guarded(command)(None) == 3
    assert capsys.readouterr().err == "fairautoml: error: learner 'lightgbm' exists twice\n"


def test_options_before_the_command_are_reported_where_they_belong(capsys):
    with pytest.raises(SystemExit, match="2"):
        main(["--time", "60", "fit", "my people.csv"])
    assert "fairautoml fit --time 60 'my people.csv'" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["--target", "repayd"], 2, "did you mean 'repaid'?"),
        (["--sensitive", "sexx"], 2, "did you mean 'sex'?"),
        (["--drop", "agee"], 2, "did you mean 'age'?"),
        (["--weight", "w"], 2, "--weight: no column 'w'"),
        (["--sensitive", "repaid"], 2, "'repaid' is the target"),
        (["--constraint", "demographic_parity_diff<=0.1"], 2, "demographic_parity_difference"),
        (["--constraint", "demographic_parity_difference<=-1"], 2, "[0, 1]"),
        (["--objective", "acc"], 2, "accuracy"),
        (["--learner", "lightgmb"], 2, "lightgbm"),
        (["--positive", "maybe"], 2, "--positive 'maybe': the labels are"),
        (["--target", "income"], 3, "FairAutoMLRegressor"),
        (["--require-certified"], 2, "--require-certified needs --holdout"),
        (["--min-score", "0.9"], 2, "--min-score needs --holdout"),
        (["--delta", "0.1"], 2, "--delta needs --holdout"),
        (["--candidates", "front"], 2, "--candidates needs --holdout"),
        (["--ledger", "l.jsonl", "--no-certificate"], 2, "--ledger needs --holdout"),
        (["--keep", "region"], 2, "keep is 'region'"),
        (["--derive", "old"], 2, "derive is 'old'"),
        (["--derive", "old=aged>50"], 2, "names the column 'aged'"),
        (["--bins", "age"], 2, "bins is 'age'"),
        (["--overlapping", "identity"], 2, "overlapping is 'identity'"),
        (["--groups", "household"], 2, "groups='household' must be a column of X"),
        (["--constraint", "demographic_parity_difference[race]<=0.1"], 2, "the groups 'race'"),
    ],
)
def test_a_wrong_value_has_an_exit_code_and_a_hint(individuals, capsys, arguments, code, said):
    assert main(["fit", str(individuals / "people.csv"), *FIT, *arguments]) == code
    shown = capsys.readouterr()
    assert said in shown.err
    assert shown.out == ""


def test_a_constraint_without_groups_is_a_usage_error(individuals, capsys):
    command = ["fit", str(individuals / "people.csv"), "--target", "repaid"]
    assert main([*command, "--constraint", CONSTRAINT]) == 2
    assert "--sensitive is missing" in capsys.readouterr().err


def test_a_file_without_a_named_target_is_a_usage_error(individuals, capsys):
    assert main(["fit", str(individuals / "people.csv")]) == 2
    assert "--target is missing" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("content", "said"),
    [("", "is empty"), ("a,b\n1,2\n3\n", "line 3"), ("a,b\n", "no rows")],
)
def test_a_file_that_cannot_be_read_is_a_data_error(tmp_path, capsys, content, said):
    (tmp_path / "bad.csv").write_text(content)
    assert main(["fit", str(tmp_path / "bad.csv"), "--target", "a"]) == 3
    assert said in capsys.readouterr().err


def test_a_missing_file_is_a_data_error_with_near_names(individuals, capsys):
    assert main(["fit", str(individuals / "peple.csv"), "--target", "a"]) == 3
    assert "people.csv" in capsys.readouterr().err


def test_nothing_feasible_is_said_and_has_its_own_code(individuals, capsys):
    tight = ["--constraint", "demographic_parity_difference<=0", "--mitigator", "none"]
    command = ["fit", str(individuals / "people.csv"), "--target", "repaid", "--sensitive", "sex"]
    assert main([*command, *tight, *QUICK]) == 4
    shown = capsys.readouterr()
    assert "DOES NOT MEET the constraint" in shown.out
    assert "warning: no model meets" in shown.err
    assert main([*command, *tight, *QUICK, "--strict"]) == 4
    assert "error: no model meets" in capsys.readouterr().err


def test_a_baseline_that_is_served_does_not_contradict_itself(individuals, tmp_path, capsys):
    command = ["fit", str(individuals / "people.csv"), *FIT, "--out", str(tmp_path / "run")]
    assert main([*command, "--trials", "1", "--holdout", "0.3"]) == 4
    shown = capsys.readouterr()
    assert "search rows only because it is a constant predictor" in shown.out
    assert (
        "INCONCLUSIVE (the selected model is a constant predictor: no row was opened" in shown.out
    )
    for wrong in ("DOES NOT MEET", "margin:", "probability 1.00", "CERTIFIED"):
        assert wrong not in shown.out
    assert main(["card", str(tmp_path / "run")]) == 0
    assert "only as a constant predictor, which does not count" in capsys.readouterr().out


def test_no_model_at_all_has_its_own_code(individuals, capsys, monkeypatch):
    def fail(*_, **__):
        raise RuntimeError("no luck")

    monkeypatch.setattr("fairautoml.evaluation.evaluate.fit_config", fail)
    assert main(["fit", str(individuals / "people.csv"), *FIT]) == 5
    assert "All 3 trials failed" in capsys.readouterr().err


def test_an_interrupt_before_the_first_model_has_the_code_of_an_interrupt(
    individuals, capsys, monkeypatch
):
    def interrupt(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr("fairautoml.evaluation.evaluate.fit_config", interrupt)
    assert main(["fit", str(individuals / "people.csv"), *FIT]) == 130
    assert "interrupted" in capsys.readouterr().err


def test_a_run_that_was_interrupted_at_once_continues(individuals, tmp_path, monkeypatch):
    def interrupt(*_, **__):
        raise KeyboardInterrupt

    fit = ["fit", str(individuals / "people.csv"), *FIT, "--out", str(tmp_path / "run")]
    with monkeypatch.context() as patched:
        patched.setattr("fairautoml.storage.run_folder.RunFolder.append_trial", interrupt)
        assert main(fit) == 130
    assert main(["resume", str(tmp_path / "run")]) in {0, 4}


@pytest.mark.parametrize("where", ["stage_records", "place_model"])
def test_a_model_that_could_not_be_replaced_is_served_on(
    individuals, tmp_path, monkeypatch, where
):
    run = str(tmp_path / "run")
    fit = ["fit", str(individuals / "people.csv"), *FIT, "--out", run]
    assert main(fit) in {0, 4}
    before = (tmp_path / "run" / "estimator.json.gz").read_bytes()

    def full(*_, **__):
        raise StorageFullError("no space left")

    with monkeypatch.context() as patched:
        patched.setattr(f"fairautoml.storage.run_folder.RunFolder.{where}", full)
        assert main(["resume", run, "--trials", "5"]) == 8
    assert (tmp_path / "run" / "estimator.json.gz").read_bytes() == before
    assert main(["predict", run, str(individuals / "people.csv")]) == 0
    # Where only the model is missing, the documents beside the old one are another's.
    assert main(["report", run]) == (0 if where == "stage_records" else 8)
    assert main(["resume", run, "--trials", "5"]) in {0, 4}
    assert main(["report", run]) == 0


def test_an_earlier_run_is_not_replaced_without_a_request(kept, capsys):
    run, csv = kept
    before = (run / "model.json").read_bytes()
    assert main(["fit", str(csv), *FIT, "--out", str(run)]) == 2
    assert "--overwrite" in capsys.readouterr().err
    assert (run / "model.json").read_bytes() == before


def test_an_earlier_run_is_replaced_on_request(individuals, tmp_path):
    command = ["fit", str(individuals / "people.csv"), *FIT, "--out", str(tmp_path / "run")]
    assert main(command) == 0
    assert main([*command, "--overwrite"]) == 0


def test_a_folder_in_use_is_refused_with_the_holder(individuals, tmp_path, capsys):
    holder = RunFolder(tmp_path / "run")
    try:
        command = ["fit", str(individuals / "people.csv"), *FIT, "--out", str(tmp_path / "run")]
        assert main([*command, "--overwrite"]) == 7
    finally:
        holder.close()
    assert f"in use by process {os.getpid()}" in capsys.readouterr().err


def test_a_place_that_cannot_be_written_to_is_a_storage_error(individuals, tmp_path, capsys):
    (tmp_path / "file").write_text("x")
    command = ["fit", str(individuals / "people.csv"), *FIT]
    assert main([*command, "--out", str(tmp_path / "file")]) == 8
    assert "is a file" in capsys.readouterr().err


def test_a_folder_that_is_no_run_is_a_storage_error(tmp_path, capsys):
    assert main(["leaderboard", str(tmp_path)]) == 8
    assert "is no finished run" in capsys.readouterr().err


def test_a_damaged_model_is_a_storage_error(individuals, tmp_path, capsys):
    run, csv = tmp_path / "run", str(individuals / "people.csv")
    assert main(["fit", csv, *FIT, "--out", str(run)]) == 0
    for name, options in (("estimator.json.gz", ["--trust-pickle"]), ("model.fair", [])):
        assert main(["predict", str(run), csv, *options]) == 0
        (run / name).write_bytes(b"something else")
        capsys.readouterr()
        assert main(["predict", str(run), csv, *options]) == 8
        assert "SHA-256 differs" in capsys.readouterr().err


def test_predict_and_export_run_no_code_of_the_folder(kept, tmp_path, capsys):
    run = tmp_path / "run"
    shutil.copytree(kept[0], run)
    (run / "estimator.json.gz").unlink()
    assert main(["predict", str(run), str(kept[1])]) == 0
    decided = capsys.readouterr().out
    assert main(["export", str(run), str(tmp_path / "m.fair")]) == 0
    assert (tmp_path / "m.fair").read_bytes() == (run / "model.fair").read_bytes()
    capsys.readouterr()
    assert main(["predict", str(kept[0]), str(kept[1]), "--trust-pickle"]) == 0
    assert capsys.readouterr().out == decided


def test_an_old_run_without_a_portable_model_needs_trust(kept, tmp_path, capsys):
    run = tmp_path / "run"
    shutil.copytree(kept[0], run)
    about = json.loads((run / "model.json").read_text())
    del about["portable_sha256"]
    (run / "model.json").write_text(json.dumps(about))
    assert main(["predict", str(run), str(kept[1])]) == 8
    assert "--trust-pickle" in capsys.readouterr().err


def test_predictions_into_a_missing_folder_are_a_usage_error(kept, tmp_path, capsys):
    out = str(tmp_path / "no" / "p.csv")
    assert main(["predict", str(kept[0]), "not read", "--out", out]) == 2
    shown = capsys.readouterr().err
    assert f"--out {out!r}: there is no folder {str(tmp_path / 'no')!r}" in shown
    assert main(["predict", str(kept[0]), "not read", "--out", str(tmp_path)]) == 2
    assert "is a folder; name a file in it" in capsys.readouterr().err


def test_a_group_called_na_is_a_group(tmp_path, capsys):
    table = load("lending").frame.head(600).assign(region="None")
    table.loc[::2, "region"] = "NA"
    table.to_csv(tmp_path / "t.csv", index=False)
    command = ["fit", str(tmp_path / "t.csv"), "--target", "repaid", "--sensitive", "region"]
    run = ["--out", str(tmp_path / "run")]
    assert main([*command, "--constraint", CONSTRAINT, *QUICK, *run, "--json"]) == 0
    capsys.readouterr()
    assert main(["predict", str(tmp_path / "run"), str(tmp_path / "t.csv")]) == 0
    model = load_run(tmp_path / "run")
    assert set(model.pool_.groups.systems[0].labels) == {"NA", "None"}


def test_hostile_names_and_labels_stay_harmless(tmp_path, capsys):
    table = load("lending").frame.head(600)
    table["repaid"] = np.where(pd.factorize(table["repaid"])[0] == 0, "=1+1", "@SUM(A1)")
    table = table.rename(columns={"sex": "=cmd|' /C calc'!A0", "age": '<b>"age"</b>,{[:]}'})
    table.to_csv(tmp_path / "t.csv", index=False)
    command = ["fit", str(tmp_path / "t.csv"), "--target", "repaid", "--constraint", CONSTRAINT]
    groups = ["--sensitive", "=cmd|' /C calc'!A0", "--out", str(tmp_path / "run")]
    assert main([*command, *groups, *QUICK]) == 0
    board = (tmp_path / "run" / "leaderboard.csv").read_text()
    capsys.readouterr()
    assert main(["predict", str(tmp_path / "run"), str(tmp_path / "t.csv")]) == 0
    decided = capsys.readouterr().out.splitlines()
    assert set(decided[1:]) == {"'=1+1", "'@SUM(A1)"}
    assert not any(cell.startswith(("=", "@")) for cell in board.replace("\n", ",").split(","))


def test_warnings_and_handlers_are_put_back(kept, capsys):
    shown, handler = warnings.showwarning, signal.getsignal(signal.SIGTERM)
    assert main(["leaderboard", str(kept[0])]) == 0
    assert warnings.showwarning is shown
    assert signal.getsignal(signal.SIGTERM) is handler


def test_a_hangup_that_nohup_ignores_stays_ignored():
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with _ended_like_ctrl_c([]):
            os.kill(os.getpid(), signal.SIGHUP)
            assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGHUP, before)


def estimator_with(*options):
    return fit_estimator_of(_parser().parse_args(["fit", "t.csv", *options]))


def test_how_trials_are_run_is_passed_on():
    options = ["--allocator", "flat", "--executor", "dask", "--scheduler", "tcp://host:8786"]
    limits = ["--memory", "1500", "--strategy", "random", "--jobs", "2", "--cv", "3"]
    model = estimator_with("--allocator", "flat", *limits)
    assert (model.n_jobs, model.cv) == (2, 3)
    assert estimator_with().n_jobs == -1
    assert (model.allocator, model.strategy) == ("flat", "random")
    assert model.executor == LocalProcesses(memory_limit=1500.0)
    assert estimator_with(*options, *limits).executor == Dask("tcp://host:8786", 1500.0)
    assert estimator_with("--executor", "serial").executor == "serial"


def test_how_a_run_is_stored_is_passed_on():
    assert estimator_with().run_dir is None
    assert estimator_with("--out", "run").run_dir == RunStorage("run")
    assert estimator_with("--out", "run", "--overwrite").run_dir == RunStorage("run", "overwrite")
    url = "postgresql://host/db"
    assert estimator_with("--out", "run", "--storage", url).run_dir == RunStorage("run", url=url)


def test_how_groups_are_read_is_passed_on():
    assert estimator_with().group_policy == GroupPolicy()
    options = ["--sensitive-missing", "exclude", "--unseen-group", "base_model"]
    found = estimator_with(
        *options, "--max-groups", "9", "--min-size", "30", "--bins", "age:25,60"
    )
    assert found.group_policy == GroupPolicy(
        missing="exclude", unseen="base_model", max_groups=9, min_size=30, bins={"age": [25, 60]}
    )


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--scheduler", "tcp://host:8786"], "is for --executor dask, not for --executor auto"),
        (["--memory", "9", "--executor", "serial"], "--memory 9 needs trials in child processes"),
        (["--overwrite"], "--overwrite needs --out"),
        (["--storage", "postgresql://host/db"], "--storage needs --out"),
    ],
)
def test_options_without_the_one_that_they_belong_to_are_usage_errors(capsys, options, message):
    assert main(["fit", "t.csv", "--target", "y", *options]) == 2
    assert message in capsys.readouterr().err


def test_the_way_out_of_many_groups_is_an_option_too(individuals, tmp_path):
    table = pd.read_csv(individuals / "people.csv")
    table["town"] = np.arange(len(table)) % 60
    table.to_csv(tmp_path / "t.csv", index=False)
    command = ["fit", str(tmp_path / "t.csv"), *FIT, "--sensitive", "town", "--json"]
    command = [*command, "--constraint", "demographic_parity_difference[sex]<=0.3"]
    assert main(command) == 3
    assert main([*command, "--max-groups", "60"]) in {0, 4, 10}


def test_an_unknown_allocator_is_a_usage_error_with_the_nearest_name(individuals, capsys):
    assert main(["fit", str(individuals / "people.csv"), *FIT, "--allocator", "flatt"]) == 2
    assert "did you mean flat" in capsys.readouterr().err


def test_rows_are_drawn_by_the_seed_before_some_are_held_out(individuals, capsys):
    command = ["fit", str(individuals / "people.csv"), *FIT, "--rows", "300", "--holdout", "0.2"]
    command.append("--no-certificate")
    request = request_of(_parser().parse_args(command))
    tables = request.open()
    held = tables.held
    assert (len(tables.search.y), len(held.y)) == (240, 60)
    again = request.open().held
    pd.testing.assert_frame_equal(held.X, again.X)
    other = request_of(_parser().parse_args([*command, "--seed", "2"])).open().held
    assert not held.X.equals(other.X)


def test_more_rows_than_there_are_is_all_of_them(individuals):
    command = ["fit", str(individuals / "people.csv"), *FIT, "--rows", "900"]
    assert len(request_of(_parser().parse_args(command)).open().search.y) == 800


def test_the_held_out_part_says_what_the_majority_is_worth_and_how_far_the_limit_is(
    individuals, capsys
):
    command = ["fit", str(individuals / "people.csv"), *FIT, "--holdout", "0.3", "--json"]
    assert main(command) == 0
    found = json.loads(capsys.readouterr().out)["holdout"]
    held = request_of(_parser().parse_args(command)).open().held
    assert found["majority"] == pytest.approx(held.y.value_counts(normalize=True).max())
    assert found["excess"] == pytest.approx(found["gap"] - 0.1)


def test_a_run_is_resumed_with_its_own_table_and_more_trials(individuals, tmp_path, capsys):
    run = tmp_path / "run"
    table = ["--derive", "old=age>50", "--keep", "region=north,south", "--holdout", "0.25"]
    fit = ["fit", str(individuals / "people.csv"), *FIT, *table, "--rows", "500", "--json"]
    assert main([*fit, "--out", str(run)]) in {0, 4}
    before = json.loads(capsys.readouterr().out)
    assert main(["resume", str(run), "--trials", "5", "--json"]) in {0, 4}
    after = json.loads(capsys.readouterr().out)
    assert (before["search"]["n_trials"], after["search"]["n_trials"]) == (3, 5)
    assert after["holdout"]["n_rows"] == before["holdout"]["n_rows"]
    straight = [argument if argument != "3" else "5" for argument in fit]
    assert main(straight) in {0, 4}
    whole = json.loads(capsys.readouterr().out)
    assert whole["entry"] == after["entry"]
    assert whole["holdout"] == after["holdout"]


def test_a_folder_that_is_called_like_a_dataset_is_no_table(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    fit = ["fit", "lending", "--sensitive", "sex", "--rows", "500", *QUICK]
    assert main([*fit, "--constraint", CONSTRAINT, "--out", "lending"]) in {0, 4}
    assert main(["resume", "lending", "--trials", "4"]) in {0, 4}


def test_a_run_says_which_table_it_was_before_it_ends(individuals, tmp_path, monkeypatch):
    run, seen = tmp_path / "run", []

    def stop(*_):
        seen.append((run / "source.json").is_file())
        raise KeyboardInterrupt

    monkeypatch.setattr("fairautoml.report.progress.ProgressLine.__call__", stop)
    main(["fit", str(individuals / "people.csv"), *FIT, "--out", str(run)])
    assert seen[0]


def test_what_held_out_rows_have_shown_is_kept_with_the_run_and_on_its_card(
    individuals, tmp_path, capsys
):
    run = tmp_path / "run"
    command = ["fit", str(individuals / "people.csv"), *FIT, "--holdout", "0.3", "--out", str(run)]
    assert main([*command, "--json"]) in {0, 4}
    held = json.loads(capsys.readouterr().out)["holdout"]
    assert json.loads((run / "holdout.json").read_text()) == held
    assert main(["card", str(run), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["held_out"] == held
    assert main(["card", str(run)]) == 0
    text = capsys.readouterr().out
    assert f"- Rows: {held['n_rows']}" in text
    assert f"- accuracy: {held['accuracy']:.4f}" in text


def test_a_run_that_has_not_ended_says_how_to_end_it(individuals, tmp_path, capsys):
    run = tmp_path / "run"
    assert main(["fit", str(individuals / "people.csv"), *FIT, "--out", str(run)]) in {0, 4}
    for name in ("model.json", "leaderboard.json", "leaderboard.csv"):
        (run / name).unlink()
    capsys.readouterr()
    assert main(["predict", str(run), str(individuals / "people.csv")]) == 8
    assert f"fairautoml resume {run}" in capsys.readouterr().err


def test_readers_that_go_away_end_no_command_and_change_no_code(individuals, tmp_path):
    run = tmp_path / "run"
    command = [
        "fit",
        str(individuals / "people.csv"),
        *FIT,
        "--out",
        str(run),
        "--require-certified",
    ]
    command += ["--holdout", "0.3"]
    process = subprocess.Popen(
        [sys.executable, "-m", "fairautoml", *command],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    process.stdout.close()
    process.stderr.close()
    assert process.wait(timeout=120) == 9
    assert (run / "model.json").is_file()


def test_resuming_another_table_is_a_data_error_and_changes_nothing(individuals, tmp_path, capsys):
    table = tmp_path / "t.csv"
    shutil.copy(individuals / "people.csv", table)
    run = tmp_path / "run"
    assert main(["fit", str(table), *FIT, "--out", str(run)]) in {0, 4}
    before = (run / "model.json").read_bytes(), (run / "source.json").read_bytes()
    load("lending").frame.tail(700).to_csv(table, index=False)
    assert main(["resume", str(run), "--trials", "5"]) == 3
    assert "error: " in capsys.readouterr().err
    assert ((run / "model.json").read_bytes(), (run / "source.json").read_bytes()) == before


def test_a_folder_without_a_table_cannot_be_resumed(kept, tmp_path, capsys):
    assert main(["resume", str(tmp_path / "none")]) == 8
    assert "does not say which table" in capsys.readouterr().err
    run = tmp_path / "run"
    shutil.copytree(kept[0], run)
    (run / "source.json").write_text('{"target": "repaid"}')
    assert main(["resume", str(run)]) == 8
    assert "is damaged" in capsys.readouterr().err
    shutil.copy(kept[0] / "source.json", run)
    (run / "config.json").write_text("[]")
    assert main(["resume", str(run)]) == 8
    assert "is damaged" in capsys.readouterr().err


def test_a_sweep_is_run_with_several_fits_at_a_time(tmp_path, capsys):
    (tmp_path / "s.yaml").write_text(
        "defaults: {n_trials: 2, dataset: lending, sensitive: [sex], options: [--rows=300],\n"
        "           constraints: [demographic_parity_difference<=0.2]}\n"
        "tasks: [{name: one}]\n"
        "variants: [{name: plain}, {name: other, system: flaml_best_feasible}]\n"
    )
    out = tmp_path / "out"
    others = Path(__file__).parents[1] / "experiments" / "peers"
    bench = ["bench", str(tmp_path / "s.yaml"), "--out", str(out), "--peers", str(others)]
    assert main([*bench, "--jobs", "2"]) == 0
    assert set(pd.read_csv(out / "ranks.csv")["variant"]) == {"plain", "other"}
    assert pd.read_csv(out / "cells.csv")["holdout.majority"].between(0.5, 1).all()
    assert capsys.readouterr().err.count(" done in ") == 2
