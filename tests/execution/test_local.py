import ctypes
import multiprocessing
import os
import re
import signal
import subprocess
import sys
import threading
import time
from multiprocessing import spawn
from pathlib import Path

import pytest

from fairautoml.exceptions import InputError
from fairautoml.execution import ResourceLimits
from fairautoml.execution._worker import MAIN, _hidden_main
from fairautoml.execution.local import LocalExecutor
from fairautoml.records import Config, Fidelity, Trial, TrialResult, TrialState

PATIENCE = 300
"""Seconds that a test waits for what a slow machine does late; of no avail to what never comes."""


def trial_of(action, *, number=0, seconds=None, **params):
    return Trial(
        number=number,
        config=Config(learner=action, params=params),
        fidelity=Fidelity(folds=2),
        max_seconds=seconds,
    )


def act(trial):
    """Runs in the child: does what the candidate's name says."""
    if trial.config.learner == "kill_then_tell":
        _count(trial.config.params)
        if runs(Path(trial.config.params["file"])) > 1:
            return TrialResult(
                trial=trial, status=TrialState.SUCCESS, error=str(trial.max_seconds)
            )
        time.sleep(1.0)
        os.kill(os.getpid(), signal.SIGKILL)
    ACTIONS[trial.config.learner](trial.config.params)
    return TrialResult(trial=trial, status=TrialState.SUCCESS, error=str(os.getpid()))


def _hang(params):
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    if "file" in params:
        Path(params["file"]).write_text(str(os.getpid()))
    time.sleep(60)


def _hang_with_grandchild(params):
    with subprocess.Popen(["sleep", "60"]) as child:
        Path(params["file"]).write_text(str(child.pid))
        time.sleep(60)


def _show_environment(params):
    names = ("OMP_WAIT_POLICY", "OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS")
    Path(params["file"]).write_text(" ".join(os.environ.get(name, "-") for name in names))


def _count(params):
    with Path(params["file"]).open("a") as stream:
        stream.write("run\n")
    if "then" in params:
        ACTIONS[params["then"]]({})


def _kill_once(params):
    _count(params)
    if runs(Path(params["file"])) == 1:
        os.kill(os.getpid(), signal.SIGKILL)


def _hog(params):
    held = [bytearray(b"x" * 5 * 2**20) for _ in range(90)]
    time.sleep(PATIENCE)
    del held


def _keep(params):
    ACTIONS["kept"] = b"x" * (150 * 2**20)


def _complain(params):
    os.write(1, b"out\n")
    os.write(2, b"first\nit was too much\n")
    os.abort()


ACTIONS = {
    "nothing": lambda _: None,
    "kill": lambda _: os.kill(os.getpid(), signal.SIGKILL),
    "abort": lambda _: os.abort(),
    "exit": lambda _: sys.exit(3),
    "segfault": lambda _: ctypes.string_at(0),
    "hang": _hang,
    "grandchild": _hang_with_grandchild,
    "environment": _show_environment,
    "count": _count,
    "kill_once": _kill_once,
    "hog": _hog,
    "keep": _keep,
    "rest": lambda _: time.sleep(0.5),
    "complain": _complain,
}


@pytest.fixture(scope="module", autouse=True)
def _warm():
    """The first worker of a process imports for seconds: its trial may take as long."""
    executor = LocalExecutor(ResourceLimits(n_workers=1))
    executor.submit(act, trial_of("nothing")).result(timeout=PATIENCE)
    executor.shutdown()


@pytest.fixture
def local():
    executor = LocalExecutor(ResourceLimits(n_workers=2))
    yield executor
    executor.shutdown()


