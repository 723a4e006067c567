import signal
import subprocess
import sys
import time
from pathlib import Path

import pandas as pd
import pytest

from fairautoml.cli.main import main
from fairautoml.data import load

FIT = ("--target", "repaid", "--sensitive", "sex")
FIT += ("--constraint", "demographic_parity_difference<=0.1")


@pytest.fixture(scope="module")
def individuals(tmp_path_factory):
    """A CSV and a parquet file of 800 people, the first 800 of the embedded population."""
    folder = tmp_path_factory.mktemp("people")
    table = load("lending").frame.head(800)
    table.to_csv(folder / "people.csv", index=False)
    table.to_parquet(folder / "people.parquet")
    return folder


def _soon(true, seconds):
    """Return whether something becomes true in time."""
    deadline = time.monotonic() + seconds
    while not true() and time.monotonic() < deadline:
        time.sleep(0.1)
    return true()


def _orphans(parent):
    """Return the living processes of the session that a process, now gone, had begun."""
    found = []
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            try:
                fields = (folder / "stat").read_text().rsplit(")", 1)[1].split()
            except (OSError, IndexError):
                continue
            state, session = fields[0], int(fields[3])
            if session == parent and state != "Z":
                found.append(folder.name)
    return found


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="needs /proc")
@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_an_interrupted_fit_keeps_its_best_model_and_no_process(
    individuals, tmp_path, number, code
):
    csv, run = str(individuals / "people.csv"), tmp_path / "run"
    command = [sys.executable, "-m", "fairautoml", "fit", csv, *FIT, "--time", "100"]
    process = subprocess.Popen(
        [*command, "--out", str(run)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    trials = run / "trials.jsonl"
    assert _soon(lambda: trials.exists() and trials.read_text().count("\n") >= 3, seconds=300)
    process.send_signal(number)
    out, err = process.communicate(timeout=300)
    assert process.returncode == code, err
    assert "Served" in out
    assert main(["predict", str(run), csv, "--out", str(tmp_path / "p.csv")]) == 0
    assert len(pd.read_csv(tmp_path / "p.csv")) == 800
    # The fork server ends by itself as soon as it sees that its parent is gone.
    assert _soon(lambda: _orphans(process.pid) == [], seconds=120)
