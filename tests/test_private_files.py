"""Only their owner may read the files of a run, whatever the umask and the folder's mode."""

import os

import pytest

from fairautoml import FairAutoML, RunStorage
from fairautoml.cli.main import main
from fairautoml.data.files import write_whole
from quick_fits import CONSTRAINT, few_individuals, quick

OWNER_ONLY = 0o600


def modes(folder):
    """Modes of all files below a folder, by their path in it."""
    files = [path for path in folder.rglob("*") if path.is_file()]
    return {str(path.relative_to(folder)): path.stat().st_mode & 0o777 for path in files}


@pytest.fixture(params=[0o000, 0o022, 0o077])
def umask(request):
    before = os.umask(request.param)
    yield request.param
    os.umask(before)


@pytest.fixture
def table(tmp_path):
    X, y, group = few_individuals()
    X.assign(y=y, sex=group).to_csv(tmp_path / "people.csv", index=False)
    return str(tmp_path / "people.csv")


def test_every_file_of_a_run_in_an_open_folder_is_private(umask, table, tmp_path):
    run = tmp_path / "run"
    run.mkdir(mode=0o755)
    requested = ["--target", "y", "--sensitive", "sex", "--constraint", CONSTRAINT]
    requested += ["--learner", "logistic_regression", "--trials", "2", "--holdout", "0.2"]
    assert main(["fit", table, *requested, "--out", str(run)]) in (0, 4)
    assert main(["report", str(run)]) == 0
    found = modes(run)
    assert {"estimator.json.gz", "study.db", "trials.jsonl", "run.lock", "report.html"} <= {*found}
    assert {"source.json", "holdout.json", "leaderboard.csv", "certificate.json"} <= {*found}
    assert any(name.startswith("scores/") for name in found)
    assert any(name.startswith("models/") for name in found)
    assert {name: mode for name, mode in found.items() if mode != OWNER_ONLY} == {}


def test_a_folder_that_a_run_makes_is_private(umask, tmp_path):
    X, y, group = few_individuals()
    quick(run_dir=tmp_path / "run").fit(X, y, group)
    folders = [tmp_path / "run", tmp_path / "run" / "scores", tmp_path / "run" / "models"]
    assert {folder.stat().st_mode & 0o777 for folder in folders} == {0o700}


def test_a_resumed_run_writes_private_files(tmp_path):
    X, y, group = few_individuals()
    quick(run_dir=tmp_path / "run").fit(X, y, group)
    for name in ("model.json", "leaderboard.csv", "summary.json"):
        (tmp_path / "run" / name).chmod(0o644)
    quick(run_dir=RunStorage(tmp_path / "run", "resume"), n_trials=3).fit(X, y, group)
    assert set(modes(tmp_path / "run").values()) == {OWNER_ONLY}


def test_predictions_reports_cards_and_audits_are_private(umask, table, tmp_path):
    X, y, group = few_individuals()
    model = quick(run_dir=tmp_path / "run").fit(X.assign(sex=group), y, "sex")
    out = tmp_path / "out"
    out.mkdir()
    (out / "decided.csv").write_text("old")
    run = str(tmp_path / "run")
    assert main(["predict", run, table, "--out", str(out / "decided.csv")]) == 0
    assert main(["report", run, "--out", str(out / "page.html")]) == 0
    assert main(["card", run, "--out", str(out / "card.md")]) == 0
    audited = ["audit", table, "--y-pred", "y", "--sensitive", "sex", "--no-leakage"]
    assert main([*audited, "--out", str(out / "audit.txt")]) == 0
    assert isinstance(model, FairAutoML)
    model.report(out / "own.html")
    assert modes(out) == dict.fromkeys(
        ["decided.csv", "page.html", "card.md", "audit.txt", "own.html"], OWNER_ONLY
    )


def test_a_device_is_written_to_and_not_replaced(tmp_path):
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    write_whole("text", pipe)
    assert os.read(reader, 10) == b"text"
    os.close(reader)
    assert pipe.is_fifo()
