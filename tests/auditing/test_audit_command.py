import argparse
import json
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from audit_people import individuals, quick

from fairautoml.cli.audit import AUDIT
from fairautoml.cli.main import main

BASE = ("--y-true", "label", "--y-pred", "decision", "--no-leakage")


@pytest.fixture
def table(tmp_path):
    rows = individuals()
    frame = rows.groups.assign(
        label=rows.y, decision=rows.decision, score=rows.score, weight=rows.weight
    )
    frame["before"] = (rows.X["x2"] > 0).astype(int)
    path = tmp_path / "predictions.csv"
    frame.to_csv(path, index=False)
    return path


def run(path, *options):
    return main(["audit", str(path), *BASE, *options])


def test_the_command_prints_what_the_function_finds(table, capsys):
    code = run(
        table, "--sensitive", "sex", "--sensitive", "race", "--y-score", "score",
        "--constraint", "demographic_parity_difference<=0.5", "--baseline", "before",
        "--rows-are-new", "--json",
    )  # fmt: skip
    rows = individuals()
    expected = quick(
        rows.y,
        rows.decision,
        rows.groups,
        y_score=rows.score,
        constraint="demographic_parity_difference<=0.5",
        baseline=(rows.X["x2"] > 0).astype(int),
        independent=True,
    )
    found = json.loads(capsys.readouterr().out)
    assert code == 0
    assert found["rates"] == json.loads(expected.to_json())["rates"]
    assert found["verdicts"] == json.loads(expected.to_json())["verdicts"]
    assert found["changes"] == json.loads(expected.to_json())["changes"]


def test_without_the_flag_nothing_is_certified(table, capsys):
    options = ("--sensitive", "sex", "--constraint", "demographic_parity_difference<=0.9")
    assert run(table, *options, "--fail-on", "not-certified") == 1
    assert "descriptive" in capsys.readouterr().out
    assert run(table, *options, "--fail-on", "not-certified", "--rows-are-new") == 0
    assert "CERTIFIED" in capsys.readouterr().out


def test_the_result_can_go_to_a_file(table, tmp_path, capsys):
    out = tmp_path / "audit.txt"
    assert run(table, "--sensitive", "sex", "--weight", "weight", "--out", str(out)) == 0
    assert capsys.readouterr().out == ""
    assert "600 rows, weighted" in out.read_text()


@pytest.mark.parametrize(
    ("options", "code", "match"),
    [
        (
            ("--sensitive", "sexx"),
            2,
            "--sensitive: no column 'sexx' in the table; did you mean 'sex'?",
        ),
        (("--sensitive", "sex", "--weight", "w"), 2, "--weight: no column 'w' in the table"),
        (("--sensitive", "sex", "--delta", "2"), 2, "above 0 and below 0.5"),
        (("--sensitive", "sex", "--positive", "yes"), 2, "--positive 'yes': the labels are"),
        (("--sensitive", "sex", "--constraint", "nonsense"), 3, "is not 'metric <= bound'"),
        (("--sensitive", "score"), 3, "different values"),
        (("--sensitive", "sex", "--out", "/no/such/folder/x"), 2, "there is no folder"),
    ],
)
def test_what_cannot_be_audited_ends_with_a_code_and_a_reason(table, capsys, options, code, match):
    assert run(table, *options) == code
    assert match in capsys.readouterr().err


def test_groups_called_na_are_groups(tmp_path, capsys):
    rng = np.random.default_rng(0)
    frame = pd.DataFrame({
        "label": rng.choice(["None", "ok"], 200),
        "decision": rng.choice(["None", "ok"], 200),
        "g": rng.choice(["NA", "nan"], 200),
    })  # fmt: skip
    frame.to_csv(tmp_path / "p.csv", index=False)
    assert run(tmp_path / "p.csv", "--sensitive", "g", "--positive", "None", "--json") == 0
    found = json.loads(capsys.readouterr().out)
    assert found["classes"] == ["ok", "None"]
    assert {row["group"] for row in found["rates"]} == {"NA", "nan"}


def test_the_help_imports_no_heavy_library(capsys):
    with pytest.raises(SystemExit, match="0"):
        main(["audit", "--help"])
    assert "--rows-are-new" in capsys.readouterr().out


