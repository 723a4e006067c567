"""Children must start whatever the user's program looks like, and survive any learner."""

import os
import re
import subprocess
import sys
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

SETUP = """
import multiprocessing
import os
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from fairautoml.data.read import build_dataset
from fairautoml.data.splits import stratified_folds
from fairautoml.evaluation.problem import Problem
from fairautoml.execution import ResourceLimits
from fairautoml.metrics import METRICS
from fairautoml.mitigators import MITIGATORS, Goal
from fairautoml.plan import Plan
from fairautoml.running import run_search
from fairautoml.search.space import ParamSpace, SearchSpace
from fairautoml.storage.artifacts import Artifacts
from fairautoml.records import Config

print("the script runs")


def search(*names):
    X = np.random.default_rng(0).normal(size=(60, 3))
    data = build_dataset(X, (X[:, 0] > 0).astype(int))
    problem = Problem(
        dataset=data,
        folds=stratified_folds(data.y, data.cells, 2, 0),
        objective=METRICS.get("accuracy"),
        goal=Goal(targets=()),
        mitigators=(MITIGATORS.get("none"),),
        tolerances=(),
    )
    plan = Plan(
        problem=problem,
        space=SearchSpace(learners={name: ParamSpace(name=name) for name in names}),
        first=tuple(Config(learner=name) for name in names),
        strategy="random",
        allocator="flat",
        mitigations=(),
        executor="local",
        limits=ResourceLimits(n_workers=2),
        n_trials=1 + len(names),
        start=time.monotonic(),
        seed=0,
    )
    with tempfile.TemporaryDirectory() as folder:
        artifacts = Artifacts(Path(folder))
        artifacts.prepare()
        history, _ = run_search(plan, artifacts)
    for result in sorted(history.results, key=lambda r: r.trial.number):
        print(result.trial.config.learner, result.status.value, result.error)
    return history
"""

LEARNERS = """
import ctypes, os, signal, sys
import numpy as np
from sklearn.dummy import DummyClassifier
from fairautoml.learners import Learner


class Abnormal(DummyClassifier):
    deed = None

    def fit(self, X, y, sample_weight=None):
        type(self).deed()
        return super().fit(X, y)


def learner(name, deed):
    made = type(name, (Abnormal,), {"deed": staticmethod(deed), "__module__": __name__})
    globals()[name] = made
    return Learner(name=name, build=lambda params, feature_schema, seed: made())


ABORTS = learner("aborts", lambda: os.abort())
KILLED = learner("killed", lambda: os.kill(os.getpid(), signal.SIGKILL))
EXITS = learner("exits", lambda: sys.exit(3))
FINE = learner("fine", lambda: None)
"""
NAMES = ("aborts", "exits", "fine", "killed")


@pytest.fixture
def plugins(tmp_path):
    """A third-party distribution, as ``pip install`` would leave it."""
    folder = tmp_path / "site"
    about = folder / "abnormal-1.0.dist-info"
    about.mkdir(parents=True)
    (folder / "abnormal.py").write_text(LEARNERS)
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: abnormal\nVersion: 1.0\n")
    points = [f"{name} = abnormal:{name.upper()}" for name in NAMES]
    (about / "entry_points.txt").write_text("\n".join(["[fairautoml.learners]", *points]) + "\n")
    return folder


def run_python(arguments, *, stdin="", path=()):
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([*map(str, path), str(ROOT)])}
    return subprocess.run(
        [sys.executable, *map(str, arguments)],
        input=stdin,
        env=environment,
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )


def is_gone(pid):
    """Wait for a process to end; one that is dead but not collected yet has ended."""
    stat = Path(f"/proc/{pid}/stat")
    for _ in range(2000):
        try:
            if stat.read_text().rpartition(")")[2].split()[0] == "Z":
                return True
        except (FileNotFoundError, ProcessLookupError):
            return True
        time.sleep(0.05)
    return False


EXPECTED = ["the script runs", "prior success", "extra_trees success"]


def lines(done):
    return [line.strip() for line in done.stdout.splitlines()]


def test_a_script_without_a_guard_runs_once_and_leaves_no_process(tmp_path):
    script = tmp_path / "unguarded.py"
    script.write_text(
        SETUP
        + "from multiprocessing.forkserver import _forkserver\n"
        + "search('extra_trees')\n"
        + "print(_forkserver._forkserver_pid)\n"
        + "print(Path(f'/proc/{_forkserver._forkserver_pid}/task/{_forkserver._forkserver_pid}"
        + "/children').read_text())\n"
    )
    done = run_python([script])
    *found, server, children = lines(done)
    assert found == EXPECTED
    assert done.stderr == ""
    assert children == ""
    assert is_gone(server)


def test_a_program_on_standard_input_runs_once():
    done = run_python(["-"], stdin=SETUP + "search('extra_trees')\n")
    assert lines(done) == EXPECTED
    assert done.stderr == ""


def test_a_fork_server_that_the_user_started_before_does_no_harm(tmp_path):
    script = tmp_path / "before.py"
    script.write_text(
        SETUP
        + "context = multiprocessing.get_context('forkserver')\n"
        + "if __name__ == '__main__':\n"
        + "    context.set_forkserver_preload(['json'])\n"
        + "    process = context.Process(target=os.getcwd)\n"
        + "    process.start()\n"
        + "    process.join()\n"
        + "    search('extra_trees')\n"
        + "    after = context.Process(target=os.getcwd)\n"
        + "    after.start()\n"
        + "    after.join()\n"
        + "    print('exit codes', process.exitcode, after.exitcode)\n"
    )
    # The user's own children do run the script again, as is usual; ours do not.
    found = [line for line in lines(run_python([script])) if line != "the script runs"]
    assert found == [*EXPECTED[1:], "exit codes 0 0"]


def test_learners_that_kill_their_process_cost_their_own_trial_only(plugins, tmp_path):
    script = tmp_path / "abnormal_search.py"
    script.write_text(SETUP + f"search(*{NAMES})\n")
    found = lines(run_python([script], path=[plugins]))
    assert [line.split()[:2] for line in found[1:]] == [
        ["prior", "success"],
        ["aborts", "crashed"],
        ["exits", "failed"],
        ["fine", "success"],
        ["killed", "lost"],
    ]
    assert "exit code -6" in found[2]
    assert "SystemExit(3)" in found[3]


def test_an_objective_out_of_a_script_is_refused_with_the_way_out(tmp_path):
    script = tmp_path / "own_objective.py"
    script.write_text(
        "from fairautoml.exceptions import InputError\n"
        "from fairautoml.execution import EXECUTORS, ResourceLimits\n"
        "from fairautoml.records import Fidelity, Config, Trial\n"
        "def objective(trial):\n    return None\n"
        "trial = Trial(number=0, config=Config(learner='x'), fidelity=Fidelity(folds=2))\n"
        "executor = EXECUTORS.get('local')(ResourceLimits())\n"
        "try:\n    executor.submit(objective, trial).result()\n"
        "except InputError as exc:\n    print(exc)\n"
        "executor.shutdown()\n"
    )
    found = run_python([script]).stdout
    assert re.search("cannot send the objective .*objective.* in a module that can be", found)
