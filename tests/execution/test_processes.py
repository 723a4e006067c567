import contextlib
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from fairautoml.execution import _worker
from fairautoml.execution._worker import Family, descendants, in_session, resident_mb, started

pytestmark = pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="needs /proc")

LEADER = """
import subprocess, sys, time
held = bytearray(int(sys.argv[1]) * 2**20)
children = [
    subprocess.Popen(["sleep", "60"]),
    subprocess.Popen(["sleep", "60"], start_new_session=True),
]
print("ready", flush=True)
time.sleep(60)
"""


@pytest.fixture
def leader():
    """A process with 64 MiB, a child in its group, and one in a session of its own."""
    with subprocess.Popen(
        [sys.executable, "-c", LEADER, "64"], stdout=subprocess.PIPE, start_new_session=True
    ) as process:
        assert process.stdout.readline() == b"ready\n"
        yield process
        for pid in (*descendants(process.pid), process.pid):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)


def gone(pids):
    end = time.monotonic() + 120
    while any(started(pid) for pid in pids) and time.monotonic() < end:
        time.sleep(0.02)
    return not any(started(pid) for pid in pids)


def test_a_process_is_named_by_its_start_and_a_dead_one_has_none(leader):
    begun = started(leader.pid)
    assert int(begun) >= int(started(os.getpid()))
    leader.kill()
    assert gone([leader.pid])


def test_descendants_are_found_in_any_session(leader):
    assert len(descendants(leader.pid)) == 2
    assert len(in_session(leader.pid)) == 1
    assert set(in_session(leader.pid)) < set(descendants(leader.pid))


def test_the_memory_of_a_family_is_what_it_holds_and_not_what_it_maps(leader):
    held = resident_mb(leader.pid)
    assert 64 < held < 90
    assert held < Family(leader.pid).resident_mb() < held + 10


def test_pages_of_a_mapped_file_do_not_count_and_shared_memory_does(tmp_path):
    file = tmp_path / "table"
    file.write_bytes(bytes(64 * 2**20))
    program = (
        "import mmap, os, sys\n"
        "with open(sys.argv[1], 'rb') as f:\n"
        "    table = mmap.mmap(f.fileno(), 0, prot=mmap.PROT_READ)\n"
        "sum(table[::4096])\n"
        "shared = mmap.mmap(-1, int(sys.argv[2]) * 2**20)\n"
        "for page in range(0, len(shared), 4096):\n    shared[page] = 1\n"
        "print('ready', flush=True)\n"
        "sys.stdin.read()\n"
    )
    held = []
    for shared in (1, 64):
        with subprocess.Popen(
            [sys.executable, "-c", program, str(file), str(shared)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        ) as process:
            assert process.stdout.readline() == b"ready\n"
            held.append(resident_mb(process.pid))
            process.stdin.close()
    assert held[0] < 40
    assert 60 < held[1] - held[0] < 66


def test_a_family_is_killed_with_those_that_left_its_group(leader):
    pids = [leader.pid, *descendants(leader.pid)]
    Family(leader.pid).kill()
    leader.wait(10)
    assert gone(pids)


def test_those_seen_once_are_killed_though_their_parent_is_gone(leader):
    family = Family(leader.pid)
    pids = list(descendants(leader.pid))
    assert not family.alone()
    leader.kill()
    leader.wait(10)
    assert all(started(pid) for pid in pids)
    family.kill()
    assert gone(pids)


def test_a_stranger_with_the_number_of_a_dead_leader_is_left_alone(leader, monkeypatch):
    family = Family(leader.pid)
    monkeypatch.setattr(family, "_start", "1")
    family.kill()
    assert started(leader.pid)


def test_without_proc_nothing_is_seen_and_the_group_is_still_killed(leader, monkeypatch, tmp_path):
    others = list(in_session(leader.pid))
    monkeypatch.setattr(_worker, "PROC", tmp_path / "none")
    assert resident_mb(leader.pid) is None
    family = Family(leader.pid)
    assert family.resident_mb() == 0.0
    assert family.alone()
    family.kill()
    leader.wait(10)
    monkeypatch.undo()
    assert gone(others)
