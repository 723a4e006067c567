"""Workers are killed at random during a search; nothing that was completed is lost."""

import logging
import os
import random
import signal
import threading
import time
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from bystanders import is_alive, soon, workers

from fairautoml.data.read import build_dataset
from fairautoml.data.splits import stratified_folds
from fairautoml.evaluation.problem import Problem
from fairautoml.execution import EXECUTORS, ResourceLimits
from fairautoml.metrics import METRICS
from fairautoml.mitigators import MITIGATORS, Goal
from fairautoml.plan import Plan
from fairautoml.records import Config, Fidelity, Trial, TrialResult, TrialState
from fairautoml.running import run_search
from fairautoml.search.space import SearchSpace
from fairautoml.search.space_files import load_space
from fairautoml.selection.selectable import selectable
from fairautoml.storage.artifacts import Artifacts

logger = logging.getLogger(__name__)

KILLS = int(os.environ.get("FAIRAUTOML_FAULTS", "10"))
NAMES = ("logistic_regression", "lightgbm")
N_ROWS = 400

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="needs /proc"),
]


def plan_of(seconds):
    rng = np.random.default_rng(0)
    X = rng.normal(size=(N_ROWS, 4))
    data = build_dataset(X, (X[:, 0] + rng.normal(size=N_ROWS) > 0).astype(int))
    problem = Problem(
        dataset=data,
        folds=stratified_folds(data.y, data.cells, 2, 0),
        objective=METRICS.get("accuracy"),
        goal=Goal(targets=()),
        mitigators=(MITIGATORS.get("none"),),
        tolerances=(),
    )
    start = time.monotonic()
    return Plan(
        problem=problem,
        space=SearchSpace(learners={name: load_space("learners", name) for name in NAMES}),
        first=(),
        strategy="random",
        allocator="flat",
        mitigations=(),
        executor="local",
        limits=ResourceLimits(n_workers=2, deadline=start + seconds),
        n_trials=None,
        start=start,
        seed=0,
    )


class Killer(threading.Thread):
    """Sends SIGKILL to a worker now and then."""

    def __init__(self):
        super().__init__(daemon=True)
        self.killed = set()
        self.over = threading.Event()

    def run(self):
        rng = random.Random(0)
        while len(self.killed) < KILLS and not self.over.wait(rng.uniform(0.2, 0.6)):
            alive = workers()
            if alive:
                pid = rng.choice(alive)
                os.kill(pid, signal.SIGKILL)
                self.killed.add(pid)


def answered(trial):
    return TrialResult(trial=trial, status=TrialState.SUCCESS)


@pytest.fixture
def warm():
    """The first worker of a process imports for seconds, which would be taken off a run's time."""
    executor = EXECUTORS.get("local")(ResourceLimits(n_workers=1))
    first = Trial(number=0, config=Config(learner="prior"), fidelity=Fidelity(folds=2))
    executor.submit(answered, first).result()
    executor.shutdown()


def test_workers_killed_at_random_lose_no_completed_trial_and_leave_no_process(
    warm, tmp_path, caplog
):
    caplog.set_level(logging.INFO)
    artifacts = Artifacts(tmp_path)
    artifacts.prepare()
    seen, killer = set(), Killer()

    def on_progress(progress):
        if progress.n_trials == 1:
            killer.start()
        seen.update(workers())

    plan = plan_of(10.0 + 0.6 * KILLS)
    history, finished = run_search(plan, artifacts, on_progress=on_progress)
    ended = time.monotonic()
    killer.over.set()
    killer.join()
    assert finished
    assert len(killer.killed) == KILLS
    assert ended - plan.limits.deadline < 60
    numbers = [result.trial.number for result in history.results]
    assert sorted(numbers) == list(range(len(numbers)))
    statuses = Counter(result.status for result in history.results)
    logger.info("%d kills, %d trials: %s", KILLS, len(numbers), dict(statuses))
    # A trial is lost when both of its workers were hit; at the end what runs is cut off.
    assert set(statuses) <= {
        TrialState.SUCCESS,
        TrialState.WORKER_LOST,
        TrialState.TIMEOUT,
        TrialState.STOPPED,
    }
    assert statuses[TrialState.WORKER_LOST] <= KILLS // 2
    assert statuses[TrialState.TIMEOUT] + statuses[TrialState.STOPPED] <= 4
    again = [line for line in caplog.messages if "is run again" in line]
    assert len(again) + statuses[TrialState.WORKER_LOST] <= KILLS
    for result in history.results:
        if result.status is TrialState.SUCCESS:
            assert np.isfinite(artifacts.scores(result.trial.key)).all()
    # The models of all others may go while the search runs.
    for key in selectable(history.results, history.entries):
        assert len(artifacts.models(key)) == 2
    assert soon(lambda: workers() == [])
    assert not any(is_alive(pid) for pid in seen | killer.killed)
