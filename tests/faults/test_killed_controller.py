"""A controller that is killed takes its workers with it."""

import subprocess
import sys
import time
from pathlib import Path

PROGRAM = """
import sys
import time

from fairautoml.execution import ResourceLimits
from fairautoml.execution.local import LocalExecutor
from fairautoml.records import Fidelity, Config, Trial
from hanging import hang

trial = Trial(number=0, config=Config(learner="fake"), fidelity=Fidelity())
LocalExecutor(ResourceLimits(n_workers=1)).submit(hang, trial)
time.sleep(300)
"""

HANGING = """
import os
import time
from pathlib import Path


def hang(trial):
    Path("pid").write_text(str(os.getpid()))
    time.sleep(300)
"""

PATIENCE = 60.0


def wait_until(true):
    deadline = time.monotonic() + PATIENCE
    while not true() and time.monotonic() < deadline:
        time.sleep(0.05)
    return true()


def test_a_hanging_trial_does_not_outlive_a_controller_that_was_killed(tmp_path):
    (tmp_path / "hanging.py").write_text(HANGING)
    written = tmp_path / "pid"
    program = subprocess.Popen(
        [sys.executable, "-c", PROGRAM],
        cwd=tmp_path,
        env={"PYTHONPATH": f"{tmp_path}:{Path(__file__).parents[2]}", "PATH": "/usr/bin:/bin"},
    )
    try:
        assert wait_until(lambda: written.exists() and written.read_text() != "")
    finally:
        program.kill()
        program.wait()
    assert wait_until(lambda: not Path("/proc", written.read_text()).exists())