@pytest.mark.parametrize("column", ["label", "decision"])
def test_true_and_false_stand_for_1_and_0_beside_these(table, tmp_path, capsys, column):
    assert run(table, "--sensitive", "sex", "--json") == 0
    expected = json.loads(capsys.readouterr().out)
    frame = pd.read_csv(table)
    path = tmp_path / "truths.csv"
    frame.assign(**{column: frame[column] > 0}).to_csv(path, index=False)
    assert run(path, "--sensitive", "sex", "--json") == 0
    assert json.loads(capsys.readouterr().out)["rates"] == expected["rates"]


def test_the_suffix_of_the_file_chooses_the_form(table, tmp_path, capsys):
    written = {}
    for suffix in ("html", "json", "csv", "txt"):
        out = tmp_path / f"audit.{suffix}"
        assert run(table, "--sensitive", "sex", "--sensitive", "race", "--out", str(out)) == 0
        written[suffix] = out.read_text(encoding="utf-8")
    assert written["html"].startswith("<!doctype html>")
    assert "http" not in written["html"].replace("http-equiv", "")
    assert json.loads(written["json"])["n_rows"] == 600
    frame = pd.read_csv(tmp_path / "audit.csv")
    assert {"impact", "rates", "gaps", "scores"} <= set(frame["section"])
    assert frame.loc[frame["section"] == "impact", "impact_ratio"].max() == 1.0
    assert written["txt"].startswith("Audit of 600 rows")


@pytest.mark.parametrize(
    ("options", "code"),
    [
        (("--constraint", "four_fifths[sex]", "--fail-on", "violated"), 0),
        (("--constraint", "four_fifths[sex]", "--fail-on", "not-certified"), 1),
        (("--constraint", "statistical_parity[sex]<=0.01", "--fail-on", "violated"), 1),
        (("--format", "four-fifths", "--fail-on", "violated"), 1),
        (("--format", "four-fifths", "--fail-on", "not-certified"), 2),
        (("--fail-on", "violated"), 2),
    ],
)
def test_a_pipeline_can_stop_on_a_result(table, capsys, options, code):
    assert run(table, "--sensitive", "sex", *options) == code


def test_metrics_are_computed_within_control_columns(table, capsys):
    metrics = ("--metric", "true_positive_rate", "--metric", "balanced_accuracy")
    assert run(table, "--sensitive", "sex", *metrics, "--by", "race", "--json") == 0
    scores = json.loads(capsys.readouterr().out)["scores"]
    assert {row["by"] for row in scores} == {"a", "b", "c"}
    assert {row["metric"] for row in scores} == {"true_positive_rate", "balanced_accuracy"}


def test_decisions_or_scores_must_be_named(table, capsys):
    assert main(["audit", str(table), "--sensitive", "sex"]) == 2
    assert "either --y-pred (decisions) or --score" in capsys.readouterr().err


@pytest.mark.slow
def test_a_million_decisions_take_ten_seconds_and_memory_grows_with_the_rows(tmp_path):
    code = (
        "import resource, sys, time; from fairautoml.cli.main import main; start = time.time()\n"
        "main(['audit', sys.argv[1], '--y-pred', 'decision', '--sensitive', 'sex', '--sensitive',"
        " 'race', '--positive', 'hire', '--out', sys.argv[2]])\n"
        "print(time.time() - start, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)"
    )
    rng, path, used = np.random.default_rng(0), tmp_path / "d.csv", []
    for n in (500_000, 1_000_000):
        columns = {"decision": ["hire", "reject"], "sex": ["F", "M"], "race": ["a", "b", "c"]}
        frame = {name: rng.choice(values, n) for name, values in columns.items()}
        pd.DataFrame(frame).to_csv(path, index=False)
        command = [sys.executable, "-c", code, str(path), str(tmp_path / "audit.html")]
        printed = subprocess.run(command, check=True, capture_output=True, text=True).stdout
        seconds, megabytes = map(float, printed.split())
        used.append(megabytes)
    assert seconds < 10
    assert used[1] < 2 * used[0]


def test_the_explained_text_is_that_of_the_example():
    page = (Path(__file__).parents[2] / "docs/audit.md").read_text(encoding="utf-8")
    example = re.search(r"```python\n(.*?)print\(", page, re.DOTALL)[1]
    expected = re.search(r"```text\n(.*?)```", page, re.DOTALL)[1]
    names = {}
    exec(example, names)
    assert names["found"].text().startswith(expected)
    for option in re.findall(r"`(--[a-z0-9-]+)", page):
        assert option in audit_help()


def audit_help():
    parser = argparse.ArgumentParser()
    AUDIT.arguments(parser)
    return parser.format_help()