def is_alive(pid):
    """Whether a process runs; a dead one that nobody has collected yet does not."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return False
    return state != "Z"


def wait_until(condition):
    end = time.monotonic() + PATIENCE
    while not condition():
        if time.monotonic() > end:
            return False
        time.sleep(0.05)
    return True


@pytest.mark.parametrize(
    ("action", "status", "reason"),
    [
        ("kill", TrialState.WORKER_LOST, "killed from outside"),
        ("abort", TrialState.CRASHED, "died of SIGABRT (exit code -6)"),
        ("exit", TrialState.CRASHED, "died (exit code 3)"),
        ("segfault", TrialState.CRASHED, "died of SIGSEGV (exit code -11)"),
    ],
)
def test_a_worker_that_dies_costs_its_own_trial_only(local, action, status, reason):
    trials = [trial_of("nothing", number=n) for n in range(5)]
    trials.insert(2, trial_of(action, number=9))
    futures = [local.submit(act, trial) for trial in trials]
    results = [future.result(timeout=PATIENCE) for future in futures]
    assert results[2].status is status
    assert reason in results[2].error
    assert [r.status for r in results if r.trial.number != 9] == [TrialState.SUCCESS] * 5
    assert [r.trial for r in results] == trials


def test_a_trial_over_its_time_is_killed_though_it_ignores_sigterm(local):
    # A worker is at hand: the time is that of the trial alone.
    local.submit(act, trial_of("nothing")).result(timeout=PATIENCE)
    result = local.submit(act, trial_of("hang", seconds=0.6)).result(timeout=PATIENCE)
    assert result.status is TrialState.TIMEOUT
    assert "the limit was 0.6 s" in result.error
    assert 0.6 <= result.seconds < 30
    assert (
        local.submit(act, trial_of("nothing")).result(timeout=PATIENCE).status
        is TrialState.SUCCESS
    )


@pytest.mark.parametrize(("left", "spare"), [(3.0, 0.0), (103.0, 100.0)])
def test_the_deadline_of_the_run_limits_a_trial_without_one(left, spare):
    executor = LocalExecutor(ResourceLimits(n_workers=1, deadline=time.monotonic() + left))
    executor.spare = spare
    futures = [executor.submit(act, trial_of("hang", number=n)) for n in range(2)]
    results = [future.result(timeout=PATIENCE) for future in futures]
    executor.shutdown()
    assert [result.status for result in results] == [TrialState.TIMEOUT, TrialState.STOPPED]
    assert all(result.trial.max_seconds is None for result in results)


def test_grandchildren_are_killed_with_their_trial(local, tmp_path):
    file = tmp_path / "pid"
    future = local.submit(act, trial_of("grandchild", file=str(file)))
    assert wait_until(lambda: file.exists() and file.read_text())
    pid = int(file.read_text())
    assert is_alive(pid)
    local.shutdown()
    assert future.result(timeout=PATIENCE).status is TrialState.STOPPED
    assert wait_until(lambda: not is_alive(pid))


def test_shutdown_answers_every_future_and_leaves_no_worker(tmp_path):
    executor = LocalExecutor(ResourceLimits(n_workers=2))
    idle = int(executor.submit(act, trial_of("nothing")).result(timeout=PATIENCE).error)
    files = [tmp_path / str(n) for n in range(2)]
    futures = [
        executor.submit(act, trial_of("hang", number=n, file=str(f))) for n, f in enumerate(files)
    ]
    futures.append(executor.submit(act, trial_of("nothing", number=3)))
    assert wait_until(lambda: all(f.exists() and f.read_text() for f in files))
    executor.shutdown()
    assert [future.result(timeout=PATIENCE).status for future in futures] == [
        TrialState.STOPPED
    ] * 3
    pids = [idle, *(int(f.read_text()) for f in files)]
    assert wait_until(lambda: not any(is_alive(pid) for pid in pids))


def test_a_worker_is_used_again_for_the_next_trial(local):
    pids = {
        local.submit(act, trial_of("nothing")).result(timeout=PATIENCE).error for _ in range(3)
    }
    assert len(pids) == 1
    assert str(os.getpid()) not in pids


def test_an_idle_worker_that_died_is_replaced(local):
    pid = int(local.submit(act, trial_of("nothing")).result(timeout=PATIENCE).error)
    os.kill(pid, signal.SIGKILL)
    assert wait_until(lambda: not is_alive(pid))
    result = local.submit(act, trial_of("nothing")).result(timeout=PATIENCE)
    assert result.status is TrialState.SUCCESS
    assert result.error != str(pid)


def runs(file):
    return len(file.read_text().split()) if file.exists() else 0


def test_a_trial_whose_worker_was_killed_is_run_again_in_a_new_one(local, tmp_path):
    file = tmp_path / "runs"
    result = local.submit(act, trial_of("kill_once", file=str(file))).result(timeout=PATIENCE)
    assert result.status is TrialState.SUCCESS
    assert runs(file) == 2


@pytest.mark.parametrize(
    ("action", "status", "times"),
    [
        ("kill", TrialState.WORKER_LOST, 2),
        ("abort", TrialState.CRASHED, 1),
        ("exit", TrialState.CRASHED, 1),
        ("hang", TrialState.TIMEOUT, 1),
    ],
)
def test_only_a_kill_from_outside_is_tried_again_and_once(local, tmp_path, action, status, times):
    file = tmp_path / "runs"
    local.submit(act, trial_of("nothing")).result(timeout=PATIENCE)
    seconds = 5.0 if action == "hang" else float(PATIENCE)
    trial = trial_of("count", file=str(file), then=action, seconds=seconds)
    assert local.submit(act, trial).result(timeout=PATIENCE).status is status
    assert runs(file) == times


def test_the_second_run_has_what_the_first_one_left_of_the_time(local, tmp_path):
    file = tmp_path / "runs"
    trial = trial_of("kill_then_tell", file=str(file), seconds=float(PATIENCE))
    result = local.submit(act, trial).result(timeout=PATIENCE)
    assert runs(file) == 2
    assert result.status is TrialState.SUCCESS
    assert result.trial == trial
    assert 0 < float(result.error) <= PATIENCE - 1.0  # A second was used up before the kill.


def test_a_limit_below_what_an_idle_worker_holds_is_refused():
    executor = LocalExecutor(ResourceLimits(n_workers=1, memory_mb=3.0))
    future = executor.submit(act, trial_of("nothing"))
    with pytest.raises(InputError, match=r"memory_limit=3 is below the \d+ MiB floor"):
        future.result(timeout=PATIENCE)
    executor.shutdown()


def test_a_fair_share_that_is_too_small_for_a_worker_is_not_enforced(monkeypatch):
    monkeypatch.setattr("fairautoml.execution.local.memory_per_worker_mb", lambda _: 1.0)
    executor = LocalExecutor(ResourceLimits(n_workers=1))
    result = executor.submit(act, trial_of("rest")).result(timeout=PATIENCE)
    executor.shutdown()
    assert result.status is TrialState.SUCCESS


def test_a_fair_share_that_somebody_else_knows_is_never_too_small_for_a_worker():
    executor = LocalExecutor(ResourceLimits(n_workers=1, share_mb=3.0))
    result = executor.submit(act, trial_of("nothing")).result(timeout=PATIENCE)
    executor.shutdown()
    assert result.status is TrialState.SUCCESS


def test_a_trial_over_its_memory_is_killed_and_says_how_much_it_took():
    executor = LocalExecutor(ResourceLimits(n_workers=1, memory_mb=300.0))
    result = executor.submit(act, trial_of("hog", seconds=float(PATIENCE))).result(
        timeout=PATIENCE
    )
    executor.shutdown()
    assert result.status is TrialState.OUT_OF_MEMORY
    assert re.fullmatch(r"killed at \d+ MiB; the limit was 300 MiB", result.error)
    assert 300 < result.peak_memory_mb < 500


def test_a_worker_that_kept_most_of_its_memory_is_not_used_again():
    executor = LocalExecutor(ResourceLimits(n_workers=1, memory_mb=400.0))
    first = executor.submit(act, trial_of("keep")).result(timeout=PATIENCE)
    second = executor.submit(act, trial_of("nothing", number=1)).result(timeout=PATIENCE)
    executor.shutdown()
    assert [first.status, second.status] == [TrialState.SUCCESS] * 2
    assert first.error != second.error


def test_the_last_line_on_standard_error_is_in_the_message_and_not_on_the_terminal(local, capfd):
    result = local.submit(act, trial_of("complain")).result(timeout=PATIENCE)
    assert result.status is TrialState.CRASHED
    assert result.error.endswith("died of SIGABRT (exit code -6): it was too much")
    assert capfd.readouterr() == ("", "")


def test_a_child_waits_passively_and_the_environment_here_stays(local, tmp_path, monkeypatch):
    monkeypatch.setenv("OMP_WAIT_POLICY", "ACTIVE")
    monkeypatch.delenv("OPENBLAS_NUM_THREADS", raising=False)
    before = dict(os.environ)
    file = tmp_path / "environment"
    local.submit(act, trial_of("environment", file=str(file))).result(timeout=PATIENCE)
    assert file.read_text() == "PASSIVE 1 1"
    assert dict(os.environ) == before


def test_an_objective_that_cannot_be_pickled_is_refused_with_the_way_out(local):
    with pytest.raises(InputError, match=r"cannot send the objective .* use executor='serial'"):
        local.submit(lambda trial: trial, trial_of("nothing"))


def test_the_main_module_is_whole_again_after_a_worker_started(local):
    main = sys.modules["__main__"]
    before = (main.__spec__, getattr(main, "__file__", None))
    local.submit(act, trial_of("nothing")).result(timeout=PATIENCE)
    assert (main.__spec__, getattr(main, "__file__", None)) == before


def test_only_the_thread_that_starts_a_worker_hides_the_script():
    main = sys.modules["__main__"]
    before = dict(vars(main))
    found = {}

    def note(name):
        found[name] = set(spawn.get_preparation_data("worker"))

    note("usual")
    with _hidden_main():
        assert vars(main) == before
        note("hidden")
        other = threading.Thread(target=note, args=("other",))
        other.start()
        other.join()
    note("after")
    assert found["usual"] == found["other"] == found["after"]
    assert found["hidden"] == found["usual"] - MAIN


def _report(pipe):
    pipe.send(os.environ.get("OMP_WAIT_POLICY", "-"))


def test_a_fork_server_of_the_user_is_left_as_it_is(local):
    local.submit(act, trial_of("nothing")).result(timeout=PATIENCE)
    here, there = multiprocessing.Pipe()
    process = multiprocessing.get_context("forkserver").Process(target=_report, args=(there,))
    process.start()
    process.join(PATIENCE)
    assert process.exitcode == 0
    assert here.poll(PATIENCE)
