import subprocess
import sys
import time

import pytest

from fairautoml.bench.cell import Usage
from fairautoml.execution._worker import PROC

pytestmark = pytest.mark.skipif(not PROC.is_dir(), reason="processes are looked up in /proc")

BUSY = """
import subprocess, sys, time
held = bytearray(60 * 2**20)
held[::4096] = b"x" * len(held[::4096])
child = None
if len(sys.argv) > 1:
    child = subprocess.Popen([sys.executable, "-c", sys.argv[1]])
end = time.process_time() + 0.4
while time.process_time() < end:
    pass
print("done", flush=True)
sys.stdin.read()
"""


def watched(*arguments, until=60):
    """What was seen of a process that takes 0.4 s and 60 MiB, after its end."""
    command = [sys.executable, "-c", BUSY, *arguments]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        usage = Usage(process.pid)
        process.stdout.readline()
        end = time.monotonic() + 20
        while time.monotonic() < end and (usage.peak_memory_mb or 0) < until:
            usage.look()
        process.stdin.close()
    usage.look()
    return usage


def test_time_and_memory_of_a_process_are_seen_and_kept_after_its_end():
    usage = watched()
    assert 0.35 <= usage.cpu_seconds < 5
    assert 60 <= usage.peak_memory_mb < 200


def test_what_its_children_take_is_added():
    child = "held = bytearray(80 * 2**20); held[::4096] = b'x' * len(held[::4096]); input()"
    assert watched(child, until=140).peak_memory_mb >= 140


def test_a_process_that_is_not_there_took_nothing():
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    usage = Usage(process.pid)
    usage.look()
    assert (usage.cpu_seconds, usage.peak_memory_mb) == (None, None)
