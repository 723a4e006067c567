import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from fairautoml.cli import _parser
from fairautoml.data import load
from readme_blocks import README, blocks, commands, examples

ROOT = README.parent
INSTALL = "pip install ."
SET_UP = 'pip install -e ".[test]"'
TEST = "pytest -n 2"


def run(*arguments, folder):
    return subprocess.run(
        [sys.executable, "-m", "fairautoml", *arguments],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )


def test_the_python_example_runs_and_ends_in_a_fair_model():
    (example,) = examples()
    assert "time_budget=60," in example
    seen = {}
    exec(example.replace("time_budget=60,", "n_trials=2,"), seen)
    assert seen["model"].feasible_
    assert seen["fairer"].best_entry_.gap <= 0.03
    assert len(seen["model"].pareto_front_) > 1


@pytest.mark.parametrize("arguments", commands("fairautoml"), ids=" ".join)
def test_the_command_line_knows_every_command_of_the_readme(arguments):
    assert callable(_parser().parse_args(arguments).run)


def test_the_main_job_is_shown_from_the_demo_to_the_prediction():
    assert [arguments[0] for arguments in commands("fairautoml")] == [
        "demo",
        "fit",
        "leaderboard",
        "predict",
    ]


def test_continuous_integration_runs_the_commands_of_the_readme():
    shown = [line for text in blocks("sh") for line in text.splitlines()]
    script = (ROOT / ".ci" / "run").read_text(encoding="utf-8").splitlines()
    assert {INSTALL, SET_UP, TEST} <= set(shown)
    assert {SET_UP, TEST} <= set(script)


def test_every_file_that_the_readme_links_to_exists():
    text = README.read_text(encoding="utf-8")
    links = [part.split(")")[0] for part in text.split("](")[1:]]
    assert links
    assert not [link for link in links if not (ROOT / link).exists()]


def test_the_readme_stays_short():
    assert len(README.read_text(encoding="utf-8").splitlines()) < 250


def test_the_main_job_on_a_table_of_ones_own(tmp_path):
    people = load("lending").frame.head(3000)
    people = people.drop(columns="income").rename(columns={"repaid": "income"})
    people.to_csv(tmp_path / "people.csv", index=False)
    people.drop(columns="income").head(7).to_csv(tmp_path / "new.csv", index=False)
    fit, board, predict = commands("fairautoml")[1:]
    at = fit.index("--time")
    found = run(*fit[:at], "--trials", "2", *fit[at + 2 :], "--json", folder=tmp_path)
    assert found.returncode == 0, found.stderr
    assert json.loads(found.stdout)["status"] == "feasible"
    shown = run(*board, folder=tmp_path)
    assert shown.returncode == 0, shown.stderr
    assert "group_thresholds" in shown.stdout
    decided = run(*predict, folder=tmp_path)
    assert decided.returncode == 0, decided.stderr
    assert decided.stdout.split()[0] == "prediction"
    assert set(decided.stdout.split()[1:]) <= {"yes", "no"}
    assert len(decided.stdout.split()) == 8
    assert Path(tmp_path / "run" / "leaderboard.csv").is_file()
