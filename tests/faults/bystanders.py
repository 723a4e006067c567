"""An independent look at processes: only /proc, none of the library's code."""

import multiprocessing.forkserver
import time
from pathlib import Path


def state(pid):
    """State, parent and session of a process; None when there is no such process."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return None
    return fields[0], int(fields[1]), int(fields[3])


def is_alive(pid):
    """Whether a process runs; a dead one that nobody has collected yet does not."""
    found = state(pid)
    return found is not None and found[0] not in "ZX"


def workers():
    """Living children of this process's fork server."""
    server = multiprocessing.forkserver._forkserver._forkserver_pid
    pids = [int(p.name) for p in Path("/proc").iterdir() if p.name.isdigit()]
    found = [(pid, state(pid)) for pid in pids]
    return [
        pid
        for pid, known in found
        if known is not None and known[1] == server and known[0] not in "ZX"
    ]


def soon(true, seconds=120.0):
    """Whether something becomes true in time."""
    end = time.monotonic() + seconds
    while not true() and time.monotonic() < end:
        time.sleep(0.02)
    return true()
