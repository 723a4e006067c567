"""The controller is killed at random times; a checker that knows SQLite and JSON only judges."""

import json
import os
import random
import shutil
import signal
import sqlite3
import subprocess
import sys
import threading
import time
import uuid
from contextlib import closing
from pathlib import Path

import pytest

TESTS = Path(__file__).parents[1]
KILLS = int(os.environ.get("FAIRAUTOML_FAULTS", "10"))
KILLS_PER_RUN = 5
N_TRIALS = 16
MARK = "FAIRAUTOML_TEST_FAULT"

RUN = """
import hashlib, json, sys, warnings
sys.path.insert(0, {tests!r})
warnings.simplefilter("ignore")
from fairautoml import RunStorage
from quick_fits import few_individuals, quick

def said(progress):
    score = None if progress.best is None else progress.best.score
    print(json.dumps([progress.result.trial.number, score]), flush=True)

X, y, group = few_individuals()
model = quick(
    n_trials={n_trials},
    n_jobs=2,
    executor="local",
    learners=["logistic_regression", "lightgbm"],
    run_dir=RunStorage(sys.argv[1], "resume" if sys.argv[2] == "resume" else "error"),
    callbacks=said,
).fit(X, y, group)
entries = sorted(
    (e.trial_key, e.mitigator, str(e.tolerance), e.rule.describe(), e.score, e.counts.tobytes())
    for e in model.pool_.board.entries
)
print(json.dumps({{
    "entries": hashlib.sha256(repr(entries).encode()).hexdigest(),
    "best": model.best_entry_.trial_key,
    "score": model.best_entry_.score,
    "decisions": hashlib.sha256(model.predict(X, group).tobytes()).hexdigest(),
}}), flush=True)
"""

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not Path("/proc/self/environ").exists(), reason="needs /proc"),
]


class Fit:
    """A fit in a process group of its own, and what it said so far."""

    def __init__(self, folder, *, resume):
        self.mark = uuid.uuid4().hex
        self.lines = []
        script = RUN.format(tests=str(TESTS), n_trials=N_TRIALS)
        self.process = subprocess.Popen(
            [sys.executable, "-c", script, str(folder), "resume" if resume else "new"],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
            env={**os.environ, MARK: self.mark},
        )
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    def _read(self):
        for line in self.process.stdout:
            self.lines.append(json.loads(line))

    def wait_for(self, count):
        while len(self.lines) < count and self.process.poll() is None:
            time.sleep(0.01)

    def kill(self):
        """Kill the group; returns False when the fit had ended by itself."""
        ended = self.process.poll() is not None
        if not ended:
            os.killpg(self.process.pid, signal.SIGKILL)
        self._reader.join()
        self.process.communicate()
        return not ended

    def finish(self):
        self._reader.join()
        _, err = self.process.communicate()
        assert self.process.returncode == 0, err
        return self.lines[-1]

    @property
    def announced(self):
        return [line for line in self.lines if isinstance(line, list)]


def left_behind(mark):
    found = []
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            try:
                environment = (folder / "environ").read_bytes()
            except OSError:
                continue
            if f"{MARK}={mark}".encode() in environment:
                found.append(folder.name)
    return found


def no_process_of(mark):
    end = time.monotonic() + 120
    while left_behind(mark) and time.monotonic() < end:
        time.sleep(0.1)
    return left_behind(mark) == []


def begun(folder):
    return (folder / "study.json").exists()


def has_files(folder, number, *, models):
    kinds = {"scores": "npy", "models": "fair"} if models else {"scores": "npy"}
    found = [list((folder / kind).glob(f"{number:05d}-*.{end}")) for kind, end in kinds.items()]
    return all(len(files) == 1 and files[0].stat().st_size > 0 for files in found)


def recorded(folder):
    """Status by trial, as any program can read it; each trial is there once."""
    if not begun(folder):
        return {}
    with closing(sqlite3.connect(f"file:{folder / 'study.db'}?mode=ro", uri=True)) as db:
        assert db.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        rows = db.execute("SELECT operation FROM journal ORDER BY number").fetchall()
    attributes = [json.loads(text).get("user_attrs", {}) for (text,) in rows]
    found = [(each["trial"], each["status"]) for each in attributes if "trial" in each]
    assert len({number for number, _ in found}) == len(found)
    return dict(found)


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    return Fit(tmp_path_factory.mktemp("undisturbed") / "run", resume=False).finish()


@pytest.mark.parametrize("seed", range(max(1, KILLS // KILLS_PER_RUN)))
def test_a_run_that_is_killed_again_and_again_ends_as_if_it_had_not_been(
    undisturbed, tmp_path, seed
):
    draw = random.Random(seed)
    folder = tmp_path / "run"
    announced = set()
    kills = 0
    while kills < KILLS_PER_RUN:
        fit = Fit(folder, resume=begun(folder))
        fit.wait_for(draw.randint(0, 3))
        time.sleep(draw.uniform(0.0, 0.5))
        if not fit.kill():
            break
        kills += 1
        announced |= {number for number, _ in fit.announced}
        states = recorded(folder)
        assert announced <= states.keys()
        # At the end of a fit the models that cannot be chosen any more are dropped.
        searching = len(states) < N_TRIALS
        assert {n for n in announced if not has_files(folder, n, models=searching)} == set()
        assert no_process_of(fit.mark)
        if not begun(folder):
            shutil.rmtree(folder, ignore_errors=True)
    last = Fit(folder, resume=begun(folder))
    final = last.finish()
    states = recorded(folder)
    assert final == undisturbed
    assert sorted(states) == list(range(N_TRIALS))
    assert set(states.values()) == {"success"}
    # What an earlier process announced is not run again.
    assert announced & {number for number, _ in last.announced} == set()
    lines = (folder / "trials.jsonl").read_text().splitlines()
    assert sorted(json.loads(line)["trial"] for line in lines) == list(range(N_TRIALS))
    assert no_process_of(last.mark)
