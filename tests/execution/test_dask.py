import contextlib
import importlib
import multiprocessing
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import dask
import joblib
import numpy as np
import pytest
from dask_cases import AddRows, act, trial_of
from dask_cluster import Cluster

from fairautoml import Dask, FairAutoML
from fairautoml.certification.ledger import model_hash
from fairautoml.data import load
from fairautoml.exceptions import InputError, MissingExtraError
from fairautoml.execution import EXECUTORS, ResourceLimits
from fairautoml.execution import dask as module
from fairautoml.execution.dask import DaskExecutor
from fairautoml.records import TrialResult, TrialState
from fairautoml.registry import Registry
from fairautoml.storage.artifacts import Artifacts

PATIENCE = 300
"""Seconds that a test waits for what a slow machine does late; of no avail to what never comes."""


@pytest.fixture(scope="module")
def cluster(tmp_path_factory):
    """One worker of its own, and one under a nanny, which is a daemon."""
    made = Cluster(tmp_path_factory.mktemp("cluster"), workers=1)
    made.add("nanny", nanny=True)
    made.client.wait_for_workers(2, timeout=PATIENCE)
    yield made
    made.close()


@pytest.fixture
def own_cluster(tmp_path):
    """Two workers to kill."""
    made = Cluster(tmp_path, workers=2)
    yield made
    made.close()


@pytest.fixture
def remote(cluster):
    executor = DaskExecutor(ResourceLimits(scheduler=cluster.address))
    yield executor
    executor.shutdown()


@pytest.fixture
def add_rows(tmp_path):
    artifacts = Artifacts(tmp_path / "artifacts")
    artifacts.prepare()
    data = tmp_path / "rows.joblib"
    joblib.dump(np.arange(5, dtype=np.float32), data)
    return AddRows(data, artifacts)


def wait_until(condition):
    end = time.monotonic() + PATIENCE
    while not condition():
        if time.monotonic() > end:
            return False
        time.sleep(0.05)
    return True


def lines(file):
    return file.read_text().split() if file.exists() else []


def is_alive(pid):
    with contextlib.suppress(FileNotFoundError, ProcessLookupError):
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    return False


def is_daemon():
    return multiprocessing.current_process().daemon


def names(cluster):
    """Names of the workers that the scheduler knows."""
    known = cluster.client.scheduler_info(n_workers=-1)["workers"].values()
    return {worker["name"] for worker in known}


def worker_of(cluster):
    """Name of the only worker that runs a task."""
    [(address, _)] = [(a, t) for a, t in cluster.client.processing().items() if t]
    return cluster.client.scheduler_info(n_workers=-1)["workers"][address]["name"]


@pytest.mark.parametrize(("n_workers", "found"), [(None, 2), (1, 1), (5, 5)])
def test_there_are_as_many_workers_as_the_cluster_has_threads_unless_requested_otherwise(
    cluster, n_workers, found
):
    requested = DaskExecutor(ResourceLimits(scheduler=cluster.address, n_workers=n_workers))
    requested.shutdown()
    assert requested.n_workers == found


def test_no_more_trials_run_at_once_than_there_are_workers(monkeypatch):
    client = SimpleNamespace(nthreads=lambda: {"worker": 4}, close=lambda: None)
    monkeypatch.setattr(module, "connect", lambda scheduler: client)
    running, counts = [], []

    def attempt(executor, payload, trial):
        running.append(trial.number)
        counts.append(len(running))
        time.sleep(0.05)
        running.remove(trial.number)
        return (TrialResult(trial=trial, status=TrialState.SUCCESS), {}), ""

    monkeypatch.setattr(DaskExecutor, "_attempt", attempt)
    executor = DaskExecutor(ResourceLimits(n_workers=2))
    futures = [executor.submit(act, trial_of("nothing", number=n)) for n in range(6)]
    assert all(future.result().status is TrialState.SUCCESS for future in futures)
    executor.shutdown()
    assert max(counts) == 2


