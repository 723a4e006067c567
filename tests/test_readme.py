import json
import os
import re
import subprocess
import sys
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import sklearn

from fairautoml import FairAutoML
from fairautoml.cli.main import _parser, main
from fairautoml.data import load
from readme_blocks import CONTRIBUTING, DOCS, README, blocks, commands, examples

ROOT = README.parent
REFERENCE = DOCS / "reference.md"
COMMAND_LINE = DOCS / "command_line.md"
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


def test_the_python_example_runs_and_ends_in_a_fair_model(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (example,) = examples()
    assert "time_budget=60," in example
    seen = {}
    exec(example.replace("time_budget=60,", "n_trials=2,"), seen)
    assert seen["model"].feasible_
    assert seen["fairer"].best_entry_.gap <= 0.03
    assert len(seen["model"].pareto_front_) > 1
    assert (tmp_path / "report.html").is_file()


@pytest.mark.filterwarnings("ignore::fairautoml.exceptions.FairAutoMLWarning")
def test_the_example_of_scikit_learn_runs():
    example = next(text for text in blocks("python", REFERENCE) if "set_config" in text)
    assert "time_budget=20" in example
    seen = {}
    with sklearn.config_context():
        exec(example.replace("time_budget=20", "n_trials=2, random_state=0"), seen)
    assert seen["accuracy"].shape == (3,)
    assert (seen["accuracy"] > 0.6).all()


def test_the_examples_of_audit_and_of_guesses_run():
    individuals = load("lending").frame.head(1200)
    X, y = individuals.drop(columns="repaid"), individuals["repaid"]
    rng = np.random.default_rng(0)
    said = (individuals["sex"] == "female").to_numpy()
    guesses = pd.DataFrame({c: np.where(rng.uniform(size=1200) < 0.9, said, ~said) for c in "abc"})
    names = {"X": X[:800], "y": y[:800], "X_new": X[800:], "y_new": y[800:]}
    names |= {"guesses": guesses[:800], "guesses_new": guesses[800:]}
    quick = partial(FairAutoML, n_trials=2, cv=3, learners=["logistic_regression"])
    names["model"] = quick("demographic_parity_difference <= 0.2").fit(X[:800], y[:800], "sex")
    exec(blocks("python", REFERENCE)[1], names)
    assert "equalized_odds_difference" in names["found"].text()
    (example,) = blocks("python", DOCS / "no_groups.md")
    exec(example, names | {"FairAutoML": partial(quick, random_state=0)})


@pytest.mark.parametrize("arguments", commands("fairautoml"), ids=" ".join)
def test_the_command_line_knows_every_command_of_the_readme(arguments):
    assert callable(_parser().parse_args(arguments).run)


@pytest.mark.parametrize(
    "arguments",
    [
        arguments
        for page in sorted(DOCS.glob("*.md"))
        for arguments in commands("fairautoml", page)
    ],
    ids=" ".join,
)
def test_the_command_line_knows_every_command_of_the_docs(arguments):
    assert callable(_parser().parse_args(arguments).run)


def test_the_main_job_is_shown_from_the_fit_to_the_prediction():
    assert [arguments[0] for arguments in commands("fairautoml")] == ["fit", "report"]
    assert [arguments[0] for arguments in commands("fairautoml", COMMAND_LINE)] == [
        "fit",
        "leaderboard",
        "report",
        "predict",
        "plan",
        "certify",
        "verify",
        "audit",
    ]


def test_continuous_integration_runs_the_commands_of_the_readme():
    shown = [line for text in blocks("sh") for line in text.splitlines()]
    script = (ROOT / ".ci" / "run").read_text(encoding="utf-8").splitlines()
    first = [line.split("#")[0].strip() for line in shown[:2]]
    assert first == ["make demo", "make test"]
    assert {INSTALL, SET_UP, TEST} <= set(shown)
    assert {"make lint", "make test"} <= set(script)
    assert any("make site" in line for line in script)
    recipes = (ROOT / "Makefile").read_text(encoding="utf-8")
    assert 'install --quiet -e ".[test]"' in recipes
    assert "pytest -n $(WORKERS)" in recipes


def headings(page):
    lines = page.read_text(encoding="utf-8").splitlines()
    found = (line.lstrip("# ").lower() for line in lines if line.startswith("#"))
    return {re.sub(r"[^\w -]", "", heading).replace(" ", "-") for heading in found}


PAGES = [
    *(README, CONTRIBUTING),
    *sorted(DOCS.glob("*.md")),
    *sorted(ROOT.glob("results/*/README.md")),
]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: "/".join(page.parts[-2:]))
def test_every_file_and_heading_that_a_page_links_to_exists(page):
    text = page.read_text(encoding="utf-8")
    links = [part.split(")")[0] for part in text.split("](")[1:]]
    assert links or page is not README
    broken = []
    for link in links:
        file, _, heading = link.partition("#")
        linked = page.parent / file
        if not linked.exists() or (heading and heading not in headings(linked)):
            broken.append(link)
    assert not broken


def test_the_readme_stays_short():
    assert len(README.read_text(encoding="utf-8").splitlines()) < 110


def test_the_main_job_on_a_table_of_ones_own(tmp_path, monkeypatch, capsys):
    individuals = load("lending").frame.head(8000)
    individuals = individuals.drop(columns="income").rename(columns={"repaid": "income"})
    individuals.to_csv(tmp_path / "people.csv", index=False)
    individuals.drop(columns="income").head(7).to_csv(tmp_path / "new.csv", index=False)
    test = load("lending").frame.tail(1500)
    test = test.drop(columns="income").rename(columns={"repaid": "income"})
    test.to_csv(tmp_path / "test.csv", index=False)
    fit, board, report, predict, plan, certify, verify = commands("fairautoml", COMMAND_LINE)[:7]
    at = fit.index("--time")
    found = run(*fit[:at], "--trials", "2", *fit[at + 2 :], "--json", folder=tmp_path)
    assert found.returncode == 0, found.stderr
    assert json.loads(found.stdout)["status"] == "feasible"
    monkeypatch.chdir(tmp_path)
    assert main(board) == 0
    assert "group_thresholds" in capsys.readouterr().out
    assert main(predict) == 0
    header, *decided = capsys.readouterr().out.split()
    assert header == "prediction"
    assert set(decided) <= {"yes", "no"}
    assert len(decided) == 7
    assert Path(tmp_path / "run" / "leaderboard.csv").is_file()
    assert main(report) == 0
    assert Path(tmp_path / "run" / "report.html").is_file()
    assert main(plan) == 0
    capsys.readouterr()
    assert main(certify) == 0
    assert "First opening of these rows in the ledger" in capsys.readouterr().out
    assert main(verify) == 0


@pytest.mark.slow
def test_the_tutorial_runs_from_its_first_line_to_its_last(data_home):
    pyplot = pytest.importorskip("matplotlib.pyplot")
    pyplot.switch_backend("Agg")
    seen = {}
    for text in blocks("python", DOCS / "tutorial.md"):
        assert "time_budget=60" in text or "FairAutoML(" not in text
        exec(text.replace("time_budget=60", "n_trials=3"), seen)
    pyplot.close("all")
    assert seen["model"].feasible_
    assert seen["stricter"].best_entry_.gap <= 0.02
    assert not seen["blind"].model_.needs_sensitive
