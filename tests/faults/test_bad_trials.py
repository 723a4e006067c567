"""Trials that harm their process, many of each kind among good ones that must not notice."""

import logging
import os
import time
from pathlib import Path

import pytest
from bystanders import is_alive, soon, workers
from deeds import act

from fairautoml.execution import ResourceLimits
from fairautoml.execution.local import LocalExecutor
from fairautoml.records import Config, Fidelity, Trial, TrialState

logger = logging.getLogger(__name__)

REPEATS = int(os.environ.get("FAIRAUTOML_FAULTS", "10"))
MEMORY_MB = 400.0
PATIENCE = 300
"""Seconds to wait for what a slow machine does late."""

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="needs /proc"),
]


def trial_of(deed, number, *, seconds=None, **params):
    return Trial(
        number=number,
        config=Config(learner=deed, params=params),
        fidelity=Fidelity(folds=2),
        max_seconds=seconds,
    )


@pytest.fixture(scope="module", autouse=True)
def _warm():
    """The first worker of a process imports for seconds: its trial may take as long."""
    executor = LocalExecutor(ResourceLimits(n_workers=1))
    executor.submit(act, trial_of("nothing", 0)).result(timeout=PATIENCE)
    executor.shutdown()


def run_among_good_ones(deed, *, seconds=None, repeats=REPEATS, **params):
    """Return the results of the bad trials; the good ones around them must all succeed."""
    executor = LocalExecutor(ResourceLimits(n_workers=2, memory_mb=MEMORY_MB))
    trials = []
    for _ in range(repeats):
        trials.append(trial_of("work", len(trials)))
        trials.append(trial_of(deed, len(trials), seconds=seconds, **params))
        trials += [trial_of("work", len(trials) + more) for more in range(2)]
    try:
        results = [f.result(timeout=PATIENCE) for f in [executor.submit(act, t) for t in trials]]
    finally:
        executor.shutdown()
    assert [result.trial for result in results] == trials
    good = [r for r in results if r.trial.config.learner == "work"]
    assert [r.status for r in good] == [TrialState.SUCCESS] * 3 * repeats
    assert soon(lambda: workers() == [])
    return [r for r in results if r.trial.config.learner == deed]


@pytest.mark.parametrize(
    ("deed", "status", "reason"),
    [
        ("abort", TrialState.CRASHED, "died of SIGABRT (exit code -6)"),
        ("segfault", TrialState.CRASHED, "died of SIGSEGV (exit code -11)"),
        ("terminate", TrialState.CRASHED, "died of SIGTERM (exit code -15)"),
        ("leave", TrialState.CRASHED, "died (exit code 0)"),
        ("exit", TrialState.CRASHED, "died (exit code 0)"),
        ("rude", TrialState.CRASHED, "died (exit code 1): deeds.RudeExit"),
        ("complain", TrialState.CRASHED, "instance of 'std::bad_alloc'"),
        ("unpicklable", TrialState.CRASHED, "died (exit code 1)"),
        ("unreadable", TrialState.CRASHED, "instead of the trial's result"),
        ("something_else", TrialState.CRASHED, "answered with a int of its own"),
        ("long", TrialState.FAILED, "xxx"),
        ("come_back_twice", TrialState.SUCCESS, ""),
        ("flood", TrialState.SUCCESS, ""),
    ],
)
def test_what_a_bad_trial_does_is_its_own_affair(deed, status, reason):
    results = run_among_good_ones(deed)
    assert {result.status for result in results} == {status}
    assert all(reason in result.error for result in results)


@pytest.mark.parametrize("deed", ["hang", "spin", "stop", "close_the_pipe"])
def test_a_trial_that_hangs_is_gone_soon_after_its_time(deed):
    # Each would last 60 s; who closes its pipe is noticed by that alone.
    closes = deed == "close_the_pipe"
    results = run_among_good_ones(deed, seconds=50.0 if closes else 0.4)
    ended = {TrialState.CRASHED} if closes else {TrialState.TIMEOUT}
    assert {result.status for result in results} == ended
    assert max(result.seconds for result in results) < 30


@pytest.mark.parametrize("deed", ["hog", "hog_in_a_grandchild"])
def test_a_trial_that_takes_too_much_memory_is_killed_at_its_limit(deed):
    results = run_among_good_ones(deed, seconds=100.0)
    assert {result.status for result in results} == {TrialState.OUT_OF_MEMORY}
    assert all("the limit was 400 MiB" in result.error for result in results)
    peaks = [result.peak_memory_mb for result in results]
    logger.info("%s: peaks %.0f to %.0f MiB", deed, min(peaks), max(peaks))
    assert MEMORY_MB < max(peaks) < 1.5 * MEMORY_MB


def test_grandchildren_die_with_their_trial_wherever_they_have_gone(tmp_path):
    file = tmp_path / "pids"
    results = run_among_good_ones("grandchildren", seconds=5.0, repeats=3, file=str(file))
    assert {result.status for result in results} == {TrialState.TIMEOUT}
    pids = [int(pid) for pid in file.read_text().split()]
    assert len(pids) == 3 * 3
    assert soon(lambda: not any(is_alive(pid) for pid in pids))


def test_children_left_running_are_gone_before_the_next_trial(tmp_path):
    file = tmp_path / "pids"
    executor = LocalExecutor(ResourceLimits(n_workers=1))
    for number in range(REPEATS):
        trial = trial_of("leave_a_child", number, file=str(file))
        assert executor.submit(act, trial).result(timeout=PATIENCE).status is TrialState.SUCCESS
        after = executor.submit(act, trial_of("nothing", number)).result(timeout=PATIENCE)
        assert after.status is TrialState.SUCCESS
        assert not is_alive(int(file.read_text().split()[-1]))
    executor.shutdown()
    assert len(file.read_text().split()) == REPEATS


def test_a_flood_of_output_reaches_neither_terminal_nor_disk(capfd):
    start = time.monotonic()
    run_among_good_ones("flood", repeats=3)
    out, err = capfd.readouterr()
    assert "xxx" not in out + err
    assert time.monotonic() - start < PATIENCE