def test_trials_run_in_children_also_of_a_daemon_which_stays_one(cluster, remote):
    before = cluster.client.run(is_daemon)
    assert set(before.values()) == {True, False}
    futures = [remote.submit(act, trial_of("nothing", number=n)) for n in range(8)]
    results = [future.result(timeout=PATIENCE) for future in futures]
    assert {result.status for result in results} == {TrialState.SUCCESS}
    assert not {int(r.error) for r in results} & {*cluster.client.run(os.getpid).values()}
    assert cluster.client.run(is_daemon) == before


@pytest.mark.slow
def test_a_trial_over_its_time_is_killed_and_frees_its_worker(remote, tmp_path):
    # Both workers have started a child before: the time is that of the trial alone.
    for future in [remote.submit(act, trial_of("rest", number=n)) for n in range(4)]:
        assert future.result(timeout=PATIENCE).status is TrialState.SUCCESS
    for number in range(2):
        trial = trial_of("hang", number=number, seconds=8.0, file=str(tmp_path / "pid"))
        result = remote.submit(act, trial).result(timeout=PATIENCE)
        assert result.status is TrialState.TIMEOUT
        assert result.trial == trial
    pids = lines(tmp_path / "pid")
    assert len(pids) == 2
    assert not any(is_alive(pid) for pid in pids)
    assert (
        remote.submit(act, trial_of("nothing")).result(timeout=PATIENCE).status
        is TrialState.SUCCESS
    )


def test_a_child_that_crashes_costs_its_own_trial_only(remote):
    actions = ["nothing", "abort", "nothing", "nothing"]
    futures = [remote.submit(act, trial_of(a, number=n)) for n, a in enumerate(actions)]
    statuses = [future.result(timeout=PATIENCE).status for future in futures]
    assert statuses == [
        TrialState.SUCCESS,
        TrialState.CRASHED,
        TrialState.SUCCESS,
        TrialState.SUCCESS,
    ]


@pytest.mark.slow
def test_the_deadline_of_the_run_limits_a_trial_without_one(cluster, tmp_path):
    file = tmp_path / "pid"
    limits = ResourceLimits(scheduler=cluster.address, n_workers=2, deadline=time.monotonic() + 4)
    executor = DaskExecutor(limits)
    futures = [executor.submit(act, trial_of("hang", number=n, file=str(file))) for n in range(4)]
    results = [future.result(timeout=PATIENCE) for future in futures]
    executor.shutdown()
    assert {r.status for r in results} <= {TrialState.TIMEOUT, TrialState.STOPPED}
    assert wait_until(lambda: not any(is_alive(pid) for pid in lines(file)))
    assert all(result.trial.max_seconds is None for result in results)


def test_scores_and_models_come_back_and_nothing_stays_on_the_workers(cluster, remote, add_rows):
    trials = [trial_of("add", number=n) for n in range(4)]
    results = [f.result(timeout=PATIENCE) for f in [remote.submit(add_rows, t) for t in trials]]
    for trial in trials:
        np.testing.assert_array_equal(add_rows.artifacts.scores(trial.key), np.arange(5.0))
        assert add_rows.artifacts.models(trial.key) == ("a model", trial.number)
    folders = {Path(result.error) for result in results}
    assert add_rows.artifacts.folder not in folders
    assert all(folder.is_relative_to(cluster.folder) for folder in folders)
    assert not [*add_rows.artifacts.folder.glob("*/.*")]
    remote.shutdown()
    assert wait_until(lambda: not any(folder.exists() for folder in folders))


def test_rows_that_are_no_file_yet_are_sent_too(remote, add_rows):
    given = AddRows(np.arange(3.0), add_rows.artifacts)
    remote.submit(given, trial_of("add")).result(timeout=PATIENCE)
    scores = add_rows.artifacts.scores(trial_of("add").key)
    np.testing.assert_array_equal(scores, np.arange(3.0))


def test_the_scores_of_a_rival_are_where_the_trial_runs(remote, add_rows):
    first = trial_of("add", number=0)
    assert remote.submit(add_rows, first).result(timeout=PATIENCE).status is TrialState.SUCCESS
    later = [trial_of("add", number=n, rival=first.key) for n in range(1, 5)]
    later.append(trial_of("add", number=5, rival=later[0].key))
    for trial in later:
        assert remote.submit(add_rows, trial).result(timeout=PATIENCE).status is TrialState.SUCCESS
    found = [add_rows.artifacts.scores(trial.key)[1] for trial in later]
    assert found == [2, 2, 2, 2, 3]


