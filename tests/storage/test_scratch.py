import os
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from fairautoml.storage import run_folder as module
from fairautoml.storage.artifacts import Artifacts
from fairautoml.storage.run_folder import LOCK, scratch
from quick_fits import few_individuals, quick

TESTS = Path(__file__).parents[1]

HOLDER = """
import sys, tempfile
from fairautoml.storage.run_folder import scratch
tempfile.tempdir = sys.argv[1]
with scratch() as folder:
    (folder / "data.joblib").write_bytes(b"rows")
    print(folder, flush=True)
    sys.stdin.read()
"""

FIT = """
import os, signal, sys, tempfile
sys.path.insert(0, sys.argv[2])
tempfile.tempdir = sys.argv[1]
from quick_fits import few_individuals, quick
def die(progress):
    if progress.n_trials == 3:
        os.kill(os.getpid(), signal.SIGKILL)
quick(n_trials=9, executor="local", callbacks=die).fit(*few_individuals())
"""


@pytest.fixture
def temporary(tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return tmp_path


@pytest.fixture
def other(temporary):
    """Another process that holds a folder, and its folder."""
    process = subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(temporary)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    yield process, Path(process.stdout.readline().strip())
    process.kill()
    process.communicate()


def killed(other):
    process, folder = other
    process.kill()
    process.wait()
    assert (folder / "data.joblib").exists()
    return folder


def begin_and_end():
    with scratch() as folder:
        assert (folder / LOCK).is_file()
    assert not folder.exists()


def test_the_folder_of_a_killed_process_is_removed_by_the_next(other):
    folder = killed(other)
    begin_and_end()
    assert not folder.exists()


def test_the_folder_of_a_living_process_stays(other):
    _, folder = other
    begin_and_end()
    assert (folder / "data.joblib").exists()


def test_a_folder_of_the_same_process_stays(temporary):
    with scratch() as mine:
        begin_and_end()
        assert mine.is_dir()
    assert list(temporary.iterdir()) == []


def test_what_has_no_known_lock_stays(temporary):
    made = temporary / "fairautoml-something"
    made.mkdir(mode=0o700)
    begin_and_end()
    assert made.is_dir()


@pytest.mark.parametrize("mode", [0o755, 0o770])
def test_what_others_may_enter_stays(other, mode):
    folder = killed(other)
    folder.chmod(mode)
    begin_and_end()
    assert folder.is_dir()


def test_what_belongs_to_another_user_stays(other, monkeypatch):
    folder = killed(other)
    monkeypatch.setattr(os, "getuid", lambda: folder.stat().st_uid + 1)
    begin_and_end()
    assert folder.is_dir()


def test_what_another_machine_locked_stays(other, monkeypatch):
    folder = killed(other)
    monkeypatch.setattr(module.platform, "node", lambda: "another")
    begin_and_end()
    assert folder.is_dir()


def test_a_link_to_a_folder_is_not_followed(other, temporary):
    folder = killed(other)
    elsewhere = folder.rename(temporary / "elsewhere")
    (temporary / "fairautoml-link").symlink_to(elsewhere)
    begin_and_end()
    assert (elsewhere / "data.joblib").exists()


def test_without_locks_on_the_disk_the_folder_is_there_and_goes(temporary, monkeypatch):
    def unsupported(*_, **__):
        raise OSError("no locks available")

    monkeypatch.setattr(module, "lock_descriptor", unsupported)
    with scratch() as folder:
        assert not (folder / LOCK).exists()
    assert list(temporary.iterdir()) == []


@pytest.mark.filterwarnings("ignore::fairautoml.exceptions.FairAutoMLWarning")
def test_the_rows_that_a_killed_fit_left_are_removed_by_the_next(temporary):
    command = [sys.executable, "-c", FIT, str(temporary), str(TESTS)]
    done = subprocess.run(command, check=False, capture_output=True)
    assert done.returncode == -signal.SIGKILL, done.stderr
    assert list(temporary.glob("*/data.joblib"))
    quick(n_trials=2).fit(*few_individuals())
    assert list(temporary.glob("fairautoml-*")) == []


@pytest.mark.filterwarnings("ignore::fairautoml.exceptions.FairAutoMLWarning")
def test_nothing_is_made_durable_that_ends_with_the_run(temporary, monkeypatch):
    synced = []
    monkeypatch.setattr(os, "fsync", synced.append)
    quick(n_trials=2).fit(*few_individuals())
    assert synced == []
    artifacts = Artifacts(temporary)
    artifacts.prepare()
    artifacts.write_models("key", ())
    assert len(synced) == 2
