"""Executors on a system without the modules of POSIX and without a fork server, as Windows."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

# Every interpreter that the test starts runs this first, so also each worker.
HIDDEN = """
import builtins, multiprocessing, os
usual = builtins.__import__

def without(name, scope=None, *rest, **named):
    inside = ((scope or {}).get("__name__") or "").startswith("fairautoml")
    if name in {"fcntl", "resource"} and inside:
        raise ImportError(name)
    return usual(name, scope, *rest, **named)

builtins.__import__ = without
multiprocessing.get_all_start_methods = lambda: ["spawn"]
for name in ("setsid", "killpg", "pread"):
    delattr(os, name)
"""

FIT = """
import numpy as np
from fairautoml import FairAutoML

rng = np.random.default_rng(0)
X = rng.normal(size=(200, 3))
y = (X[:, 0] + rng.normal(size=200) > 0).astype(int)
group = np.where(X[:, 1] > 0, "a", "b")
model = FairAutoML(
    n_trials=3, executor=EXECUTOR, n_jobs=JOBS, learners=["logistic_regression"], random_state=0
).fit(X, y, group)
assert (model.trials_["status"] == "success").all(), model.trials_
print("fitted", len(model.predict(X)))
"""


@pytest.mark.parametrize("executor", ["serial", pytest.param("local", marks=pytest.mark.slow)])
def test_a_fit_needs_no_module_of_posix_and_no_fork_server(executor, tmp_path):
    (tmp_path / "sitecustomize.py").write_text(HIDDEN)
    root = Path(__file__).parents[2]
    jobs = "2" if executor == "local" else "1"
    fit = FIT.replace("EXECUTOR", repr(executor)).replace("JOBS", jobs)
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", fit],
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(tmp_path), str(root)])},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("fitted 200")