def test_shutdown_answers_every_future_kills_the_trials_and_leaves_the_cluster(cluster, tmp_path):
    executor = DaskExecutor(ResourceLimits(scheduler=cluster.address, n_workers=2))
    files = [tmp_path / str(n) for n in range(2)]
    futures = [
        executor.submit(act, trial_of("hang", number=n, file=str(f))) for n, f in enumerate(files)
    ]
    futures.append(executor.submit(act, trial_of("nothing", number=2)))
    assert wait_until(lambda: all(lines(file) for file in files))
    executor.shutdown()
    statuses = [future.result(timeout=PATIENCE).status for future in futures]
    assert statuses[:2] == [TrialState.STOPPED] * 2
    # The last one waits for a worker, and may get one before it is cancelled itself.
    assert statuses[2] in {TrialState.STOPPED, TrialState.SUCCESS}
    pids = [pid for file in files for pid in lines(file)]
    assert wait_until(lambda: not any(is_alive(pid) for pid in pids))
    assert cluster.client.submit(sum, [1, 2], pure=False).result(timeout=PATIENCE) == 3


@pytest.mark.slow
def test_trials_end_when_the_program_that_wanted_them_is_killed(cluster, tmp_path):
    file = tmp_path / "pid"
    program = tmp_path / "program.py"
    program.write_text(
        "from dask_cases import act, trial_of\n"
        "from fairautoml.execution import EXECUTORS, ResourceLimits\n"
        f"executor = EXECUTORS.get('dask')(ResourceLimits(scheduler={cluster.address!r}))\n"
        f"executor.submit(act, trial_of('hang', file={str(file)!r})).result()\n"
    )
    here = Path(__file__).parent
    path = f"{here}{os.pathsep}{here.parents[1]}"
    environment = {**os.environ, "PYTHONPATH": path}
    with subprocess.Popen([sys.executable, str(program)], env=environment) as process:
        assert wait_until(lambda: lines(file))
        process.send_signal(signal.SIGKILL)
    assert wait_until(lambda: not is_alive(lines(file)[0]))


@pytest.mark.slow
def test_the_trial_of_a_dead_worker_is_run_once_more_and_no_oftener(own_cluster, tmp_path):
    file = tmp_path / "starts"
    executor = DaskExecutor(ResourceLimits(scheduler=own_cluster.address))
    future = executor.submit(act, trial_of("hang", file=str(file)))
    own_cluster.add("third")
    for turn in (1, 2):
        assert wait_until(lambda turn=turn: len(lines(file)) == turn)
        own_cluster.kill(worker_of(own_cluster))
    result = future.result(timeout=PATIENCE)
    last = executor.submit(act, trial_of("nothing")).result(timeout=PATIENCE)
    executor.shutdown()
    assert result.status is TrialState.WORKER_LOST
    assert "worker died" in result.error
    assert last.status is TrialState.SUCCESS
    pids = lines(file)
    assert len(pids) == 2
    assert wait_until(lambda: not any(is_alive(pid) for pid in pids))


@pytest.mark.slow
def test_rows_are_sent_again_when_every_worker_that_had_them_died(own_cluster, add_rows):
    executor = DaskExecutor(ResourceLimits(scheduler=own_cluster.address))
    assert (
        executor.submit(add_rows, trial_of("add")).result(timeout=PATIENCE).status
        is TrialState.SUCCESS
    )
    for name in ("worker0", "worker1"):
        own_cluster.kill(name)
    own_cluster.add("new")
    assert wait_until(lambda: names(own_cluster) == {"new"})
    result = executor.submit(add_rows, trial_of("add", number=1)).result(timeout=PATIENCE)
    executor.shutdown()
    assert result.status is TrialState.SUCCESS


@pytest.mark.slow
def test_a_search_with_a_worker_killed_in_its_middle_finds_what_the_serial_one_does(own_cluster):
    table = load("lending").frame.head(1000)
    X, y = table.drop(columns="repaid"), table["repaid"]
    settings = {
        "constraint": "demographic_parity_difference <= 0.1",
        "n_trials": 6,
        "cv": 3,
        "random_state": 0,
    }
    serial = FairAutoML(executor="serial", **settings).fit(X, y, "sex")

    def kill_one(progress):
        if progress.n_trials == 2:
            own_cluster.kill("worker0")

    there = {"executor": Dask(own_cluster.address), "callbacks": kill_one}
    clustered = FairAutoML(**there, **settings).fit(X, y, "sex")
    assert "worker0" not in own_cluster.processes
    assert clustered.trials_["status"].tolist() == ["success"] * 6
    timeless = [c for c in serial.leaderboard_.columns if "seconds" not in c]
    assert serial.leaderboard_[timeless].equals(clustered.leaderboard_[timeless])
    np.testing.assert_array_equal(serial.predict_proba(X), clustered.predict_proba(X))
    # The models have the same hash: to the ledger it is the same question again.
    assert model_hash(clustered.model_) == model_hash(serial.model_)


def test_the_scheduler_may_come_from_the_configuration_of_dask(cluster):
    with dask.config.set({"scheduler-address": cluster.address}):
        executor = EXECUTORS.get("dask")(ResourceLimits())
    result = executor.submit(act, trial_of("nothing")).result(timeout=PATIENCE)
    executor.shutdown()
    assert result.status is TrialState.SUCCESS


def test_the_client_that_is_open_shows_the_scheduler_and_stays_open(cluster):
    with cluster.client.as_current():
        executor = DaskExecutor(ResourceLimits())
    executor.shutdown()
    assert cluster.client.status == "running"


def test_without_any_scheduler_the_error_says_what_to_give(monkeypatch):
    def none_open():
        raise ValueError("No clients found")

    # Another test of this process may have left one open.
    monkeypatch.setattr(module.distributed, "default_client", none_open)
    with pytest.raises(InputError, match=r"has no 'scheduler-address'.*Dask\('tcp://host"):
        DaskExecutor(ResourceLimits())


def test_a_scheduler_that_does_not_answer_is_named(monkeypatch):
    monkeypatch.setattr(module, "CONNECT_SECONDS", 0.5)
    with pytest.raises(InputError, match=r"Dask\('tcp://127.0.0.1:9'\) does not answer"):
        DaskExecutor(ResourceLimits(scheduler="tcp://127.0.0.1:9"))


def test_a_cluster_without_workers_is_refused_with_the_way_out(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "PATIENCE_SECONDS", 0.5)
    empty = Cluster(tmp_path)
    with pytest.raises(InputError, match=r"no worker answered within .*; start workers"):
        DaskExecutor(ResourceLimits(scheduler=empty.address))
    empty.close()


def test_an_objective_that_cannot_be_pickled_is_refused_with_the_way_out(remote):
    with pytest.raises(InputError, match=r"executor='dask' cannot send .* executor='local'"):
        remote.submit(lambda trial: trial, trial_of("nothing"))


def test_an_objective_that_workers_cannot_import_is_refused_with_the_way_out(
    remote, tmp_path, monkeypatch
):
    (tmp_path / "only_here.py").write_text("def objective(trial):\n    return None\n")
    monkeypatch.syspath_prepend(tmp_path)
    objective = importlib.import_module("only_here").objective
    with pytest.raises(InputError, match=r"cannot send .*only_here.* installed on every worker"):
        remote.submit(objective, trial_of("nothing")).result(timeout=PATIENCE)


def test_without_distributed_the_error_names_the_extra(monkeypatch):
    monkeypatch.delitem(sys.modules, "fairautoml.execution.dask")
    monkeypatch.setitem(sys.modules, "distributed", None)
    fresh = Registry("fairautoml.execution", constant="EXECUTOR", kind="executor")
    with pytest.raises(MissingExtraError, match=r'pip install "fairautoml-search\[dask\]"'):
        fresh.get("dask")
